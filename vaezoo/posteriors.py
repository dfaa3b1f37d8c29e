"""Posteriors: the output of the encoder → q(z|x).

A distribution is built anew for every call. `parameters` uses Keras operations alone, so the same lines also make the
standalone encoder.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import parts, recipe_schema, replicas  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.networks.made import made
from vaezoo.registry import POSTERIORS

tfb, tfd = tfp.bijectors, tfp.distributions

SMALLEST_SCALE = 1e-4  # keeps log q(z|x) finite in float32; far below the scale of any code in use


class _Philox:
    """A multivariate normal whose samples come from the Philox generator by name, as loc + L eps.

    TFP leaves the choice of the generator to the device, which takes 30 times as long when XLA compiles it for a CPU.
    """

    def sample(self, sample_shape=(), seed=None, name="sample"):
        """Samples [*sample_shape,B,D], a function of the stateless seed; new ones every time without a seed.

        The seed is [2], or [4] where these B rows are a part of a batch that several devices share: see `replicas`.
        """
        leading = tf.reshape(tf.cast(sample_shape, tf.int32), [-1])
        shape = tf.concat([leading, self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        eps = replicas.normal(shape, tfp.random.sanitize_seed(seed), dtype=self.dtype, name=name)
        return self.bijector.forward(eps)


class DiagonalNormalDistribution(_Philox, tfd.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`, sampled by Philox."""


class FullNormalDistribution(_Philox, tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL`, sampled by Philox."""


class Posterior(parts.Part):
    """What every posterior answers: how the encoder's output `params` becomes a distribution, and how it is drawn from.

    `params` is a tensor [B,P], or the structure of tensors that an encoder of its own gives. `decoder` is a
    `decoding.Decoder`: a hierarchical posterior reads the decoder's state, every other one ignores it.
    """

    def params_size(self, latent_dim):
        """P, the number of parameters for a code of D = `latent_dim` numbers."""
        raise NotImplementedError

    def build(self, params_shape, state_shapes=()):
        """Make the weights, for params of that shape and the states that the blocks of a hierarchical decoder give."""

    def parameters(self, params, decoder=None):
        """params → the named parameters of q(z|x); one of them is `loc` [B,D], the code of each example."""
        raise NotImplementedError

    def distribution(self, params, decoder=None):
        """params → q(z|x), a TFP distribution over z [B,D]."""
        raise NotImplementedError

    def mean(self, params, decoder=None):
        """params → the code of each example without noise [B,D]: the mean of q(z|x), where that is known."""
        return self.parameters(params, decoder)["loc"]

    def noise(self, shape, seed):
        """The noise that `draw` turns into codes.

        Args:
            shape: an integer tensor (K, B, D).
            seed: stateless, [2]; or [4] where these B rows are a part of a batch that several devices share.

        Returns:
            [K,B,D], standard normal.
        """
        return replicas.normal(shape, seed)

    def draw(self, params, noise, decoder):
        """Draw codes.

        Args:
            params: the output of the encoder.
            noise: [K,B,D], from `noise`.
            decoder: the `Decoder` of the batch.

        Returns:
            (q, z, decoded). q is a distribution with the batch [B], or [K,B] where each draw has its own, as on the
            way down a hierarchy; z is [K,B,D]; decoded are the parameters of p(x|z) where drawing had to compute them,
            and None otherwise.
        """
        q = self.distribution(params, decoder)
        return q, self.transform(q, noise), None

    def transform(self, q, noise):
        """The codes [K,B,D] that q makes of noise [K,B,D]."""
        return q.bijector.forward(noise)

    def extra_terms(self, passed):
        """Terms [B] by name to add to the loss for what a `Pass` did, as the commitment of a quantizer."""
        return {}


@POSTERIORS.register(recipe_schema.DiagonalNormal)
class DiagonalNormal(Posterior):
    """q(z|x) = N(z; loc, diag(scale^2)), with scale = softplus(raw) + floor (Kingma & Welling 2014, section 3)."""

    def params_size(self, latent_dim):
        """2 D: the locations, then the raw scales."""
        return 2 * latent_dim

    def parameters(self, params, decoder=None):
        """params [B,2D] → {loc [B,D], scale [B,D] > 0}."""
        loc, raw = ops.split(params, 2, axis=-1)
        return {"loc": loc, "scale": ops.softplus(raw) + SMALLEST_SCALE}

    def distribution(self, params, decoder=None):
        """params [B,2D] → a multivariate normal with a diagonal covariance."""
        parameters = self.parameters(params)
        return DiagonalNormalDistribution(parameters["loc"], parameters["scale"])


@POSTERIORS.register(recipe_schema.FullNormal)
class FullNormal(Posterior):
    """q(z|x) = N(z; loc, L L^T), L lower triangular with a positive diagonal (Kingma & Welling 2019, section 2.5.1)."""

    def params_size(self, latent_dim):
        """D + D (D + 1) / 2: the locations, the diagonal of L, and what lies below it row by row."""
        return latent_dim + latent_dim * (latent_dim + 1) // 2

    def parameters(self, params, decoder=None):
        """params [B,P] → {loc [B,D], scale_tril [B,D,D]}."""
        size = params.shape[-1]
        latent_dim = int((np.sqrt(9 + 8 * size) - 3) // 2)  # the D with D + D (D + 1) / 2 = P
        loc, raw = params[:, :latent_dim], params[:, latent_dim : 2 * latent_dim]
        diagonal = ops.softplus(raw) + SMALLEST_SCALE
        entries = ops.concatenate([diagonal, params[:, 2 * latent_dim :], ops.zeros_like(loc[:, :1])], axis=-1)
        # The entry at each place of L; the last entry is the zero above the diagonal.
        place = np.full((latent_dim, latent_dim), size - latent_dim, "int32")
        place[np.diag_indices(latent_dim)] = np.arange(latent_dim)
        place[np.tril_indices(latent_dim, -1)] = np.arange(latent_dim, size - latent_dim)
        tril = ops.take(entries, place, axis=-1)
        return {"loc": loc, "scale_tril": tril}

    def distribution(self, params, decoder=None):
        """params [B,P] → a multivariate normal with a full covariance."""
        parameters = self.parameters(params)
        return FullNormalDistribution(parameters["loc"], parameters["scale_tril"])


@POSTERIORS.register(recipe_schema.Point)
class Point(Posterior):
    """All mass on one code: the deterministic autoencoder. It has no density, hence no KL and no ELBO."""

    def params_size(self, latent_dim):
        """D: the code itself."""
        return latent_dim

    def parameters(self, params, decoder=None):
        """params [B,D] → {loc [B,D]}."""
        return {"loc": params}

    def distribution(self, params, decoder=None):
        """params [B,D] → a distribution whose every sample is the code."""
        return tfd.VectorDeterministic(params)

    def transform(self, q, noise):
        """The code itself, K times."""
        return tf.broadcast_to(q.loc, tf.shape(noise))


@POSTERIORS.register(recipe_schema.Flow)
class Flow(Posterior):
    """q(z|x) by inverse autoregressive flow: a diagonal normal, bent by masked networks (Kingma et al. 2016).

    z_0 ~ N(loc, diag(scale^2)), then block by block z_t = sigma * z_(t-1) + (1 - sigma) * m (their algorithm 1), where
    m and sigma of a variable are functions of the context h and of the variables of z_(t-1) before it; the order turns
    round from block to block. Samples and their density take one pass; the density of any other code takes a pass a
    variable.
    """

    def params_size(self, latent_dim):
        """2 D + C: the locations and the raw scales of z_0, then h."""
        return 2 * latent_dim + self.context

    def build(self, params_shape, state_shapes=()):
        """Make the masked network of each block."""
        latent_dim = (params_shape[-1] - self.context) // 2
        self.networks = [
            made(latent_dim, self.context, self.hidden, backwards=t % 2 == 1, name=f"made_{t}")
            for t in range(self.blocks)
        ]

    def parameters(self, params, decoder=None):
        """params [B,P] → {loc [B,D]}: the code to show for an image, which is where the flow takes the mean of z_0.

        It is not the mean of q(z|x), which has no closed form.
        """
        z, _, h = self._start(params)
        for network in self.networks:
            m, sigma = _gate(network, z, h)
            z = sigma * z + (1 - sigma) * m
        return {"loc": z}

    def distribution(self, params, decoder=None):
        """params [B,P] → the transformed normal."""
        loc, scale, h = self._start(params)
        blocks = [AutoregressiveGate(network, h) for network in self.networks]
        return tfd.TransformedDistribution(
            DiagonalNormalDistribution(loc, scale), tfb.Chain(blocks[::-1]), name="InverseAutoregressiveFlow"
        )

    def transform(self, q, noise):
        """The noise scaled and shifted, then through every block."""
        return q.bijector.forward(q.distribution.bijector.forward(noise))

    def _start(self, params):
        """params [B,P] → loc [B,D] and scale [B,D] of z_0, h [B,C]."""
        latent_dim = (params.shape[-1] - self.context) // 2
        loc, raw, h = ops.split(params, [latent_dim, 2 * latent_dim], axis=-1)
        return loc, ops.softplus(raw) + SMALLEST_SCALE, h


def _gate(network, z, h):
    """z [B,D], h [B,C] → m [B,D], sigma [B,D] in (0, 1), near 1 at first: a block begins close to the identity."""
    m, s = ops.split(network(ops.concatenate([h, z], axis=-1)), 2, axis=-1)
    return m, SMALLEST_SCALE + (1 - SMALLEST_SCALE) * ops.sigmoid(s + 2.0)


class AutoregressiveGate(tfb.Bijector):
    """One block: z → sigma * z + (1 - sigma) * m, whose Jacobian is triangular with sigma on its diagonal.

    Args:
        network: from `made`.
        h: the context [B,C]; z is [...,B,D], or [...,1,D] for one code under every context.
    """

    def __init__(self, network, h):
        self._network, self._h = network, h
        super().__init__(forward_min_event_ndims=1, parameters={"network": network, "h": h}, name="autoregressive_gate")

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}  # the batch is that of the normal, which h comes with

    def _forward(self, z):
        m, sigma = self._gate(z)
        return sigma * z + (1 - sigma) * m

    def _forward_log_det_jacobian(self, z):
        _, sigma = self._gate(z)
        return tf.reduce_sum(tf.math.log(sigma), axis=-1)

    def _inverse(self, y):
        y = tf.broadcast_to(y, self._shape(y))  # the loop's shape must not change

        def resolve(z):
            m, sigma = self._gate(z)
            return [(y - (1 - sigma) * m) / sigma]

        # Each round makes one more variable exact, so D rounds make all of them exact.
        rounds = y.shape[-1]
        return tf.while_loop(lambda z: True, resolve, [tf.zeros_like(y)], maximum_iterations=rounds)[0]

    def _gate(self, z):
        """m, sigma [...,B,D]."""
        shape = self._shape(z)
        h = tf.broadcast_to(self._h, tf.concat([shape[:-1], tf.shape(self._h)[-1:]], axis=0))
        z = tf.broadcast_to(z, shape)
        rows = [tf.reshape(tensor, [-1, tensor.shape[-1]]) for tensor in (z, h)]
        return [tf.reshape(values, shape) for values in _gate(self._network, *rows)]

    def _shape(self, z):
        """[...,B,D], with the axes of z and the batch of h."""
        batch = tf.broadcast_dynamic_shape(tf.shape(z)[:-1], tf.shape(self._h)[:-1])
        return tf.concat([batch, tf.shape(z)[-1:]], axis=0)

"""Posteriors: the output of the encoder → q(z|x).

A distribution is built anew for every call. `parameters` uses Keras operations alone, so the same lines also make the
standalone encoder.
"""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import part_schema, parts, replicas  # import modules, not names: the Keras import hook can re-enter here
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

    def build(self, params_shape, groups=(), policy="float32"):
        """Make the weights, for params of that shape, the groups of a hierarchical decoder and a precision."""

    def build_from_config(self, config):
        """Build as before saving; in files of earlier versions there are no groups, and another name for them."""
        shapes = config.get("shapes_dict", {})
        groups, policy = shapes.get("groups", ()), shapes.get("policy", "float32")
        self.build(shapes.get("params_shape", config.get("input_shape")), groups, policy)

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


@POSTERIORS.register(part_schema.DiagonalNormal)
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


@POSTERIORS.register(part_schema.FullNormal)
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


@POSTERIORS.register(part_schema.Point)
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


@POSTERIORS.register(part_schema.Flow)
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

    def build(self, params_shape, groups=(), policy="float32"):
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


# Of a hierarchy, in units of the priors: eps_l = (z_l - loc_p) / scale_p leaves the KL unchanged

UNIT = math.log(math.e - 1)  # softplus(UNIT) = 1: with weights of zero, q(eps|x) would be the prior
FIRST = 1e-3  # the standard deviation of the first weights: nearly so, and yet the encoder has a gradient


@POSTERIORS.register(part_schema.ResidualNormal)
class ResidualNormal(Posterior):
    """q(eps_l | x, eps_1 ... eps_(l-1)) = N(loc_l, diag(scale_l^2)) for each group l of a hierarchy.

    loc and scale come from the features of the example and the state of the decoder, which knows the groups above. They
    are relative to the prior: the posterior of an untrained model is nearly its prior.

    Source: Vahdat & Kautz 2020, "NVAE", arXiv:2007.03898, section 3.2.
    """

    def params_size(self, latent_dim):
        """None that count: the encoder of a hierarchy gives features."""
        return latent_dim

    def build(self, params_shape, groups=(), policy="float32"):
        """Make a head for each group: [state, features] → loc and raw scale.

        Args:
            params_shape: the shapes of the features: those for the top group, then of each resolution.
            groups: from `decoding.group_shapes`.
            policy: the precision of the heads; their last layers are float32.
        """
        shapes = [params_shape] if isinstance(params_shape[0], int | None) else params_shape
        self.places, self.heads = [], []
        for number, (state, size) in enumerate(groups):
            fitting = [place for place, shape in enumerate(shapes) if state and shape[1:-1] == state[1:-1]]
            self.places.append(fitting[0] if fitting else 0)
            features = shapes[self.places[-1]]
            self.heads.append(_head(state, features, size, self.activation, policy, f"head_{number}"))

    def walk(self, params, decoder, draw, label=None):
        """Walk from the top group down.

        Args:
            params: the features [B,...] of the example.
            decoder: the `Decoder`.
            draw: (loc, scale, a slice of D) → eps of a group [B,n].
            label: [B], for a conditional model.

        Returns:
            (eps, loc, scale [B,D] of all groups, the parameters of p(x|z) [B,...]).
        """
        features, state, start, drawn = tf.nest.flatten(params), None, 0, []
        for head, place, block in zip(self.heads, self.places, decoder.blocks, strict=True):
            found = head([state, features[place]] if state is not None else features[place])
            loc, raw = ops.split(found, 2, axis=-1)
            scale = ops.softplus(raw + UNIT) + SMALLEST_SCALE
            stop = start + loc.shape[-1]
            eps = draw(loc, scale, slice(start, stop))
            if state is None:
                state = block(eps if label is None else {"z": eps, "label": label})
            else:
                state = block([state, eps])
            drawn.append((eps, loc, scale))
            start = stop
        return *(ops.concatenate(group, axis=-1) for group in zip(*drawn, strict=True)), state

    def draw(self, params, noise, decoder):
        """Draw on the way down: q has the batch [K,B], each draw with the loc and scale that followed from it."""
        eps, loc, scale, decoded = self._walk_rows(params, decoder, noise, lambda own, loc, scale: loc + scale * own)
        return DiagonalNormalDistribution(loc, scale), eps, decoded

    def parameters(self, params, decoder=None):
        """params → {loc [B,D]}: the code to show for an example, every group at its location given those above."""
        return {"loc": self.walk(params, decoder, lambda loc, scale, place: loc, decoder.label)[0]}

    def distribution(self, params, decoder=None):
        """params → q(eps|x)."""
        return ResidualNormalDistribution(self, params, decoder)

    def given(self, params, decoder, eps):
        """q(eps_l | x, eps_1 ... eps_(l-1)) of every group at codes eps [K,B,D]: a normal with the batch [K,B]."""
        _, loc, scale, _ = self._walk_rows(params, decoder, eps, lambda own, loc, scale: own)
        return DiagonalNormalDistribution(loc, scale)

    def _walk_rows(self, params, decoder, values, draw):
        """Walk with K rows for each example; `draw` turns values [K,B,D] into codes: (own values, loc, scale) → eps."""
        count = tf.shape(values)[0]
        rows = tf.reshape(values, [-1, values.shape[-1]])  # [K*B,D]
        label = decoder.label
        if values.shape[0] != 1:
            params = tf.nest.map_structure(lambda t: tf.tile(t, [count, *[1] * (t.shape.rank - 1)]), params)
        if label is not None:
            label = tf.tile(tf.broadcast_to(tf.cast(label, tf.int32), tf.shape(values)[1:2]), [count])
        walked = self.walk(params, decoder, lambda loc, scale, place: draw(rows[:, place], loc, scale), label)
        return [tf.reshape(t, tf.concat([tf.shape(values)[:2], tf.shape(t)[1:]], axis=0)) for t in walked]


def _head(state, features, size, activation, policy, name):
    """[state, features] → the locations and the raw scales of a group, [B,2n]; of the top group, features → [B,2n]."""
    inputs = [keras.Input(shape[1:]) for shape in (state, features) if shape]
    h = inputs[0] if len(inputs) == 1 else keras.layers.Concatenate()(inputs)
    last = {"kernel_initializer": keras.initializers.RandomNormal(stddev=FIRST), "dtype": "float32"}
    if len(h.shape) == 2:
        return keras.Model(inputs if state else inputs[0], keras.layers.Dense(2 * size, **last)(h), name=name)
    places = h.shape[1] * h.shape[2]
    h = keras.layers.Conv2D(state[-1], 3, padding="same", activation=activation, dtype=policy)(h)
    h = keras.layers.Conv2D(2 * size // places, 1, **last)(h)
    h = keras.layers.Reshape((places, 2, size // places), dtype="float32")(h)
    h = keras.layers.Permute((2, 1, 3), dtype="float32")(h)  # [B,2,h*w,c]
    return keras.Model(inputs, keras.layers.Flatten(dtype="float32")(h), name=name)


class ResidualNormalDistribution(tfd.Distribution):
    """q(eps|x) of a hierarchy, over [D] with the batch [B]: a walk for each draw and for each density.

    Args:
        posterior: the `ResidualNormal`.
        params: the features of B examples.
        decoder: their `Decoder`.
    """

    def __init__(self, posterior, params, decoder, name="ResidualNormal"):
        self._posterior, self._params, self._decoder = posterior, params, decoder
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"posterior": posterior, "params": params, "decoder": decoder},
            name=name,
        )

    def _batch_shape(self):
        return tf.nest.flatten(self._params)[0].shape[:1]

    def _batch_shape_tensor(self):
        return tf.shape(tf.nest.flatten(self._params)[0])[:1]

    def _event_shape(self):
        return tf.TensorShape([self._decoder.latent_dim])

    def _event_shape_tensor(self):
        return tf.constant([self._decoder.latent_dim])

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self._batch_shape_tensor(), self._event_shape_tensor()], axis=0)
        noise = replicas.normal(shape, tfp.random.sanitize_seed(seed))
        return self._posterior.draw(self._params, noise, self._decoder)[1]

    def _log_prob(self, eps):
        shape = tf.concat([tf.shape(eps)[:-2], self._batch_shape_tensor(), self._event_shape_tensor()], axis=0)
        eps = tf.broadcast_to(eps, shape)
        rows = tf.reshape(eps, tf.concat([[-1], shape[-2:]], axis=0))  # [K,B,D]
        return tf.reshape(self._posterior.given(self._params, self._decoder, rows).log_prob(rows), shape[:-1])

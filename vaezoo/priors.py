"""Priors: p(z), with or without weights.

A distribution is built anew for every call. Build a prior with the shape (None, D), and with the shape of an example
where the prior holds examples.
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import (
    distributions,
    part_schema,
    parts,
    posteriors,
)  # modules, not names: the Keras import hook can re-enter here
from vaezoo.registry import PRIORS

tfb, tfd = tfp.bijectors, tfp.distributions


class Prior(parts.Part):
    """What every prior answers: its distribution over codes of D numbers.

    Attributes:
        latent_dim: D, known once it is built.
        components: of a mixture; 1 for every other prior.
    """

    components = 1

    def build(self, z_shape, x_shape=None):
        """Take D from the last axis of (None, D); `x_shape` is the shape of an example."""
        self.latent_dim = z_shape[-1]

    def distribution(self, encode=None):
        """p(z), a TFP distribution over codes [D].

        Args:
            encode: examples [K,...] → q(z|x) over [K,D], for a prior that is made of posteriors.
        """
        raise NotImplementedError

    def start(self, codes, x, seed=0):
        """Set the weights near the distribution of codes, before they are fitted to it.

        Args:
            codes: [N,D].
            x: some examples [M,...], M >= components; the vamp prior takes images as pseudo-inputs.
            seed: of the choice among the codes.
        """


@PRIORS.register(part_schema.StandardNormal)
class StandardNormal(Prior):
    """p(z) = N(z; 0, I) (Kingma & Welling 2014)."""

    def distribution(self, encode=None):
        """A standard normal over [D]."""
        return tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim]), tf.ones([self.latent_dim]))


@PRIORS.register(part_schema.Mixture)
class Mixture(Prior):
    """p(z) = sum_k w_k N(z; m_k, S_k), all of it learned: the "MoG" prior of Tomczak & Welling (2018).

    S_k is diag(s_k^2), or L_k L_k^T with a lower triangular L_k. The weights w begin equal, the covariances as I, and
    the locations m at draws of N(0, I): components that begin alike would stay alike.
    """

    def build(self, z_shape, x_shape=None):
        """Make the weights."""
        super().build(z_shape)
        k, d = self.components, self.latent_dim
        unit = keras.initializers.Constant(parts.raw_scale(1.0, posteriors.SMALLEST_SCALE))
        self.logits = self.add_weight(name="logits", shape=(k,), initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=(k, d), initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.raw_scale = self.add_weight(name="raw_scale", shape=(k, d), initializer=unit)
        if self.covariance == "full":  # what lies below the diagonal of L, row by row
            self.below = self.add_weight(name="below", shape=(k, d * (d - 1) // 2), initializer="zeros")

    def distribution(self, encode=None):
        """A mixture of normals over [D]."""
        scale = ops.softplus(self.raw_scale) + posteriors.SMALLEST_SCALE
        if self.covariance == "full":
            return distributions.NormalMixture(self.logits.value, self.loc.value, self._tril(scale))
        normals = tfd.Independent(tfd.Normal(self.loc.value, scale), reinterpreted_batch_ndims=1)
        return distributions.MixtureDistribution(tfd.Categorical(self.logits.value), normals)

    def start(self, codes, x, seed=0):
        """Fit the mixture by expectation maximization (`fit_mixture`)."""
        weights, loc, tril = fit_mixture(codes, self.components, self.covariance, seed)
        self.logits.assign(np.log(weights))
        self.loc.assign(loc)
        self.raw_scale.assign(parts.raw_scale(np.diagonal(tril, axis1=1, axis2=2), posteriors.SMALLEST_SCALE))
        if self.covariance == "full":
            self.below.assign(tril[(slice(None), *np.tril_indices(self.latent_dim, -1))])

    def _tril(self, scale):
        """L [K,D,D]."""
        d = self.latent_dim
        place = np.zeros((d, d), "int32")
        place[np.tril_indices(d, -1)] = np.arange(d, d + d * (d - 1) // 2)
        place[np.diag_indices(d)] = np.arange(d)
        place[np.triu_indices(d, 1)] = d + d * (d - 1) // 2  # the zero at the end
        entries = tf.concat([scale, self.below.value, tf.zeros([self.components, 1])], axis=1)
        return tf.gather(entries, place, axis=1)


def fit_mixture(codes, components, covariance="full", seed=0, rounds=200, tolerance=1e-4):
    """Fit a mixture of normals by expectation maximization (Dempster et al. 1977).

    Each covariance is that of its codes and of D pseudo-codes with the pooled variances, the mode of Fraley & Raftery
    (2007, "Bayesian regularization for normal mixture estimation"): a component of few codes cannot collapse onto them.

    Args:
        codes: [N,D], N >= components.
        components: K.
        covariance: "full" or "diagonal".
        seed: of the codes that the components start at, an int >= 0.
        rounds: the most steps.
        tolerance: nats a code; a smaller gain in a step ends the fit.

    Returns:
        weights [K], loc [K,D], scale_tril [K,D,D], all float64.
    """
    codes = np.asarray(codes, "float64")
    count, d = codes.shape
    pooled = np.maximum(codes.var(0), posteriors.SMALLEST_SCALE**2)
    loc = codes[np.random.default_rng(seed).choice(count, components, replace=False)]
    tril = np.stack([np.diag(np.sqrt(pooled))] * components)
    weights, before = np.full(components, 1 / components), -np.inf
    for _ in range(rounds):
        log_joint = np.empty((components, count))
        for k in range(components):
            white = (codes - loc[k]) @ np.linalg.inv(tril[k]).T
            log_joint[k] = np.log(weights[k]) - 0.5 * (white**2).sum(1) - np.log(np.diagonal(tril[k])).sum()
        log_codes = np.logaddexp.reduce(log_joint, axis=0)  # [N], but for a constant
        if log_codes.mean() - before < tolerance:
            break
        before = log_codes.mean()
        shares = np.exp(log_joint - log_codes)  # [K,N]
        sizes = np.maximum(shares.sum(1), 1e-6)  # a component that has lost all codes
        weights = sizes / count
        for k in range(components):
            loc[k] = shares[k] @ codes / sizes[k]
            centred = codes - loc[k]
            if covariance == "full":
                scatter = (centred * shares[k][:, None]).T @ centred
            else:
                scatter = np.diag(shares[k] @ centred**2)
            tril[k] = np.linalg.cholesky((scatter + d * np.diag(pooled)) / (sizes[k] + d))
    return weights, loc, tril


@PRIORS.register(part_schema.FlowPrior)
class FlowPrior(Prior):
    """p(z) of z = loc + scale f(u), u ~ N(0, I), f a chain of affine couplings (Dinh et al. 2017, arXiv:1605.08803).

    Each coupling moves and scales one half of the numbers by functions of the other half, which stays; so density and
    sample both take one pass. The halves are drawn anew for each coupling. All begins as the identity.
    """

    def build(self, z_shape, x_shape=None):
        """Make the networks of the couplings, and the shift and the scale of all of them."""
        super().build(z_shape)
        d = self.latent_dim
        self.loc = self.add_weight(name="loc", shape=(d,), initializer="zeros")
        self.log_scale = self.add_weight(name="log_scale", shape=(d,), initializer="zeros")
        orders = np.random.default_rng(0)
        self.orders = [orders.permutation(d).tolist() for _ in range(self.blocks)]
        self.networks = [_coupling(d // 2, d - d // 2, self.hidden, f"coupling_{n}") for n in range(self.blocks)]

    def distribution(self, encode=None):
        """The transformed normal over [D]."""
        bijectors = [tfb.Shift(self.loc.value), tfb.Scale(log_scale=self.log_scale.value)]
        for order, network in zip(self.orders, self.networks, strict=True):
            bijectors += [tfb.RealNVP(self.latent_dim // 2, shift_and_log_scale_fn=_of(network)), tfb.Permute(order)]
        normal = tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim]), tf.ones([self.latent_dim]))
        return distributions.FlowDistribution(normal, tfb.Chain(bijectors))

    def start(self, codes, x, seed=0):
        """Take the mean and the standard deviation of the codes."""
        self.loc.assign(np.mean(codes, axis=0))
        self.log_scale.assign(np.log(np.maximum(np.std(codes, axis=0), posteriors.SMALLEST_SCALE)))


def _coupling(kept, moved, hidden, name):
    """The half that is kept [B,kept] → the shift and the log-scale of the other half [B,2 moved]."""
    inputs = h = keras.Input((kept,), name="kept")
    for width in hidden:
        h = keras.layers.Dense(width, "gelu", dtype="float32")(h)
    out = keras.layers.Dense(2 * moved, kernel_initializer="zeros", dtype="float32")(h)
    return keras.Model(inputs, out, name=name)


def _of(network):
    """The network as tfb.RealNVP calls it. The scale stays within exp(-2) and exp(2), so that no step diverges."""

    def shift_and_log_scale(kept, _):
        rows = network(tf.reshape(kept, [-1, kept.shape[-1]]))
        shift, raw = tf.split(tf.reshape(rows, tf.concat([tf.shape(kept)[:-1], tf.shape(rows)[1:]], 0)), 2, axis=-1)
        return shift, 2.0 * tf.tanh(raw / 2.0)

    return shift_and_log_scale


@PRIORS.register(part_schema.VampPrior)
class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z|u_k), u_k learned pseudo-inputs in [0, 1] (Tomczak & Welling 2018, arXiv:1705.07120).

    The pseudo-inputs go through the model's own encoder, so the prior follows the aggregated posterior as both learn.
    What is learned is their logits: clipped instead, a pixel at its bound would have no gradient.
    """

    def build(self, z_shape, x_shape=None):
        """Make the pseudo-inputs of that shape."""
        super().build(z_shape)
        # Dark noise, as most of a drawing is dark: after two epochs of MNIST 2 nats ahead of mid-grey noise.
        dark = keras.initializers.RandomNormal(mean=-3.0, stddev=1.0)
        self.logits = self.add_weight(name="logits", shape=(self.components, *x_shape), initializer=dark)

    @property
    def pseudo_inputs(self):
        """u [K,H,W,C] in [0, 1]."""
        return ops.sigmoid(self.logits)

    def distribution(self, encode=None):
        """The mixture of the pseudo-inputs' posteriors, in equal parts, over [D]."""
        return distributions.MixtureDistribution(
            tfd.Categorical(tf.zeros([self.components])), encode(self.pseudo_inputs)
        )

    def start(self, codes, x, seed=0):
        """Take the first examples as pseudo-inputs."""
        u = np.clip(x[: self.components], 0.01, 0.99)  # a pixel at its bound would have no gradient
        self.logits.assign(np.log(u / (1 - u)))

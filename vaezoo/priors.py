"""Priors: p(z), with or without weights.

A distribution is built anew for every call. Build a prior with the shape (None, D), and with the shape of an example
where the prior holds examples.
"""

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import parts, posteriors, recipe_schema  # modules, not names: the Keras import hook can re-enter here
from vaezoo.registry import PRIORS

tfd = tfp.distributions


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


@PRIORS.register(recipe_schema.StandardNormal)
class StandardNormal(Prior):
    """p(z) = N(z; 0, I) (Kingma & Welling 2014)."""

    def distribution(self, encode=None):
        """A standard normal over [D]."""
        return tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim]), tf.ones([self.latent_dim]))


class MixtureDistribution(tfd.MixtureSameFamily):
    """A mixture that draws a component first and then from it alone; TFP's draws from every one, and keeps one draw."""

    def _sample_n(self, n, seed=None):
        which, draw = tfp.random.split_seed(seed)
        k = self.mixture_distribution.sample(n, seed=which)
        chosen = tf.nest.map_structure(  # every parameter's first axis is that of the components
            lambda parameter: tf.gather(parameter, k), self.components_distribution, expand_composites=True
        )
        return chosen.sample(seed=draw)  # [n,D]


@PRIORS.register(recipe_schema.Mixture)
class Mixture(Prior):
    """p(z) = sum_k w_k N(z; m_k, diag(s_k^2)), all of it learned: the "MoG" prior of Tomczak & Welling (2018).

    The weights w begin equal, the scales s at 1, and the locations m at draws of N(0, I): components that begin alike
    would stay alike.
    """

    def build(self, z_shape, x_shape=None):
        """Make the weights."""
        super().build(z_shape)
        shape = (self.components, self.latent_dim)
        unit = keras.initializers.Constant(math.log(math.expm1(1.0 - posteriors.SMALLEST_SCALE)))  # a scale of 1
        self.logits = self.add_weight(name="logits", shape=(self.components,), initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0))
        self.raw_scale = self.add_weight(name="raw_scale", shape=shape, initializer=unit)

    def distribution(self, encode=None):
        """A mixture of normals over [D]."""
        scale = ops.softplus(self.raw_scale) + posteriors.SMALLEST_SCALE
        normals = tfd.Independent(tfd.Normal(self.loc.value, scale), reinterpreted_batch_ndims=1)
        return MixtureDistribution(tfd.Categorical(self.logits.value), normals)


@PRIORS.register(recipe_schema.VampPrior)
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
        return MixtureDistribution(tfd.Categorical(tf.zeros([self.components])), encode(self.pseudo_inputs))

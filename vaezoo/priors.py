"""Priors: p(z), with or without weights.

A prior is a Keras layer: one that learns keeps its weights there. Build it with the shape (None, D).
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo.registry import PRIORS

tfd = tfp.distributions


class Prior(keras.layers.Layer):
    """What every prior answers: its distribution over codes of D numbers."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.latent_dim = None  # known once built

    def build(self, input_shape):
        """Take D from the last axis of (None, D)."""
        self.latent_dim = input_shape[-1]

    def distribution(self):
        """p(z), a TFP distribution over codes [D]."""
        raise NotImplementedError


@PRIORS.register("standard_normal")
@keras.saving.register_keras_serializable("vaezoo")
class StandardNormal(Prior):
    """p(z) = N(z; 0, I) (Kingma & Welling 2014)."""

    def distribution(self):
        """A standard normal over [D]."""
        return tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim]), tf.ones([self.latent_dim]))

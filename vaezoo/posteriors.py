"""Posteriors: the parameters that the encoder puts out → q(z|x).

A posterior is a Keras layer so that one with weights is saved with the model. Its distribution is built anew for every
call. `parameters` uses Keras operations alone, so the same lines also make the standalone encoder.
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo.registry import POSTERIORS

tfd = tfp.distributions

SMALLEST_SCALE = 1e-4  # keeps log q(z|x) finite in float32; far below the scale of any code in use


class _Philox:
    """A multivariate normal whose samples come from the Philox generator by name, as loc + L eps.

    TFP leaves the choice of the generator to the device, which takes 30 times as long when XLA compiles it for a CPU.
    """

    def sample(self, sample_shape=(), seed=None, name="sample"):
        """Samples [*sample_shape,B,D], a function of the stateless seed [2]."""
        leading = tf.reshape(tf.cast(sample_shape, tf.int32), [-1])
        shape = tf.concat([leading, self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        eps = tf.random.stateless_normal(shape, seed, dtype=self.dtype, alg="philox", name=name)
        return self.bijector.forward(eps)


class DiagonalNormalDistribution(_Philox, tfd.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`, sampled by Philox."""


class FullNormalDistribution(_Philox, tfd.MultivariateNormalTriL):
    """`tfd.MultivariateNormalTriL`, sampled by Philox."""


class Posterior(keras.layers.Layer):
    """What every posterior answers. Subclasses say how params [B,P] become named parameters and a distribution."""

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def params_size(self, latent_dim):
        """P, the number of parameters for a code of D = `latent_dim` numbers."""
        raise NotImplementedError

    def parameters(self, params):
        """params [B,P] → the named parameters of q(z|x); `loc` [B,D] is always one of them."""
        raise NotImplementedError

    def distribution(self, params):
        """params [B,P] → q(z|x), a TFP distribution over z [B,D]."""
        raise NotImplementedError

    def mean(self, params):
        """params [B,P] → the mean of q(z|x) [B,D]."""
        return self.parameters(params)["loc"]


@POSTERIORS.register("diagonal_normal")
@keras.saving.register_keras_serializable("vaezoo")
class DiagonalNormal(Posterior):
    """q(z|x) = N(z; loc, diag(scale^2)), with scale = softplus(raw) + floor (Kingma & Welling 2014, section 3)."""

    def params_size(self, latent_dim):
        """2 D: the locations, then the raw scales."""
        return 2 * latent_dim

    def parameters(self, params):
        """params [B,2D] → {loc [B,D], scale [B,D] > 0}."""
        loc, raw = ops.split(params, 2, axis=-1)
        return {"loc": loc, "scale": ops.softplus(raw) + SMALLEST_SCALE}

    def distribution(self, params):
        """params [B,2D] → a multivariate normal with a diagonal covariance."""
        parameters = self.parameters(params)
        return DiagonalNormalDistribution(parameters["loc"], parameters["scale"])


@POSTERIORS.register("full_normal")
@keras.saving.register_keras_serializable("vaezoo")
class FullNormal(Posterior):
    """q(z|x) = N(z; loc, L L^T), L lower triangular with a positive diagonal (Kingma & Welling 2019, section 2.5.1)."""

    def params_size(self, latent_dim):
        """D + D (D + 1) / 2: the locations, the diagonal of L, and what lies below it row by row."""
        return latent_dim + latent_dim * (latent_dim + 1) // 2

    def parameters(self, params):
        """params [B,P] → {loc [B,D], scale_tril [B,D,D]}."""
        size = params.shape[-1]
        latent_dim = int((np.sqrt(9 + 8 * size) - 3) // 2)  # the D with D + D (D + 1) / 2 = P
        loc, raw = params[:, :latent_dim], params[:, latent_dim : 2 * latent_dim]
        diagonal = ops.softplus(raw) + SMALLEST_SCALE
        entries = ops.concatenate([diagonal, params[:, 2 * latent_dim :], ops.zeros_like(loc[:, :1])], axis=-1)
        # Which of the entries stands where in L; the last one is the zero above the diagonal.
        place = np.full((latent_dim, latent_dim), size - latent_dim, "int32")
        place[np.diag_indices(latent_dim)] = np.arange(latent_dim)
        place[np.tril_indices(latent_dim, -1)] = np.arange(latent_dim, size - latent_dim)
        tril = ops.take(entries, place, axis=-1)
        return {"loc": loc, "scale_tril": tril}

    def distribution(self, params):
        """params [B,P] → a multivariate normal with a full covariance."""
        parameters = self.parameters(params)
        return FullNormalDistribution(parameters["loc"], parameters["scale_tril"])


@POSTERIORS.register("point")
@keras.saving.register_keras_serializable("vaezoo")
class Point(Posterior):
    """All mass on one code: the deterministic autoencoder. It has no density, hence no KL and no ELBO."""

    def params_size(self, latent_dim):
        """D: the code itself."""
        return latent_dim

    def parameters(self, params):
        """params [B,D] → {loc [B,D]}."""
        return {"loc": params}

    def distribution(self, params):
        """params [B,D] → a distribution whose every sample is the code."""
        return tfd.VectorDeterministic(params)

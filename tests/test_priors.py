"""Priors against SciPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from vaezoo.priors import StandardNormal


def built(latent_dim):
    prior = StandardNormal()
    prior.build((None, latent_dim))
    return prior


@pytest.mark.parametrize("latent_dim", [1, 3, 50])
def test_log_prob_of_the_standard_normal_is_scipys_for_any_leading_axes(latent_dim):
    z = np.random.default_rng(0).normal(0, 2, (4, 5, latent_dim)).astype("float32")  # [K,B,D]
    distribution = built(latent_dim).distribution()
    assert distribution.event_shape == (latent_dim,)
    assert distribution.batch_shape == ()
    log_prob = distribution.log_prob(z)
    assert log_prob.dtype == tf.float32
    expected = stats.multivariate_normal.logpdf(z.astype("float64"), np.zeros(latent_dim))
    np.testing.assert_allclose(log_prob, expected.reshape(4, 5), rtol=1e-6, atol=1e-6)


def test_samples_of_the_standard_normal_follow_its_law_and_their_seed():
    distribution = built(3).distribution()
    z = distribution.sample(3000, seed=(1, 2)).numpy()
    assert z.shape == (3000, 3)
    assert all(stats.kstest(z[:, d], stats.norm.cdf).pvalue > 1e-3 for d in range(3))
    correlation = np.corrcoef(z.T)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(3000)
    np.testing.assert_array_equal(z, distribution.sample(3000, seed=(1, 2)))
    assert (z != distribution.sample(3000, seed=(1, 3)).numpy()).all()


def test_the_standard_normal_has_no_weights_and_comes_back_from_its_configuration():
    prior = built(4)
    assert not prior.weights
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    assert twin.distribution().event_shape == (4,)

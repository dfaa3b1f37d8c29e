"""Metrics of the latent code against the closed forms of the linear-Gaussian model."""

import numpy as np
import pytest
from linear_gaussian import PIXELS, D, exact_encoder, inverse_softplus, model_within_the_unit_interval, vae_of

import vaezoo
from vaezoo.evaluation import Encoded, estimate_nll
from vaezoo.evaluation.latent_code import active_units, aggregated_posterior, closed_form_kl, kl_per_latent
from vaezoo.models.in_batches import embed
from vaezoo.posteriors import DiagonalNormal, FullNormal

MODEL = model_within_the_unit_interval()
X = MODEL.sample(3000, seed=7)
COVARIANCE = MODEL.marginal.cov  # of x


def linear_encoder(gains, scales):
    """q(z|x) = N(A (x - b), diag(scales^2)), and A [16,D].

    The mean is the true posterior's, each latent scaled by a gain, or all mixed by a matrix of gains [D,D].
    """
    gains = np.array(gains)
    matrix = MODEL.posterior_map()[0] @ (np.diag(gains) if gains.ndim == 1 else gains)
    kernel = np.concatenate([matrix, np.zeros((PIXELS, D))], axis=1)
    bias = np.concatenate([-MODEL.offset @ matrix, inverse_softplus(np.array(scales))])
    return vae_of(MODEL, DiagonalNormal(), [kernel, bias]), matrix


def test_active_units_are_those_whose_mean_varies_by_more_than_a_hundredth():
    vae, matrix = linear_encoder([1.0, 0.09, 0.0], [0.5, 0.5, 0.5])
    variances = np.diag(matrix.T @ COVARIANCE @ matrix)
    assert variances[0] > 0.5
    assert 0.005 < variances[1] < 0.0095
    means = embed(vae, X)
    np.testing.assert_allclose(means.var(0)[:2], variances[:2], rtol=0.1)
    assert active_units(means) == 1
    assert active_units(means * [1, 1.5, 1]) == 2
    assert active_units(np.full((10, 4), 3.0)) == 0


MIXED = [[1, 0.9, 0], [0, 1, 0], [0, 0.5, 1]]


@pytest.mark.parametrize(
    ("gains", "scales"),
    [([1, 1, 1], [0.3, 0.6, 1.0]), ([2, 0.5, 0], [0.5, 0.7, 1.0]), (MIXED, [0.3, 0.4, 0.5])],
)
def test_mutual_information_and_marginal_kl_have_their_gaussian_closed_forms(gains, scales):
    # z is normal: mean 0, covariance C = A^T Cov(x) A + S^2. I = 1/2 log det C / det S^2.
    vae, matrix = linear_encoder(gains, scales)
    noise = np.square(scales)
    covariance = matrix.T @ COVARIANCE @ matrix + np.diag(noise)
    log_det = np.linalg.slogdet(covariance)[1]
    information, divergence = (log_det - np.log(noise).sum()) / 2, (np.trace(covariance) - D - log_det) / 2
    correlation = (np.log(np.diag(covariance)).sum() - log_det) / 2
    found = aggregated_posterior(vae, X)
    for values, expected in (
        (found.mutual_information, information),
        (found.marginal_kl, divergence),
        (found.total_correlation, correlation),
    ):
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected) < 4 * error + 0.02  # 0.02: 3,000 images are not all of p(x)
        assert error < 0.08
    assert information > 0.5
    assert divergence > 0.05
    assert correlation > 0.2 or gains is not MIXED
    assert not found.saturated
    total = closed_form_kl(vae, X).mean()
    np.testing.assert_allclose(found.mutual_information.mean() + found.marginal_kl.mean(), total, atol=0.3)


def test_the_true_posterior_of_all_images_together_is_the_prior():
    vae = vae_of(MODEL, FullNormal(), exact_encoder(MODEL))
    found = aggregated_posterior(vae, X)
    expected = -np.linalg.slogdet(MODEL.posterior_covariance)[1] / 2  # I(x; z) = 1/2 log det (I + W^T W / s^2)
    assert expected > 3
    assert abs(found.mutual_information.mean() - expected) < 0.2
    assert abs(found.marginal_kl.mean()) < 0.05
    assert abs(found.total_correlation.mean()) < 0.05


def test_mutual_information_never_exceeds_the_logarithm_of_the_number_of_images():
    vae, _ = linear_encoder([20, 20, 20], [1e-2, 1e-2, 1e-2])  # a code that tells any two images apart
    found = aggregated_posterior(vae, X[:40])
    assert found.bound == np.log(40)
    assert found.saturated
    np.testing.assert_allclose(found.mutual_information, np.log(40), atol=1e-3)


def test_a_collapsed_code_tells_nothing():
    vae, _ = linear_encoder([0, 0, 0], [1, 1, 1])
    found = aggregated_posterior(vae, X[:500])
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-4)
    np.testing.assert_allclose(found.marginal_kl, 0, atol=1e-4)
    np.testing.assert_allclose(found.total_correlation, 0, atol=1e-4)
    assert active_units(embed(vae, X[:500])) == 0


def test_the_kl_of_the_latents_adds_up_under_a_diagonal_posterior():
    vae, _ = linear_encoder([1, 0.5, 0], [0.3, 0.6, 1.0])
    per_latent = kl_per_latent(vae, X)
    np.testing.assert_allclose(per_latent.sum(), closed_form_kl(vae, X).mean(), rtol=1e-5)
    np.testing.assert_allclose(per_latent[2], 0, atol=1e-6)
    mean, scale = embed(vae, X)[:, 0].astype("float64"), 0.3
    np.testing.assert_allclose(per_latent[0], ((mean**2 + scale**2 - 1) / 2 - np.log(scale)).mean(), rtol=1e-4)


def test_the_kl_of_the_latents_leaves_out_the_correlations_of_a_full_posterior():
    vae = vae_of(MODEL, FullNormal(), exact_encoder(MODEL))
    variances = np.diag(MODEL.posterior_covariance)
    correlation = (np.log(variances).sum() - np.linalg.slogdet(MODEL.posterior_covariance)[1]) / 2
    assert correlation > 0.01
    np.testing.assert_allclose(closed_form_kl(vae, X).mean() - kl_per_latent(vae, X).sum(), correlation, rtol=1e-3)


def test_encoded_examples_give_what_the_examples_give():
    vae, _ = linear_encoder([1, 0.5, 0], [0.3, 0.6, 1.0])
    encoded = Encoded(vae, X)
    assert len(encoded) == len(X)
    np.testing.assert_array_equal(encoded.means(), embed(vae, X))
    np.testing.assert_array_equal(closed_form_kl(vae, encoded), closed_form_kl(vae, X))
    np.testing.assert_array_equal(kl_per_latent(vae, encoded), kl_per_latent(vae, X))
    found, expected = aggregated_posterior(vae, encoded, seed=3), aggregated_posterior(vae, X, seed=3)
    np.testing.assert_array_equal(found.mutual_information, expected.mutual_information)
    np.testing.assert_array_equal(
        estimate_nll(vae, Encoded(vae, X[:120]), 10).curve, estimate_nll(vae, X[:120], 10).curve
    )


def test_a_point_has_no_kl():
    model = vaezoo.create_model("ae", spec=(4, 4, 1))
    assert aggregated_posterior(model, X[:3]) is None
    assert closed_form_kl(model, X[:3]) is None
    assert kl_per_latent(model, X[:3]) is None

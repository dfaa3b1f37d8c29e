"""Anomaly scores against the linear-Gaussian model, whose p(x) is known; p-values and thresholds against theory."""

import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import (
    D,
    drawn_encoder,
    exact_elbo,
    exact_encoder,
    model_within_the_unit_interval,
    vae_of,
)
from scipy import stats

from vaezoo import scoring
from vaezoo.errors import VaezooError
from vaezoo.posteriors import DiagonalNormal, FullNormal, Point
from vaezoo.zoo import create_model

MODEL = model_within_the_unit_interval()


def drawn(n, seed):
    """Images of the model; of thousands a pixel or two lie beyond black or white, and are clipped."""
    return np.clip(MODEL.sample(n, seed), 0, 1)


X = MODEL.sample(300, seed=5)
EXACT = -MODEL.log_prob(X)


def near_exact():
    # Wider than the true posterior in every direction: where it is not, the weights have no finite variance.
    return vae_of(MODEL, DiagonalNormal(), drawn_encoder(DiagonalNormal(), MODEL, 0.05, seed=1, wider=1.4))


VAE = near_exact()


# The scores


@pytest.mark.slow
def test_the_evidence_is_the_exact_one_within_its_error():
    found = np.array([scoring.evidence(VAE, X, samples=500, seed=seed) for seed in range(8)])
    ratio = np.exp(EXACT - found)  # p^(x) / p(x), which is 1 on average over the seeds for each example
    # All examples share their noise, so the error of a seed is nearly the same for all: eight independent errors.
    error = ratio.mean(1).std(ddof=1) / np.sqrt(8)
    assert abs(ratio.mean() - 1) < 4 * error
    assert error < 0.03
    # For the same reason the order of the examples hardly depends on the draws.
    assert (found - EXACT).std(1).max() < 0.02 < EXACT.std() / 50


@pytest.mark.slow
def test_the_elbo_lies_above_the_evidence_and_is_the_exact_one_within_its_error():
    found = np.array([scoring.elbo(VAE, X, samples=200, seed=seed) for seed in range(8)])
    error = found.std(0, ddof=1) / np.sqrt(8)
    assert (abs(found.mean(0) + exact_elbo(VAE, X)) < 5 * error).mean() > 0.99
    assert error.max() < 0.1
    assert (found.mean(0) > EXACT).all()


def test_under_the_true_posterior_elbo_and_evidence_are_the_exact_ones():
    vae = vae_of(MODEL, FullNormal(), exact_encoder(MODEL))
    np.testing.assert_allclose(scoring.evidence(vae, X[:50], samples=7), EXACT[:50], atol=1e-4)


def test_the_reconstruction_at_the_code_is_the_density_there():
    cost, kl = scoring.parts(VAE, X, samples=0)
    code = VAE.encode(X).mean()
    np.testing.assert_allclose(cost, -VAE.decode(code).log_prob(X), rtol=1e-5)
    np.testing.assert_allclose(kl, VAE.encode(X).kl_divergence(VAE.prior_distribution()), rtol=1e-5)
    np.testing.assert_array_equal(scoring.reconstruction(VAE, X, samples=0), cost)
    np.testing.assert_array_equal(scoring.elbo(VAE, X, samples=0), cost + kl)


@pytest.fixture(scope="module", params=["full_normal", {"name": "flow", "blocks": 1, "hidden": [8], "context": 4}])
def untrained(request):
    sizes = {"name": "mlp", "hidden": [8]}
    return create_model("mlp_vae", (4, 4, 1), latent_dim=3, posterior=request.param, encoder=sizes, decoder=sizes)


@pytest.mark.parametrize("score", scoring.SCORES)
def test_a_score_is_a_function_of_the_example_alone(untrained, score):
    vae, x = untrained, np.random.default_rng(0).integers(2, size=(130, 4, 4, 1)).astype("float32")
    known = scoring.reference(vae, x)
    samples = {"evidence": 20}.get(score, 5)

    def scored(x, seed=0):
        return scoring.SCORES[score](vae, x, samples=samples, seed=seed, reference=known)

    together = scored(x)
    assert together.shape == (130,)
    assert together.dtype == np.float64
    apart = np.concatenate([scored(x[rows]) for rows in np.array_split(np.arange(130), [1, 2, 40])])
    np.testing.assert_allclose(apart, together, rtol=1e-5)
    np.testing.assert_allclose(scored(x[::-1])[::-1], together, rtol=1e-5)
    assert np.abs(scored(x, seed=1) - together).max() > 1e-3 or score == "latent"


def test_twice_the_latent_score_follows_the_chi_squared_distribution_of_normal_codes():
    vae = vae_of(MODEL, FullNormal(), exact_encoder(MODEL))
    known = scoring.reference(vae, drawn(4000, seed=1))
    found = 2 * scoring.latent(vae, drawn(1000, seed=2), reference=known)
    # The codes are linear in x, so they are normal; the scales are the same for every example, and add nothing.
    assert stats.kstest(found, stats.chi2(D).cdf).pvalue > 1e-3
    far = np.clip(drawn(50, seed=3) + 4 * MODEL.weights[:, 0].reshape(4, 4, 1), 0, 1)  # by 4 along a latent
    assert scoring.latent(vae, far, reference=known).mean() > 3 * found.mean()


def test_the_robust_score_is_the_sum_of_the_elbo_and_the_corrected_elbo_each_in_its_own_deviation():
    known = scoring.reference(VAE, X)
    elbo = scoring.elbo(VAE, X)
    corrected = elbo - scoring.complexity(X)
    wanted = elbo / elbo.std() + corrected / corrected.std()
    found = scoring.robust(VAE, X, reference=known)
    assert 0 < known.complexity_weight < 1
    assert np.corrcoef(found, wanted)[0, 1] > 1 - 1e-9


def test_the_complexity_is_that_of_the_file():
    rng = np.random.default_rng(0)
    constant, noise = np.full((1, 16, 16, 3), 0.4), rng.random((1, 16, 16, 3))
    half = np.where(np.arange(16)[:, None, None] < 8, constant, noise)
    a, b, c = (scoring.complexity(each)[0] for each in (constant, half, noise))
    assert a < b < c
    assert c > 16 * 16 * 3 * np.log(256)  # noise cannot be compressed
    assert scoring.complexity(rng.random((2, 8, 8, 1))).shape == (2,)


def test_what_a_score_needs_is_said_in_one_line():
    point = vae_of(MODEL, Point(), [w[..., :D] for w in exact_encoder(MODEL)])
    vectors = create_model("mlp_vae", (5,), likelihood="normal")
    known = scoring.reference(point, X)
    for call, said in (
        (lambda: scoring.elbo(point, X), "'elbo' needs the density of .* 'point' has none"),
        (lambda: scoring.evidence(point, X), "'evidence' needs the density"),
        (lambda: scoring.robust(point, X, reference=known), "'robust' needs the density"),
        (lambda: scoring.latent(VAE, X), "compares with training examples; give reference="),
        (lambda: scoring.robust(VAE, X), "compares with training examples; give reference="),
        (lambda: scoring.robust(vectors, np.zeros((2, 5))), "'robust' needs images"),
        (lambda: scoring.elbo(VAE, X, samples=-1), "samples= is -1"),
        (lambda: scoring.elbo(VAE, X, seed=-1), "seed -1"),
        (lambda: scoring.elbo(VAE, X[:, :2]), r"takes \[N,4,4,1\]"),
        (lambda: scoring.elbo(VAE, X * np.nan), "must be in"),
        (lambda: scoring.reference(VAE, X[:1]), "at least 2"),
    ):
        with pytest.raises(VaezooError, match=said) as error:
            call()
        assert "\n" not in str(error.value)
    # What is left for an autoencoder.
    assert scoring.default_score(point) == "reconstruction"
    assert scoring.reconstruction(point, X).shape == scoring.latent(point, X, reference=known).shape == (300,)


# p-values and thresholds


def test_p_values_of_normal_examples_are_uniform():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 20))
    p = np.array([scoring.p_values(row[:1], row[1:])[0] for row in scores])
    counts = np.bincount(np.round(p * 20).astype(int), minlength=21)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3


@pytest.mark.parametrize("ties", [False, True])
def test_an_anomaly_is_an_example_whose_p_value_is_at_most_the_rate(ties):
    rng = np.random.default_rng(1)
    calibration, scores = (rng.integers(8, size=n) if ties else rng.normal(size=n) for n in (99, 500))
    found = scoring.Calibration(calibration.astype(float))
    for fpr in (0.01, 0.02, 0.07, 0.29, 0.3, 0.5, 0.57, 0.99):
        np.testing.assert_array_equal(found.anomalies(scores, fpr), found.p_values(scores) <= fpr + 1e-9)


def test_the_false_positive_rate_of_a_model_on_normal_examples_is_the_one_asked_for():
    validation, test = (scoring.elbo(VAE, drawn(n, seed=s)) for n, s in ((1999, 11), (4000, 12)))
    found = scoring.Calibration(validation, test)
    for fpr in (0.005, 0.05, 0.3):
        rate, error = found.achieved(fpr)
        spread = np.sqrt(fpr * (1 - fpr) * (1 / 2001 + 1 / 4000))  # of the threshold, and of the test examples
        assert abs(rate - fpr) < 4 * spread
        alarms = round(4000 * rate)
        assert error == pytest.approx(stats.beta(alarms + 1, 4000 - alarms + 1).std())
    shifted = scoring.elbo(VAE, np.clip(drawn(500, seed=13) + 0.2, 0, 1))
    assert found.anomalies(shifted, 0.05).mean() > 0.9


def test_an_infinite_score_is_an_anomaly_unless_as_many_normal_examples_have_one_too():
    scores = np.array([np.inf, np.nan, -np.inf, 0.0, 98.0, 99.0, 1e308])
    for infinite in (0, 1, 5):
        known = np.arange(99.0)
        known[:infinite] = np.inf
        found = scoring.Calibration(known)
        p = found.p_values(scores)
        np.testing.assert_array_equal(p[:3], [(1 + infinite) / 100, (1 + infinite) / 100, 1])
        for fpr in (0.01, 0.03, 0.2):
            if round(100 * fpr) > infinite:
                np.testing.assert_array_equal(found.anomalies(scores, fpr), p <= fpr + 1e-9)
            else:
                with pytest.raises(VaezooError, match=f"the scores of {infinite} of the 99 held-out examples overflow"):
                    found.anomalies(scores, fpr)


@pytest.mark.parametrize("alarms", [0, 3, 200])
def test_the_error_of_a_rate_is_not_0_where_none_or_all_of_the_examples_are_alarms(alarms):
    test = np.where(np.arange(200) < alarms, 1e3, 50.0)
    rate, error = scoring.Calibration(np.arange(99.0), test).achieved(0.01)
    assert rate == alarms / 200
    assert error == pytest.approx(stats.beta(alarms + 1, 200 - alarms + 1).std())  # the posterior of a flat prior
    assert 0.004 < error < 0.01


def test_a_rate_that_cannot_be_calibrated_is_refused_with_the_number_of_examples_that_it_takes():
    calibration = scoring.Calibration(np.arange(99.0))
    assert calibration.threshold(0.01) == 98  # 99 = 1 / 0.01 - 1 are just enough
    with pytest.raises(VaezooError, match=r"fpr= is 0\.005, which needs at least 199 held-out .* are 99; give 0\.01"):
        calibration.threshold(0.005)
    with pytest.raises(VaezooError, match=r"needs at least 99 .* there are 0; train"):
        scoring.threshold(np.array([]), 0.01)
    for fpr in (0, 1, -0.1, 1.5, np.nan, np.inf):
        with pytest.raises(VaezooError, match=r"must be in \(0, 1\)"):
            calibration.threshold(fpr)


def test_an_example_that_equals_a_calibration_example_but_for_rounding_has_its_p_value():
    known = np.linspace(50, 150, 99)
    rounded = known.astype("float32") * np.float32(1 + 3e-7)
    assert (rounded > known).any()
    np.testing.assert_array_equal(scoring.p_values(rounded, known), scoring.p_values(known, known))


# Explanations


def test_a_planted_pixel_is_the_one_that_the_explanation_shows():
    train, held_out = drawn(3000, seed=1), drawn(500, seed=2)
    known, expected = scoring.reference(VAE, train), scoring.element_costs(VAE, held_out).mean(0)
    x = drawn(20, seed=3)
    x[:, 2, 1] += 0.3
    found = scoring.explain(VAE, x, reference=known, expected=expected)
    assert found.elements.shape == (20, 4, 4)
    assert (found.elements.reshape(20, -1).argmax(1) == 4 * 2 + 1).all()
    excess = scoring.reconstruction(VAE, x, samples=0) - expected.sum()
    np.testing.assert_allclose(found.elements.sum((1, 2)), excess, rtol=1e-4)
    # Of normal examples nothing is unusual: on average no element costs more, and no latent is off.
    normal = scoring.explain(VAE, drawn(2000, seed=4), reference=known, expected=expected)
    assert np.abs(normal.elements.mean(0)).max() < 0.15
    np.testing.assert_allclose(normal.latents.mean(0), 0, atol=0.12)
    np.testing.assert_allclose(normal.latents.std(0), 1, atol=0.1)


def test_a_direction_of_the_code_is_the_latent_that_the_explanation_shows():
    known = scoring.reference(VAE, drawn(3000, seed=1))
    code = np.zeros((1, D), "float32")
    code[0, 1] = 6.0
    x = np.asarray(VAE.examples(code))
    assert tf.reduce_max(x) < 1
    found = scoring.explain(VAE, x, reference=known, expected=np.zeros((4, 4), "float32"))
    assert np.abs(found.latents[0]).argmax() == np.abs(scoring.features(VAE, x)[0, :D]).argmax() == 1

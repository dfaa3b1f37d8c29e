"""The NLL by importance sampling, against models whose p(x) is known."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import drawn_encoder, exact_elbo, exact_encoder, model_within_the_unit_interval, vae_of

import vaezoo
from vaezoo.errors import VaezooError
from vaezoo.evaluation.nll import BLOCK, EXAMPLES, curve_samples, estimate_nll
from vaezoo.posteriors import DiagonalNormal, FullNormal
from vaezoo.seeds import IMPORTANCE, fold_seed

MODEL = model_within_the_unit_interval()
X = MODEL.sample(120, seed=5)  # more than one batch of EXAMPLES
EXACT = -MODEL.log_prob(X)  # NLL


def vae_near_exact(posterior=DiagonalNormal, spread=0.05):
    # Wider than the true posterior in every direction: where it is not, the weights have no finite variance.
    return vae_of(MODEL, posterior(), drawn_encoder(posterior(), MODEL, spread, seed=1, wider=1.4))


@pytest.mark.parametrize(("posterior", "spread"), [(DiagonalNormal, 0.05), (FullNormal, 0.02)])
def test_the_estimate_agrees_with_the_exact_nll_within_its_own_error(posterior, spread):
    vae = vae_near_exact(posterior, spread)
    found = [estimate_nll(vae, X, 1000, seed=seed) for seed in range(4)]
    assert list(found[0].samples) == [1, 10, 100, 1000]
    for place, samples in enumerate(found[0].samples):
        # The mean of the weights is unbiased: p^(x) / p(x) is 1 on average over images and seeds, at every K.
        ratio = np.exp([EXACT - one.curve[place] for one in found])
        error = ratio.std(ddof=1) / np.sqrt(ratio.size)
        assert abs(ratio.mean() - 1) < 4 * error, samples
        assert error < 0.06 / np.sqrt(samples), samples  # seen: 0.034 to 0.039 / sqrt(K)
    # Its own error for each image, by the delta method: Var log p^(x) = 1 / effective samples - 1 / K.
    for one in found:
        deviations = (one.nll - EXACT) / np.sqrt(1 / one.effective_samples - 1 / 1000)
        assert 0.8 < deviations.std() < 1.3  # seen: 0.92 to 1.1


def test_the_estimate_falls_with_the_samples_from_minus_the_elbo_to_the_nll():
    vae = vae_near_exact(spread=0.1)
    found = [estimate_nll(vae, X, 1000, seed=seed) for seed in range(4)]
    minus_elbo, *curve = np.mean([[-one.elbo, *one.curve] for one in found], axis=(0, 2)) - EXACT.mean()
    assert abs(minus_elbo - (-exact_elbo(vae, X) - EXACT).mean()) < 0.02
    assert abs(curve[0] - minus_elbo) < 0.15  # a single sample estimates the ELBO; its error is the larger one
    assert minus_elbo > curve[1] + 0.2
    assert curve[0] > curve[1] > curve[2] > curve[3] > -0.01
    for one in found:  # by the same draws it holds image by image: Jensen's inequality
        assert (-one.elbo >= one.nll).all()
        assert ((one.effective_samples >= 1 - 1e-9) & (one.effective_samples <= 1000 + 1e-6)).all()


def test_under_the_true_posterior_one_sample_is_exact_and_all_weigh_the_same():
    vae = vae_of(MODEL, FullNormal(), exact_encoder(MODEL))
    found = estimate_nll(vae, X, 100)
    np.testing.assert_allclose(found.curve, np.tile(EXACT, (3, 1)), atol=5e-5)
    np.testing.assert_allclose(found.effective_samples, 100, rtol=1e-6)


def test_the_stream_of_chunks_gives_what_one_sum_over_all_samples_gives():
    vae = vae_near_exact()
    label = None
    expected = []
    for number, rows in enumerate((np.arange(EXAMPLES), np.resize(np.arange(EXAMPLES, 120), EXAMPLES))):
        x, seed = X[rows], fold_seed(3, IMPORTANCE, number)
        q, prior = vae.encode(x, label), vae.prior_distribution()
        z = tf.concat([q.sample(BLOCK, tf.random.experimental.stateless_fold_in(seed, b)) for b in range(3)], 0)[:250]
        weights = np.asarray(vae.decode(z).log_prob(x) + prior.log_prob(z) - q.log_prob(z), "float64")  # [250,B]
        expected.append(-np.log(np.mean(np.exp(weights - weights.max(0)), 0)) - weights.max(0))
    for at_once in (1, 20, 100, None):
        found = estimate_nll(vae, X, 250, seed=3, samples_at_once=at_once)
        np.testing.assert_allclose(found.nll, np.concatenate(expected)[:120], atol=2e-5)


@pytest.mark.parametrize("at_once", [0, -10, 30, 200])
def test_chunks_that_do_not_divide_a_block_are_refused(at_once):
    with pytest.raises(VaezooError, match=rf"samples_at_once= is {at_once}; it must divide 100"):
        estimate_nll(vae_near_exact(), X, 10, samples_at_once=at_once)


def test_more_samples_begin_with_those_of_fewer_and_the_first_images_do_not_change():
    vae = vae_near_exact()
    long, short = estimate_nll(vae, X, 230), estimate_nll(vae, X[:110], 10)
    np.testing.assert_allclose(long.curve[:2, :110], short.curve, atol=1e-5)
    assert np.abs(estimate_nll(vae, X[:110], 10, seed=1).curve - short.curve).max() > 1e-3


def test_the_curve_has_the_powers_of_ten_and_k():
    assert list(curve_samples(1)) == [1]
    assert list(curve_samples(1000)) == [1, 10, 100, 1000]
    assert list(curve_samples(5000)) == [1, 10, 100, 1000, 5000]


def test_a_conditional_model_weighs_each_image_by_its_own_label():
    keras.utils.set_random_seed(0)
    wide = {"name": "normal", "scale": 1.0}  # tens of nats an image, of which float32 holds every thousandth
    vae = vaezoo.create_model("mlp_vae", spec=(4, 4, 1), classes=3, conditional=True, likelihood=wide)
    labels = np.arange(120) % 3
    vae.decoder.set_weights([3 * weights for weights in vae.decoder.get_weights()])  # so that the label matters
    found = estimate_nll(vae, X, 10, labels)
    wrong = estimate_nll(vae, X, 10, (labels + 1) % 3)
    assert np.abs(found.nll - wrong.nll).min() > 1e-4
    x = tf.constant(X[:EXAMPLES])
    q = vae.encode(x, labels[:EXAMPLES])
    seed = tf.random.experimental.stateless_fold_in(fold_seed(0, IMPORTANCE, 0), 0)
    z = q.sample(BLOCK, seed)[:10]
    weights = vae.decode(z, labels[:EXAMPLES]).log_prob(x) + vae.prior_distribution().log_prob(z) - q.log_prob(z)
    expected = np.log(10) - tf.reduce_logsumexp(weights, 0)
    np.testing.assert_allclose(found.nll[:EXAMPLES], expected, atol=1e-3)


def test_what_cannot_be_estimated_is_refused():
    vae = vae_near_exact()
    with pytest.raises(vaezoo.VaezooError, match="at least 1"):
        estimate_nll(vae, X, 0)
    with pytest.raises(vaezoo.VaezooError, match="no images"):
        estimate_nll(vae, X[:0], 10)
    with pytest.raises(vaezoo.VaezooError, match="no density"):
        estimate_nll(vaezoo.create_model("ae", spec=(4, 4, 1)), X, 10)


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_samples():
    script = """
import resource, numpy as np, vaezoo
from vaezoo.evaluation import estimate_nll
vae = vaezoo.create_model("mlp_vae", spec=(8, 8, 1))
x = np.zeros((50, 8, 8, 1), "float32")
peaks = []
for samples in (1_000, 20_000):
    estimate_nll(vae, x, samples)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 60  # MB; the codes of 20,000 samples alone would take 80

"""The mixture of logistics against SciPy in float64, and as a distribution over all levels of a pixel."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from vaezoo.distributions import SMALLEST_LEVEL_SCALE
from vaezoo.likelihoods import DiscretizedLogistic, LogisticMixture
from vaezoo.spec import Spec

LEVELS = np.arange(256) / 255.0


def unpacked(params, components, channels):
    """Params [...,P] → weights [...,K]; loc, scale [...,K,C]; coefficients [...,K,C,C], in float64."""
    k, c = components, channels
    params = np.asarray(params, "float64")
    logits, loc, raw, a = np.split(params, np.cumsum([k, k * c, k * c]), axis=-1)
    loc, raw = (part.reshape(*params.shape[:-1], k, c) for part in (loc, raw))
    loc = loc + np.arange(1, k + 1)[:, None] / (k + 1)
    square = np.zeros((*params.shape[:-1], k, c, c))
    square[(..., *np.tril_indices(c, -1))] = np.tanh(a).reshape(*params.shape[:-1], k, c * (c - 1) // 2)
    return special.softmax(logits, axis=-1), loc, np.logaddexp(0, raw - 2) + SMALLEST_LEVEL_SCALE, square


def log_prob_of_scipy(params, x, components):
    """Pixel by pixel and component by component, as the paper's equations 1 to 3 read."""
    channels = x.shape[-1]
    weights, loc, scale, a = unpacked(params, components, channels)
    each = np.log(weights)
    for c in range(channels):
        m = loc[..., c] + sum(a[..., c, b] * (x[..., None, b] - loc[..., b]) for b in range(c))
        law = stats.logistic(m, scale[..., c])
        value = x[..., None, c]
        above, below = np.where(value >= 1, np.inf, value + 0.5 / 255), np.where(value <= 0, -np.inf, value - 0.5 / 255)
        # the difference of the smaller tails, so that no digits are lost
        each = each + np.log(np.where(value > m, law.sf(below) - law.sf(above), law.cdf(above) - law.cdf(below)))
    return special.logsumexp(each, axis=-1)


def params_of(components, channels, leading, seed=0):
    shape = LogisticMixture(components=components).params_shape(Spec("image", (1, 1, channels)))
    return np.random.default_rng(seed).normal(0, 1, (*leading, shape[-1])).astype("float32")


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(("components", "channels"), [(1, 1), (3, 1), (1, 3), (4, 3), (2, 4)])
def test_log_prob_is_scipys(components, channels, jit_compile):
    spec, likelihood = Spec("image", (4, 5, channels)), LogisticMixture(components=components)
    params = params_of(components, channels, (2, 3, 4, 5))  # [K,B,H,W,P]
    assert params.shape[2:] == likelihood.params_shape(spec)
    x = np.random.default_rng(1).integers(0, 256, (3, 4, 5, channels)) / 255.0
    x[0, 0, 0], x[0, 0, 1] = 0, 1
    log_prob = tf.function(lambda x: likelihood.distribution(params, spec).log_prob(x), jit_compile=jit_compile)
    found = log_prob(x.astype("float32"))
    expected = log_prob_of_scipy(params, np.broadcast_to(x, (2, *x.shape)), components).sum((-2, -1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_component_of_a_grey_pixel_is_the_discretized_logistic():
    spec = Spec("image", (4, 5, 1))
    params = params_of(1, 1, (3, 4, 5))
    x = (np.random.default_rng(1).integers(0, 256, (3, 4, 5, 1)) / 255.0).astype("float32")
    own, other = LogisticMixture(components=1), DiscretizedLogistic()
    np.testing.assert_allclose(
        own.distribution(params, spec).log_prob(x), other.distribution(params[..., 1:], spec).log_prob(x), rtol=1e-5
    )
    np.testing.assert_allclose(own.mean(params, spec), other.mean(params[..., 1:], spec), atol=1e-6)


@pytest.mark.parametrize(("components", "channels"), [(3, 1), (2, 2)])
def test_the_levels_of_a_pixel_hold_all_of_the_mass(components, channels):
    every = np.array(list(itertools.product(LEVELS, repeat=channels)), "float32")  # [256^C,C]
    spec = Spec("image", (1, 1, channels))
    law = LogisticMixture(components=components).distribution(params_of(components, channels, (1, 1, 1)), spec)
    log_prob = np.asarray(law.log_prob(every[:, None, None, :]), "float64")
    assert special.logsumexp(log_prob) == pytest.approx(0, abs=2e-4)


def test_samples_and_the_mean_follow_the_distribution():
    spec, likelihood = Spec("image", (1, 2, 3)), LogisticMixture(components=2)
    params = params_of(2, 3, (1, 2), seed=4) * 0.5
    params[..., 2:8] *= 0.2  # in the middle and narrow: little mass lies beyond the levels, and the mean is exact
    params[..., 8:14] -= 2.0
    law = likelihood.distribution(params, spec)
    draws = law.sample(20_000, seed=(1, 2)).numpy().astype("float64")  # [n,1,2,3]
    np.testing.assert_allclose(draws * 255, np.round(draws * 255), atol=1e-3)
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - likelihood.mean(params, spec)) < 4 * error + 2e-3).all()
    levels = np.round(draws[:, 0, 0] * 255).astype(int)
    first = np.bincount(levels[:, 0], minlength=256) / len(draws)
    weights, loc, scale, _ = unpacked(params[0, 0], 2, 3)
    mass = sum(
        w * np.diff([0, *stats.logistic(m, s).cdf((np.arange(255) + 0.5) / 255), 1])
        for w, m, s in zip(weights, loc[:, 0], scale[:, 0], strict=True)
    )
    assert np.abs(np.cumsum(first) - np.cumsum(mass)).max() < 1.95 / np.sqrt(len(draws))  # Kolmogorov-Smirnov


def test_channels_are_coupled_by_the_coefficients():
    spec, likelihood = Spec("image", (1, 1, 3)), LogisticMixture(components=1)
    params = np.zeros((1, 1, 10), "float32")
    params[..., 4:7] = -1.0
    params[..., 7:] = [3.0, 0.0, -3.0]  # green follows red, blue goes against green
    draws = likelihood.distribution(params, spec).sample(5000, seed=(1, 2)).numpy().reshape(-1, 3)
    correlation = np.corrcoef(draws.T)
    assert correlation[0, 1] > 0.6
    assert correlation[1, 2] < -0.6


@pytest.mark.parametrize("extreme", [-1e4, -100.0, 100.0, 1e4])
def test_log_prob_and_gradient_are_finite_under_extreme_parameters(extreme):
    spec, likelihood = Spec("image", (1, 3, 3)), LogisticMixture(components=2)
    params = params_of(2, 3, (20, 1, 3))
    params[np.arange(20), 0, 0, np.arange(20)] = extreme
    x = tf.constant([[[[0.0] * 3, [1.0] * 3, [128 / 255] * 3]]])
    params = tf.constant(params)
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = likelihood.distribution(params, spec).log_prob(x)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()
    mean = np.asarray(likelihood.mean(params, spec))
    assert ((mean >= 0) & (mean <= 1)).all()

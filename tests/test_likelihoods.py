"""Likelihoods against SciPy: log-probabilities, means, samples, and what each of them refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from vaezoo import part_schema
from vaezoo.distributions import SMALLEST_LEVEL_SCALE, LogisticGreyLevels
from vaezoo.errors import VaezooError
from vaezoo.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Normal,
)
from vaezoo.registry import LIKELIHOODS
from vaezoo.spec import Spec

IMAGE, COLOUR = Spec("image", (4, 5, 1)), Spec("image", (4, 5, 3))
TOKENS = Spec("sequence", (6,), levels=7)
LEVELS = np.arange(256) / 255.0
EXTREMES = (-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_the_bernoulli_sums_a_whole_image_without_losing_digits(jit_compile):
    rng = np.random.default_rng(0)
    logits, x = rng.normal(-2, 6, (3, 5, 28, 28, 1)).astype("float32"), rng.integers(2, size=(5, 28, 28, 1))
    log_prob = tf.function(lambda x: Bernoulli().distribution(logits, IMAGE).log_prob(x), jit_compile=jit_compile)
    exact = bernoulli_log_prob_of_any_logits(x, logits.astype("float64")).sum((-3, -2, -1))  # about -1,500 nats
    np.testing.assert_allclose(log_prob(x.astype("float32")), exact, atol=5e-4)


def softplus(x):
    return np.logaddexp(0.0, np.asarray(x, np.float64))


def bernoulli_log_prob(x, logits):
    return stats.bernoulli.logpmf(x, special.expit(logits))


def bernoulli_log_prob_of_any_logits(x, logits):
    """The same where the probability rounds to zero or one."""
    return np.where(x == 1, special.log_expit(logits), special.log_expit(-logits))


def continuous_bernoulli_log_prob(x, logits):
    """The density is proportional to exp(logits x) on [0, 1]: an exponential, truncated, mirrored for logits > 0."""
    rate = np.maximum(np.abs(logits), 1e-9)  # at zero it is uniform
    return stats.truncexpon.logpdf(np.where(logits > 0, 1 - x, x) * rate, b=rate) + np.log(rate)


def continuous_bernoulli_mean(logits):
    """float64 loses six digits to cancellation below 1e-3; there the slope is the uniform's variance, 1/12."""
    rate = np.abs(logits)
    safe = np.maximum(rate, 1e-3)
    mirrored = np.where(rate < 1e-3, 0.5 - rate / 12, 1 / safe - np.exp(-safe) / -np.expm1(-safe))
    return np.where(logits > 0, 1 - mirrored, mirrored)


def grey_level_log_prob(x, loc, scale):
    """log of a difference of the logistic's cdf (below its location) or of its survival function (above it)."""
    level = np.round(x * 255)
    lower = np.where(level == 0, -np.inf, (level - 0.5) / 255)
    upper = np.where(level == 255, np.inf, (level + 0.5) / 255)
    # Mirrored where the level lies above the location, so that the difference is always of small numbers.
    mirror = level / 255 > loc
    lower, upper = np.where(mirror, loc - upper, lower - loc), np.where(mirror, loc - lower, upper - loc)
    smaller, larger = stats.logistic.logcdf(lower / scale), stats.logistic.logcdf(upper / scale)
    return larger + np.log(-np.expm1(smaller - larger))


def logistic_parameters(params):
    """What the docstring says of params [...,2C]: locations around 0.5, then raw scales."""
    loc, raw = np.split(np.asarray(params, np.float64), 2, axis=-1)
    return loc + 0.5, softplus(raw - 2.0) + SMALLEST_LEVEL_SCALE


def drawn(shape, spread, seed=0):
    return np.random.default_rng(seed).normal(0.0, spread, shape).astype("float32")


def images_for(likelihood, shape, seed=1):
    uniform = np.random.default_rng(seed).uniform(size=shape)
    if isinstance(likelihood, Bernoulli):
        return np.round(uniform).astype("float32")
    x = np.round(uniform * 255) / 255
    x.flat[:2] = 0.0, 1.0  # the edges are always there
    return x.astype("float32")


def built(likelihood, spec=IMAGE):
    if not likelihood.built:
        likelihood.build((None, *likelihood.params_shape(spec)))
    return likelihood


CASES = {
    "bernoulli": (Bernoulli, bernoulli_log_prob),
    "continuous_bernoulli": (ContinuousBernoulli, continuous_bernoulli_log_prob),
    "normal": (lambda: Normal(scale=0.2), lambda x, loc: stats.norm.logpdf(x, loc, 0.2)),
    "learned_normal": (lambda: Normal(scale=0.3, learned=True), lambda x, loc: stats.norm.logpdf(x, loc, 0.3)),
    "discretized_logistic": (
        DiscretizedLogistic,
        lambda x, params: grey_level_log_prob(x, *logistic_parameters(params)),
    ),
}
every_likelihood = pytest.mark.parametrize(("make", "reference"), CASES.values(), ids=CASES)


# Log-probabilities


@every_likelihood
@pytest.mark.parametrize("channels", [1, 3])
def test_log_prob_is_scipys_summed_over_the_image_for_every_sample(make, reference, channels):
    spec = Spec("image", (4, 5, channels))
    likelihood = built(make(), spec)
    x = images_for(likelihood, (3, *spec.shape))  # [B,H,W,C]
    assert likelihood.params_shape(spec) == (4, 5, channels * likelihood.params_per_element)
    params = drawn((2, 3, *likelihood.params_shape(spec)), 1.5)  # [K,B,H,W,PC]
    distribution = likelihood.distribution(params, spec)
    assert distribution.batch_shape == (2, 3)
    assert distribution.event_shape == spec.shape
    log_prob = distribution.log_prob(x)
    assert log_prob.dtype == tf.float32
    expected = reference(x.astype("float64"), params.astype("float64")).sum((-3, -2, -1))  # [K,B]
    np.testing.assert_allclose(log_prob, expected, rtol=5e-7, atol=5e-6)


@pytest.mark.parametrize(
    ("make", "reference", "levels", "tolerance"),
    [
        (Bernoulli, bernoulli_log_prob_of_any_logits, (0.0, 1.0), 1e-6),
        (ContinuousBernoulli, continuous_bernoulli_log_prob, (0.0, 0.25, 1.0), 1e-6),
        (Normal, lambda x, loc: stats.norm.logpdf(x, loc, 0.1), (0.0, 0.25, 1.0), 1e-6),
    ],
)
def test_log_prob_is_scipys_at_extreme_and_tiny_parameters(make, reference, levels, tolerance):
    magnitudes = np.array([0, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1, 3, 10, 15, 17, 30, 88, 90, 104, 1e3, 1e4], "float32")
    logits, x = np.meshgrid(np.concatenate([magnitudes, -magnitudes]), np.array(levels, "float32"))
    log_prob = make().distribution(logits.reshape(-1, 1, 1, 1), IMAGE).log_prob(x.reshape(-1, 1, 1, 1))
    expected = reference(x.astype("float64"), logits.astype("float64")).ravel()
    # The two terms of float32 that are added grow with the logits; only their own rounding may show.
    np.testing.assert_allclose(log_prob, expected, rtol=tolerance, atol=2e-6)


def test_every_grey_level_has_the_mass_of_its_piece_of_the_logistic():
    loc, scale, x = np.meshgrid(
        np.array([-30.0, -1.0, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 30.0], "float32"),
        np.array([1e-3, 4e-3, 0.03, 0.1, 0.5, 5.0, 100.0], "float32"),
        LEVELS.astype("float32"),
    )
    log_prob = LogisticGreyLevels(loc, scale).log_prob(x).numpy()
    expected = grey_level_log_prob(x.astype("float64"), loc.astype("float64"), scale.astype("float64"))
    # An edge of a level is rounded to 6e-8 (or of the location's size), and then divided by the scale.
    rounding = 1.2e-7 * np.maximum(np.abs(loc), 1.0) / scale
    assert np.all(np.abs(log_prob - expected) <= 0.5 * rounding + 1e-6 * np.abs(expected) + 1e-6)


@pytest.mark.parametrize("scale", [1e-3, 2e-3, 0.01, 0.1, 1.0, 30.0, 1000.0])
def test_the_256_grey_levels_hold_all_of_the_mass(scale):
    loc = np.concatenate([np.linspace(-0.2, 1.2, 41), [-100.0, 100.0]]).astype("float32")
    log_prob = LogisticGreyLevels(loc[:, None], np.float32(scale)).log_prob(LEVELS.astype("float32"))  # [43,256]
    total = special.logsumexp(log_prob.numpy().astype("float64"), axis=1)
    np.testing.assert_allclose(total, 0.0, atol=2e-6)  # seen: 3e-7


def test_zero_parameters_of_the_discretized_logistic_are_a_wide_mid_grey():
    distribution = DiscretizedLogistic().distribution(np.zeros((1, 1, 1, 2), "float32"), IMAGE)
    x = LEVELS.astype("float32").reshape(-1, 1, 1, 1)
    expected = grey_level_log_prob(LEVELS, 0.5, np.log1p(np.exp(-2.0)) + 1e-3)
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-5)


@every_likelihood
def test_log_prob_and_gradient_are_finite_at_the_edges_under_extreme_parameters(make, reference):
    likelihood = built(make())
    axes = [np.array(EXTREMES, "float32")] * likelihood.params_per_element + [np.array([0.0, 1.0], "float32")]
    *params, x = (axis.reshape(-1, 1, 1, 1) for axis in np.meshgrid(*axes))
    params = tf.constant(np.concatenate(params, axis=-1))
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = likelihood.distribution(params, IMAGE).log_prob(x)
    gradient = tape.gradient(log_prob, [params, *likelihood.trainable_variables])
    assert np.isfinite(log_prob).all()
    assert all(np.isfinite(g).all() for g in gradient)


@every_likelihood
def test_the_gradient_in_the_parameters_is_that_of_scipys_log_prob(make, reference):
    likelihood = built(make())
    x = images_for(likelihood, (6, 4, 5, 1))
    params = tf.constant(drawn((6, 4, 5, likelihood.params_per_element), 1.0))
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = likelihood.distribution(params, IMAGE).log_prob(x)
    gradient = tape.gradient(log_prob, params).numpy()
    for p in range(likelihood.params_per_element):
        step = np.zeros(likelihood.params_per_element)
        step[p] = 1e-5
        above, below = (reference(x.astype("float64"), params.numpy().astype("float64") + s) for s in (step, -step))
        np.testing.assert_allclose(gradient[..., p], ((above - below) / 2e-5)[..., 0], rtol=2e-4, atol=2e-4)


# The learned scale


@pytest.mark.parametrize("scale", [0.001, 0.002, 0.05, 1.0, 30.0, 1000.0])
def test_a_learned_scale_starts_where_it_is_told_to(scale):
    likelihood = built(Normal(scale=scale, learned=True))
    assert len(likelihood.trainable_variables) == 1
    np.testing.assert_allclose(
        likelihood.distribution(tf.zeros([1, 1, 1, 1]), IMAGE).stddev(), scale, rtol=2e-3 if scale == 0.001 else 1e-5
    )


def test_a_fixed_scale_is_no_weight():
    assert not built(Normal(scale=0.2)).weights


def test_a_learned_scale_never_falls_below_the_floor():
    likelihood = built(Normal(scale=0.1, learned=True))
    likelihood.raw_scale.assign(-1e4)
    log_prob = likelihood.distribution(tf.zeros([1, 1, 1, 1]), IMAGE).log_prob(np.full((1, 1, 1, 1), 0.01, "float32"))
    np.testing.assert_allclose(log_prob, stats.norm.logpdf(0.01, 0, 1e-3), rtol=1e-5)


def test_the_gradient_in_the_learned_scale_is_the_closed_one():
    likelihood = built(Normal(scale=0.1, learned=True))
    x, loc = images_for(likelihood, (3, 4, 5, 1)), drawn((3, 4, 5, 1), 0.3)
    with tf.GradientTape() as tape:
        log_prob = tf.reduce_sum(likelihood.distribution(loc, IMAGE).log_prob(x))
    squared = ((x - loc).astype("float64") ** 2).sum()
    # d/ds of -n log s - squared / (2 s^2), times ds/draw = sigmoid(raw)
    slope = (-x.size / 0.1 + squared / 0.1**3) * special.expit(float(likelihood.raw_scale.numpy()))
    np.testing.assert_allclose(tape.gradient(log_prob, likelihood.raw_scale.value), slope, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, -1.0, 0.0009])
def test_a_scale_below_the_floor_is_refused(scale):
    with pytest.raises(VaezooError, match=r"'scale' should be greater than or equal to 0\.001, not "):
        Normal(scale=scale)


# Samples


@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.1), (0.02, 0.01), (0.97, 0.05), (0.3, 0.002), (1.4, 0.3)])
def test_grey_level_samples_come_as_often_as_their_probability(loc, scale):
    n = 50_000
    samples = LogisticGreyLevels(loc, scale).sample(n, seed=(3, 4)).numpy()
    levels = np.round(samples * 255).astype(int)
    np.testing.assert_allclose(samples, levels / 255, atol=1e-7)
    counts = np.bincount(levels, minlength=256)
    expected = n * np.exp(grey_level_log_prob(LEVELS, loc, scale))
    rare = expected < 8  # the chi-squared law needs filled bins
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-3


@every_likelihood
def test_samples_have_the_shape_and_the_mean_of_the_distribution(make, reference):
    spec = Spec("image", (2, 4, 2))
    likelihood = built(make(), spec)
    params = drawn((3, *likelihood.params_shape(spec)), 0.3)
    samples = likelihood.distribution(params, spec).sample(4000, seed=(1, 2)).numpy()
    assert samples.shape == (4000, 3, 2, 4, 2)
    if isinstance(likelihood, Normal):
        mean = params  # `mean` is this, clipped
    else:
        mean = likelihood.mean(params, spec).numpy()
        assert samples.min() >= 0
        assert samples.max() <= 1
    # 48 means, each within 4.5 standard errors of what they estimate: 3e-4 to fail by chance, with a fixed seed
    errors = (samples.mean(0) - mean) / (samples.std(0) / np.sqrt(len(samples)))
    assert np.abs(errors).max() < 4.5


# The image to show


def test_the_image_of_a_bernoulli_is_the_probability_of_a_one():
    logits = np.array([*EXTREMES, 1e-3, 5.0], "float32").reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(Bernoulli().mean(logits, IMAGE), stats.bernoulli.mean(special.expit(logits)), rtol=1e-6)


def test_the_image_of_a_continuous_bernoulli_is_its_mean():
    magnitudes = np.concatenate([[0.0], np.geomspace(1e-6, 1e5, 2000), np.linspace(0.09, 0.11, 200)])
    logits = np.concatenate([magnitudes, -magnitudes]).astype("float32").reshape(-1, 1, 1, 1)
    image = ContinuousBernoulli().mean(logits, IMAGE).numpy()
    # seen: 1e-5, the cancellation of 10 - 9.5 just above the series; a grey level is 4e-3
    np.testing.assert_allclose(image, continuous_bernoulli_mean(logits.astype("float64")), atol=2e-5)
    series = np.abs(logits) < 0.099  # no cancellation here, and the next term of the series is 3e-10
    np.testing.assert_allclose(image[series], continuous_bernoulli_mean(logits[series].astype("float64")), atol=2e-7)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize("logit", [-30.0, -2.0, -0.2, 0.2, 2.0, 30.0])
def test_the_reference_mean_of_the_continuous_bernoulli_is_scipys(logit):
    mean = stats.truncexpon.mean(b=abs(logit), scale=1 / abs(logit))
    np.testing.assert_allclose(continuous_bernoulli_mean(logit), 1 - mean if logit > 0 else mean, rtol=1e-10)


def test_the_image_of_a_normal_is_its_location_clipped():
    loc = np.array([-1e4, -0.1, 0.0, 0.3, 1.0, 1.2, 1e4], "float32").reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(Normal().mean(loc, IMAGE).numpy().ravel(), np.float32([0, 0, 0, 0.3, 1, 1, 1]))


@pytest.mark.parametrize(
    ("smallest", "largest", "tolerance"),
    [
        # The 256 levels are the midpoint rule of the integral; it is off by the most where the mass sits on one or two.
        (SMALLEST_LEVEL_SCALE, 1 / 255, 1.5e-4),  # seen: 8e-5, a fiftieth of a level
        (1 / 255, 1.0, 5e-5),
        (1.0, 30.0, 2e-5),  # float32: a difference of softplus, times the scale
    ],
)
def test_the_image_of_a_discretized_logistic_is_the_mean_of_its_256_levels(smallest, largest, tolerance):
    loc, scale = np.meshgrid(np.linspace(-0.5, 1.5, 203), np.geomspace(smallest * 1.01, largest, 12))
    raw = np.log(np.expm1(scale - SMALLEST_LEVEL_SCALE)) + 2.0
    params = np.stack([loc - 0.5, raw], axis=-1).astype("float32").reshape(-1, 1, 1, 2)
    image = DiscretizedLogistic().mean(params, IMAGE).numpy()[:, 0, 0, 0]
    loc, scale = logistic_parameters(params)
    mean = (LEVELS * np.exp(grey_level_log_prob(LEVELS, loc, scale))).sum(-1)[:, 0, 0]
    np.testing.assert_allclose(image, mean, atol=tolerance)


@every_likelihood
def test_the_image_lies_within_black_and_white_under_extreme_parameters(make, reference):
    likelihood = built(make())
    axes = np.meshgrid(*[np.array([*EXTREMES, -1e-3, 1e-3], "float32")] * likelihood.params_per_element)
    params = np.stack(axes, axis=-1).reshape(-1, 1, 1, likelihood.params_per_element)
    image = likelihood.mean(params, IMAGE).numpy()
    assert image.shape[-1] == 1
    assert image.dtype == np.float32
    assert (image >= 0).all()
    assert (image <= 1).all()


def test_locations_come_first_and_raw_scales_last_among_the_channels():
    likelihood = DiscretizedLogistic()
    colour = np.array([0.1, 0.5, 0.8])
    params = np.concatenate([colour - 0.5, [-50.0, 0.0, 2.0]]).astype("float32").reshape(1, 1, 1, 6)
    np.testing.assert_allclose(likelihood.mean(params, COLOUR).numpy()[0, 0, 0, :2], [0.1, 0.5], atol=1e-5)
    log_prob = likelihood.distribution(params, COLOUR).distribution.log_prob(np.float32([0.2, 0.2, 0.2]))[0, 0, 0]
    scale = softplus(np.array([-52.0, -2.0, 0.0])) + SMALLEST_LEVEL_SCALE
    np.testing.assert_allclose(log_prob, grey_level_log_prob(np.full(3, 0.2), colour, scale), rtol=1e-4)


# What is refused


@pytest.mark.parametrize("make", [Bernoulli, ContinuousBernoulli, Normal, DiscretizedLogistic])
def test_binary_images_and_no_images_are_fit_for_every_likelihood(make):
    make().check(np.array([0.0, 1.0, 1.0, 0.0], "float32").reshape(1, 2, 2, 1), IMAGE)
    make().check(np.zeros((0, 2, 2, 1), "float32"), IMAGE)


@pytest.mark.parametrize("make", [ContinuousBernoulli, Normal, DiscretizedLogistic])
def test_all_256_grey_levels_are_fit_for_the_likelihoods_of_grey_images(make):
    make().check((np.arange(256, dtype="float32") / 255).reshape(1, 16, 16, 1), IMAGE)


@pytest.mark.parametrize("make", [ContinuousBernoulli, Normal])
def test_values_between_the_levels_are_fit_for_the_continuous_likelihoods(make):
    make().check(np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype("float32"), COLOUR)


@pytest.mark.parametrize(
    ("make", "value", "name"),
    [(Bernoulli, 128 / 255, "bernoulli"), (DiscretizedLogistic, 127.5 / 255, "discretized_logistic")],
)
def test_one_unfit_pixel_is_refused_with_one_line_that_names_the_likelihood(make, value, name):
    images = np.zeros((3, 4, 4, 1), "float32")
    images[1, 2, 3, 0] = value
    with pytest.raises(VaezooError, match=f"'{name}'.*--set ") as error:
        make().check(images, IMAGE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [Bernoulli, ContinuousBernoulli, Normal, DiscretizedLogistic])
@pytest.mark.parametrize("value", [255.0, -1.0, np.nan])
def test_values_outside_black_and_white_are_refused(make, value):
    images = np.zeros((1, 2, 2, 1), "float32")
    images[0, 1, 1, 0] = value
    with pytest.raises(VaezooError, match=r"must lie in \[0, 1\].*divide") as error:
        make().check(images, IMAGE)
    assert "\n" not in str(error.value)


@every_likelihood
def test_a_likelihood_comes_back_from_its_configuration(make, reference):
    likelihood = built(make())
    twin = built(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(likelihood)))
    assert len(twin.weights) == len(likelihood.weights)
    x = images_for(likelihood, (2, 4, 5, 1))
    params = drawn((2, 4, 5, likelihood.params_per_element), 1.0)
    log_prob, expected = (each.distribution(params, IMAGE).log_prob(x) for each in (twin, likelihood))
    np.testing.assert_array_equal(log_prob, expected)


# Vectors and sequences


VECTORS = {name: case for name, case in CASES.items() if "vector" in case[0]().section.examples}


@pytest.mark.parametrize(("make", "reference"), VECTORS.values(), ids=VECTORS)
def test_log_prob_of_vectors_is_scipys_summed_over_their_numbers(make, reference):
    spec = Spec("vector", (9,))
    likelihood = built(make(), spec)
    assert likelihood.params_shape(spec) == (9,)
    x, params = images_for(likelihood, (3, 9)), drawn((2, 3, 9), 1.5)
    distribution = likelihood.distribution(params, spec)
    assert (distribution.batch_shape, distribution.event_shape) == ((2, 3), (9,))
    log_prob = distribution.log_prob(x)
    assert log_prob.dtype == tf.float32
    expected = reference(x.astype("float64"), params.astype("float64")).sum(-1)
    np.testing.assert_allclose(log_prob, expected, rtol=5e-7, atol=5e-6)


def test_every_likelihood_but_that_of_grey_levels_is_for_vectors():
    assert set(CASES) - set(VECTORS) == {"discretized_logistic"}


def test_the_mean_of_normal_vectors_is_their_location_wherever_it_lies():
    loc = np.array([[-1e4, -0.1, 0.3, 1.2, 1e4]], "float32")
    spec = Spec("vector", (5,))
    for show in (Normal().mean, Normal().example):
        np.testing.assert_array_equal(show(loc, spec), loc)


def test_the_means_of_the_bernoullis_are_the_same_for_vectors_as_for_images():
    logits = drawn((3, 20), 2.0)
    for likelihood in (Bernoulli(), ContinuousBernoulli()):
        image = likelihood.mean(logits.reshape(3, 4, 5, 1), IMAGE)
        np.testing.assert_array_equal(likelihood.mean(logits, Spec("vector", (20,))), np.reshape(image, (3, 20)))


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_log_prob_of_tokens_is_the_log_softmax_at_each_summed_over_the_sequence(spread):
    x = np.random.default_rng(1).integers(7, size=(3, 6)).astype("int32")  # [B,T]
    logits = drawn((2, 3, 6, 7), spread)  # [K,B,T,V]
    likelihood = built(Categorical(), TOKENS)
    assert likelihood.params_shape(TOKENS) == (6, 7)
    distribution = likelihood.distribution(logits, TOKENS)
    assert (distribution.batch_shape, distribution.event_shape) == ((2, 3), (6,))
    log_prob = distribution.log_prob(x)
    assert log_prob.dtype == tf.float32
    each = np.take_along_axis(special.log_softmax(logits.astype("float64"), axis=-1), x[None, ..., None], axis=-1)
    np.testing.assert_allclose(log_prob, each[..., 0].sum(-1), rtol=1e-6, atol=1e-5)


def test_the_probabilities_of_all_sequences_sum_to_one():
    spec = Spec("sequence", (3,), levels=4)
    every = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3).astype("int32")  # [64,T]
    log_prob = Categorical().distribution(drawn((1, 3, 4), 2.0), spec).log_prob(every)
    np.testing.assert_allclose(special.logsumexp(log_prob), 0, atol=1e-6)


def test_the_mean_of_tokens_is_their_probabilities_and_the_example_the_most_likely_ones():
    logits = drawn((3, 6, 7), 2.0)
    mean, example = Categorical().mean(logits, TOKENS), Categorical().example(logits, TOKENS)
    np.testing.assert_allclose(mean, special.softmax(logits.astype("float64"), axis=-1), rtol=1e-5)
    assert example.dtype == tf.int32
    np.testing.assert_array_equal(example, logits.argmax(-1))


def test_tokens_are_drawn_as_often_as_their_probability():
    logits = drawn((1, 6, 7), 1.0)
    tokens = Categorical().distribution(logits, TOKENS).sample(5000, seed=(1, 2)).numpy()  # [n,1,T]
    assert (tokens.shape, tokens.dtype) == ((5000, 1, 6), np.int32)
    counts = (tokens[:, 0, :, np.newaxis] == np.arange(7)).sum(0)  # [T,V]
    for found, probabilities in zip(counts, special.softmax(logits[0].astype("float64"), axis=-1), strict=True):
        assert stats.chisquare(found, 5000 * probabilities).pvalue > 1e-3


def test_log_prob_and_gradient_of_tokens_are_finite_under_extreme_logits():
    logits = tf.constant(np.array(np.meshgrid(*[EXTREMES] * 2), "float32").T.reshape(-1, 1, 2))  # [49,1,V]
    spec = Spec("sequence", (1,), levels=2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = Categorical().distribution(logits, spec).log_prob(np.zeros((49, 1), "int32"))
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, logits)).all()


@pytest.mark.parametrize("value", [-1, 7])
def test_one_token_outside_the_vocabulary_is_refused(value):
    tokens = np.zeros((3, 6), "int32")
    Categorical().check(tokens, TOKENS)
    Categorical().check(tokens[:0], TOKENS)
    tokens[1, 2] = value
    with pytest.raises(VaezooError, match=r"tokens must be from 0 to 6, and these go from -?\d to \d") as error:
        Categorical().check(tokens, TOKENS)
    assert "\n" not in str(error.value)


def test_vectors_that_are_not_of_zeros_and_ones_are_refused_by_the_bernoulli_alone():
    x, spec = np.array([[0.0, 1.0, -3.5]], "float32"), Spec("vector", (3,))
    Normal().check(x, spec)
    with pytest.raises(VaezooError, match=r"'bernoulli' needs zeros and ones.*set model\.likelihood=normal") as error:
        Bernoulli().check(x, spec)
    assert "\n" not in str(error.value)
    Bernoulli().check(np.abs(np.sign(x)), spec)


@pytest.mark.parametrize(
    ("likelihood", "spec", "fitting"),
    [
        (
            DiscretizedLogistic,
            Spec("vector", (3,)),
            "bernoulli or continuous_bernoulli or normal or student_t or poisson or negative_binomial or mixed",
        ),
        (Categorical, IMAGE, "bernoulli or continuous_bernoulli or normal or discretized_logistic or logistic_mixture"),
        (Normal, TOKENS, "categorical or autoregressive"),
    ],
)
def test_examples_of_another_kind_are_refused_with_the_likelihoods_that_fit(likelihood, spec, fitting):
    with pytest.raises(VaezooError, match=f"'{likelihood().section.model_fields['name'].default}'") as error:
        likelihood().check(np.zeros((1, *spec.shape), spec.dtype), spec)
    assert str(error.value).endswith(f"not for {spec}; set model.likelihood to {fitting}")
    assert "\n" not in str(error.value)


def test_numbers_of_a_vector_that_have_no_density_are_refused():
    spec = Spec("vector", (3,))
    with pytest.raises(VaezooError, match=r"'continuous_bernoulli' needs numbers in \[0, 1\].*from 0 to 5"):
        ContinuousBernoulli().check(np.array([[0.0, 1.0, 5.0]]), spec)
    for likelihood in (Normal(), ContinuousBernoulli(), Bernoulli()):
        with pytest.raises(VaezooError, match="NaN or infinite"):
            likelihood.check(np.array([[0.0, 1.0, np.nan]]), spec)
    Normal().check(np.array([[-7.0, 0.0, 5.0]]), spec)


def _every_likelihood_and_its_examples():
    for name in LIKELIHOODS.names():
        for spec in (IMAGE, COLOUR, Spec("vector", (5,)), TOKENS):
            if spec.kind in part_schema.Likelihood.parts[name].examples:
                yield pytest.param(name, spec, id=f"{name}-{spec.kind}-{spec.shape[-1]}")


@pytest.mark.parametrize(("name", "spec"), list(_every_likelihood_and_its_examples()))
def test_the_elements_add_up_to_the_example_and_only_the_one_that_changes_changes(name, spec):
    likelihood, rng = LIKELIHOODS[name](), np.random.default_rng(0)
    likelihood.build((None, *likelihood.params_shape(spec)), spec.levels)
    params = tf.constant(drawn((3, 2, *likelihood.params_shape(spec)), 2.0))  # [K,B,...]
    x = rng.integers(spec.levels or 2, size=(2, *spec.shape)).astype(spec.dtype)
    elements = likelihood.elements_log_prob(params, x, spec).numpy()
    places = spec.shape[:2] if spec.is_image else spec.shape
    assert elements.shape == (3, 2, *places)
    whole = likelihood.distribution(params, spec).log_prob(x)
    np.testing.assert_allclose(elements.reshape(3, 2, -1).sum(-1), whole, rtol=1e-5)
    other = x.copy()
    fourth = other.reshape(2, np.prod(places), -1)[:, 3]  # a view: the channels of a pixel, or one number
    fourth[...] = 1 - np.minimum(fourth, 1)
    changed = (likelihood.elements_log_prob(params, other, spec).numpy() != elements).reshape(6, -1)
    assert changed[:, 3].all()
    assert not changed[:, :3].any()
    assert likelihood.autoregressive or not changed[:, 4:].any()

"""Metrics of samples on sets whose answers are known, and on samples that must score badly."""

import numpy as np
import pytest
from scipy import linalg

from vaezoo.evaluation import sample_quality
from vaezoo.evaluation.classifier import LARGEST_WEIGHT, accuracies, class_weights
from vaezoo.evaluation.sample_quality import (
    UndefinedMetricError,
    frechet_distance,
    kernel_distance,
    memorization,
    precision_recall,
)

RNG = np.random.default_rng(0)


def with_moments(mean, covariance, count=500):
    """Points [N,F] whose mean and covariance (of N - 1) are exactly those."""
    x = RNG.normal(size=(count, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def some_covariance(size):
    a = RNG.normal(size=(size, size))
    return a @ a.T + 0.1 * np.eye(size)


def test_the_frechet_distance_is_that_of_the_two_normals():
    for size in (2, 5, 20):
        first, second = some_covariance(size), some_covariance(size)
        mean, shift = RNG.normal(size=size), RNG.normal(size=size)
        expected = shift @ shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
        found = frechet_distance(with_moments(mean, first), with_moments(mean + shift, second, count=300))
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    one = with_moments([0.0], np.array([[4.0]]))
    other = with_moments([3.0], np.array([[25.0]]))
    np.testing.assert_allclose(frechet_distance(one, other), 3**2 + (5 - 2) ** 2, rtol=1e-9)


def test_the_frechet_distance_of_a_set_to_itself_is_zero():
    x = with_moments(np.zeros(8), some_covariance(8))
    assert frechet_distance(x, x[::-1]) < 1e-9
    flat = np.concatenate([x, np.zeros((len(x), 3))], axis=1)  # features that are dead: no covariance to invert
    assert frechet_distance(flat, flat) < 1e-9


def kernel(x, y):
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def test_the_kid_is_the_sum_over_all_pairs_of_different_images():
    x, y = RNG.normal(size=(9, 3)), RNG.normal(size=(7, 3)) + 0.5

    def by_loops(x, y):
        n, m = len(x), len(y)
        xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
        yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
        xy = sum(kernel(x[i], y[j]) for i in range(n) for j in range(m))
        return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)

    found, error = kernel_distance(x, y)
    np.testing.assert_allclose(found, by_loops(x, y), rtol=1e-10)
    without_x = [by_loops(np.delete(x, i, axis=0), y) for i in range(9)]
    without_y = [by_loops(x, np.delete(y, j, axis=0)) for j in range(7)]
    np.testing.assert_allclose(error**2, 8 * np.var(without_x) + 6 * np.var(without_y), rtol=1e-10)


def test_the_kid_is_computed_in_blocks(monkeypatch):
    x, y = RNG.normal(size=(50, 3)), RNG.normal(size=(40, 3))
    expected = kernel_distance(x, y)
    monkeypatch.setattr(sample_quality, "BLOCK", 90)
    np.testing.assert_allclose(kernel_distance(x, y), expected, rtol=1e-10)


def test_the_kid_of_two_points_of_mass_is_the_difference_of_their_kernels():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    expected = kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
    spread = np.array([[1e-3, 0.0], [-1e-3, 0.0]] * 50)  # equal features are refused
    np.testing.assert_allclose(kernel_distance(np.tile(a, (100, 1)), b + spread)[0], expected, rtol=1e-4)


def test_the_kid_of_normals_has_its_closed_form_and_its_error_covers_it():
    # One feature: k(x, y) = (xy + 1)^3, so MMD^2 = sum_p C(3,p) (E x^p - E y^p)^2 over the moments p = 1, 2, 3.
    def moments(mean, scale):
        return np.array([mean, mean**2 + scale**2, mean**3 + 3 * mean * scale**2])

    expected = np.array([3, 3, 1]) @ (moments(0.5, 1.2) - moments(0, 1)) ** 2
    found = np.array([kernel_distance(RNG.normal(0.5, 1.2, (400, 1)), RNG.normal(size=(300, 1))) for _ in range(200)])
    spread = found[:, 0].std(ddof=1)
    assert abs(found[:, 0].mean() - expected) < 4 * spread / np.sqrt(200)
    np.testing.assert_allclose(np.sqrt((found[:, 1] ** 2).mean()), spread, rtol=0.25)


def test_the_kid_of_equal_distributions_is_zero_on_average_however_few_images():
    for count in (5, 100):
        found = np.array([kernel_distance(*RNG.normal(size=(2, count, 4))) for _ in range(400)])
        spread = found[:, 0].std(ddof=1)
        assert abs(found[:, 0].mean()) < 4 * spread / 20
        assert 0.4 < (found[:, 0] < 0).mean() < 0.8
    assert spread < np.sqrt((found[:, 1] ** 2).mean()) < 1.7 * spread  # its error errs upwards, by sqrt(2) here


def test_precision_and_recall_of_the_same_set_and_of_sets_apart():
    x = RNG.normal(size=(1500, 4)).astype("float32")
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x + 100, x) == (0.0, 0.0)
    assert precision_recall(x + 1e4, x + 1e4) == (1.0, 1.0)  # far from the origin


def test_half_the_modes_have_full_precision_and_half_the_recall():
    near, far = RNG.normal(size=(2, 600, 2)) * 0.01
    real = np.concatenate([near[:300], far[:300] + 10])
    one_mode = near[300:]
    precision, recall = precision_recall(one_mode, real)
    assert precision > 0.9
    assert 0.45 < recall <= 0.5
    precision, recall = precision_recall(real, one_mode)
    assert 0.45 < precision <= 0.5
    assert recall > 0.9


def test_the_ball_reaches_to_the_kth_neighbour():
    line = np.arange(5.0)[:, None]  # the end points' third neighbours are 3 away, the others' 2
    assert precision_recall([[6.9], [7.1], [-2.9], [-3.1]], line)[0] == 0.5
    assert precision_recall([[4.9], [5.1], [-0.9], [-1.1]], line, neighbours=1)[0] == 0.5


def test_a_member_with_copies_has_a_radius_of_zero():
    line = np.arange(10.0)[:, None]
    real = np.concatenate([line, np.repeat(line[:1], 3, axis=0)])  # 0 occurs four times
    assert precision_recall([[-0.01], [-0.02], [-0.03], [-0.04]], real)[0] == 0  # 1 reaches to 0 and not beyond
    assert precision_recall([[0.0], [-0.02], [-0.03], [-0.04]], real)[0] == 0.25  # an equal point is within
    assert precision_recall([[-0.01], [-0.02], [-0.03], [-0.04]], line)[0] == 1


# Samples that must score badly, each in the metric for it

REAL, HELD_OUT, TRAIN = np.split(RNG.normal(size=(6000, 16)).astype("float32"), 3)


def test_good_samples_score_well():
    precision, recall = precision_recall(HELD_OUT, REAL)
    assert min(precision, recall) > 0.7
    assert frechet_distance(HELD_OUT, REAL) < 0.2
    assert memorization(HELD_OUT, TRAIN) < 0.001


def test_noise_is_far_away():
    noise = RNG.uniform(-10, 10, REAL.shape)
    assert frechet_distance(noise, REAL) > 100
    assert precision_recall(noise, REAL)[0] < 0.01


@pytest.mark.parametrize("distinct", [1, 4, 20])
def test_a_few_repeated_images_have_no_recall(distinct):
    samples = np.repeat(HELD_OUT[:distinct] / 2, len(REAL) // distinct, axis=0)
    precision, recall = precision_recall(samples, REAL)
    assert precision == 1  # they are near the middle of all
    assert recall == 0
    assert frechet_distance(samples, REAL) > 1
    assert precision_recall(np.repeat(REAL[:distinct], 2000 // distinct, axis=0), REAL)[1] == distinct / len(REAL)


def test_copies_of_training_images_are_memorized():
    assert memorization(TRAIN, TRAIN) == 1
    noise = RNG.normal(size=TRAIN.shape)
    assert memorization(TRAIN + 0.01 * noise, TRAIN) > 0.99
    assert memorization(np.concatenate([TRAIN[:400], HELD_OUT[:1600]]), TRAIN) == pytest.approx(0.2, abs=0.001)
    twice = np.concatenate([TRAIN, TRAIN])
    assert memorization(TRAIN, twice) == 1
    assert memorization(1e-3 * TRAIN + 5, 1e-3 * TRAIN + 5) == 1  # the scale does not matter
    # Only copies count: neither samples near the middle of all, nor any far away, nor those between two others.
    for other in (0.3 * HELD_OUT, 10 * HELD_OUT, (TRAIN + np.roll(TRAIN, 1, axis=0)) / 2):
        assert memorization(other, TRAIN) < 0.01


# What cannot be measured


def test_features_without_variance_are_refused():
    same = np.full((100, 8), 0.1, "float32")
    nearly = same + RNG.normal(0, 1e-8, same.shape)
    spread = RNG.normal(size=same.shape)
    for real in (same, nearly, 0 * same):
        for metric in (frechet_distance, kernel_distance, precision_recall, memorization):
            with pytest.raises(UndefinedMetricError, match=r"the features of all .* images are equal"):
                metric(spread, real)
            with pytest.raises(UndefinedMetricError, match=r"the features of all .* images are equal"):
                metric(real, real)
    assert frechet_distance(same, spread) > 1  # samples may be constant: that is measured
    assert precision_recall(same, spread)[1] == 0


def test_features_that_hardly_tell_images_apart_are_refused():
    features = np.zeros((100, 8))
    features[:40] = RNG.normal(size=(40, 8))
    with pytest.raises(UndefinedMetricError, match="most real images have the same features as 3 others"):
        precision_recall(RNG.normal(size=(100, 8)), features)
    features[:60] = RNG.normal(size=(60, 8))
    precision_recall(RNG.normal(size=(100, 8)), features)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    broken = RNG.normal(size=(50, 4))
    broken[7:9, 2] = value
    for metric in (frechet_distance, kernel_distance, precision_recall, memorization):
        with pytest.raises(UndefinedMetricError, match=r"2 of 50 sample images .* NaN or infinite"):
            metric(broken, RNG.normal(size=(60, 4)))
        with pytest.raises(UndefinedMetricError, match=r"2 of 50 (real|training) images .* NaN or infinite"):
            metric(RNG.normal(size=(60, 4)), broken)


def test_too_few_images_are_refused():
    points = RNG.normal(size=(20, 8))
    frechet_distance(points[:9], points[:9])
    with pytest.raises(UndefinedMetricError, match=r"8 sample images are too few: .* 8 features needs more than 8"):
        frechet_distance(points[:8], points)
    with pytest.raises(UndefinedMetricError, match="8 real images are too few"):
        frechet_distance(points, points[:8])
    with pytest.raises(UndefinedMetricError, match="more than 3"):
        precision_recall(points[:3], points)
    with pytest.raises(UndefinedMetricError, match="2 sample images are too few: the KID needs more than 2"):
        kernel_distance(points[:2], points)
    with pytest.raises(UndefinedMetricError, match="no sample images"):
        precision_recall(points[:0], points)


# The classifier


def test_the_weights_of_the_classes_balance_them():
    assert (class_weights([5421, 6742, 6000]) == 1).all()  # as in MNIST: within 20 %
    np.testing.assert_allclose(class_weights([600, 100, 100, 100, 100]) * [600, 100, 100, 100, 100], 200)
    assert class_weights([1000, 1, 0]).max() == LARGEST_WEIGHT


def predictions(counts, recalls, seed=0):
    """Labels and predictions of a classifier with these recalls; what it gets wrong is spread over the classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    predicted = np.where(
        rng.random(len(labels)) < np.repeat(recalls, counts), labels, rng.integers(0, len(counts), len(labels))
    )
    return predicted, labels


def test_a_classifier_that_tells_the_largest_class_alone_is_refused():
    counts = [600, 100, 100, 100, 100]
    labels = np.repeat(np.arange(5), counts)
    with pytest.raises(UndefinedMetricError, match=r"balanced accuracy on the test images is 20\.0%, chance is 20\.0%"):
        accuracies(0 * labels, labels, 5)
    assert accuracies(labels, labels, 5) == {"accuracy": 1, "balanced_accuracy": 1, "largest_class": 0.6}
    with pytest.raises(UndefinedMetricError, match="one class"):
        accuracies(labels[:600], labels[:600], 5)


@pytest.mark.parametrize("counts", [[60, 10, 10, 10, 10], [1200, 200, 200, 200, 200], [30, 30]])
def test_chance_is_refused_and_half_of_perfection_is_not(counts):
    refused = 0
    for seed in range(200):
        try:
            accuracies(*predictions(counts, np.zeros(len(counts)), seed), len(counts))
        except UndefinedMetricError:
            refused += 1
    assert refused >= 197  # three standard errors
    if min(counts) > 10:
        accuracies(*predictions(counts, np.full(len(counts), 0.6)), len(counts))

"""Fréchet distance, precision and recall on sets whose answers are known."""

import numpy as np
import pytest
from scipy import linalg

import vaezoo
from vaezoo.evaluation.sample_quality import frechet_distance, precision_recall

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


def test_too_few_images_are_refused():
    with pytest.raises(vaezoo.VaezooError, match="two images"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(vaezoo.VaezooError, match="more than 3"):
        precision_recall(np.zeros((3, 3)), np.zeros((5, 3)))

"""Metrics of samples in a feature space: Fréchet distance, KID, precision, recall, memorization.

Each one refuses input that it cannot measure: a reference without variance, too few points, values that are not finite.
"""

import numpy as np

from vaezoo.errors import VaezooError

NEIGHBOURS = 3  # k of precision and recall, as in Kynkäänniemi et al. 2019, section 3
RATIO = 1 / 3  # of the distances from a copy to its two nearest training images, as in Gu et al. 2023
BLOCK = 10**7  # distances computed at once: 80 MB
SAME = 1e-5  # two points nearer than this, relative to their distance from the centre, are equal
ROUNDING = 1e-7  # of float32, relative
CONSTANT = 0.01  # see `check_variety`


class UndefinedMetricError(VaezooError):
    """A metric is not defined for this input, or its value would mislead."""


def frechet_distance(samples, real):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), of the means and covariances of two sets of features.

    Args:
        samples: features [N,F], N > F.
        real: features [M,F], M > F, not all equal.

    Returns:
        The squared 2-Wasserstein distance between the normal distributions with those moments, at least 0. It is biased
        upwards when N or M is small. Lower is better.

    Raises:
        UndefinedMetricError: for too few points to estimate a covariance, for equal real features, or for NaN.

    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6.
    """
    samples, real = _checked(sample=samples, real=real)
    features = real.shape[1]
    for name, points in (("sample", samples), ("real", real)):
        if len(points) <= features:
            raise UndefinedMetricError(
                f"{len(points)} {name} images are too few: a covariance of {features} features needs more than "
                f"{features}"
            )
    difference = samples.mean(0) - real.mean(0)
    first, second = np.atleast_2d(np.cov(samples.T)), np.atleast_2d(np.cov(real.T))
    # tr (C1 C2)^(1/2) is the trace of the root of the symmetric C1^(1/2) C2 C1^(1/2).
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    return max(0.0, float(difference @ difference + np.trace(first) + np.trace(second) - 2 * common))


def kernel_distance(samples, real):
    """KID: the unbiased estimate of MMD^2 under the kernel k(x, y) = (x.y / F + 1)^3, and its standard error.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), over pairs of different samples x, x' and real images y, y'. It is 0
    if both have the same moments up to the third. No term pairs an image with itself, so that the estimate is unbiased
    whatever the number of images: for equal distributions its mean is 0, and half of the estimates are below.

    The standard error is that of the jackknife, which leaves out each image once. It covers the choice of the samples
    and of the real images, and errs upwards: for equal distributions by a factor of up to sqrt(2) (Efron & Stein 1981).

    Args:
        samples: features [N,F], N > 2.
        real: features [M,F], M > 2, not all equal.

    Returns:
        (estimate, standard error). Lower is better.

    Raises:
        UndefinedMetricError: for too few points, for equal real features, or for NaN.

    Source: Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4 and equation 4; here all images
    are one block.
    """
    samples, real = _checked(sample=samples, real=real)
    for name, points in (("sample", samples), ("real", real)):
        if len(points) <= 2:
            raise UndefinedMetricError(f"{len(points)} {name} images are too few: the KID needs more than 2")
    n, m = len(samples), len(real)
    # Without the pair of an image with itself.
    own_x, own_y = (_kernel_sums(p, p) - _kernel((p**2).sum(1), p) for p in (samples, real))
    x_to_y, y_to_x = _kernel_sums(samples, real), _kernel_sums(real, samples)

    def estimate(xx, n, yy, m, xy):
        return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)

    xx, yy, xy = own_x.sum(), own_y.sum(), x_to_y.sum()
    without_x = estimate(xx - 2 * own_x, n - 1, yy, m, xy - x_to_y)  # [N], each without one of the samples
    without_y = estimate(xx, n, yy - 2 * own_y, m - 1, xy - y_to_x)  # [M]
    variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
    return float(estimate(xx, n, yy, m, xy)), float(np.sqrt(variance))


def precision_recall(samples, real, neighbours=NEIGHBOURS):
    """The share of samples within the real images, and the share of real images within the samples.

    A point is within a set if it is in the ball of at least one member, whose radius is the distance from the member to
    its k-th nearest neighbour in the set. A member with k copies of itself has the radius 0, so that only equal points
    are within its ball: a model that repeats one image has a recall near 0.

    Args:
        samples: features [N,F], N > k.
        real: features [M,F], M > k; most of them without k copies.
        neighbours: k.

    Returns:
        (precision, recall), both in [0, 1]. Higher is better.

    Raises:
        UndefinedMetricError: for too few points, for real features most of which are equal to others, or for NaN.

    Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric", arXiv:1904.06991, equations 1 and 2.
    """
    samples, real = _checked(sample=samples, real=real)
    for name, points in (("sample", samples), ("real", real)):
        if len(points) <= neighbours:
            raise UndefinedMetricError(
                f"{len(points)} {name} images are too few: precision and recall need more than {neighbours}"
            )
    of_samples, of_real = (_radii(points, neighbours) for points in (samples, real))
    if np.median(of_real) == 0:
        raise UndefinedMetricError(
            f"most real images have the same features as {neighbours} others, so the features do not tell images apart"
        )
    return _share_within(samples, real, of_real), _share_within(real, samples, of_samples)


def memorization(samples, train, ratio=RATIO):
    """The share of samples that are copies of training images.

    A sample counts as a copy if its distance to the nearest training image is at most a third of its distance to the
    second nearest. The ratio does not depend on the scale of the features, nor on how dense the training images are
    near the sample. A copy of a training image that occurs twice counts too. Measure test images as well: their share
    is the floor. It is high if test images are copies of training images, or if the features have few dimensions.

    Args:
        samples: features [N,F].
        train: features of the training images [L,F], L > 1, not all equal.
        ratio: of the distances.

    Returns:
        The share, in [0, 1]. Lower is better.

    Raises:
        UndefinedMetricError: for fewer than two training images, for equal training features, or for NaN.

    Source: Yoon et al. 2023, "Diffusion Probabilistic Models Generalize when They Fail to Memorize"; Gu et al. 2023,
    "On Memorization in Diffusion Models", arXiv:2310.02664.
    """
    samples, train = _checked(sample=samples, training=train)
    centre = train.mean(0)
    points, train = samples - centre, train - centre
    searched = train.astype("float32")  # half the time, and exact enough to find the nearest
    lengths = (searched**2).sum(1)
    copies = []
    for start in range(0, len(points), rows := max(1, BLOCK // len(train))):
        part = points[start : start + rows]
        order = lengths - 2 * part.astype("float32") @ searched.T  # [R,L], the squared distance but for a constant
        distances = []
        for _ in range(2):
            nearest = order.argmin(1)
            distances.append(np.linalg.norm(part - train[nearest], axis=1))
            order[np.arange(len(part)), nearest] = np.inf
        equal = SAME * np.linalg.norm(part, axis=1)
        copies.append(distances[0] <= np.maximum(ratio * distances[1], equal))
    return float(np.concatenate(copies).mean())


def check_variety(real):
    """Refuse features [M,F] of real images that are nearly constant: a collapsed network gives any samples the same.

    Their standard deviation must be more than a hundredth of their size; that of a trained classifier is about half.

    Raises:
        UndefinedMetricError: if it is not.
    """
    real = np.asarray(real, "float64")
    spread, size = np.sqrt(real.var(0).sum()), np.sqrt((real**2).sum(1).mean())
    if not spread > CONSTANT * size:
        raise UndefinedMetricError(
            f"the features of the real images are nearly constant (their standard deviation is {spread:.2g}, their "
            f"size {size:.2g}), so they do not tell images apart"
        )


def _checked(**sets):
    """The sets in float64, refused if a value is not finite or if the last set, the reference, has no variance."""
    sets = {name: np.asarray(points, "float64") for name, points in sets.items()}
    for name, points in sets.items():
        broken = len(points) - int(np.isfinite(points).all(1).sum())
        if broken:
            raise UndefinedMetricError(
                f"{broken:,} of {len(points):,} {name} images have features that are NaN or infinite"
            )
        if not len(points):
            raise UndefinedMetricError(f"no {name} images were given; give at least one")
    name, reference = list(sets.items())[-1]
    if np.ptp(reference, axis=0).max() <= SAME * np.abs(reference).max():
        raise UndefinedMetricError(f"the features of all {name} images are equal, so they do not tell images apart")
    return sets.values()


def _kernel_sums(points, others):
    """The sum of k(x, y) over all others y, for each point x [N]."""
    rows = max(1, BLOCK // len(others))
    starts = range(0, len(points), rows)
    return np.concatenate([_kernel(points[start : start + rows] @ others.T, points).sum(1) for start in starts])


def _kernel(products, points):
    """The kernel of the KID, given products x.y."""
    return (products / points.shape[1] + 1) ** 3


def _radii(members, neighbours):
    """The squared distance from each member to its k-th nearest neighbour [N]; the nearest is the member itself."""
    radii = []
    for block in _squared_distances(members, members):
        block.partition(neighbours, axis=1)
        radii.append(block[:, neighbours].copy())  # a view would keep the block in memory
    return np.concatenate(radii)


def _share_within(points, members, radii):
    return float(np.concatenate([(block <= radii).any(1) for block in _squared_distances(points, members)]).mean())


def _squared_distances(points, members):
    """Squared Euclidean distances [R,M], for R points at a time; exactly 0 for points that are equal."""
    centre = members.mean(0)  # far from the origin the terms below would cancel
    points, members = points - centre, members - centre
    lengths = (members**2).sum(1)
    for start in range(0, len(points), rows := max(1, BLOCK // len(members))):
        part = points[start : start + rows]
        own = (part**2).sum(1)[:, np.newaxis]
        squared = part @ members.T
        squared *= -2
        squared += own
        squared += lengths
        squared[squared <= SAME**2 * own + ROUNDING**2 * (centre @ centre)] = 0
        yield squared

"""How samples compare with real images, in a space of features: Fréchet distance, precision, recall."""

import numpy as np

from vaezoo.errors import VaezooError

NEIGHBOURS = 3  # as in Kynkäänniemi et al. 2019, section 3
ROWS = 1000  # of a matrix of distances at once: 40 MB for 10,000 columns


def frechet_distance(one, other):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), of the means and covariances of two sets of features.

    Args:
        one, other: features [N,F] and [M,F], of at least two images each.

    Returns:
        The squared 2-Wasserstein distance between the two normal distributions with those moments, at least 0. With
        few images it comes out too large.

    Source: Heusel et al. 2017, arXiv:1706.08500, equation 6.
    """
    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    if min(len(one), len(other)) < 2:
        raise VaezooError("a Fréchet distance needs two images on either side, for there is a covariance to estimate")
    gap = one.mean(0) - other.mean(0)
    first, second = np.atleast_2d(np.cov(one.T)), np.atleast_2d(np.cov(other.T))
    # tr (C1 C2)^(1/2) is the trace of the root of the symmetric C1^(1/2) C2 C1^(1/2).
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    return max(0.0, float(gap @ gap + np.trace(first) + np.trace(second) - 2 * common))


def precision_recall(samples, real, neighbours=NEIGHBOURS):
    """The share of samples that lie among the real images, and of real images that lie among the samples.

    A point lies among a set if it is within the ball of one of its members, which reaches to that member's k-th
    nearest neighbour in the set.

    Args:
        samples: features [N,F], N > k.
        real: features [M,F], M > k.
        neighbours: k.

    Returns:
        (precision, recall), both in [0, 1].

    Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric", arXiv:1904.06991, equations 1 and 2.
    """
    if min(len(samples), len(real)) <= neighbours:
        raise VaezooError(f"precision and recall need more than {neighbours} images on either side")
    return _share_among(samples, real, neighbours), _share_among(real, samples, neighbours)


def _share_among(points, members, neighbours):
    radii = np.concatenate(
        # the nearest is the member itself
        [np.partition(rows, neighbours, axis=1)[:, neighbours] for rows in _squared_distances(members, members)]
    )
    return float(np.concatenate([(rows <= radii).any(1) for rows in _squared_distances(points, members)]).mean())


def _squared_distances(points, members):
    """Squared Euclidean distances [ROWS,M], so many points at a time."""
    centre = np.mean(members, axis=0, dtype="float64")  # far from the origin the terms below would cancel
    points, members = points - centre, members - centre
    lengths = (members**2).sum(1)
    for start in range(0, len(points), ROWS):
        rows = points[start : start + ROWS]
        yield (rows**2).sum(1)[:, None] + lengths - 2 * rows @ members.T

"""Paths through the latent space: between examples, and along each axis; and how even their steps are."""

import itertools
from typing import NamedTuple

import numpy as np

from vaezoo.decoding import group_slices
from vaezoo.errors import VaezooError, unknown
from vaezoo.latent_space.generation import checked_axes, grid_values, prior_codes
from vaezoo.latent_space.reconstruction import squared_difference
from vaezoo.models.in_batches import checked_examples, checked_labels, decode, embed

METHODS = ("linear", "spherical")


class Interpolation(NamedTuple):
    """Examples between examples.

    Attributes:
        inputs: [N,...].
        examples: [R,S,...]: one row of S steps for two inputs, a square for three or four, N-1 rows for more.
        codes: [R,S,D].
        weights: [R,S,N], how much of each input is in each code; they sum to 1.
    """

    inputs: np.ndarray
    examples: np.ndarray
    codes: np.ndarray
    weights: np.ndarray


def interpolate(model, x, labels=None, steps=9, method="linear"):
    """Encode each example to its posterior mean, mix the codes, decode.

    Two examples make a line, z1 + a (z2 - z1). Three span a plane, z1 + a (z2 - z1) + b (z3 - z1). Four are the corners
    of a square (z1 and z2 above, z3 and z4 below). More make a line from each to the next. a grows along a row and b
    down the rows, both from 0 to 1. Classes do not mix: a conditional model decodes each code as the class of the input
    with the largest weight.

    Args:
        model: a `VAE`.
        x: examples [N,...], N >= 2.
        labels: classes [N], for a conditional model.
        steps: S, at least 2, including both ends.
        method: "linear", or "spherical": along the arc between two codes (White 2016, arXiv:1609.04468), which keeps
            the distance from the origin at which a normal prior has its mass.

    Returns:
        An `Interpolation`.

    Raises:
        VaezooError: for fewer than two examples, fewer than two steps, or an unknown method.
    """
    inputs = checked_examples(model, x)
    if len(inputs) < 2:
        raise VaezooError("an interpolation needs at least two examples and was given one; give another")
    if steps < 2:
        raise VaezooError(f"an interpolation of {steps} steps; it takes at least 2, the two ends")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    labels = checked_labels(model, labels, inputs.shape[:1])
    codes = embed(model, inputs, labels)
    mixed, weights = mix(codes, steps, method)
    nearest = None if labels is None else labels[weights.argmax(-1)]  # [R,S]
    return Interpolation(inputs, decode(model, mixed, nearest), mixed, weights)


def mix(codes, steps, method="linear"):
    """The codes [R,S,D] of an interpolation between codes [N,D], and the weight of each of these in them [R,S,N]."""
    between = _arc if method == "spherical" else _line
    a = np.linspace(0, 1, steps)
    count = len(codes)
    own = np.eye(count)
    if count in (3, 4):
        # Three codes are corners of a parallelogram; with its fourth corner, their plane is a square like any other.
        fourth = [codes[1] + codes[2] - codes[0]] if count == 3 else []
        own_fourth = [own[1] + own[2] - own[0]] if count == 3 else []
        corners, shares = np.array([*codes, *fourth]), np.array([*own, *own_fourth])
        sides = between(corners[[0, 2]], corners[[1, 3]], a)  # [2,S,D]: the upper and the lower side
        mixed = np.swapaxes(between(sides[0], sides[1], a), 0, 1)  # [S,S,D], rows from the upper side down
        weights = np.swapaxes(_line(*_line(shares[[0, 2]], shares[[1, 3]], a), a), 0, 1)
    else:
        mixed, weights = between(codes[:-1], codes[1:], a), _line(own[:-1], own[1:], a)  # [N-1,S,D], [N-1,S,N]
    return mixed.astype("float32"), weights.astype("float32")


def tour(model, x, labels=None, steps=12, method="linear"):
    """A closed path through the examples, for an animation: there and back, or around three or four corners.

    Args:
        model: a `VAE`.
        x: examples [N,...], N >= 2.
        labels: classes [N], for a conditional model.
        steps: from one example to the next.
        method: as in `interpolate`.

    Returns:
        Examples [T,...].
    """
    count = len(x)
    order = {3: [0, 1, 2, 0], 4: [0, 1, 3, 2, 0]}.get(count, [*range(count), *range(count - 2, -1, -1)])
    legs = []
    for ends in itertools.pairwise(order):
        pair = list(ends)
        leg = interpolate(model, x[pair], None if labels is None else labels[pair], steps + 1, method)
        legs.append(leg.examples[0, :-1])  # the end is the start of the next leg
    return np.concatenate(legs)


def _line(start, end, a):
    """[M,D], [M,D], [S] → [M,S,D]."""
    a = a[:, None]
    return (1 - a) * start[:, None] + a * end[:, None]


def _arc(start, end, a):
    """The same along arcs. Codes in line with the origin, or at it, have no arc between them: they get the line."""
    norms = np.linalg.norm(start, axis=-1) * np.linalg.norm(end, axis=-1)  # [M]
    cosine = np.clip((start * end).sum(-1) / np.maximum(norms, 1e-12), -1, 1)
    angle = np.arccos(cosine)[:, None, None]
    sine = np.sin(angle)
    bent = (sine > 1e-4) & (norms[:, None, None] > 1e-12)
    safe = np.where(bent, sine, 1)
    a_ = a[:, None]
    arc = (np.sin((1 - a_) * angle) * start[:, None] + np.sin(a_ * angle) * end[:, None]) / safe
    return np.where(bent, arc, _line(start, end, a))


def step_ratio(paths, spec):
    """The smoothness of a path: its largest step between neighbours over its mean step.

    A path of equal steps has 1; one that hardly moves and then jumps has a large ratio. A step is the Euclidean
    distance between two examples (`squared_difference`).

    Args:
        paths: [...,S,*spec.shape], paths of S examples.
        spec: the `Spec` of the examples, `model.spec`.

    Returns:
        [...], NaN where all examples of a path are equal.
    """
    paths = np.asarray(paths, None if spec.levels else "float64")
    paths = paths.reshape(*paths.shape[: -len(spec.shape)], -1)  # [...,S,size]
    steps = np.sqrt(squared_difference(paths[..., 1:, :], paths[..., :-1, :], spec).sum(-1))  # [...,S-1]
    mean = steps.mean(-1)
    return np.divide(steps.max(-1), mean, out=np.full_like(mean, np.nan), where=mean > 1e-9)


class Traversal(NamedTuple):
    """Each latent axis varied in turn, the others constant.

    Attributes:
        examples: [A,S,...].
        codes: [A,S,D].
        values: [S], the values of the axis.
        axes: [A], the axis that each row varies.
    """

    examples: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    axes: np.ndarray


class Resampled(NamedTuple):
    """Each group of a hierarchy drawn anew, the others constant.

    Attributes:
        examples: [G,S,...]; those of a row differ in one group.
        codes: [G,S,D].
        sizes: [G], the number of latents of each group, from the top down.
    """

    examples: np.ndarray
    codes: np.ndarray
    sizes: np.ndarray


def resample_groups(model, x, label=None, count=10, seed=0):
    """Draw each group of a hierarchy from its prior, one at a time; the others stay at the code of an example.

    Args:
        model: a `VAE` with a hierarchical decoder.
        x: one example, `spec.shape`.
        label: its class, for a conditional model.
        count: S, how many times, at least 1.
        seed: of the draws.

    Returns:
        A `Resampled`.

    Raises:
        VaezooError: for a model without groups, a count below 1, or a seed outside 0 to 2^31 - 1.
    """
    groups = group_slices(model.decoder)
    if not groups:
        raise VaezooError("this model has no groups of latents; train a hierarchy, such as ladder_vae")
    drawn = prior_codes(model, count, seed)  # [S,D]
    code = embed(model, np.asarray(x)[None], label)[0]
    codes = np.tile(code, (len(groups), count, 1))  # [G,S,D]
    for row, own in enumerate(groups):
        codes[row, :, own] = drawn[:, own]
    return Resampled(decode(model, codes, label), codes, np.array([own.stop - own.start for own in groups]))


def traverse(model, x, label=None, span=3.0, steps=11, axes=None):
    """Vary latent axes from -span to span, one at a time; the others stay at the code of an example.

    Args:
        model: a `VAE`.
        x: one example, `spec.shape`.
        label: its class, for a conditional model.
        span: in units of the code, the standard deviations of a standard normal prior.
        steps: S, at least 2.
        axes: which axes, in this order; by default all. `information(...).order` has the most informative first.

    Returns:
        A `Traversal`.
    """
    values = grid_values(span, steps)
    axes = checked_axes(model, range(model.latent_dim) if axes is None else axes)
    if not axes:
        raise VaezooError("no latent axis to vary; give at least one")
    code = embed(model, np.asarray(x)[None], label)[0]
    codes = np.tile(code, (len(axes), steps, 1))  # [A,S,D]
    for row, axis in enumerate(axes):
        codes[row, :, axis] = values
    return Traversal(decode(model, codes, label), codes, values, np.array(axes))

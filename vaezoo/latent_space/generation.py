"""Images from nothing but the prior: samples, styles in every class, and the manifold over two latent axes."""

import statistics
from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import checked_labels, decode


class Samples(NamedTuple):
    """Draws from the prior: images [n,H,W,C], their codes [n,D], and their classes [n] if the model is conditional."""

    images: np.ndarray
    codes: np.ndarray
    labels: np.ndarray | None


def sample(model, n=64, seed=0, label=None):
    """Draw images from the model: z ~ p(z), and the mean of p(x|z).

    Args:
        model: a `VAE`.
        n: how many, at least 1.
        seed: 0 <= seed < 2^31; the same one gives the same images.
        label: a class, or one for each image [n], for a conditional model.

    Returns:
        A `Samples`.

    Raises:
        VaezooError: for a label of a model that is not conditional, or none of one that is.
    """
    labels = checked_labels(model, label, (positive(n, "number of samples"),))
    codes = prior_codes(model, n, seed)
    return Samples(decode(model, codes, labels), codes, labels)


class Styles(NamedTuple):
    """One row a style, one column a class: images [S,Y,H,W,C] and the styles' codes [S,D]."""

    images: np.ndarray
    codes: np.ndarray


def style_by_class(model, codes):
    """Hold the style and change the class: decode each code as every class of a conditional model.

    Args:
        model: a conditional `VAE`.
        codes: the styles [S,D], from the prior (`prior_codes`) or from images (`embed`).

    Returns:
        A `Styles`.

    Raises:
        VaezooError: if the model is not conditional.
    """
    if not model.conditional:
        raise VaezooError(
            "this model is not conditional, so the class is part of its code; `edit` moves towards a class"
        )
    codes = np.asarray(codes, "float32")
    every = np.repeat(codes[:, None], model.classes, axis=1)  # [S,Y,D]
    return Styles(decode(model, every, np.arange(model.classes)), codes)


def prior_codes(model, n, seed=0):
    """Codes z ~ p(z) [n,D]: the very draws of `VAE.sample` with that seed."""
    return np.asarray(model.prior_codes(n, checked_seed(seed)))


class Manifold(NamedTuple):
    """A square of the latent space, decoded.

    Attributes:
        images: [S,S,H,W,C], from the upper left corner: columns follow the first axis to the right, rows the second
            one from its largest value down.
        codes: [S,S,D].
        values: [S], the coordinates along either axis, rising.
        axes: the latent axes (across, up); one alone for a model with one latent, whose images are [1,S,H,W,C].
    """

    images: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    axes: tuple[int, ...]


def manifold(model, span=3.0, size=20, axes=None, quantile=False, label=None):
    """Decode a grid over two latent axes, the others held at 0.

    Args:
        model: a `VAE`.
        span: the grid covers [-span, span] on either axis: standard deviations, if the prior is a standard normal.
        size: S, how many values each axis takes, at least 2.
        axes: the two latent axes; by default the first two. For more than two latents take the most informative, as
            `information(...).order[:2]` tells them.
        quantile: space the values so that equal steps hold equal mass of a standard normal, instead of equally.
        label: the class, for a conditional model.

    Returns:
        A `Manifold`.

    Raises:
        VaezooError: for axes that the model does not have, a span that is not above 0, or a size below 2.

    Source: Kingma & Welling 2014, appendix A, where `quantile` is used.
    """
    values = grid_values(span, size, quantile)
    axes = checked_axes(model, range(min(2, model.latent_dim)) if axes is None else axes)
    if len(axes) != min(2, model.latent_dim) or len(set(axes)) != len(axes):
        raise VaezooError(f"a manifold is drawn over two different latent axes, not over {list(axes)}")
    codes = np.zeros((size if len(axes) == 2 else 1, size, model.latent_dim), "float32")
    codes[:, :, axes[0]] = values
    if len(axes) == 2:
        codes[:, :, axes[1]] = values[::-1, None]
    return Manifold(decode(model, codes, label), codes, values, axes)


def grid_values(span, size, quantile=False):
    """Values [size] from -span to span: equally spaced, or by equal steps of a standard normal's probability."""
    if not (0 < span < float("inf")):
        raise VaezooError(f"the range is {span}; it must be a number above 0, as in 3 for [-3, 3]")
    if size < 2:
        raise VaezooError(f"a grid of {size} values; it takes at least 2")
    if not quantile:
        return np.linspace(-span, span, size)
    normal = statistics.NormalDist()
    if span > 8:
        raise VaezooError(f"the range {span} is beyond 8, where a normal's quantiles can no longer be computed")
    inner = np.linspace(normal.cdf(-span), normal.cdf(span), size)[1:-1]
    return np.array([-span, *(normal.inv_cdf(probability) for probability in inner), span])


def checked_axes(model, axes):
    """The latent axes as a tuple of int, or a VaezooError if the model does not have one of them."""
    axes = tuple(int(axis) for axis in axes)
    for axis in axes:
        if not 0 <= axis < model.latent_dim:
            raise VaezooError(f"there is no latent axis {axis}; this model's are 0 to {model.latent_dim - 1}")
    return axes


def checked_seed(seed):
    """The seed, or a VaezooError if it is out of range."""
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")
    return seed


def positive(count, what):
    """The count, or a VaezooError if it is below 1."""
    if count < 1:
        raise VaezooError(f"the {what} is {count}; it must be at least 1")
    return count

"""Examples generated from the prior: samples, styles in every class, and a grid over two latent axes."""

import statistics
from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import checked_labels, decode


class Samples(NamedTuple):
    """Draws from the prior: examples [n,...], codes [n,D], and classes [n] if the model is conditional."""

    examples: np.ndarray
    codes: np.ndarray
    labels: np.ndarray | None


def sample(model, n=64, seed=0, label=None, temperature=None):
    """Draw examples from the model: z ~ p(z), then the mean of p(x|z) (of a sequence, the most likely tokens).

    Args:
        model: a `VAE`.
        n: how many, at least 1.
        seed: 0 <= seed < 2^31; the same seed gives the same examples.
        label: a class, or one for each example [n], for a conditional model.
        temperature: of sequences, draw the tokens from p(x|z) too, with their probabilities to the power
            1 / temperature, above 0: 1 is the model's own. None for the most likely tokens.

    Returns:
        A `Samples`.

    Raises:
        VaezooError: for a label and a model that is not conditional, or no label and one that is; for a temperature
            that is not above 0, or examples that are not sequences.
    """
    labels = checked_labels(model, label, (positive(n, "number of samples"),))
    codes = prior_codes(model, n, seed)
    if temperature is None:
        return Samples(decode(model, codes, labels), codes, labels)
    if not (np.isfinite(temperature) and temperature > 0):
        raise VaezooError(f"the temperature is {temperature}; it must be a number above 0")
    return Samples(np.asarray(model.sample(n, seed, labels, temperature)), codes, labels)


class Styles(NamedTuple):
    """One row for each style, one column for each class: examples [S,Y,...], and the codes of the styles [S,D]."""

    examples: np.ndarray
    codes: np.ndarray


def style_by_class(model, codes):
    """Decode each code as every class of a conditional model: the style stays, the class changes.

    Args:
        model: a conditional `VAE`.
        codes: the styles [S,D], from the prior (`prior_codes`) or from examples (`embed`).

    Returns:
        A `Styles`.

    Raises:
        VaezooError: if the model is not conditional.
    """
    if not model.spec.conditional:
        raise VaezooError(
            "this model is not conditional, so the class is part of its code; use `edit` to move towards a class"
        )
    codes, classes = np.asarray(codes, "float32"), model.spec.classes
    repeated = np.repeat(codes[:, None], classes, axis=1)  # [S,Y,D]
    return Styles(decode(model, repeated, np.arange(classes)), codes)


def prior_codes(model, n, seed=0):
    """Codes z ~ p(z) [n,D]: the draws of `VAE.sample` with that seed."""
    return np.asarray(model.prior_codes(n, checked_seed(seed)))


class Manifold(NamedTuple):
    """A grid over two latent axes, decoded.

    Attributes:
        examples: [S,S,...], from the upper left corner: the first axis grows to the right, the second one upwards.
        codes: [S,S,D].
        values: [S], the coordinates along either axis, ascending.
        axes: the latent axes (across, up). A model with one latent has one, and examples [1,S,...].
    """

    examples: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    axes: tuple[int, ...]


def manifold(model, span=3.0, size=20, axes=None, quantile=False, label=None):
    """Decode a grid over two latent axes; the other axes are 0.

    Args:
        model: a `VAE`.
        span: the grid covers [-span, span] on either axis, in standard deviations of a standard normal prior.
        size: S, the number of values on each axis, at least 2.
        axes: the two latent axes; by default the first two. With more than two latents, take the most informative
            ones: `information(...).order[:2]`.
        quantile: space the values equally in probability under a standard normal, not equally in value.
        label: the class, for a conditional model.

    Returns:
        A `Manifold`.

    Raises:
        VaezooError: for axes that the model does not have, a span that is not above 0, or a size below 2.

    Source: Kingma & Welling 2014, appendix A, which uses `quantile`.
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
    """Values [size] from -span to span: equally spaced, or equally spaced in probability under a standard normal."""
    if not (0 < span < float("inf")):
        raise VaezooError(f"the range is {span}; it must be a number above 0, as in 3 for [-3, 3]")
    if size < 2:
        raise VaezooError(f"a grid of {size} values; it takes at least 2")
    if not quantile:
        return np.linspace(-span, span, size)
    normal = statistics.NormalDist()
    if span > 8:
        raise VaezooError(f"the range is {span}; with quantiles it must be at most 8, beyond which they are inexact")
    inner = np.linspace(normal.cdf(-span), normal.cdf(span), size)[1:-1]
    return np.array([-span, *(normal.inv_cdf(probability) for probability in inner), span])


def checked_axes(model, axes):
    """The latent axes as a tuple of int; a VaezooError if the model does not have one of them."""
    axes = tuple(int(axis) for axis in axes)
    for axis in axes:
        if not 0 <= axis < model.latent_dim:
            raise VaezooError(f"there is no latent axis {axis}; this model has 0 to {model.latent_dim - 1}")
    return axes


def checked_seed(seed):
    """The seed; a VaezooError if it is out of range."""
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")
    return seed


def positive(count, what):
    """The count; a VaezooError if it is below 1."""
    if count < 1:
        raise VaezooError(f"the {what} is {count}; it must be at least 1")
    return count

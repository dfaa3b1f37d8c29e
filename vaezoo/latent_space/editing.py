"""Editing: move the code of an example towards the average code of training examples with a given property."""

from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError, unknown
from vaezoo.models.in_batches import checked_examples, checked_labels, decode, embed

EXTREME = 0.2  # "high" and "low" are the top and the bottom fifth of a factor, or as near to it as equal values allow
FEW = 64  # a factor with more different values than this is continuous: it has no named values


class Edits(NamedTuple):
    """Examples moved towards an average code.

    Attributes:
        inputs: [N,...].
        examples: [N,A,...], one for each amount.
        codes: [N,A,D].
        amounts: [A].
        average: the average code [D].
    """

    inputs: np.ndarray
    examples: np.ndarray
    codes: np.ndarray
    amounts: np.ndarray
    average: np.ndarray


def edit(model, x, average, amounts=(0, 0.25, 0.5, 0.75, 1), labels=None):
    """Encode each example, move its code towards the average, decode.

        z' = z + amount (average - z)

    Args:
        model: a `VAE`.
        x: examples [N,...].
        average: a code [D], as `average_code` returns it.
        amounts: A numbers; 0 is the reconstruction, 1 the average itself, and a number below 0 moves away from it.
        labels: classes [N], for a conditional model; the examples keep them.

    Returns:
        An `Edits`.
    """
    inputs = checked_examples(model, x)
    labels = checked_labels(model, labels, inputs.shape[:1])
    amounts = np.asarray(amounts, "float32").reshape(-1)
    if not len(amounts) or not np.isfinite(amounts).all():
        raise VaezooError("the amounts of an edit are one or more finite numbers, as in 0 0.5 1")
    codes = embed(model, inputs, labels)[:, None]  # [N,1,D]
    moved = codes + amounts[:, None] * (np.asarray(average, "float32") - codes)  # [N,A,D]
    decoded = decode(model, moved, None if labels is None else labels[:, None])
    return Edits(inputs, decoded, moved, amounts, np.asarray(average, "float32"))


def average_code(codes, having):
    """The mean [D] of the codes [N,D] selected by `having`, bool [N]."""
    return np.asarray(codes, "float64")[having].mean(0).astype("float32")


class Characteristic(NamedTuple):
    """The target of an edit: a factor ("label" or a known factor) and its value ("high", "low", or a named one)."""

    factor: str
    value: str

    def __str__(self):
        return f"{self.factor}={self.value}"


def characteristic(text):
    """Read "label=7" or "thickness=high"."""
    factor, equals, value = (part.strip() for part in text.partition("="))
    if not (factor and equals and value):
        raise VaezooError(f"cannot read the target '{text}'; write FACTOR=VALUE, as in label=7 or thickness=high")
    return Characteristic(factor, value)


def members(characteristics, labels=None, factors=None, class_names=None):
    """Which examples have all of the characteristics.

    Args:
        characteristics: `Characteristic`s.
        labels: the classes of the examples [N], or None.
        factors: the known factors, name → [N].
        class_names: the names of the classes.

    Returns:
        bool [N].

    Raises:
        VaezooError: if there are neither labels nor factors, for a factor or value that does not exist, or if no
            example has all of the characteristics.
    """
    factors = dict(factors or {})
    known = (["label"] if labels is not None else []) + sorted(set(factors) - {"label"})
    if not known:
        raise VaezooError(
            "these examples have neither labels nor known factors, so there is nothing to edit towards; "
            "use a labelled data set, or a folder with one sub-folder for each class"
        )
    having = True
    for wanted in characteristics:
        if wanted.factor not in known:
            raise unknown("factor", wanted.factor, known)
        if wanted.factor == "label":
            having = having & (np.asarray(labels) == class_index(wanted.value, class_names, int(np.max(labels)) + 1))
        else:
            having = having & _has(np.asarray(factors[wanted.factor]), wanted)
    if not np.any(having):
        both = " and ".join(map(str, characteristics))
        raise VaezooError(f"no training example has {both}; ask for fewer at once")
    return having


def class_index(text, class_names=None, classes=None):
    """The index of the class with that name; if there is none, the text is read as an index.

    Raises:
        VaezooError: if it is neither; the message lists the classes.
    """
    names = list(class_names or map(str, range(classes)))
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    listing = ", ".join(names[:40]) + (f", ... ({len(names)} in all)" if len(names) > 40 else "")
    raise unknown("class", text, names, hint=f"Classes: {listing}.")


def _has(values, wanted):
    ordered = values.dtype.kind not in "US"
    distinct = np.unique(values)
    if ordered and wanted.value in ("high", "low"):
        if len(distinct) == 1:
            raise VaezooError(
                f"all training examples have the same '{wanted.factor}': there is no {wanted}; ask for another factor"
            )
        heights = values.astype("float64")  # of booleans too
        return _highest(heights if wanted.value == "high" else -heights)
    if ordered and len(distinct) > FEW:
        raise VaezooError(
            f"'{wanted.value}' is no value of '{wanted.factor}', which is continuous and runs from {distinct[0]:g} to "
            f"{distinct[-1]:g}: write {wanted.factor}=high or {wanted.factor}=low"
        )
    names = [f"{value:g}" if distinct.dtype.kind in "fiu" else str(value) for value in distinct]
    if wanted.value not in names:
        allowed = ", ".join([*["high", "low"] * ordered, *names])
        raise unknown(f"value of '{wanted.factor}'", wanted.value, names, hint=f"Allowed: {allowed}.")
    return values == distinct[names.index(wanted.value)]


def _highest(values):
    """Which values are the highest, bool [N]: about EXTREME of them, equal ones together, the lowest never."""
    distinct, counts = np.unique(values, return_counts=True)
    shares = counts[:0:-1].cumsum()[::-1] / len(values)  # of the values from distinct[1], distinct[2], ... upwards
    return values >= distinct[1:][np.abs(np.log(shares / EXTREME)).argmin()]

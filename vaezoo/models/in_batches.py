"""A model on arrays of any length: checked against it, then taken in batches."""

import numpy as np

from vaezoo.columns import check_rows
from vaezoo.errors import VaezooError

BATCH = 1000


def embed(model, x, labels=None):
    """The mean of the posterior of each example.

    Args:
        model: a `VAE`.
        x: examples [N,...]; images are in [0, 1], or uint8.
        labels: classes [N], for a conditional model.

    Returns:
        Codes, float32 [N,D].

    Raises:
        VaezooError: for examples or labels that do not fit the model.
    """
    return np.concatenate([np.asarray(model.codes(part, label)) for part, label in batches(model, x, labels)])


def decode(model, codes, labels=None):
    """The example of each code: the mean of p(x|z), of a sequence the most likely tokens.

    Args:
        model: a `VAE`.
        codes: [...,D].
        labels: classes for a conditional model, of a shape that broadcasts to [...].

    Returns:
        Examples [...,*shape]; images are float32 in [0, 1].
    """
    codes = np.asarray(codes, "float32")
    if codes.shape[-1] != model.latent_dim:
        raise VaezooError(f"codes of {codes.shape[-1]} numbers; this model's have {model.latent_dim}")
    leading = codes.shape[:-1]
    labels = checked_labels(model, labels, leading)
    flat = codes.reshape(-1, model.latent_dim)
    parts = (slice(start, start + BATCH) for start in range(0, len(flat), BATCH))
    decoded = [np.asarray(model.examples(flat[part], None if labels is None else labels[part])) for part in parts]
    return np.concatenate(decoded).reshape(*leading, *model.spec.shape)


def batches(model, x, labels=None):
    """Pairs of examples [B,...] and their classes [B] or None, checked, BATCH at a time."""
    x = checked_examples(model, x)
    labels = checked_labels(model, labels, x.shape[:1])
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        yield x[part], None if labels is None else labels[part]


def checked_examples(model, x):
    """The examples [N,...] in the type that the model takes, or a VaezooError that says what is wrong with them."""
    x, spec = np.asarray(x), model.spec
    if x.shape[1:] != spec.shape or x.ndim != len(spec.shape) + 1:
        expected = ",".join(map(str, spec.shape))
        raise VaezooError(f"{spec.kind}s of shape {list(x.shape)}; this model takes [N,{expected}]")
    if not len(x):
        raise VaezooError(f"no {spec.kind}s were given; give at least one")
    if spec.kind == "sequence":
        if x.dtype.kind not in "iu" or x.min() < 0 or x.max() >= spec.levels:
            raise VaezooError(f"the tokens must be integers from 0 to {spec.levels - 1}")
        return x.astype("int32")
    if spec.is_image and x.dtype == np.uint8:
        return x.astype("float32") / 255
    x = x.astype("float32")
    if spec.is_image and not (x.min() >= 0 and x.max() <= 1):  # a NaN fails both
        raise VaezooError(f"images with values from {x.min():g} to {x.max():g}; they must be in [0, 1], or uint8")
    if spec.columns is not None:
        check_rows(x, spec.columns)
        return x
    if not np.isfinite(x).all():
        raise VaezooError(f"{spec.kind}s with values that are NaN or infinite; leave those out")
    return x


def checked_labels(model, labels, shape):
    """The classes as int32 [N], one for each of the places of `shape`; None for a model that is not conditional."""
    if not model.spec.conditional:
        if labels is not None:
            raise VaezooError("this model is not conditional: it takes no label; leave it out")
        return None
    classes = model.spec.classes
    if labels is None:
        raise VaezooError(f"this model is conditional: give a label from 0 to {classes - 1} for each example")
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        given = ", ".join(map(str, np.unique(labels)[:5]))
        raise VaezooError(f"label {given} is no class of this model; its classes are 0 to {classes - 1}")
    try:
        return np.broadcast_to(labels.astype("int32"), shape).reshape(-1)
    except ValueError:
        raise VaezooError(
            f"labels of shape {list(labels.shape)} for examples of shape {list(shape)}; give one each"
        ) from None

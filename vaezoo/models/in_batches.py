"""A model on arrays of any length: checked against it, then taken in batches."""

import numpy as np

from vaezoo.errors import VaezooError

BATCH = 1000


def embed(model, images, labels=None):
    """The mean of the posterior of each image.

    Args:
        model: a `VAE`.
        images: [N,H,W,C] in [0, 1].
        labels: classes [N], for a conditional model.

    Returns:
        Codes, float32 [N,D].

    Raises:
        VaezooError: for images or labels that do not fit the model.
    """
    return np.concatenate([np.asarray(model.codes(x, y)) for x, y in batches(model, images, labels)])


def decode(model, codes, labels=None):
    """The image of each code: the mean of p(x|z).

    Args:
        model: a `VAE`.
        codes: [...,D].
        labels: classes for a conditional model, of a shape that broadcasts to [...].

    Returns:
        Images, float32 [...,H,W,C] in [0, 1].
    """
    codes = np.asarray(codes, "float32")
    if codes.shape[-1] != model.latent_dim:
        raise VaezooError(f"codes of {codes.shape[-1]} numbers; this model's have {model.latent_dim}")
    leading = codes.shape[:-1]
    labels = checked_labels(model, labels, leading)
    flat = codes.reshape(-1, model.latent_dim)
    images = [
        np.asarray(model.images(flat[start : start + BATCH], None if labels is None else labels[start : start + BATCH]))
        for start in range(0, len(flat), BATCH)
    ]
    return np.concatenate(images).reshape(*leading, *model.image_shape)


def batches(model, images, labels=None):
    """Pairs of images [B,H,W,C] and their classes [B] or None, checked, BATCH at a time."""
    images = checked_images(model, images)
    labels = checked_labels(model, labels, images.shape[:1])
    for start in range(0, len(images), BATCH):
        stop = start + BATCH
        yield images[start:stop], None if labels is None else labels[start:stop]


def checked_images(model, images):
    """The images as float32 [N,H,W,C] in [0, 1], or a VaezooError that says what is wrong with them."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != model.image_shape:
        expected = ",".join(map(str, model.image_shape))
        raise VaezooError(f"images of shape {list(images.shape)}; this model takes [N,{expected}]")
    if not len(images):
        raise VaezooError("no images were given; give at least one")
    if images.dtype == np.uint8:
        return images.astype("float32") / 255
    images = images.astype("float32")
    if not (images.min() >= 0 and images.max() <= 1):  # a NaN fails both
        raise VaezooError(
            f"images with values from {images.min():g} to {images.max():g}; they must be in [0, 1], or uint8"
        )
    return images


def checked_labels(model, labels, shape):
    """The classes as int32 [N], one for each of the places of `shape`; None for a model that is not conditional."""
    if not model.conditional:
        if labels is not None:
            raise VaezooError("this model is not conditional: it takes no label; leave it out")
        return None
    if labels is None:
        raise VaezooError(f"this model is conditional: give a label from 0 to {model.classes - 1} for each image")
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0 or labels.max(initial=0) >= model.classes:
        given = ", ".join(map(str, np.unique(labels)[:5]))
        raise VaezooError(f"label {given} is no class of this model; its classes are 0 to {model.classes - 1}")
    try:
        return np.broadcast_to(labels.astype("int32"), shape).reshape(-1)
    except ValueError:
        raise VaezooError(
            f"labels of shape {list(labels.shape)} for images of shape {list(shape)}; give one each"
        ) from None

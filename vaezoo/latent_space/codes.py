"""From images to codes and back, in batches, and what each latent axis tells about the image."""

import math
from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.models.vae import EVALUATION, fold_seed
from vaezoo.objectives import kl_divergence
from vaezoo.posteriors import Point

BATCH = 1000
SAMPLES = 64  # of the posterior, where what is asked of it has no closed form


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
    means = [
        np.asarray(model.posterior.mean(model.encoder({"image": x, "label": y} if model.conditional else x)))
        for x, y in _batches(model, images, labels)
    ]
    return np.concatenate(means)


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


class Information(NamedTuple):
    """What each latent axis tells about the image: values [D] in a unit, "bits" or "variance"."""

    values: np.ndarray
    unit: str

    @property
    def order(self):
        """The axes, the most informative first [D]."""
        return np.argsort(-self.values, kind="stable")


def information(model, images, labels=None):
    """How much each latent axis tells about the image.

    For axis i it is the mean over the images of KL(N(m_i, s_i^2) || N(0, 1)) = (m_i^2 + s_i^2 - 1) / 2 - ln s_i, in
    bits, with m and s the posterior's mean and standard deviation, as the mean and the standard deviation of the prior
    measure them. A posterior without a spread (an autoencoder's) has no such number; then it is the variance of the
    code.

    Args:
        model: a `VAE`.
        images: [N,H,W,C] in [0, 1]; a thousand will do.
        labels: classes [N], for a conditional model.

    Returns:
        An `Information`.
    """
    means, spreads = [], []
    for number, (x, y) in enumerate(_batches(model, images, labels)):
        mean, spread = _moments(model.encode(x, y), fold_seed(model.seed, EVALUATION, number))
        means.append(mean)
        spreads.append(spread)
    mean, spread = np.concatenate(means), np.concatenate(spreads)  # [N,D]
    if not spread.all():
        return Information(mean.var(0), "variance")
    prior = model.prior_distribution()
    centre, unit = np.asarray(prior.mean(), "float64"), np.asarray(prior.stddev(), "float64")  # [D]
    mean, spread = (mean - centre) / unit, spread / unit
    nats = ((mean**2 + spread**2 - 1) / 2 - np.log(spread)).mean(0)
    return Information(nats / math.log(2), "bits")


def _moments(q, seed):
    """The mean and the standard deviation of each code [B,D]; a flow's, which have no closed form, from samples."""
    try:
        mean, spread = q.mean(), q.stddev()
    except NotImplementedError:
        z = q.sample(SAMPLES, seed=seed)  # [K,B,D]
        mean, spread = np.mean(z, axis=0), np.std(z, axis=0, ddof=1)
    return np.asarray(mean, "float64"), np.asarray(spread, "float64")


def kl_bits(model, images, labels=None):
    """KL(q(z|x) || p(z)) of each image [N], in bits: what it costs to send the code. None for an autoencoder.

    By the bits-back argument a code drawn from q(z|x) costs log2 q(z|x) / p(z) bits on average (Hinton & van Camp
    1993). A single point in a continuum has no finite cost, so an autoencoder's code has none.
    """
    if isinstance(model.posterior, Point):
        return None
    bits = []
    for number, (x, y) in enumerate(_batches(model, images, labels)):
        q = model.encode(x, y)
        z = q.sample(SAMPLES, seed=fold_seed(model.seed, EVALUATION, number))
        bits.append(np.asarray(kl_divergence(q, model.prior_distribution(), z)) / math.log(2))
    return np.concatenate(bits)


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


def _batches(model, images, labels):
    images = checked_images(model, images)
    labels = checked_labels(model, labels, images.shape[:1])
    for start in range(0, len(images), BATCH):
        stop = start + BATCH
        yield images[start:stop], None if labels is None else labels[start:stop]

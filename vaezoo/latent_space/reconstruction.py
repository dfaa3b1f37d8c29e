"""Reconstruction, and reconstruction as compression: the error beside the bits that the code costs."""

from typing import NamedTuple

import numpy as np

from vaezoo.latent_space.codes import kl_bits
from vaezoo.models.in_batches import BATCH, checked_images, checked_labels, decode, embed


class Reconstructions(NamedTuple):
    """Images through the model.

    Attributes:
        inputs: [N,H,W,C].
        images: the decoded means [N,H,W,C].
        codes: the posterior means [N,D].
        squared_error: [N], the mean over the pixels of (input - image)^2.
        nats: [N], -log p(x|z) at the posterior mean.
        bits: [N], KL(q(z|x) || p(z)) / ln 2; None for an autoencoder, whose codes are exact and so have no finite cost.
    """

    inputs: np.ndarray
    images: np.ndarray
    codes: np.ndarray
    squared_error: np.ndarray
    nats: np.ndarray
    bits: np.ndarray | None


def reconstruct(model, images, labels=None):
    """Decode the posterior mean of each image, without sampling.

    Args:
        model: a `VAE`.
        images: [N,H,W,C] in [0, 1].
        labels: classes [N], for a conditional model.

    Returns:
        A `Reconstructions`.
    """
    inputs = checked_images(model, images)
    labels = checked_labels(model, labels, inputs.shape[:1])
    codes = embed(model, inputs, labels)
    decoded = decode(model, codes, labels)
    nats = [
        -np.asarray(model.decode(codes[part], None if labels is None else labels[part]).log_prob(inputs[part]))
        for part in (slice(start, start + BATCH) for start in range(0, len(inputs), BATCH))
    ]
    squared_error = np.square(inputs - decoded).mean((1, 2, 3))
    return Reconstructions(inputs, decoded, codes, squared_error, np.concatenate(nats), kl_bits(model, inputs, labels))

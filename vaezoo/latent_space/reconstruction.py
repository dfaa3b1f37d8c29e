"""Reconstruction, also seen as compression: the error, and the bits that the code costs."""

from typing import NamedTuple

import numpy as np

from vaezoo.latent_space.codes import kl_bits
from vaezoo.models.in_batches import BATCH, checked_examples, checked_labels, decode, embed


class Reconstructions(NamedTuple):
    """Examples and what the model makes of them.

    Attributes:
        inputs: [N,...].
        examples: the decoded posterior means [N,...].
        codes: the posterior means [N,D].
        squared_error: [N], the mean of `squared_difference` over the elements of an example.
        nats: [N], -log p(x|z) at the posterior mean.
        bits: [N], KL(q(z|x) || p(z)) / ln 2; None for an autoencoder, whose code has no finite cost.
    """

    inputs: np.ndarray
    examples: np.ndarray
    codes: np.ndarray
    squared_error: np.ndarray
    nats: np.ndarray
    bits: np.ndarray | None


def reconstruct(model, x, labels=None):
    """Decode the posterior mean of each example, without sampling.

    Args:
        model: a `VAE`.
        x: examples [N,...].
        labels: classes [N], for a conditional model.

    Returns:
        A `Reconstructions`.
    """
    inputs = checked_examples(model, x)
    labels = checked_labels(model, labels, inputs.shape[:1])
    codes = embed(model, inputs, labels)
    decoded = decode(model, codes, labels)
    nats = [
        -np.asarray(model.decode(codes[part], None if labels is None else labels[part]).log_prob(inputs[part]))
        for part in (slice(start, start + BATCH) for start in range(0, len(inputs), BATCH))
    ]
    squared_error = squared_difference(inputs, decoded, model.spec).reshape(len(inputs), -1).mean(-1)
    return Reconstructions(inputs, decoded, codes, squared_error, np.concatenate(nats), kl_bits(model, inputs, labels))


def squared_difference(one, other, spec):
    """(one - other)^2 of each element; of tokens, 1 where they differ and 0 where they are equal."""
    if spec.levels is not None:
        return np.not_equal(one, other).astype("float32")
    return np.square(one - other)

"""Which elements and which latents make an example untypical."""

from typing import NamedTuple

import numpy as np

from vaezoo.evaluation.encoded import encode
from vaezoo.scoring.scores import SMALLEST_VARIANCE, features

NAMED = 3  # elements or latents in a line


class Explanation(NamedTuple):
    """What is unusual about each of N examples.

    Attributes:
        elements: [N,H,W] of images, [N,F] of vectors, [N,T] of sequences: by how many nats each element costs more,
            decoded from the code, than it does on average over normal examples. So what is always hard does not show.
            The sum is the excess of the reconstruction.
        latents: [N,D], how far each latent of the code is from its mean over training examples, in standard deviations.
    """

    elements: np.ndarray
    latents: np.ndarray


def element_costs(model, x, labels=None):
    """-log p(x|z) of each element, z the code of the example: [N,H,W], [N,F] or [N,T], float32, in nats."""
    likelihood, found = model.likelihood, []
    for passed in encode(model, x, labels).passes(noise=np.zeros([1, model.latent_dim])):
        found.append(-np.asarray(likelihood.elements_log_prob(passed.params, passed.x, model.spec)[0]))
    return np.concatenate(found)


def explain(model, x, labels=None, *, reference, expected):
    """What is unusual about each example.

    Args:
        model: a `VAE`.
        x: examples [N,...] as the model was trained on them, or an `Encoded`.
        labels: classes [N], for a conditional model.
        reference: the `Reference` of training examples.
        expected: the mean of `element_costs` over held-out normal examples, [H,W], [F] or [T].

    Returns:
        The `Explanation`.
    """
    encoded, d = encode(model, x, labels), model.latent_dim
    codes, variance = features(model, encoded)[:, :d], np.diag(reference.covariance)[:d]
    return Explanation(
        element_costs(model, encoded) - expected,
        ((codes - reference.mean[:d]) / np.sqrt(variance + SMALLEST_VARIANCE)).astype("float32"),
    )


def element_names(spec):
    """The name of each element of a vector or a sequence: that of its column if the spec has one, else x0, x1, ..."""
    if spec.columns:
        return [column.name for column in spec.columns]
    return [f"x{place}" for place in range(spec.shape[0])]


def in_words(explanation, spec):
    """What is most unusual about each example, a line each: elements with nats, of images latents with z-scores."""
    if spec.is_image:
        values, names, unit = explanation.latents, [f"z{d}" for d in range(explanation.latents.shape[1])], ""
        order = np.argsort(-np.abs(values), axis=1)[:, :NAMED]
    else:
        values, names, unit = explanation.elements, element_names(spec), " nats"
        order = np.argsort(-values, axis=1)[:, :NAMED]
    return [
        "; ".join(f"{names[place]} {row[place]:+.1f}{unit}" for place in places)
        for row, places in zip(values, order, strict=True)
    ]

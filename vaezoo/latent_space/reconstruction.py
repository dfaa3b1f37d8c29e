"""Reconstruction, also seen as compression: the error, and the bits that the code costs. Imputation of rows."""

from typing import NamedTuple

import numpy as np

from vaezoo.columns import standardized
from vaezoo.latent_space.codes import kl_bits
from vaezoo.models.in_batches import BATCH, checked_examples, checked_labels, decode, embed
from vaezoo.seeds import IMPORTANCE, fold_seed

AT_ONCE = 100  # rows whose missing cells are filled in together


class Reconstructions(NamedTuple):
    """Examples and what the model makes of them.

    Attributes:
        inputs: [N,...].
        examples: the decoded posterior means [N,...].
        codes: the posterior means [N,D].
        squared_error: [N], the mean of `squared_difference` over the elements of an example that are not missing.
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
    squared_error = squared_difference(inputs, decoded, model.spec).reshape(len(inputs), -1)
    observed = ~np.isnan(squared_error)
    squared_error = np.where(observed, squared_error, 0).sum(-1) / np.maximum(observed.sum(-1), 1)
    return Reconstructions(inputs, decoded, codes, squared_error, np.concatenate(nats), kl_bits(model, inputs, labels))


def impute(model, x, labels=None, samples=200, seed=0):
    """Fill in the missing cells of rows, given their observed ones.

        E[x_missing | x_observed] = sum_k w_k E[x_missing | z_k],  w_k prop. to p(x_observed|z_k) p(z_k) / q(z_k|x)

    for z_k ~ q(z|x). A binary or categorical cell gets the value of the largest sum of weights. A model whose posterior
    has no density decodes its code.

    Args:
        model: a `VAE` of rows of a table.
        x: rows [N,F]; NaN is a missing cell.
        labels: classes [N], for a conditional model.
        samples: K.
        seed: of the draws.

    Returns:
        [N,F] float32: the observed cells as they are, and no NaN.

    Source: Mattei & Frellsen 2019, "MIWAE: deep generative modelling and imputation of incomplete data sets",
    arXiv:1812.02633, equation 12.
    """
    model.spec.require_table("imputation")
    inputs, filled = checked_examples(model, x), []
    labels = checked_labels(model, labels, inputs.shape[:1])
    if not model.posterior.has_density:
        return np.where(np.isnan(inputs), decode(model, embed(model, inputs, labels), labels), inputs)
    for number, start in enumerate(range(0, len(inputs), AT_ONCE)):
        part = slice(start, start + AT_ONCE)
        batch = {"x": inputs[part], "label": None if labels is None else labels[part]}
        passed = model.forward(batch, samples=samples, seed=fold_seed(seed, IMPORTANCE, number))
        log_weights = np.asarray(passed.log_likelihood - passed.log_ratio, "float64")  # [K,B]
        weights = np.exp(log_weights - log_weights.max(0))[..., None]  # [K,B,1]
        weights /= weights.sum(0)
        rows = np.asarray(model.likelihood.example(passed.params, model.spec))  # [K,B,F]
        found = (weights * rows).sum(0)
        for place, column in enumerate(model.spec.columns):
            if not column.is_number:
                votes = weights * (rows[..., place, None] == np.arange(len(column.values)))  # [K,B,V]
                found[:, place] = votes.sum(0).argmax(-1)
        filled.append(np.where(np.isnan(inputs[part]), found, inputs[part]).astype("float32"))
    return np.concatenate(filled)


def squared_difference(one, other, spec):
    """(one - other)^2 of each element; of tokens, 1 where they differ and 0 where they are equal.

    Of a row of a table, numbers are in units of their columns, values are as tokens, and a missing cell gives NaN.
    """
    if spec.columns is not None:
        difference = standardized(one, spec.columns) - standardized(other, spec.columns)
        indices = [place for place, column in enumerate(spec.columns) if not column.is_number]
        difference[..., indices] = np.sign(difference[..., indices])
        return np.square(difference)
    if spec.levels is not None:
        return np.not_equal(one, other).astype("float32")
    return np.square(one - other)

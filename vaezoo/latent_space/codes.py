"""What each latent axis, and the code as a whole, tells about the example."""

import math
from typing import NamedTuple

import numpy as np

from vaezoo.models.in_batches import batches, embed
from vaezoo.seeds import EVALUATION, fold_seed

SAMPLES = 64  # of the posterior, for a quantity without a closed form


class Information(NamedTuple):
    """What each latent axis tells about the example: values [D] in a unit, "bits" or "variance"."""

    values: np.ndarray
    unit: str

    @property
    def order(self):
        """The axes, the most informative first [D]."""
        return np.argsort(-self.values, kind="stable")


def information(model, x, labels=None):
    """How much each latent axis tells about the example.

    For axis i this is the mean over the examples of KL(N(m_i, s_i^2) || N(0, 1)) = (m_i^2 + s_i^2 - 1) / 2 - ln s_i,
    in bits. m and s are the mean and the standard deviation of the posterior, standardized by the mean and the standard
    deviation of the prior. For a posterior without a density (an autoencoder) it is the variance of the code.

    Args:
        model: a `VAE`.
        x: examples [N,...]; a thousand are enough.
        labels: classes [N], for a conditional model.

    Returns:
        An `Information`.
    """
    if not model.posterior.has_density:
        return Information(embed(model, x, labels).var(0, dtype="float64"), "variance")
    means, spreads = [], []
    for number, (part, y) in enumerate(batches(model, x, labels)):
        mean, spread = _moments(model, part, y, fold_seed(model.seed, EVALUATION, number))
        means.append(mean)
        spreads.append(spread)
    prior = model.prior_distribution()
    center, unit = np.asarray(prior.mean(), "float64"), np.asarray(prior.stddev(), "float64")  # [D]
    mean, spread = (np.concatenate(means) - center) / unit, np.concatenate(spreads) / unit  # [N,D]
    nats = ((mean**2 + spread**2 - 1) / 2 - np.log(spread)).mean(0)
    return Information(nats / math.log(2), "bits")


def _moments(model, x, labels, seed):
    """The mean and the standard deviation of q(z|x) [B,D]: in closed form if it is normal, otherwise from samples."""
    q = model.encode(x, labels)
    if model.posterior.normal:
        return np.asarray(q.mean(), "float64"), np.asarray(q.stddev(), "float64")
    z = np.asarray(q.sample(SAMPLES, seed=seed), "float64")  # [K,B,D]
    return z.mean(0), z.std(0, ddof=1)


def kl_bits(model, x, labels=None):
    """KL(q(z|x) || p(z)) of each example [N], in bits: the cost of sending the code. None for an autoencoder.

    By the bits-back argument, a code drawn from q(z|x) costs log2 q(z|x) / p(z) bits on average (Hinton & van Camp
    1993). The code of an autoencoder is a point without a density, so its cost is not finite.
    """
    if not model.posterior.has_density:
        return None
    bits = []
    for number, (part, y) in enumerate(batches(model, x, labels)):
        seed = fold_seed(model.seed, EVALUATION, number)
        passed = model.forward({"x": part, "label": y}, samples=SAMPLES, seed=seed)
        bits.append(np.asarray(passed.kl()) / math.log(2))
    return np.concatenate(bits)

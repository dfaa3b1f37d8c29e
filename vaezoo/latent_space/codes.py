"""What each latent axis, and the whole code, tells about the image."""

import math
from typing import NamedTuple

import numpy as np

from vaezoo.models.in_batches import batches
from vaezoo.objectives import kl_divergence
from vaezoo.posteriors import Point
from vaezoo.seeds import EVALUATION, fold_seed

SAMPLES = 64  # of the posterior, where what is asked of it has no closed form


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
    for number, (x, y) in enumerate(batches(model, images, labels)):
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
    for number, (x, y) in enumerate(batches(model, images, labels)):
        q = model.encode(x, y)
        z = q.sample(SAMPLES, seed=fold_seed(model.seed, EVALUATION, number))
        bits.append(np.asarray(kl_divergence(q, model.prior_distribution(), z)) / math.log(2))
    return np.concatenate(bits)

"""What the latent code holds: active units, the KL of each latent, mutual information, the aggregated posterior.

`x` is always examples [N,...] as the model was trained on them, or an `Encoded`.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo.data.split import equally_spaced
from vaezoo.evaluation.encoded import encode
from vaezoo.seeds import IMPORTANCE, fold_seed

tfd = tfp.distributions

ACTIVE = 0.01  # the variance of a latent's posterior mean above which it is active (Burda et al. 2016, section 5)
CODES = 1000  # drawn to estimate the aggregated posterior; the density of each is computed under every posterior
CODES_OF_SLOW = 200  # codes, and posteriors, where the density of a code not drawn from q takes a pass for each latent
SATURATED = 0.5  # nats below log N from which an estimate of I(x; z) is taken for the bound itself
AT_ONCE = 2**22  # numbers, 16 MB


def active_units(means):
    """The number of latents whose posterior mean [N,D] varies over the examples, with a variance above 0.01."""
    return int((np.var(means, axis=0, dtype="float64") > ACTIVE).sum())


def closed_form_kl(model, x, labels=None):
    """KL(q(z|x) || p(z)) of each example [N] in nats, or None where it has no closed form."""
    if not model.posterior.has_density:
        return None
    values = []
    for passed in encode(model, x, labels).passes():
        kl = passed.closed_form_kl
        if kl is None or not _one_for_all_draws(passed):
            return None
        values.append(kl)
    return np.concatenate(values).astype("float64")


def kl_per_latent(model, x, labels=None):
    """KL(q(z_d|x) || p(z_d)) of each latent, averaged over the examples.

    For a diagonal normal posterior these add up to the KL. For a full one they leave out the cost of its correlations.
    Down a hierarchy each is given the groups above it, of one draw for each example.

    Args:
        model: a `VAE`.
        x: examples [N,...].
        labels: classes [N], for a conditional model.

    Returns:
        [D] in nats; None unless q(z|x), or each group of it, is normal and p(z) is normal and diagonal: for others the
        KL is not a sum over the latents.
    """
    if not ((model.posterior.normal or model.posterior.hierarchical) and model.prior.normal):
        return None
    total, encoded = 0.0, encode(model, x, labels)
    for passed in encoded.passes():
        q, prior = (tfd.Normal(law.mean(), law.stddev()) for law in (passed.q, passed.prior))  # the marginals
        kl = np.asarray(tfd.kl_divergence(q, prior), "float64")  # [B,D], or [1,B,D] down a hierarchy
        total = total + kl.reshape(-1, model.latent_dim).sum(0)
    return total / len(encoded)


class AggregatedPosterior(NamedTuple):
    """Estimates about q(z) = 1/N sum_n q(z|x_n), the mean of the posteriors of N examples; from M codes, in nats.

    Attributes:
        mutual_information: [M], whose mean estimates I(x; z) = E log q(z|x) / q(z).
        marginal_kl: [M], whose mean estimates KL(q(z) || p(z)) = E log q(z) / p(z).
        total_correlation: [M], whose mean estimates KL(q(z) || prod_d q(z_d)), how far the latents are from
            independent; None where the marginals of q(z|x) are not known, as of a flow.
        examples: N. The estimate of I(x; z) is at most log N, however much more the code holds of unseen examples.
    """

    mutual_information: np.ndarray
    marginal_kl: np.ndarray
    total_correlation: np.ndarray | None
    examples: int

    @property
    def bound(self):
        """log N, in nats."""
        return math.log(self.examples)

    @property
    def saturated(self):
        """Whether the code tells all examples apart: q(z) at a code is then 1/N of the posterior that drew it.

        So the density is far too high, and the estimates of what follows from it are: of the total correlation too.
        """
        return bool(self.mutual_information.mean() > self.bound - SATURATED)


def aggregated_posterior(model, x, labels=None, seed=0):
    """Divide the KL into the information of the code about the example, and the distance of all codes to the prior.

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)) (Hoffman & Johnson 2016). A code is drawn from the posterior of
    each of M examples, equally spaced among the N, and its density under q(z) is the mean over all N posteriors: the
    minibatch-weighted estimate of Chen et al. 2018 (arXiv:1802.04942, appendix C.1) with the complete set as minibatch.

    Args:
        model: a `VAE`.
        x: examples [N,...].
        labels: classes [N], for a conditional model.
        seed: of the codes.

    Returns:
        An `AggregatedPosterior`; None for a posterior without a density, or whose density at a code depends on how the
        code was drawn, as down a hierarchy.
    """
    if not model.posterior.has_density:
        return None
    encoded = encode(model, x, labels)
    known = equally_spaced(len(encoded), len(encoded) if model.posterior.normal else CODES_OF_SLOW)
    z, log_own = [], []

    def seed_of_batch(number):  # a negative number: that of no batch of `estimate_nll`
        return fold_seed(seed, IMPORTANCE, -1 - number)

    for passed in encoded.passes(known[equally_spaced(len(known), CODES)], seed_of_batch):
        if not _one_for_all_draws(passed):
            return None
        z.append(passed.z[0])
        log_own.append(passed.q.log_prob(passed.z)[0])
    z, log_own = tf.concat(z, 0), np.concatenate(log_own).astype("float64")  # [M,D], [M]
    log_sum = np.full(len(z), -np.inf)
    log_sums = np.full(z.shape, -np.inf) if model.posterior.normal else None  # of the marginals, [M,D]
    for passed in encoded.passes(known):
        size = passed.q.batch_shape[0]  # B
        marginals = tfd.Normal(passed.q.mean(), passed.q.stddev()) if model.posterior.normal else None  # [B,D]
        step = max(1, AT_ONCE // (size * model.latent_dim))
        for start in range(0, len(z), step):
            codes = z[start : start + step, tf.newaxis]  # [m,1,D]
            codes = tf.broadcast_to(codes, [codes.shape[0], size, model.latent_dim])
            rows = slice(start, start + step)
            log_sum[rows] = np.logaddexp(log_sum[rows], _log_sum(passed.q.log_prob(codes)))
            if marginals is not None:
                log_sums[rows] = np.logaddexp(log_sums[rows], _log_sum(marginals.log_prob(codes)))
    log_aggregated = log_sum - math.log(len(known))
    log_prior = np.asarray(encoded.prior.log_prob(z), "float64")
    return AggregatedPosterior(
        mutual_information=log_own - log_aggregated,
        marginal_kl=log_aggregated - log_prior,
        total_correlation=None if log_sums is None else log_aggregated - (log_sums - math.log(len(known))).sum(1),
        examples=len(known),
    )


def _log_sum(log_densities):
    """log sum_n exp of [M,N,...] → [M,...], in float64."""
    return np.asarray(tf.reduce_logsumexp(log_densities, axis=1), "float64")


def _one_for_all_draws(passed):
    """Whether all draws of an example have the same q(z|x). Down a hierarchy each group's depends on those above it."""
    return passed.q.batch_shape.rank == 1

"""What the latent code holds: active units, the KL of each latent, mutual information, the aggregated posterior."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import batches
from vaezoo.objectives import kl_divergence
from vaezoo.seeds import IMPORTANCE, fold_seed

tfd = tfp.distributions

ACTIVE = 0.01  # the variance of a latent's posterior mean above which it is active (Burda et al. 2016, section 5)
CODES = 1000  # drawn to estimate the aggregated posterior; each is weighed by every image's posterior
CODES_OF_SLOW = 200  # and so many, by as many images, where a density of any but its own sample takes D passes: a flow
AT_ONCE = 2**22  # numbers, 16 MB


def active_units(means):
    """How many latents have a posterior mean [N,D] that varies over the images by more than 0.01."""
    return int((np.var(means, axis=0, dtype="float64") > ACTIVE).sum())


def closed_form_kl(model, images, labels=None):
    """KL(q(z|x) || p(z)) of each image [N] in nats, or None where it has no closed form."""
    values = []
    for x, y in batches(model, images, labels):
        try:
            values.append(kl_divergence(model.encode(x, y), model.prior_distribution(), None, "closed_form"))
        except VaezooError:
            return None
    return np.concatenate(values).astype("float64")


def kl_per_latent(model, images, labels=None):
    """KL(q(z_d|x) || p(z_d)) of each latent, averaged over the images.

    Under a diagonal normal posterior these add up to the KL. Under a full one they leave out what its correlations
    cost.

    Args:
        model: a `VAE`.
        images: [N,H,W,C] in [0, 1].
        labels: classes [N], for a conditional model.

    Returns:
        [D] in nats; None unless both q(z|x) and p(z) are normal and p(z) is diagonal: the KL of others does not divide
        among the latents.
    """
    prior, total, count = model.prior_distribution(), 0.0, 0
    if not isinstance(prior, tfd.MultivariateNormalDiag):
        return None
    for x, y in batches(model, images, labels):
        q = model.encode(x, y)
        if not isinstance(q, tfd.MultivariateNormalLinearOperator):
            return None
        marginals = tfd.Normal(q.mean(), q.stddev()), tfd.Normal(prior.mean(), prior.stddev())
        total = total + np.asarray(tfd.kl_divergence(*marginals), "float64").sum(0)
        count += len(x)
    return total / count


class AggregatedPosterior(NamedTuple):
    """Estimates about q(z) = 1/N sum_n q(z|x_n), the posterior of all images together; M codes, in nats.

    Attributes:
        mutual_information: [M], whose mean estimates I(x; z) = E log q(z|x) / q(z).
        marginal_kl: [M], whose mean estimates KL(q(z) || p(z)) = E log q(z) / p(z).
        images: N. I(x; z) cannot come out above log N, however much more the code holds of images yet unseen.
    """

    mutual_information: np.ndarray
    marginal_kl: np.ndarray
    images: int

    @property
    def bound(self):
        """log N, in nats."""
        return math.log(self.images)


def aggregated_posterior(model, images, labels=None, seed=0):
    """Divide the KL into what the code tells of the image, and how far all codes together are from the prior.

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)) (Hoffman & Johnson 2016). A code is drawn from the posterior of
    each of M images, equally spaced among the N, and its density under q(z) is the mean over all N posteriors: the
    minibatch-weighted estimate of Chen et al. 2018 (arXiv:1802.04942, appendix C.1), the minibatch being the whole set.

    Args:
        model: a `VAE` whose posterior has a density.
        images: [N,H,W,C] in [0, 1].
        labels: classes [N], for a conditional model.
        seed: of the codes.

    Returns:
        An `AggregatedPosterior`.
    """
    slow = not isinstance(_posteriors(model, images, labels, [0])[0], tfd.MultivariateNormalLinearOperator)
    known = _spaced(len(images), CODES_OF_SLOW if slow else len(images))
    z, log_own = [], []
    for number, q in enumerate(_posteriors(model, images, labels, known[_spaced(len(known), CODES)])):
        z.append(q.sample(seed=fold_seed(seed, IMPORTANCE, -1 - number)))  # no number of a batch of `log_evidence`
        log_own.append(q.log_prob(z[-1]))
    z, log_own = tf.concat(z, 0), np.concatenate(log_own).astype("float64")  # [M,D], [M]
    log_sum = np.full(len(z), -np.inf)
    for q in _posteriors(model, images, labels, known):
        size = q.batch_shape[0]  # B
        step = max(1, AT_ONCE // (size * model.latent_dim))
        for start in range(0, len(z), step):
            codes = z[start : start + step, tf.newaxis]  # [m,1,D]
            codes = tf.broadcast_to(codes, [codes.shape[0], size, model.latent_dim])
            log_q = np.asarray(q.log_prob(codes), "float64")  # [m,B]
            log_sum[start : start + step] = np.logaddexp(
                log_sum[start : start + step], np.logaddexp.reduce(log_q, axis=1)
            )
    log_aggregated = log_sum - math.log(len(known))
    log_prior = np.asarray(model.prior_distribution().log_prob(z), "float64")
    return AggregatedPosterior(log_own - log_aggregated, log_aggregated - log_prior, len(known))


def _posteriors(model, images, labels, indices):
    """The posteriors of some of the images, a batch after the other."""
    return [model.encode(x, y) for x, y in batches(model, images[indices], None if labels is None else labels[indices])]


def _spaced(count, most):
    """At most so many of the indices 0 .. count - 1, equally spaced: the order of a test set may mean something."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)

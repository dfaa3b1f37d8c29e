"""Objectives that shape the aggregated posterior q(z), the mean of q(z|x) over the examples.

The ELBO asks only that each q(z|x) be near the prior. These ask in addition that q(z) be near the prior, or near the
product of its own marginals: that its latents be independent. What they need of q(z) they estimate from the batch;
with several devices, each from its own rows, so the update differs from that of one device.
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo import part_schema
from vaezoo.objectives.bounds import ELBO, at_step
from vaezoo.registry import OBJECTIVES

tfd = tfp.distributions


@OBJECTIVES.register(part_schema.CapacityELBO)
class CapacityELBO(ELBO):
    """loss = -E_q[log p(x|z)] + gamma |KL - C|, with the mean KL of the batch and a capacity C that rises, in nats.

    The code is let to hold C nats about an example: at first so few that only the factors that help the reconstruction
    most are worth them.

    Source: Burgess et al. 2018, "Understanding disentangling in beta-VAE", arXiv:1804.03599, equation 8.
    """

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        distance = tf.abs(tf.reduce_mean(terms["kl"]) - at_step(self.capacity, step))
        return {**terms, "loss": terms["reconstruction"] + self.gamma * distance}


@OBJECTIVES.register(part_schema.TotalCorrelationELBO)
class TotalCorrelationELBO(ELBO):
    """loss = -E_q[log p(x|z)] + alpha I(x; z) + beta TC + gamma KL_d: the KL in three parts, each with a weight.

    With q(z) the aggregated posterior, KL = I(x; z) + KL(q(z) || p(z)), and the latter is TC = KL(q(z) || prod_d
    q(z_d)), the total correlation, and KL_d = sum_d KL(q(z_d) || p(z_d)). The density of a code under q(z) is estimated
    from the posteriors of the batch. With all weights 1 the loss is -ELBO, whatever the estimates.

    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", arXiv:1802.04942, equations 2 and 4, and
    appendix C for the estimators. Here the stratified one takes every other example of the batch in the place of the
    one that has the largest weight there: the mean is the same, and it varies less.
    """

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        z, q = passed.z, passed.q  # [K,B,D]
        batch = tf.shape(z)[1]
        codes = tf.broadcast_to(z[:, :, tf.newaxis], [tf.shape(z)[0], batch, batch, z.shape[-1]])  # [K,B,B,D]
        weights = _log_weights(batch, self.dataset_size, self.estimator == "stratified")  # [B,B]
        log_q = tf.reduce_logsumexp(weights + q.log_prob(codes), axis=2)  # [K,B], of log q(z)
        marginals = tfd.Normal(q.mean(), q.stddev()).log_prob(codes)  # [K,B,B,D]
        log_marginals = tf.reduce_logsumexp(weights[..., tf.newaxis] + marginals, axis=2)  # [K,B,D], of log q(z_d)
        log_product = tf.reduce_sum(log_marginals, axis=-1)
        parts = {
            "mutual_information": q.log_prob(z) - log_q,
            "total_correlation": log_q - log_product,
            "dimension_kl": log_product - passed.prior.log_prob(z),
        }
        parts = {name: tf.reduce_mean(part, axis=0) for name, part in parts.items()}  # [B]
        loss = terms["loss"]
        for weight, part in zip((self.alpha, self.beta, self.gamma), parts.values(), strict=True):
            if weight != 1:  # its weight in the KL
                loss += (weight - 1) * part
        return {**terms, "loss": loss, **parts}


def _log_weights(batch, dataset_size, stratified):
    """The logarithms [B,B] of the weights w_ij for which sum_j w_ij q(z_i|x_j) estimates q(z_i).

    Args:
        batch: B, an integer tensor: the posteriors in the batch; code i was drawn from posterior i.
        dataset_size: N, the number of training examples; None if they are those of the batch.
        stratified: whether the posterior that drew the code has the weight 1/N, which it has in q(z), and the others
            share the rest: without bias. Otherwise all have 1/(N B): a lower bound.
    """
    b = tf.cast(batch, tf.float32)
    n = b if dataset_size is None else float(dataset_size)
    if not stratified:
        return tf.fill([batch, batch], -tf.math.log(n * b))
    others = tf.math.log((n - 1) / n) - tf.math.log(tf.maximum(b - 1, 1))
    return tf.where(tf.eye(batch, dtype=tf.bool), -tf.math.log(n), others)


@OBJECTIVES.register(part_schema.DIPELBO)
class DIPELBO(ELBO):
    """loss = -ELBO + off_diagonal sum_{d != e} C_de^2 + diagonal sum_d (C_dd - 1)^2, with C a covariance of the codes.

    C is that of the means of q(z|x) over the batch (DIP-VAE-I), or that of the codes themselves: the same, and the
    mean covariance of q(z|x) (DIP-VAE-II).

    Source: Kumar et al. 2018, "Variational inference of disentangled latent concepts from unlabeled observations",
    arXiv:1711.00848, equations 5 to 7.
    """

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        covariance = tfp.stats.covariance(passed.q.mean())  # [D,D]
        if self.of == "codes":
            covariance += tf.reduce_mean(passed.q.covariance(), axis=0)
        diagonal = tf.linalg.diag_part(covariance)
        penalty = self.diagonal * tf.reduce_sum((diagonal - 1) ** 2)
        penalty += self.off_diagonal * (tf.reduce_sum(covariance**2) - tf.reduce_sum(diagonal**2))
        penalty = tf.fill(tf.shape(terms["loss"]), penalty)
        return {**terms, "loss": terms["loss"] + penalty, "dip": penalty}


@OBJECTIVES.register(part_schema.InfoELBO)
class InfoELBO(ELBO):
    """loss = -E_q[log p(x|z)] + (1 - alpha) KL + (alpha + divergence - 1) MMD^2(q(z), p(z)).

    alpha is the weight of the information I(x; z) in what is maximized, and `divergence` that of the distance of q(z)
    to the prior, for which the squared maximum mean discrepancy of the batch stands. With alpha = 1 it is the
    Wasserstein autoencoder with MMD, in nats.

    Source: Zhao et al. 2017, "InfoVAE", arXiv:1706.02262, equation 6; Tolstikhin et al. 2018, "Wasserstein
    auto-encoders", arXiv:1711.01558, algorithm 2, for the estimator without bias and the second kernel.
    """

    def kl_weight(self, step):
        """1 - alpha."""
        return 1 - self.alpha

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        z = passed.z[0]
        mmd = _squared_mmd(z, _prior_codes(passed, tf.shape(z)[0]), KERNELS[self.kernel], self.bandwidth)
        mmd = tf.fill(tf.shape(terms["loss"]), mmd)
        return {**terms, "loss": terms["loss"] + (self.alpha + self.divergence - 1) * mmd, "mmd": mmd}


# Of the squared distance in units of the bandwidth, divided by 2 D: about 1 for two codes of a standard normal prior.
KERNELS = {"rbf": lambda distance: tf.exp(-distance), "imq": lambda distance: 1 / (1 + distance)}


def _squared_mmd(a, b, kernel, bandwidth):
    """The squared maximum mean discrepancy of the laws of a [N,D] and b [M,D], estimated without bias."""
    unit = 2.0 * a.shape[-1] * bandwidth**2
    n, m = (tf.cast(tf.shape(codes)[0], tf.float32) for codes in (a, b))

    def total(left, right):
        return tf.reduce_sum(kernel(tf.reduce_sum((left[:, tf.newaxis] - right) ** 2, axis=-1) / unit))

    # A code and itself are no pair; their kernel is 1.
    within = [(total(codes, codes) - count) / tf.maximum(count * (count - 1), 1) for codes, count in ((a, n), (b, m))]
    return within[0] + within[1] - 2 * total(a, b) / (n * m)


@OBJECTIVES.register(part_schema.AdversarialELBO)
class AdversarialELBO(ELBO):
    """loss = -E_q[log p(x|z)] + beta KL + weight E_q(z)[-log D(z)]: the adversarial autoencoder.

    A critic tells draws of the prior, D(z) near 1, from the codes of the batch, D(z) near 0; the encoder moves its
    codes to where the critic takes them for draws of the prior. The critic minimizes its cross-entropy, `critic`:
    2 log 2 = 1.39 nats where it cannot tell them apart.

    Source: Makhzani et al. 2016, "Adversarial autoencoders", arXiv:1511.05644, section 2.
    """

    def build(self, z_shape):
        """Make the critic: z [B,D] → a logit [B,1], that z is a draw of the prior."""
        self.critic = _critic(z_shape[-1], self.hidden)

    def players(self, model):
        """The critic minimizes its cross-entropy."""
        return {"critic": self.critic.trainable_variables}

    def kl_weight(self, step):
        """beta at that step."""
        return at_step(self.beta, step)

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        z = passed.z[0]
        logit, of_prior = self.critic(z)[:, 0], self.critic(_prior_codes(passed, tf.shape(z)[0]))[:, 0]  # [B]
        adversarial = tf.nn.softplus(-logit)
        critic = tf.nn.softplus(logit) + tf.nn.softplus(-of_prior)
        return {
            **terms,
            "loss": terms["loss"] + self.weight * adversarial,
            "adversarial": adversarial,
            "critic": critic,
        }


def _prior_codes(passed, count):
    """Codes of the prior [count,D], drawn with other noise than those of the pass."""
    seed = tf.random.experimental.stateless_fold_in(passed.seed, 2, alg="philox")
    return tf.stop_gradient(passed.prior.sample(count, seed=seed))


@OBJECTIVES.register(part_schema.FactorELBO)
class FactorELBO(ELBO):
    """loss = -ELBO + gamma TC, with TC = KL(q(z) || prod_d q(z_d)), the total correlation of the codes.

    A critic tells the codes z of a batch from codes whose latents are permuted over the batch, each by itself: those
    are draws of prod_d q(z_d). Where it is optimal, its logit is log q(z) / prod_d q(z_d), so the mean logit over z
    estimates TC. The critic minimizes its own cross-entropy, `critic`.

    Source: Kim & Mnih 2018, "Disentangling by Factorising", arXiv:1802.05983, algorithm 2; here one batch serves for
    both kinds of code.
    """

    def build(self, z_shape):
        """Make the critic: z [B,D] → a logit [B,1]."""
        self.critic = _critic(z_shape[-1], self.hidden)

    def players(self, model):
        """The critic minimizes its cross-entropy."""
        return {"critic": self.critic.trainable_variables}

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        z = passed.z[0]  # [B,D]
        logit, permuted = self.critic(z)[:, 0], self.critic(_permuted(z, passed.seed))[:, 0]  # [B]
        critic = tf.nn.softplus(-logit) + tf.nn.softplus(permuted)
        loss = terms["loss"] + self.gamma * logit
        return {**terms, "loss": loss, "total_correlation": logit, "critic": critic}


def _permuted(z, seed):
    """z [B,D] with every latent permuted over the batch by itself."""
    # Another seed than that of the noise of z: the order must not depend on z.
    seed = tf.random.experimental.stateless_fold_in(seed, 1, alg="philox")
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(z), seed, alg="philox"), axis=0)  # [B,D]
    return tf.transpose(tf.gather(tf.transpose(z), tf.transpose(order), batch_dims=1))


def _critic(latent_dim, hidden):
    """A network z [B,D] → a logit [B,1]."""
    layers = [keras.layers.Dense(width, "leaky_relu", dtype="float32") for width in hidden]
    return keras.Sequential(
        [keras.Input((latent_dim,)), *layers, keras.layers.Dense(1, dtype="float32")], name="critic"
    )

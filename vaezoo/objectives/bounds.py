"""Objectives of one example at a time: bounds on log p(x), and the reconstruction alone."""

import math

import tensorflow as tf

from vaezoo import part_schema, parts  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.errors import VaezooError
from vaezoo.registry import OBJECTIVES


class Objective(parts.Part):
    """What every objective answers. `terms` names what `compute` returns; its section declares it.

    Attributes:
        samples: K, how many codes of the posterior are drawn for each example.
    """

    samples = 1

    @property
    def draws(self):
        """How many codes of an example one pass draws."""
        return self.samples

    def build(self, z_shape):
        """Make the weights, for codes of the shape (None, D)."""

    def players(self, model):
        """Who minimizes what else: the name of a term → the weights that minimize its mean.

        Every other weight of the model minimizes the mean of "loss". A weight has the gradient of its own term alone.
        """
        return {}

    def compute(self, passed, step):
        """The terms of a pass.

        Args:
            passed: a `Pass` with `draws` draws for each example.
            step: the number of optimizer steps taken, an integer tensor.

        Returns:
            The terms by name, each [B], in nats.
        """
        raise NotImplementedError


@OBJECTIVES.register(part_schema.ELBO)
class ELBO(Objective):
    """loss = -ELBO = -E_q[log p(x|z)] + KL(q(z|x) || p(z)) (Kingma & Welling 2014, equation 3)."""

    reconstruction_weight = 1.0
    free_nats = 0.0  # the KL of an example that costs nothing

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        draws = passed if self.gradient == "reparameterized" else _with_fixed_density(passed, self.gradient)
        reconstruction = -tf.reduce_mean(draws.log_likelihood, axis=0)  # [B]
        kl = draws.kl(self.kl if draws is passed else "monte_carlo")  # [B]
        weight, free = self.kl_weight(step), self.free_nats
        if free:
            # An example with less has no gradient of the KL. With a fixed density, the draws must not decide which.
            known = kl if draws is passed else passed.kl("closed_form")
            weight *= tf.cast(known > free, kl.dtype)
        loss = self.reconstruction_weight * reconstruction + weight * (kl - free)
        terms = {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        if self.gradient == "score_function":
            losses = weight * draws.log_ratio - self.reconstruction_weight * draws.log_likelihood
            terms["loss"] += _score(passed, draws, tf.stop_gradient(losses), self.samples)
        return terms

    def kl_weight(self, step):
        """The weight of the KL in the loss at that step."""
        return 1.0


def _with_fixed_density(passed, gradient):
    """The pass with the parameters of q held fixed in log q(z|x), and for the score function z too.

    Without its direct gradient, which is zero in expectation, the rest of the gradient of the bound vanishes where
    q(z|x) is the true posterior: "sticking the landing" (Roeder et al. 2017, arXiv:1703.09194).
    """
    q = tf.nest.map_structure(tf.stop_gradient, passed.q, expand_composites=True)
    return passed.with_draws(q, tf.stop_gradient(passed.z) if gradient == "score_function" else passed.z)


def _score(passed, draws, losses, samples):
    """A zero [B] whose gradient is that of E_q[loss] with respect to q, for losses [K,B] of K = `samples` draws.

    The gradient is the mean of (loss_k - b_k) d log q(z_k|x), with b_k the mean loss of the other draws as a control
    variate, which is independent of z_k (Kingma & Welling 2014, section 2.2; Mnih & Rezende 2016, arXiv:1602.06725).
    """
    others = (tf.reduce_sum(losses, axis=0) - losses) / (samples - 1)  # [K,B]
    log_q = passed.q.log_prob(draws.z)
    return tf.reduce_mean((losses - others) * (log_q - tf.stop_gradient(log_q)), axis=0)


@OBJECTIVES.register(part_schema.BetaELBO)
class BetaELBO(ELBO):
    """loss = -w E_q[log p(x|z)] + beta KL(q(z|x) || p(z)) (Higgins et al. 2017, equation 4, where w is 1).

    A warm-up is computed from the step inside the graph, so a resumed run goes on where it was.
    """

    def kl_weight(self, step):
        """beta at that step."""
        return at_step(self.beta, step)

    @property
    def free_nats(self):
        """The free bits, in nats."""
        return self.free_bits * math.log(2)


def at_step(weight, step):
    """A weight that is a number, or a `WarmUp` at that step."""
    if not isinstance(weight, part_schema.WarmUp):
        return float(weight)
    progress = tf.minimum(tf.cast(step, tf.float32) / weight.steps, 1.0)
    return weight.start + (weight.end - weight.start) * progress


@OBJECTIVES.register(part_schema.IWAE)
class IWAE(Objective):
    """loss = -log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x): the importance-weighted bound.

    It lies between the ELBO, which it is at K = 1, and log p(x), which it approaches as K grows (Burda et al. 2016,
    equation 8). The other terms are those of the ELBO over the same samples, with the Monte-Carlo KL.

    The doubly-reparameterized gradient is that of Tucker et al. (2019, equation 8, arXiv:1810.04152): the same in
    expectation, and its noise does not drown it as K grows. It is for posteriors whose density is a function of their
    parameters alone: the normal ones.
    """

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        if self.doubly_reparameterized:
            passed, weigh = _doubly_reparameterized(passed)
        log_weights = passed.log_likelihood - passed.log_ratio  # [M*K,B]
        bounds = tf.reshape(log_weights, [-1, self.samples, tf.shape(log_weights)[1]])  # [M,K,B]
        loss = _importance_weighted(bounds, self.samples)
        if self.doubly_reparameterized:
            weights = self.weights_of_draws(tf.nn.softmax(bounds, axis=1))
            weigh(tf.stop_gradient(tf.reshape(weights, tf.shape(log_weights))))
        reconstruction, kl = -tf.reduce_mean(passed.log_likelihood, axis=0), passed.kl("monte_carlo")
        terms = {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return self.mixed(terms, log_weights)

    def weights_of_draws(self, normalized):
        """By what the doubly-reparameterized gradient multiplies the loss's own gradient by each draw.

        Args:
            normalized: w~_k = w_k / sum_j w_j, [M,K,B].

        Returns:
            [M,K,B].
        """
        return normalized

    def mixed(self, terms, log_weights):
        """The terms of the objective, from those of the mean of the bounds, and log weights [M*K,B]."""
        return terms


@OBJECTIVES.register(part_schema.MIWAE)
class MIWAE(IWAE):
    """loss = -1/M sum_m log 1/K sum_k w_mk: the mean of M importance-weighted bounds of K samples each.

    Its gradient is as strong as that of M K samples, and the encoder's does not vanish in noise as that of IWAE does.

    Source: Rainforth et al. 2018, "Tighter variational bounds are not necessarily better", arXiv:1802.04537, section 5.
    """

    @property
    def draws(self):
        """M K."""
        return self.bounds * self.samples


@OBJECTIVES.register(part_schema.CIWAE)
class CIWAE(IWAE):
    """loss = -b ELBO - (1 - b) log 1/K sum_k w_k, with b the weight of the ELBO (Rainforth et al. 2018, section 5)."""

    def weights_of_draws(self, normalized):
        """See `IWAE`: of the two bounds, the ELBO already has the gradient that is wanted of it."""
        bound, elbo = (1 - self.elbo_weight) * normalized, self.elbo_weight / self.samples
        # Where both are 0 there is no gradient to weigh.
        return tf.math.divide_no_nan(bound * normalized + elbo, bound + elbo)

    def mixed(self, terms, log_weights):
        """The mixture of both."""
        loss = (1 - self.elbo_weight) * terms["loss"] - self.elbo_weight * terms["elbo"]
        return {**terms, "loss": loss}


@OBJECTIVES.register(part_schema.PIWAE)
class PIWAE(MIWAE):
    """The decoder and the prior minimize -log 1/(M K) sum_mk w_mk, the encoder the loss of MIWAE, here `inference`.

    Source: Rainforth et al. 2018, section 5.
    """

    def players(self, model):
        """The encoder and the posterior minimize the mean of the smaller bounds."""
        return {"inference": [*model.encoder.trainable_variables, *model.posterior.trainable_variables]}

    def mixed(self, terms, log_weights):
        """The larger bound as the loss, the mean of the smaller ones as `inference`."""
        return {**terms, "loss": _importance_weighted(log_weights[tf.newaxis], self.draws), "inference": terms["loss"]}


def _importance_weighted(bounds, samples):
    """-1/M sum_m log 1/K sum_k w_mk [B], of the logarithms of the weights [M,K,B], with K = `samples`."""
    return math.log(samples) - tf.reduce_mean(tf.reduce_logsumexp(bounds, axis=1), axis=0)


def _doubly_reparameterized(passed):
    """The pass with the parameters of q held fixed and with weights [K,B] on the gradient of z; how to set the weights.

    The gradient of the bound weighs sample k by w~_k = w_k / sum_j w_j. What reaches the parameters of q through z has
    to be weighed by it once more, and the weights are known only once z has been decoded; hence they are set later,
    yet before the gradient is taken.
    """
    if not passed.model.posterior.normal:
        raise VaezooError(
            f"the doubly-reparameterized gradient needs a normal posterior, not {passed.q.name}; "
            "set model.objective.doubly_reparameterized=false"
        )
    weights = []

    @tf.custom_gradient
    def weighted(z):
        return tf.identity(z), lambda upstream: upstream * weights[0][..., tf.newaxis]

    fixed = tf.nest.map_structure(tf.stop_gradient, passed.q, expand_composites=True)
    return passed.with_draws(fixed, weighted(passed.z)), weights.append


@OBJECTIVES.register(part_schema.Reconstruction)
class Reconstruction(Objective):
    """loss = -log p(x|z): the plain autoencoder. There is no KL in it and so no bound on log p(x)."""

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        reconstruction = -tf.reduce_mean(passed.log_likelihood, axis=0)  # [B]
        return {"loss": reconstruction, "reconstruction": reconstruction}


@OBJECTIVES.register(part_schema.RegularizedReconstruction)
class RegularizedReconstruction(Reconstruction):
    """loss = -log p(x|z) + code_weight |z|^2 / 2 + decoder_weight |decoder|^2 / 2: a regularized autoencoder.

    Codes near 0 and a smooth decoder take the place of the noise of a VAE. The last term is over all weights of the
    decoder, once for the batch.

    Source: Ghosh et al. 2020, "From variational to deterministic autoencoders", arXiv:1903.12436, equations 8 to 10.
    """

    def compute(self, passed, step):
        """The terms; see `Objective`."""
        terms = super().compute(passed, step)
        code = tf.reduce_mean(tf.reduce_sum(passed.z**2, axis=-1), axis=0) / 2  # [B]
        decoder = tf.add_n([tf.nn.l2_loss(weight.value) for weight in passed.model.decoder.trainable_variables])
        loss = terms["loss"] + self.code_weight * code + self.decoder_weight * decoder
        return {"loss": loss, "reconstruction": terms["reconstruction"], "code": code}

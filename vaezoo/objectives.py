"""Objectives: x, q(z|x), z, p(z) and z → p(x|z) → the loss to minimise and the terms to watch, in nats.

Every term is [B]: one number an image, averaged over the Monte-Carlo samples. `reconstruction` is -E_q[log p(x|z)],
`kl` is KL(q(z|x) || p(z)), and `elbo` is always the true bound, -(reconstruction + kl), whatever is minimised.
"""

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo.errors import VaezooError
from vaezoo.registry import OBJECTIVES

tfd = tfp.distributions

KL_METHODS = ("auto", "closed_form", "monte_carlo")


def kl_divergence(q, prior, z, method="auto"):
    """KL(q || prior), in closed form or as the mean of log q(z) - log p(z) over samples of q.

    Args:
        q: the posterior, a distribution over [B,D].
        prior: a distribution over [D].
        z: samples of q [K,B,D], used by the Monte-Carlo estimate alone.
        method: "closed_form", "monte_carlo", or "auto" for the closed form where TFP has one.

    Returns:
        The divergence [B], in nats.

    Raises:
        VaezooError: for "closed_form" where there is none, and for a posterior that is a point.
    """
    if isinstance(q, tfd.VectorDeterministic):  # TFP would answer -log p(z), and the ELBO would bound nothing
        raise VaezooError(
            "the KL from a point to a prior is infinite; set model.objective=reconstruction, or "
            "model.posterior=diagonal_normal"
        )
    if method != "monte_carlo":
        try:
            return tfd.kl_divergence(q, prior)
        except NotImplementedError:
            if method == "closed_form":
                raise VaezooError(
                    f"there is no closed-form KL from {q.name} to {prior.name}; set model.objective.kl=monte_carlo"
                ) from None
    return tf.reduce_mean(q.log_prob(z) - prior.log_prob(z), axis=0)


class Objective:
    """What every objective answers. `samples` is K; `term_names` are the keys that a call returns."""

    term_names: tuple[str, ...] = ("loss",)

    def __init__(self, samples=1):
        if samples < 1:
            raise VaezooError(f"an objective needs at least 1 sample of the posterior, not {samples}")
        self.samples = samples

    def __call__(self, x, q, z, prior, decode, step):
        """The terms of the objective.

        Args:
            x: images [B,H,W,C].
            q: the posterior q(z|x), over [B,D].
            z: samples of it [K,B,D].
            prior: p(z), over [D].
            decode: z → p(x|z), over images, for every sample [K,B].
            step: the number of optimizer steps taken, an integer tensor.

        Returns:
            The terms by name, each [B], in nats.
        """
        raise NotImplementedError

    def get_config(self):
        """The constructor's arguments."""
        return {"samples": self.samples}

    @classmethod
    def from_config(cls, config):
        """The objective that `get_config` describes."""
        return cls(**config)


@OBJECTIVES.register("elbo")
@keras.saving.register_keras_serializable("vaezoo")
class ELBO(Objective):
    """loss = -ELBO = -E_q[log p(x|z)] + KL(q(z|x) || p(z)) (Kingma & Welling 2014, equation 3).

    Args:
        samples: K, the Monte-Carlo samples of the posterior for each image.
        kl: "closed_form", "monte_carlo", or "auto" for the closed form where TFP has one.
    """

    term_names = ("loss", "elbo", "reconstruction", "kl")
    reconstruction_weight = 1.0

    def __init__(self, samples=1, kl="auto"):
        super().__init__(samples)
        if kl not in KL_METHODS:
            raise VaezooError(f"unknown kl '{kl}'. Allowed: {', '.join(KL_METHODS)}.")
        self.kl = kl

    def __call__(self, x, q, z, prior, decode, step):
        """The terms; see `Objective`."""
        reconstruction = -tf.reduce_mean(decode(z).log_prob(x), axis=0)  # [B]
        kl = kl_divergence(q, prior, z, self.kl)  # [B]
        loss = self.reconstruction_weight * reconstruction + self.kl_weight(step) * kl
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def kl_weight(self, step):
        """The weight of the KL in the loss at that step."""
        return 1.0

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "kl": self.kl}


@OBJECTIVES.register("beta")
@keras.saving.register_keras_serializable("vaezoo")
class BetaELBO(ELBO):
    """loss = -w E_q[log p(x|z)] + beta KL(q(z|x) || p(z)) (Higgins et al. 2017, equation 4, where w is 1).

    Args:
        beta: the weight of the KL, or a warm-up {"start": 0.0, "end": 1.0, "steps": 5000}: a weight that moves linearly
            from start to end over that many optimizer steps, then stays. It is computed from the step inside the graph,
            so a resumed run goes on where it was.
        reconstruction_weight: w; at 0 the KL alone is left, every posterior becomes the prior, and the decoder learns
            nothing.
        samples: K, the Monte-Carlo samples of the posterior for each image.
        kl: "closed_form", "monte_carlo", or "auto" for the closed form where TFP has one.
    """

    def __init__(self, beta=4.0, reconstruction_weight=1.0, samples=1, kl="auto"):
        super().__init__(samples, kl)
        self.beta = beta
        self.reconstruction_weight = reconstruction_weight

    def kl_weight(self, step):
        """beta at that step."""
        if not isinstance(self.beta, dict):
            return float(self.beta)
        start, end = self.beta.get("start", 0.0), self.beta.get("end", 1.0)
        progress = tf.minimum(tf.cast(step, tf.float32) / self.beta["steps"], 1.0)
        return start + (end - start) * progress

    def get_config(self):
        """The constructor's arguments."""
        return {"beta": self.beta, "reconstruction_weight": self.reconstruction_weight, **super().get_config()}


@OBJECTIVES.register("iwae")
@keras.saving.register_keras_serializable("vaezoo")
class IWAE(Objective):
    """loss = -log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x): the importance-weighted bound.

    It lies between the ELBO, which it is at K = 1, and log p(x), which it approaches as K grows (Burda et al. 2016,
    equation 8). The other terms are those of the ELBO over the same samples, with the Monte-Carlo KL.

    Args:
        samples: K.
        doubly_reparameterized: give the posterior's parameters the gradient of Tucker et al. (2019, equation 8,
            arXiv:1810.04152): the same in expectation, and its noise does not drown it as K grows. It is for the
            posteriors whose density is a function of their parameters alone: the normal ones.
    """

    term_names = ("loss", "elbo", "reconstruction", "kl")

    def __init__(self, samples=5, doubly_reparameterized=False):
        super().__init__(samples)
        self.doubly_reparameterized = doubly_reparameterized

    def __call__(self, x, q, z, prior, decode, step):
        """The terms; see `Objective`."""
        if self.doubly_reparameterized:
            q, z, weigh = _doubly_reparameterized(q, z)
        log_likelihood = decode(z).log_prob(x)  # [K,B]
        log_ratio = q.log_prob(z) - prior.log_prob(z)  # [K,B]
        log_weights = log_likelihood - log_ratio
        loss = math.log(self.samples) - tf.reduce_logsumexp(log_weights, axis=0)  # [B]
        if self.doubly_reparameterized:
            weigh(tf.stop_gradient(tf.nn.softmax(log_weights, axis=0)))
        reconstruction, kl = -tf.reduce_mean(log_likelihood, axis=0), tf.reduce_mean(log_ratio, axis=0)
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "doubly_reparameterized": self.doubly_reparameterized}


def _doubly_reparameterized(q, z):
    """q with its parameters held fixed, z whose gradient is multiplied by weights [K,B], and how to set those.

    The gradient of the bound weighs sample k by w~_k = w_k / sum_j w_j. What reaches the parameters of q through z has
    to be weighed by it once more, and the weights are known only once z has been decoded; hence they are set later,
    yet before the gradient is taken.
    """
    if not isinstance(q, tf.__internal__.CompositeTensor):
        raise VaezooError(
            f"the doubly-reparameterized gradient needs a normal posterior, not {q.name}; "
            "set model.objective.doubly_reparameterized=false"
        )
    weights = []

    @tf.custom_gradient
    def weighted(z):
        return tf.identity(z), lambda upstream: upstream * weights[0][..., tf.newaxis]

    fixed = tf.nest.map_structure(tf.stop_gradient, q, expand_composites=True)
    return fixed, weighted(z), weights.append


@OBJECTIVES.register("reconstruction")
@keras.saving.register_keras_serializable("vaezoo")
class Reconstruction(Objective):
    """loss = -log p(x|z): the plain autoencoder. There is no KL in it and so no bound on the evidence."""

    term_names = ("loss", "reconstruction")

    def __init__(self):
        super().__init__(samples=1)

    def __call__(self, x, q, z, prior, decode, step):
        """The terms; see `Objective`."""
        reconstruction = -tf.reduce_mean(decode(z).log_prob(x), axis=0)  # [B]
        return {"loss": reconstruction, "reconstruction": reconstruction}

    def get_config(self):
        """The constructor has no arguments."""
        return {}

"""One pass over a batch: what was encoded, drawn and decoded, and every term that follows from it."""

import functools

import tensorflow as tf
import tensorflow_probability as tfp

from vaezoo.errors import VaezooError

tfd = tfp.distributions


class Pass:
    """What one pass over a batch did. Objectives, evaluation and export read it; each term is computed when first read.

    Args:
        x: the examples [B,...].
        q: the posterior q(z|x) that z was drawn from, with the batch [B], or [K,B] where each draw has its own.
        z: the draws [K,B,D].
        prior: p(z), over [D].
        model: the `VAE`, for its decoder and the capabilities of its parts.
        decoder: the `Decoder` of this batch.
        decoded: the parameters of p(x|z) [K,B,...] where the draw has computed them already.
        seed: the stateless seed [2] that drew z, or None; for further noise, fold a number into it first.
    """

    def __init__(self, x, q, z, prior, model, decoder, decoded=None, seed=None):
        self.x, self.q, self.z, self.prior, self.model, self.decoder = x, q, z, prior, model, decoder
        self.decoded, self.seed = decoded, seed

    @functools.cached_property
    def params(self):
        """The parameters of p(x|z) [K,B,...]."""
        return self.decoder(self.z) if self.decoded is None else self.decoded

    @functools.cached_property
    def likelihood(self):
        """p(x|z), a TFP distribution with the batch [K,B]."""
        return self.model.likelihood.distribution(self.params, self.model.spec)

    @functools.cached_property
    def log_likelihood(self):
        """log p(x|z) [K,B], in nats."""
        return self.likelihood.log_prob(self.x)

    @functools.cached_property
    def log_ratio(self):
        """log q(z|x) - log p(z) [K,B], in nats."""
        self._check_density()
        return self.q.log_prob(self.z) - self.prior.log_prob(self.z)

    @property
    def extra_terms(self):
        """Terms [B] by name that the posterior adds to the loss of every objective."""
        return self.model.posterior.extra_terms(self)

    def kl(self, method="auto"):
        """KL(q(z|x) || p(z)) of each example.

        Args:
            method: "closed_form", "monte_carlo" (the mean of log q(z|x) - log p(z) over the draws), or "auto" for the
                closed form where there is one. Down a hierarchy the closed form of each group is given those above it,
                and the mean over the draws is taken.

        Returns:
            [B], in nats.

        Raises:
            VaezooError: for "closed_form" where there is none, and for a posterior without a density.
        """
        self._check_density()
        if method != "monte_carlo":
            closed = self.closed_form_kl
            if closed is not None:
                return closed
            if method == "closed_form":
                raise VaezooError(
                    f"there is no closed-form KL from {self.q.name} to {self.prior.name}; set "
                    "model.objective.kl=monte_carlo"
                )
        return tf.reduce_mean(self.log_ratio, axis=0)

    @functools.cached_property
    def closed_form_kl(self):
        """KL(q(z|x) || p(z)) [B] in nats, or None where TFP has no closed form."""
        try:
            kl = tfd.kl_divergence(self.q, self.prior)
        except NotImplementedError:
            return None
        return kl if kl.shape.rank == 1 else tf.reduce_mean(kl, axis=0)

    def with_draws(self, q, z):
        """The pass with another q and other draws: those of the same values, but with another gradient."""
        return Pass(self.x, q, z, self.prior, self.model, self.decoder, seed=self.seed)

    def _check_density(self):
        if not self.model.posterior.has_density:
            raise VaezooError(
                "the KL from a point to a prior is infinite; set model.objective=reconstruction, or "
                "model.posterior=diagonal_normal"
            )

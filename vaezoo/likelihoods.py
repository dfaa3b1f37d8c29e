"""Likelihoods: the parameters that the decoder puts out → p(x|z).

`distribution` gives the log-probability in nats. `mean` uses Keras operations alone, so the same lines also make the
standalone decoder.
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import parts, recipe_schema  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.errors import VaezooError
from vaezoo.registry import LIKELIHOODS

tfd = tfp.distributions

SMALLEST_SCALE = 1e-3  # a quarter of a grey level; keeps log p(x|z) finite on constant images


class Likelihood(parts.Part):
    """What every likelihood answers about examples that a `Spec` describes.

    params are [...,*params_shape]. By default that is the shape of the example with `params_per_element` times as many
    numbers on its last axis: [...,H,W,P*C] for an image, [...,P*F] for a vector.
    """

    params_per_element = 1

    def params_shape(self, spec):
        """The shape of the parameters of one example."""
        return (*spec.shape[:-1], self.params_per_element * spec.shape[-1])

    def distribution(self, params, spec):
        """params → p(x|z), a TFP distribution whose event is an example."""
        raise NotImplementedError

    def mean(self, params, spec):
        """params → the mean of p(x|z); of an image it is kept within [0, 1], of tokens it is their probabilities."""
        raise NotImplementedError

    def example(self, params, spec):
        """params → the example to show: the mean of p(x|z), or the most likely tokens."""
        return self.mean(params, spec)

    def check(self, x, spec):
        """Raise a VaezooError if the examples x [N,...] are nothing that this likelihood describes."""
        self.section.check_examples(spec)
        if spec.is_image and not _in_unit_interval(x):
            raise VaezooError(
                f"the images must lie in [0, 1], and these go from {np.min(x):g} to {np.max(x):g}; "
                "divide 8-bit images by 255"
            )
        if not np.isfinite(x).all():
            raise VaezooError(f"{spec} with values that are NaN or infinite; remove these examples")


class IndependentBernoulli(tfd.Independent):
    """`tfd.Independent(tfd.Bernoulli(logits), rank)` whose log-probability is one fused expression.

    log p(x) = sum x l - softplus(l), for logits l, over rows of H*W*C numbers: TFP's own takes two softplus and three
    axes, and with the samples of an importance-weighted bound it was half of the training step.
    """

    def _log_prob(self, x):
        logits, rank = self.distribution.logits, self.event_shape.rank  # [...,H,W,C], 3
        size = int(np.prod(logits.shape[-rank:]))
        logits, x = (tf.reshape(t, tf.concat([tf.shape(t)[:-rank], [size]], axis=0)) for t in (logits, x))
        return tf.reduce_sum(x * logits - tf.nn.softplus(logits), axis=-1)


def _in_unit_interval(x):
    return bool(np.all((x >= 0) & (x <= 1)))  # not for a NaN


def _is_binary(x):
    return bool(np.all((x == 0) | (x == 1)))


@LIKELIHOODS.register(recipe_schema.Bernoulli)
class Bernoulli(Likelihood):
    """p(x|z) = prod Bernoulli(x; sigmoid(params)), for zeros and ones."""

    def distribution(self, params, spec):
        """params [...,H,W,C] are logits."""
        return IndependentBernoulli(tfd.Bernoulli(logits=params, dtype=tf.float32), len(spec.shape))

    def mean(self, params, spec):
        """The probability of a one."""
        return ops.sigmoid(params)

    def check(self, x, spec):
        """Refuse grey levels: on them the formula still gives a number, but no likelihood and no bound on one."""
        super().check(x, spec)
        if not _is_binary(x):
            if not spec.is_image:
                raise VaezooError(
                    f"the likelihood 'bernoulli' needs zeros and ones, and these {spec} hold others; "
                    "set model.likelihood=normal"
                )
            raise VaezooError(
                "the likelihood 'bernoulli' needs images of zeros and ones, and these hold grey levels; binarize them "
                "(--set data.binarize=dynamic) or use a likelihood for grey levels "
                "(--set model.likelihood=continuous_bernoulli)"
            )


@LIKELIHOODS.register(recipe_schema.ContinuousBernoulli)
class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod C(l) l^x (1-l)^(1-x) on [0, 1], l = sigmoid(params) (Loaiza-Ganem & Cunningham 2019)."""

    def distribution(self, params, spec):
        """params [...,H,W,C] are logits of l."""
        return tfd.Independent(tfd.ContinuousBernoulli(logits=params), len(spec.shape))

    def check(self, x, spec):
        """Refuse numbers outside [0, 1], which have no density."""
        super().check(x, spec)
        if not _in_unit_interval(x):
            raise VaezooError(
                f"the likelihood 'continuous_bernoulli' needs numbers in [0, 1], and these go from {np.min(x):g} to "
                f"{np.max(x):g}; scale them, or set model.likelihood=normal"
            )

    def mean(self, params, spec):
        """The mean, 1 / (1 - exp(-n)) - 1 / n for logits n (their equation 8, in terms of logits)."""
        near_zero = ops.abs(params) < 1.0  # there the two terms cancel, and five of the series err by 2e-8 at most
        safe = ops.where(near_zero, ops.ones_like(params), params)
        n2 = params * params
        series = 0.5 + params * (1 / 12 - n2 * (1 / 720 - n2 * (1 / 30240 - n2 / 1209600)))
        return ops.where(near_zero, series, 1.0 / (1.0 - ops.exp(-safe)) - 1.0 / safe)


@LIKELIHOODS.register(recipe_schema.Normal)
class Normal(Likelihood):
    """p(x|z) = N(x; params, scale^2 I), with one scale for all pixels."""

    def build(self, input_shape):
        """Make the weight of a learned scale."""
        if self.learned:
            above = max(self.scale - SMALLEST_SCALE, 1e-6)
            start = above + np.log(-np.expm1(-above))  # softplus(start) + floor = scale, without overflow
            self.raw_scale = self.add_weight(name="raw_scale", shape=(), initializer=keras.initializers.Constant(start))

    def distribution(self, params, spec):
        """params [...,H,W,C] are the locations."""
        scale = ops.softplus(self.raw_scale) + SMALLEST_SCALE if self.learned else self.scale
        return tfd.Independent(tfd.Normal(params, scale), len(spec.shape))

    def mean(self, params, spec):
        """The location."""
        return ops.clip(params, 0.0, 1.0) if spec.is_image else params


@LIKELIHOODS.register(recipe_schema.DiscretizedLogistic)
class DiscretizedLogistic(Likelihood):
    """A logistic over 256 grey levels, each with the mass of its own 1/255 (Kingma et al. 2016, appendix)."""

    params_per_element = 2

    def _loc_scale(self, params):
        raw_loc, raw_scale = ops.split(params, 2, axis=-1)
        # Centred on mid-grey with a scale of about an eighth, so that training starts from a sensible image.
        return raw_loc + 0.5, ops.softplus(raw_scale - 2.0) + SMALLEST_SCALE

    def distribution(self, params, spec):
        """params [...,H,W,2C] are the locations, then the raw scales."""
        return tfd.Independent(LogisticGreyLevels(*self._loc_scale(params)), len(spec.shape))

    def mean(self, params, spec):
        """The mean: the integral over [0, 1] of P(x > t), which the 256 levels sample closely."""
        loc, scale = self._loc_scale(params)
        return ops.clip(scale * (ops.softplus(loc / scale) - ops.softplus((loc - 1.0) / scale)), 0.0, 1.0)

    def check(self, x, spec):
        """Refuse values between the 256 levels, which have no mass."""
        super().check(x, spec)
        levels = x * 255.0
        if np.abs(levels - np.round(levels)).max(initial=0) > 1e-2:
            raise VaezooError(
                "the likelihood 'discretized_logistic' needs images with 256 grey levels, and these hold values "
                "between them; use --set model.likelihood=normal, or store the images as 8 bits"
            )


@LIKELIHOODS.register(recipe_schema.Categorical)
class Categorical(Likelihood):
    """p(x|z) = prod Categorical(x_t; softmax(params_t)), for the tokens x_t of a sequence."""

    def params_shape(self, spec):
        """(T, V): a logit for each token of the vocabulary at each place."""
        return (*spec.shape, spec.levels)

    def distribution(self, params, spec):
        """params [...,T,V] are logits."""
        return tfd.Independent(tfd.Categorical(logits=params, dtype=tf.int32), len(spec.shape))

    def mean(self, params, spec):
        """The probability of each token [...,T,V]."""
        return ops.softmax(params, axis=-1)

    def example(self, params, spec):
        """The most likely token at each place [...,T], int32."""
        return ops.argmax(params, axis=-1)

    def check(self, x, spec):
        """Refuse what is no token of the vocabulary."""
        super().check(x, spec)
        if np.min(x, initial=0) < 0 or np.max(x, initial=0) >= spec.levels:
            raise VaezooError(
                f"the tokens must be from 0 to {spec.levels - 1}, and these go from {np.min(x)} to {np.max(x)}"
            )


class LogisticGreyLevels(tfd.Distribution):
    """The 256 grey levels 0, 1/255, ..., 1, each with the mass that a logistic has within half a level of it.

    The outer two levels take the tails. With a and b the standardized upper and lower edges of a level,
    log P = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), which is exact and never subtracts close numbers.
    """

    def __init__(self, loc, scale, name="LogisticGreyLevels"):
        parameters = dict(locals())
        self.loc, self.scale = tf.convert_to_tensor(loc), tf.convert_to_tensor(scale)
        super().__init__(
            dtype=self.loc.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "loc": tfp.util.ParameterProperties(),
            "scale": tfp.util.ParameterProperties(),
        }

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _event_shape(self):
        return tf.TensorShape([])

    def _log_prob(self, x):
        level = tf.round(x * 255.0)
        upper = ((level + 0.5) / 255.0 - self.loc) / self.scale
        lower = ((level - 0.5) / 255.0 - self.loc) / self.scale
        below, above = tf.math.log_sigmoid(upper), tf.math.log_sigmoid(-lower)
        within = tfp.math.log1mexp(tf.broadcast_to(1.0 / (255.0 * self.scale), tf.shape(upper)))
        return tf.where(level <= 0.0, below, tf.where(level >= 255.0, above, below + above + within))

    def _sample_n(self, n, seed=None):
        x = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(x * 255.0), 0.0, 255.0) / 255.0

"""Likelihoods of images, vectors and sequences, whose elements are all of one kind."""

import functools

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import distributions, part_schema, parts  # modules, not names: the Keras import hook can re-enter here
from vaezoo.errors import VaezooError
from vaezoo.likelihoods.base import Likelihood, in_unit_interval
from vaezoo.registry import LIKELIHOODS

tfd = tfp.distributions


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


def _is_binary(x):
    return bool(np.all((x == 0) | (x == 1)))


@LIKELIHOODS.register(part_schema.Bernoulli)
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


@LIKELIHOODS.register(part_schema.ContinuousBernoulli)
class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod C(l) l^x (1-l)^(1-x) on [0, 1], l = sigmoid(params) (Loaiza-Ganem & Cunningham 2019)."""

    def distribution(self, params, spec):
        """params [...,H,W,C] are logits of l."""
        return tfd.Independent(tfd.ContinuousBernoulli(logits=params), len(spec.shape))

    def check(self, x, spec):
        """Refuse numbers outside [0, 1], which have no density."""
        super().check(x, spec)
        if not in_unit_interval(x):
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


@LIKELIHOODS.register(part_schema.Normal)
class Normal(Likelihood):
    """p(x|z) = N(x; params, scale^2 I), with one scale for all elements, or a diagonal of them."""

    def build(self, params_shape, levels=None, column_types=None):
        """Make the weight of a learned scale: a number, or an array of the shape of an example."""
        if self.learned:
            start = parts.raw_scale(self.scale, distributions.SMALLEST_LEVEL_SCALE)
            shape = params_shape[1:] if self.per_element else ()
            self.raw_scale = self.add_weight(
                name="raw_scale", shape=shape, initializer=keras.initializers.Constant(start)
            )

    def distribution(self, params, spec):
        """params [...,H,W,C] are the locations."""
        scale = ops.softplus(self.raw_scale) + distributions.SMALLEST_LEVEL_SCALE if self.learned else self.scale
        return tfd.Independent(tfd.Normal(params, scale), len(spec.shape))

    def mean(self, params, spec):
        """The location."""
        return ops.clip(params, 0.0, 1.0) if spec.is_image else params


@LIKELIHOODS.register(part_schema.DiscretizedLogistic)
class DiscretizedLogistic(Likelihood):
    """A logistic over 256 grey levels, each with the mass of its own 1/255 (Kingma et al. 2016, appendix)."""

    params_per_element = 2

    def _loc_scale(self, params):
        raw_loc, raw_scale = ops.split(params, 2, axis=-1)
        # Centred on mid-grey with a scale of about an eighth, so that training starts from a sensible image.
        return raw_loc + 0.5, ops.softplus(raw_scale - 2.0) + distributions.SMALLEST_LEVEL_SCALE

    def distribution(self, params, spec):
        """params [...,H,W,2C] are the locations, then the raw scales."""
        return tfd.Independent(distributions.LogisticGreyLevels(*self._loc_scale(params)), len(spec.shape))

    def mean(self, params, spec):
        """The mean: the integral over [0, 1] of P(x > t), which the 256 levels sample closely."""
        return ops.clip(_mean_of_levels(*self._loc_scale(params)), 0.0, 1.0)

    def check(self, x, spec):
        """Refuse values between the 256 levels, which have no mass."""
        super().check(x, spec)
        _check_levels(x, self.settings.name)


@LIKELIHOODS.register(part_schema.LogisticMixture)
class LogisticMixture(Likelihood):
    """A mixture of discretized logistics for each pixel (Salimans et al. 2017, "PixelCNN++", arXiv:1701.05517, sec. 2).

    The K logistics of a pixel share their mixture weights between the channels. Within a component, the location of a
    channel moves with what the channels before it turned out to be: loc_c + sum_(b<c) a_cb (x_b - loc_b), a_cb in
    (-1, 1). So an error of brightness, which all channels share, is paid for once.
    """

    def params_shape(self, spec):
        """(H, W, P): for each component a logit, C locations, C raw scales and C (C - 1) / 2 coefficients."""
        channels = spec.shape[-1]
        return (*spec.shape[:-1], self.components * (1 + 2 * channels + channels * (channels - 1) // 2))

    def distribution(self, params, spec):
        """params → a distribution over images."""
        return tfd.Independent(
            distributions.LogisticPixels(params, self.components, spec.shape[-1]), len(spec.shape) - 1
        )

    def elements_log_prob(self, params, x, spec):
        """log p(x|z) of each pixel [...,H,W]."""
        return self.distribution(params, spec).distribution.log_prob(x)

    def mean(self, params, spec):
        """The mean of the mixture; exact but for the moves of the locations beyond the range of the levels."""
        k, c = self.components, spec.shape[-1]
        logits, loc, raw_scale, _ = ops.split(params, np.cumsum([k, k * c, k * c]).tolist(), axis=-1)
        weights = ops.split(ops.softmax(logits, axis=-1), k, axis=-1) if k > 1 else [1.0]  # Keras warns of one number
        parts = zip(
            weights, ops.split(loc, k, -1), ops.split(raw_scale, k, -1), distributions.first_locations(k), strict=True
        )
        means = [
            weight * _mean_of_levels(loc + float(start), ops.softplus(raw - 2.0) + distributions.SMALLEST_LEVEL_SCALE)
            for weight, loc, raw, start in parts
        ]
        return ops.clip(functools.reduce(ops.add, means), 0.0, 1.0)

    def check(self, x, spec):
        """Refuse values between the 256 levels, which have no mass."""
        super().check(x, spec)
        _check_levels(x, self.settings.name)


@LIKELIHOODS.register(part_schema.Categorical)
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

    def drawn(self, params, spec, temperature, seed):
        """Tokens [...,T], int32; see `Likelihood`."""
        return ops.argmax(params + temperature * _gumbel(ops.shape(params), seed), axis=-1)


@LIKELIHOODS.register(part_schema.Autoregressive)
class Autoregressive(Likelihood):
    """p(x|z) = prod_t Categorical(x_t; softmax(l_t)), where the logits l_t depend on z and on x_1 ... x_(t-1).

    The decoder gives F features of z for each step. A GRU reads them and the token before; the logits are a linear map
    of its state and the features. With a span, the GRU begins anew after so many steps: then a step depends on the
    steps before that only through z, as the bars of Roberts et al. 2018, arXiv:1803.05428, section 3.2.
    """

    def params_shape(self, spec):
        """(T, F): features of each step."""
        if self.span and spec.shape[0] % self.span:
            raise VaezooError(
                f"the likelihood 'autoregressive' begins anew every {self.span} steps, and these examples are {spec}; "
                f"set model.likelihood.span to a divisor of {spec.shape[0]}, or to null"
            )
        return (*spec.shape, self.features)

    def build(self, params_shape, levels=None, column_types=None):
        """Make the GRU and the map to the logits of V = `levels` tokens."""
        self.gru = keras.layers.GRU(self.units, return_sequences=True, dtype="float32", name="gru")
        self.logits = keras.layers.Dense(levels, dtype="float32", name="logits")
        self.gru.build((None, None, self.features + levels))
        self.logits.build((None, None, self.units + self.features))

    def distribution(self, params, spec):
        """params [...,T,F] are features."""
        return distributions.Tokens(params, self, spec)

    def elements_log_prob(self, params, x, spec):
        """log p(x_t | z, x_1 ... x_(t-1)) of each token [...,T]."""
        return self.distribution(params, spec).elements_log_prob(x)

    def mean(self, params, spec):
        """There is none: the tokens of a step depend on those before it."""
        raise VaezooError("an autoregressive likelihood has no mean; use the most likely tokens")

    def example(self, params, spec):
        """The most likely token of each step [...,T], int32, given those chosen before it."""
        return self._generated(params, spec)

    decoded = example

    def drawn(self, params, spec, temperature, seed):
        """Tokens [...,T], int32, step by step; see `Likelihood`."""
        shape = (*ops.shape(params)[:-1], spec.levels)
        return self._generated(params, spec, temperature * _gumbel(shape, seed))

    def teacher_forced(self, params, x, spec):
        """The logits of each step given the true tokens before it.

        Args:
            params: features [N,T,F].
            x: tokens [N,T], int32.

        Returns:
            [N,T,V].
        """
        span = self.span or spec.shape[0]
        rows, tokens = ops.reshape(params, (-1, span, self.features)), ops.reshape(x, (-1, span))
        before = ops.pad(ops.one_hot(tokens[:, :-1], spec.levels), [[0, 0], [1, 0], [0, 0]])  # none before the first
        h = self.gru(ops.concatenate([rows, before], axis=-1))
        logits = self.logits(ops.concatenate([h, rows], axis=-1))  # [N*T/S,S,V]
        return ops.reshape(logits, (-1, *spec.shape, spec.levels))

    def _generated(self, params, spec, noise=None):
        """The tokens [...,T] that have the largest logit, plus noise [...,T,V], each given those chosen before it."""
        span = self.span or spec.shape[0]
        rows = ops.reshape(params, (-1, span, self.features))
        noise = None if noise is None else ops.reshape(noise, (-1, span, spec.levels))
        nothing = ops.zeros_like(rows[:, 0, :1])  # [N,1]
        state, token, tokens = ops.repeat(nothing, self.units, -1), ops.repeat(nothing, spec.levels, -1), []
        for t in range(span):
            features = rows[:, t]
            h, (state,) = self.gru.cell(ops.concatenate([features, token], axis=-1), [state])
            logits = self.logits(ops.concatenate([h, features], axis=-1))
            # Not argmax: Keras's needs an operation that LiteRT has not.
            chosen = ops.top_k(logits if noise is None else logits + noise[:, t], 1)[1][:, 0]
            token = ops.one_hot(chosen, spec.levels)
            tokens.append(chosen)
        return ops.reshape(ops.stack(tokens, axis=1), (-1, *ops.shape(params)[1:-2], *spec.shape))

    def check(self, x, spec):
        """Refuse what is no token of the vocabulary."""
        super().check(x, spec)
        _check_tokens(x, spec)


def _check_tokens(x, spec):
    if np.min(x, initial=0) < 0 or np.max(x, initial=0) >= spec.levels:
        raise VaezooError(
            f"the tokens must be from 0 to {spec.levels - 1}, and these go from {np.min(x)} to {np.max(x)}"
        )


def _gumbel(shape, seed):
    """Noise of the standard Gumbel distribution: the largest of logits + noise is a draw from their softmax."""
    uniform = tf.random.stateless_uniform(shape, seed, minval=1e-30, maxval=1.0, alg="philox")  # on every device
    return -tf.math.log(-tf.math.log(uniform))


def _mean_of_levels(loc, scale):
    """The mean of a logistic clipped to [0, 1]."""
    return scale * (ops.softplus(loc / scale) - ops.softplus((loc - 1.0) / scale))


def _check_levels(x, likelihood):
    levels = x * 255.0
    if np.abs(levels - np.round(levels)).max(initial=0) > 1e-2:
        raise VaezooError(
            f"the likelihood '{likelihood}' needs images with 256 levels, and these hold values between them; use "
            "--set model.likelihood=normal, or store the images as 8 bits"
        )

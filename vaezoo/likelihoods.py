"""Likelihoods: the parameters that the decoder puts out → p(x|z), over images in [0, 1].

`distribution` gives the log-probability in nats. `image` gives the picture to show, within [0, 1]; it uses Keras
operations alone, so the same lines also make the standalone decoder. A likelihood is a Keras layer so that one with
weights is saved with the model.
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo.errors import VaezooError
from vaezoo.registry import LIKELIHOODS

tfd = tfp.distributions

SMALLEST_SCALE = 1e-3  # a quarter of a grey level; keeps log p(x|z) finite on constant images


class Likelihood(keras.layers.Layer):
    """What every likelihood answers. H W C is the image; params [...,H,W,P*C] hold P parameters for each channel."""

    params_per_channel = 1

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def distribution(self, params):
        """params [...,H,W,P*C] → p(x|z), a TFP distribution with event shape [H,W,C]."""
        raise NotImplementedError

    def image(self, params):
        """params [...,H,W,P*C] → the mean of p(x|z) [...,H,W,C], kept within [0, 1]."""
        raise NotImplementedError

    def check(self, images):
        """Raise a VaezooError if images [N,H,W,C] are nothing that this likelihood describes."""
        if not np.all((images >= 0) & (images <= 1)):  # NaN fails too
            raise VaezooError(
                f"the images must lie in [0, 1], and these go from {np.min(images):g} to {np.max(images):g}; "
                "divide 8-bit images by 255"
            )


class BernoulliImage(tfd.Independent):
    """`tfd.Independent(tfd.Bernoulli(logits), 3)` whose log-probability is one fused expression.

    log p(x) = sum x l - softplus(l), for logits l, over rows of H*W*C numbers: TFP's own takes two softplus and three
    axes, and with the samples of an importance-weighted bound it was half of the training step.
    """

    def _log_prob(self, x):
        logits = self.distribution.logits  # [...,H,W,C]
        size = int(np.prod(logits.shape[-3:]))
        logits, x = (tf.reshape(t, tf.concat([tf.shape(t)[:-3], [size]], axis=0)) for t in (logits, x))
        return tf.reduce_sum(x * logits - tf.nn.softplus(logits), axis=-1)


def _is_binary(images):
    return bool(np.all((images == 0) | (images == 1)))


@LIKELIHOODS.register("bernoulli")
@keras.saving.register_keras_serializable("vaezoo")
class Bernoulli(Likelihood):
    """p(x|z) = prod Bernoulli(x; sigmoid(params)), for images of zeros and ones."""

    def distribution(self, params):
        """params [...,H,W,C] are logits."""
        return BernoulliImage(tfd.Bernoulli(logits=params, dtype=tf.float32), 3)

    def image(self, params):
        """The probability of a one."""
        return ops.sigmoid(params)

    def check(self, images):
        """Refuse grey levels: on them the formula still gives a number, but no likelihood and no bound on one."""
        super().check(images)
        if not _is_binary(images):
            raise VaezooError(
                "the likelihood 'bernoulli' needs images of zeros and ones, and these hold grey levels; binarize them "
                "(--set data.binarize=dynamic) or use a likelihood for grey levels "
                "(--set model.likelihood=continuous_bernoulli)"
            )


@LIKELIHOODS.register("continuous_bernoulli")
@keras.saving.register_keras_serializable("vaezoo")
class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod C(l) l^x (1-l)^(1-x) on [0, 1], l = sigmoid(params) (Loaiza-Ganem & Cunningham 2019)."""

    def distribution(self, params):
        """params [...,H,W,C] are logits of l."""
        return tfd.Independent(tfd.ContinuousBernoulli(logits=params), 3)

    def image(self, params):
        """The mean, 1 / (1 - exp(-n)) - 1 / n for logits n (their equation 8, in terms of logits)."""
        near_zero = ops.abs(params) < 1.0  # there the two terms cancel, and five of the series err by 2e-8 at most
        safe = ops.where(near_zero, ops.ones_like(params), params)
        n2 = params * params
        series = 0.5 + params * (1 / 12 - n2 * (1 / 720 - n2 * (1 / 30240 - n2 / 1209600)))
        return ops.where(near_zero, series, 1.0 / (1.0 - ops.exp(-safe)) - 1.0 / safe)


@LIKELIHOODS.register("normal")
@keras.saving.register_keras_serializable("vaezoo")
class Normal(Likelihood):
    """p(x|z) = N(x; params, scale^2 I), with one scale for all pixels.

    Args:
        scale: the standard deviation, in units of the image's range [0, 1].
        learned: train the scale, from that start (Rybkin et al. 2021, sigma-VAE).
    """

    def __init__(self, scale=0.1, learned=False, **kwargs):
        super().__init__(**kwargs)
        if scale < SMALLEST_SCALE:
            raise VaezooError(f"the scale of 'normal' is {scale}; it must be at least {SMALLEST_SCALE}")
        self.scale = scale
        self.learned = learned

    def build(self, input_shape):
        """Make the weight of a learned scale."""
        if self.learned:
            above = max(self.scale - SMALLEST_SCALE, 1e-6)
            start = above + np.log(-np.expm1(-above))  # softplus(start) + floor = scale, without overflow
            self.raw_scale = self.add_weight(name="raw_scale", shape=(), initializer=keras.initializers.Constant(start))

    def distribution(self, params):
        """params [...,H,W,C] are the locations."""
        scale = ops.softplus(self.raw_scale) + SMALLEST_SCALE if self.learned else self.scale
        return tfd.Independent(tfd.Normal(params, scale), 3)

    def image(self, params):
        """The location, clipped to [0, 1]."""
        return ops.clip(params, 0.0, 1.0)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "learned": self.learned}


@LIKELIHOODS.register("discretized_logistic")
@keras.saving.register_keras_serializable("vaezoo")
class DiscretizedLogistic(Likelihood):
    """A logistic over 256 grey levels, each with the mass of its own 1/255 (Kingma et al. 2016, appendix)."""

    params_per_channel = 2

    def _loc_scale(self, params):
        raw_loc, raw_scale = ops.split(params, 2, axis=-1)
        # Centred on mid-grey with a scale of about an eighth, so that training starts from a sensible image.
        return raw_loc + 0.5, ops.softplus(raw_scale - 2.0) + SMALLEST_SCALE

    def distribution(self, params):
        """params [...,H,W,2C] are the locations, then the raw scales."""
        return tfd.Independent(LogisticGreyLevels(*self._loc_scale(params)), 3)

    def image(self, params):
        """The mean: the integral over [0, 1] of P(x > t), which the 256 levels sample closely."""
        loc, scale = self._loc_scale(params)
        return ops.clip(scale * (ops.softplus(loc / scale) - ops.softplus((loc - 1.0) / scale)), 0.0, 1.0)

    def check(self, images):
        """Refuse values between the 256 levels, which have no mass."""
        super().check(images)
        levels = images * 255.0
        if np.abs(levels - np.round(levels)).max(initial=0) > 1e-2:
            raise VaezooError(
                "the likelihood 'discretized_logistic' needs images with 256 grey levels, and these hold values "
                "between them; use --set model.likelihood=normal, or store the images as 8 bits"
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

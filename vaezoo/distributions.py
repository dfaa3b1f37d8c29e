"""Distributions that TensorFlow Probability has not, or computes more slowly or less exactly."""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

LARGE_COUNT = 30.0  # above it three terms of Stirling's series are exact in float32
SMALLEST_LEVEL_SCALE = 1e-3  # a quarter of a level; keeps log p(x|z) finite on constant images


class _Plain(tfd.Distribution):
    """What the distributions of this module have in common: no reparameterized samples, and no checks.

    Args:
        dtype: of the samples.
        parameters: the arguments of the constructor, with `name` among them.
    """

    def __init__(self, dtype, parameters):
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=parameters["name"],
        )


# Levels of grey and colour


class LogisticGreyLevels(_Plain):
    """The 256 grey levels 0, 1/255, ..., 1, each with the mass that a logistic has within half a level of it.

    The outer two levels take the tails. With a and b the standardized upper and lower edges of a level,
    log P = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), which is exact and never subtracts close numbers.
    """

    def __init__(self, loc, scale, name="LogisticGreyLevels"):
        parameters = dict(locals())
        self.loc, self.scale = tf.convert_to_tensor(loc), tf.convert_to_tensor(scale)
        super().__init__(self.loc.dtype, parameters)

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
        return _log_mass(x, self.loc, self.scale)

    def _sample_n(self, n, seed=None):
        x = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(x * 255.0), 0.0, 255.0) / 255.0


def _log_mass(x, loc, scale):
    """The log-mass of a logistic on the levels x, by the identity in `LogisticGreyLevels`."""
    level = tf.round(x * 255.0)
    upper = ((level + 0.5) / 255.0 - loc) / scale
    lower = ((level - 0.5) / 255.0 - loc) / scale
    below, above = tf.math.log_sigmoid(upper), tf.math.log_sigmoid(-lower)
    within = tfp.math.log1mexp(tf.broadcast_to(1.0 / (255.0 * scale), tf.shape(upper)))
    return tf.where(level <= 0.0, below, tf.where(level >= 255.0, above, below + above + within))


def first_locations(components):
    """Where the components begin [K]: at different levels, since those that begin alike would stay alike."""
    return np.linspace(0.0, 1.0, components + 2, dtype="float32")[1:-1]


class LogisticPixels(_Plain):
    """Pixels of C channels, from K components each: see `likelihoods.LogisticMixture`.

    Args:
        params: [...,P]: K logits, K C locations, K C raw scales, and K C (C - 1) / 2 raw coefficients, row by row.
        components: K.
        channels: C.
    """

    def __init__(self, params, components, channels, name="LogisticPixels"):
        parameters = dict(locals())
        self.params, self.components, self.channels = tf.convert_to_tensor(params), components, channels
        super().__init__(self.params.dtype, parameters)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"params": tfp.util.ParameterProperties(event_ndims=1)}

    def _event_shape_tensor(self):
        return tf.constant([self.channels], tf.int32)

    def _event_shape(self):
        return tf.TensorShape([self.channels])

    def _planes(self):
        """The logits, one plane [...] for each component; loc, scale and coefficients, by component and channel.

        Planes are three times as fast as the last axis of P numbers, which no vector instruction can follow.
        """
        k, c = self.components, self.channels
        planes = tf.unstack(_axis_to_front(self.params))
        edges = [0, k, k + k * c, k + 2 * k * c, None]
        logits, loc, raw_scale, raw = (planes[start:end] for start, end in itertools.pairwise(edges))
        starts, pairs = first_locations(k), c * (c - 1) // 2
        loc = [[loc[i * c + b] + starts[i] for b in range(c)] for i in range(k)]
        scale = [
            [tf.nn.softplus(raw_scale[i * c + b] - 2.0) + SMALLEST_LEVEL_SCALE for b in range(c)] for i in range(k)
        ]
        return logits, loc, scale, [[tf.tanh(a) for a in raw[i * pairs :][:pairs]] for i in range(k)]

    def _log_prob(self, x):
        x = tf.unstack(_axis_to_front(x))
        joint = []
        logits, *parts = self._planes()
        for logit, loc, scale, a in zip(logits, *parts, strict=True):
            away, log_mass = [x[c] - loc[c] for c in range(self.channels)], logit
            for c in range(self.channels):
                log_mass = log_mass + _log_mass(x[c], _moved(loc, away, a, c), scale[c])
            joint.append(log_mass)
        return functools.reduce(_log_add, joint) - functools.reduce(_log_add, logits)

    def _sample_n(self, n, seed=None):
        which, draw = tfp.random.split_seed(seed)
        logits, *parts = self._planes()
        k = tfd.Categorical(tf.stack(logits, axis=-1)).sample(n, seed=which)  # [n,...]

        def chosen(planes):  # by component → of the drawn component
            return tf.reduce_sum(tf.stack(planes, -1) * tf.one_hot(k, self.components), axis=-1)

        loc, scale, a = ([chosen(planes) for planes in zip(*part, strict=True)] for part in parts)
        noise = tf.unstack(tfd.Logistic(tf.zeros_like(loc[0]), 1.0).sample(self.channels, seed=draw))
        x = []
        for c in range(self.channels):
            level = tf.round(255.0 * (_moved(loc, [x[b] - loc[b] for b in range(c)], a, c) + scale[c] * noise[c]))
            x.append(tf.clip_by_value(level, 0.0, 255.0) / 255.0)
        return tf.stack(x, axis=-1)


def _moved(loc, away, a, c):
    """The location of channel c, given how far the channels before it are from theirs."""
    return loc[c] + sum(a[c * (c - 1) // 2 + b] * away[b] for b in range(c))


def _log_add(a, b):
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b)))


def _axis_to_front(tensor):
    rank = tensor.shape.rank
    return tf.transpose(tensor, [rank - 1, *range(rank - 1)])


# Tokens


class Tokens(_Plain):
    """Sequences of tokens, each given those before it: see `likelihoods.Autoregressive`.

    Args:
        params: the features of each step [...,T,F].
        network: the `Autoregressive` likelihood.
        spec: the `Spec` of the sequences.
    """

    def __init__(self, params, network, spec, name="Tokens"):
        parameters = dict(locals())
        self.params, self.network, self.spec = tf.convert_to_tensor(params), network, spec
        super().__init__(tf.int32, parameters)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"params": tfp.util.ParameterProperties(event_ndims=2)}

    def _event_shape_tensor(self):
        return tf.constant(self.spec.shape, tf.int32)

    def _event_shape(self):
        return tf.TensorShape(self.spec.shape)

    def logits(self, x):
        """The logits of each step given the true tokens x [...,T] before it: [...,T,V]."""
        batch = tf.broadcast_dynamic_shape(tf.shape(self.params)[:-2], tf.shape(x)[:-1])
        x = tf.broadcast_to(x, tf.concat([batch, self.spec.shape], axis=0))
        params = tf.broadcast_to(self.params, tf.concat([batch, tf.shape(self.params)[-2:]], axis=0))
        rows = tf.reshape(params, tf.concat([[-1], params.shape[-2:]], axis=0))
        logits = self.network.teacher_forced(rows, tf.reshape(x, [-1, *self.spec.shape]), self.spec)
        return tf.reshape(logits, tf.concat([batch, tf.shape(logits)[1:]], axis=0))

    def elements_log_prob(self, x):
        """The log-probability of each token of x [...,T], given those before it: [...,T]."""
        x = tf.cast(x, tf.int32)
        logits = self.logits(x)
        x = tf.broadcast_to(x, tf.shape(logits)[:-1])
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(x, logits)

    def _log_prob(self, x):
        return tf.reduce_sum(self.elements_log_prob(x), axis=-1)

    def _sample_n(self, n, seed=None):
        params = tf.broadcast_to(self.params, tf.concat([[n], tf.shape(self.params)], axis=0))
        return self.network.drawn(params, self.spec, 1.0, tfp.random.sanitize_seed(seed))

    def _mode(self):
        return self.network.example(self.params, self.spec)


# Rows of a table


class Poisson(tfd.Poisson):
    """`tfd.Poisson`, as exact for large counts as for small ones.

    TFP subtracts numbers around x log(x), which at x = 10^7 leaves an error of 12 nats in float32. With Stirling's
    series of x! they cancel by hand: log P = -x (exp(d) - 1 - d) - log(2 pi x) / 2 - 1 / (12 x), d = log(rate / x).
    """

    def _log_prob(self, x):
        large = x > LARGE_COUNT
        count = tf.where(large, x, LARGE_COUNT)  # the gradient of what is not chosen has to be finite too
        d = self.log_rate - tf.math.log(count)
        near = tf.clip_by_value(d, -0.1, 0.1)  # there exp(d) - 1 - d cancels, and LiteRT has no expm1
        near = near**2 / 2 * (1 + near / 3 * (1 + near / 4 * (1 + near / 5)))
        excess = tf.where(tf.abs(d) < 0.1, near, tf.math.expm1(d) - d)
        series = -count * excess - tf.math.log(2 * math.pi * count) / 2 - 1 / (12 * count)
        return tf.where(large, series, x * self.log_rate - tf.math.lgamma(x + 1) - tf.exp(self.log_rate))


class Family(NamedTuple):
    """The columns of a row that have distributions of one kind.

    Attributes:
        places: where they are in a row, int32 [n].
        distribution: over numbers u [...,n], one distribution for each column; 0 is in its support.
        loc, scale: x = loc + scale u, each [n], or 0 and 1.
    """

    places: np.ndarray
    distribution: tfd.Distribution
    loc: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0


class Row(_Plain):
    """The F columns of a row, independent of each other, each with a distribution of its family.

    A NaN is a missing cell: it contributes 0 to the log-probability, and no gradient. So log p(x) is that of the
    observed cells (for cells that are missing at random: Nazabal et al. 2020, arXiv:1807.03653, equation 4; Mattei &
    Frellsen 2019, arXiv:1812.02633, equation 3). It is a density in the units of x: that of u, less log(scale).

    Args:
        families: `Family`s; each of the F columns is in one of them.
    """

    def __init__(self, families, name="Row"):
        parameters = dict(locals())
        self.families = families
        self.order = np.argsort(np.concatenate([family.places for family in families])).astype("int32")
        super().__init__(tf.float32, parameters)

    def elements_log_prob(self, x):
        """log p of each cell of rows x [...,F], in nats: [...,F], with 0 for a missing one."""
        return self._in_order([self._of_family(family, x) for family in self.families])

    def _of_family(self, family, x):
        u = (tf.gather(x, family.places, axis=-1) - family.loc) / family.scale
        missing = tf.math.is_nan(u)
        log_prob = family.distribution.log_prob(tf.where(missing, 0.0, u)) - np.log(family.scale).astype("float32")
        return tf.where(missing, 0.0, log_prob)

    def _in_order(self, parts):
        """Parts [...,n] of each family → [...,F]."""
        return tf.gather(tf.concat(parts, axis=-1), self.order, axis=-1)

    def _batch_shape(self):
        return self.families[0].distribution.batch_shape[:-1]

    def _batch_shape_tensor(self):
        return self.families[0].distribution.batch_shape_tensor()[:-1]

    def _event_shape(self):
        return tf.TensorShape([len(self.order)])

    def _event_shape_tensor(self):
        return tf.constant([len(self.order)], tf.int32)

    def _log_prob(self, x):
        return tf.reduce_sum(self.elements_log_prob(x), axis=-1)

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=len(self.families))
        pairs = zip(self.families, tf.unstack(seeds), strict=True)
        return self._in_order(
            [family.loc + family.scale * family.distribution.sample(n, seed=own) for family, own in pairs]
        )


# Codes


class MixtureDistribution(tfd.MixtureSameFamily):
    """A mixture that draws a component first and then from it alone; TFP's draws from every one, and keeps one draw."""

    def _sample_n(self, n, seed=None):
        which, draw = tfp.random.split_seed(seed)
        k = self.mixture_distribution.sample(n, seed=which)
        chosen = tf.nest.map_structure(  # every parameter's first axis is that of the components
            lambda parameter: tf.gather(parameter, k), self.components_distribution, expand_composites=True
        )
        return chosen.sample(seed=draw)  # [n,D]


class NormalMixture(_Plain):
    """sum_k w_k N(z; m_k, L_k L_k^T), with one product of matrices for the density of many codes.

    TFP's would solve with a copy of L_k for every code.

    Args:
        logits: of w [K].
        loc: m [K,D].
        scale_tril: L [K,D,D], lower triangular.
    """

    def __init__(self, logits, loc, scale_tril, name="NormalMixture"):
        parameters = dict(locals())
        self.logits, self.loc, self.scale_tril = logits, loc, scale_tril
        super().__init__(loc.dtype, parameters)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "logits": tfp.util.ParameterProperties(event_ndims=1),
            "loc": tfp.util.ParameterProperties(event_ndims=2),
            "scale_tril": tfp.util.ParameterProperties(event_ndims=3),
        }

    def _event_shape_tensor(self):
        return tf.shape(self.loc)[-1:]

    def _event_shape(self):
        return self.loc.shape[-1:]

    def _log_prob(self, z):
        d = self.loc.shape[-1]
        whiten = tf.linalg.triangular_solve(self.scale_tril, tf.eye(d, batch_shape=[self.loc.shape[0]]))  # L^-1
        rows = tf.reshape(z, [-1, d])
        white = tf.matmul(rows[tf.newaxis] - self.loc[:, tf.newaxis], whiten, transpose_b=True)  # [K,N,D]
        log_scale = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.scale_tril)), axis=-1)  # [K]
        log_density = -0.5 * tf.reduce_sum(white**2, axis=-1) - (log_scale + d / 2 * math.log(2 * math.pi))[:, None]
        log_prob = tf.reduce_logsumexp(tf.nn.log_softmax(self.logits)[:, None] + log_density, axis=0)  # [N]
        return tf.reshape(log_prob, tf.shape(z)[:-1])

    def _sample_n(self, n, seed=None):
        which, draw = tfp.random.split_seed(seed)
        k = tfd.Categorical(self.logits).sample(n, seed=which)
        eps = tf.random.stateless_normal([n, self.loc.shape[-1]], draw)
        return tf.gather(self.loc, k) + tf.linalg.matvec(tf.gather(self.scale_tril, k), eps)  # [n,D]

    def _mean(self):
        return tf.linalg.matvec(self.loc, tf.nn.softmax(self.logits), transpose_a=True)

    def _variance(self):
        second = tf.reduce_sum(self.scale_tril**2, axis=-1) + self.loc**2  # [K,D]
        return tf.linalg.matvec(second, tf.nn.softmax(self.logits), transpose_a=True) - self._mean() ** 2

    def _stddev(self):
        return tf.sqrt(self._variance())


class FlowDistribution(tfd.TransformedDistribution):
    """A transformed normal whose moments, which have no closed form, are those of 10,000 draws."""

    def _mean(self):
        return tf.reduce_mean(self._draws(), axis=0)

    def _stddev(self):
        return tf.math.reduce_std(self._draws(), axis=0)

    def _draws(self):
        return self.sample(10_000, seed=(0, 0))

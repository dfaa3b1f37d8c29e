"""Likelihoods of vectors whose elements are the columns of a table.

The columns are in `spec.columns`; without any, each element is a number in its own unit. The parameters of one row are
[P]: a number for each continuous column, count and binary column, in this order, and then K logits for each categorical
column of K values. Those of numbers are in units of the column, so that a network whose outputs are around 0 and 1 fits
every table; log p(x|z) is in the units of x all the same. A NaN in x is a missing cell (see `distributions.Row`).
"""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops

from vaezoo import distributions, part_schema, parts  # modules, not names: the Keras import hook can re-enter here
from vaezoo.columns import check_rows, columns_of, places_of, units_of
from vaezoo.errors import VaezooError
from vaezoo.likelihoods.base import Likelihood
from vaezoo.registry import LIKELIHOODS

tfd = tfp.distributions

# A column that the codes tell exactly, such as one of few different numbers, would have a density without a bound.
SMALLEST_SCALE = 1e-2  # in units of the column
SMALLEST_DF = 1.0  # of a Student's t: that of a Cauchy
SMALLEST_DISPERSION = 1e-2  # r of a negative binomial: its variance is m + m^2 / r
FIRST_SCALE, FIRST_DF, FIRST_DISPERSION = 1.0, 10.0, 5.0
LARGEST_LOG_RATE = 40.0  # e^40 is 2e17: beyond it float32 knows no counts, and above 88 no rates


class _Columns(Likelihood):
    """What the likelihoods of this module have in common.

    A subclass says in `kind_of` which distribution a type of column has. The weights are one number for each column:
    `raw_scale` [C] and `raw_df` [C] of the C continuous columns, `raw_dispersion` [M] of the M counts.
    """

    def kind_of(self, column_type):
        """The name of the distribution of a type of column."""
        raise NotImplementedError

    def build(self, params_shape, levels=None, column_types=None):
        """Make the weights; without types, P = F numbers are the columns."""
        types = column_types or [self.column_types[0]] * params_shape[-1]
        kinds = [self.kind_of(each) for each in types]

        def weight(name, kinds_with_it, first, smallest):
            count = sum(kind in kinds_with_it for kind in kinds)
            start = keras.initializers.Constant(parts.raw_scale(first, smallest))
            return self.add_weight(name=name, shape=(count,), initializer=start) if count else None

        self.raw_scale = weight("raw_scale", ("normal", "student_t"), FIRST_SCALE, SMALLEST_SCALE)
        self.raw_df = weight("raw_df", ("student_t",), FIRST_DF, SMALLEST_DF)
        self.raw_dispersion = weight("raw_dispersion", ("negative_binomial",), FIRST_DISPERSION, SMALLEST_DISPERSION)

    def params_shape(self, spec):
        """(P,)."""
        return (sum(map(_size, self._columns(spec))),)

    def distribution(self, params, spec):
        """params [...,P] → a `distributions.Row`."""
        columns = self._columns(spec)
        continuous, counts, binary, categories = self._split(params, columns)
        families = []
        if len(places := places_of(columns, "continuous")):
            families.append(
                distributions.Family(
                    places, self._continuous(continuous), *(unit[places] for unit in units_of(columns))
                )
            )
        if len(places := places_of(columns, "count")):
            families.append(distributions.Family(places, self._count(_log_rate(counts, columns))))
        if len(places := places_of(columns, "binary")):
            families.append(distributions.Family(places, tfd.Bernoulli(logits=binary, dtype=tf.float32)))
        for places, logits in categories:
            families.append(distributions.Family(places, tfd.Categorical(logits=logits, dtype=tf.float32)))
        return distributions.Row(families)

    def elements_log_prob(self, params, x, spec):
        """log p(x_j|z) of each column of rows x [...,F], in nats: [...,F], with 0 for a missing cell."""
        return self.distribution(params, spec).elements_log_prob(x)

    def mean(self, params, spec):
        """The row to show [...,F]: of a number the mean (of a Student's t the median), else the most likely index."""
        columns = self._columns(spec)
        continuous, counts, binary, categories = self._split(params, columns)
        parts_, places = [], []
        if len(own := places_of(columns, "continuous")):
            loc, scale = (unit[own] for unit in units_of(columns))
            parts_.append(continuous * scale + loc)
            places.append(own)
        if len(own := places_of(columns, "count")):
            parts_.append(ops.exp(_log_rate(counts, columns)))
            places.append(own)
        if len(own := places_of(columns, "binary")):
            parts_.append(ops.where(binary > 0, 1.0, 0.0))
            places.append(own)
        for own, logits in categories:
            # Not argmax: Keras's needs an operation that LiteRT has not.
            parts_.append(ops.multiply(ops.top_k(logits, 1)[1][..., 0], 1.0))  # float32
            places.append(own)
        order = np.argsort(np.concatenate(places)).astype("int32")
        shown = ops.concatenate(parts_, axis=-1) if len(parts_) > 1 else parts_[0]
        return shown if (order == np.arange(len(order))).all() else ops.take(shown, order, axis=-1)

    def drawn(self, params, spec, temperature, seed):
        """Rows [...,F] drawn from p(x|z); see `Likelihood`."""
        if temperature != 1:
            raise VaezooError(
                f"a temperature is for sequences of tokens, and these examples are {spec}; leave it out, or set 1"
            )
        return self.distribution(params, spec).sample(seed=seed)

    def check(self, x, spec):
        """Refuse what is no row of the columns."""
        self.section.check_examples(spec)
        check_rows(np.asarray(x), self._columns(spec))

    def _columns(self, spec):
        """The columns of the spec, of a type that it describes."""
        columns = columns_of(spec, self.column_types[0])
        for column in columns:
            if column.type not in self.column_types:
                raise VaezooError(
                    f"the likelihood '{self.settings.name}' describes columns that are {self.column_types[0]}, and "
                    f"'{column.name}' is {column.type}; set model.likelihood=mixed, or change data.columns"
                )
        return columns

    def _split(self, params, columns):
        """params [...,P] → those of continuous columns, of counts, of binary columns, and of categorical ones.

        The last are pairs (places [n], logits [...,n,K]), one for each K.
        """
        sizes = [len(places_of(columns, kind)) for kind in ("continuous", "count", "binary")]
        numbers = ops.split(params[..., : sum(sizes)], np.cumsum(sizes)[:-1].tolist(), axis=-1)
        categorical, start, of_size = places_of(columns, "categorical"), sum(sizes), {}
        for place in categorical:
            size = _size(columns[place])
            logits = params[..., start : start + size]
            start += size
            places, found = of_size.setdefault(size, ([], []))
            places.append(place)
            found.append(logits)
        pairs = [(np.array(places, "int32"), ops.stack(found, axis=-2)) for places, found in of_size.values()]
        return *numbers, pairs

    def _continuous(self, loc):
        scale = ops.softplus(self.raw_scale) + SMALLEST_SCALE
        if self.kind_of("continuous") == "normal":
            return tfd.Normal(loc, scale)
        return tfd.StudentT(ops.softplus(self.raw_df) + SMALLEST_DF, loc, scale)

    def _count(self, log_rate):
        if self.kind_of("count") == "poisson":
            return distributions.Poisson(log_rate=log_rate)
        dispersion = ops.softplus(self.raw_dispersion) + SMALLEST_DISPERSION
        return tfd.NegativeBinomial(dispersion, logits=log_rate - ops.log(dispersion))


def _size(column):
    """How many parameters a column has."""
    return len(column.values) if column.type == "categorical" else 1


def _log_rate(params, columns):
    """log of the mean of each count, for params [...,M] in units of the columns."""
    loc, scale = (unit[places_of(columns, "count")] for unit in units_of(columns))
    return ops.minimum(params * scale + loc, LARGEST_LOG_RATE)


@LIKELIHOODS.register(part_schema.StudentT)
class StudentT(_Columns):
    """p(x|z) = prod_j StudentT(x_j; df_j, loc_j + scale_j params_j, scale_j s_j), with s_j and df_j learned.

    An outlier costs the logarithm of its distance, so a few of them do not rule the training.
    """

    def kind_of(self, column_type):
        """A Student's t."""
        return "student_t"


@LIKELIHOODS.register(part_schema.Poisson)
class Poisson(_Columns):
    """p(x|z) = prod_j Poisson(x_j; exp(loc_j + scale_j params_j))."""

    def kind_of(self, column_type):
        """A Poisson."""
        return "poisson"


@LIKELIHOODS.register(part_schema.NegativeBinomial)
class NegativeBinomial(_Columns):
    """p(x|z) = prod_j NB(x_j; mean m_j, dispersion r_j), m_j = exp(loc_j + scale_j params_j), with r_j learned.

    NB(x; m, r) = Gamma(x + r) / (x! Gamma(r)) (r / (r + m))^r (m / (r + m))^x, of variance m + m^2 / r.
    """

    def kind_of(self, column_type):
        """A negative binomial."""
        return "negative_binomial"


@LIKELIHOODS.register(part_schema.Mixed)
class Mixed(_Columns):
    """The columns of a table, each with a distribution of its type (Nazabal et al. 2020, arXiv:1807.03653, sec. 3.2).

    Continuous: a normal or a Student's t; counts: a Poisson or a negative binomial; binary: a Bernoulli; categorical: a
    categorical. Scales, degrees of freedom and dispersions are learned, one for each column.
    """

    def kind_of(self, column_type):
        """The distribution that the keywords name, or the only one of the type."""
        return {"continuous": self.continuous, "count": self.count}.get(column_type, column_type)

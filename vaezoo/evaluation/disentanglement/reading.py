"""The points of the disentanglement metrics: codes and factors as they are read, checked, binned and halved."""

import dataclasses
import importlib.util
from collections.abc import Mapping

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.evaluation.sample_quality import UndefinedMetricError

BINS = 20  # of a latent, equally wide, as in Locatello et al. 2019, arXiv:1811.12359, appendix C
FACTOR_BINS = 10  # of a continuous factor, equally filled
POINTS = 200  # that every metric needs: 10 for each bin of a latent
PER_BIN = 10  # points for each bin of a latent, and on average for each value of a factor
COMMON = 20  # points of a value that surely occurs in every half, and there in both training and held-out points
HALVES = 8  # for a standard error
CONSTANT = 1e-6  # the range of a constant latent, relative to its size: the rounding of float32
INFORMATIVE = 0.01  # nats of KL, above which a latent counts in the UDR (Duan et al. 2020, section 4)


def require_scikit_learn():
    """Raise a VaezooError if scikit-learn is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        raise VaezooError(
            "the disentanglement metrics need scikit-learn, which is not installed: pip install "
            "'vaezoo[disentanglement]'"
        )


@dataclasses.dataclass(frozen=True)
class Factor:
    """A factor of N points.

    Attributes:
        name: of the factor.
        values: [N], the number of the value or of the bin, 0 .. count - 1.
        count: K, the number of values or bins.
        numbers: [N], float64 of variance 1, of a continuous factor; None for categories.
    """

    name: str
    values: np.ndarray
    count: int
    numbers: np.ndarray | None = None

    def take(self, chosen):
        """The same of the chosen points."""
        numbers = None if self.numbers is None else self.numbers[chosen]
        return dataclasses.replace(self, values=self.values[chosen], numbers=numbers)


@dataclasses.dataclass(frozen=True)
class Points:
    """Codes [N,D] of mean 0 and variance 1 (a constant latent is 0), factors, and the bin of each code [N,D]."""

    codes: np.ndarray
    factors: list[Factor]
    bin_of: np.ndarray | None = None
    bins: int = 0

    def __len__(self):
        return len(self.codes)

    def take(self, chosen):
        """The same of the chosen points."""
        bin_of = None if self.bin_of is None else self.bin_of[chosen]
        factors = [factor.take(chosen) for factor in self.factors]
        return dataclasses.replace(self, codes=self.codes[chosen], factors=factors, bin_of=bin_of)


@dataclasses.dataclass(frozen=True)
class Models:
    """Codes of the same N points by several models, [N,D] each."""

    codes: list[np.ndarray]

    def __len__(self):
        return len(self.codes[0])

    def take(self, chosen):
        """The same of the chosen points."""
        return Models([own[chosen] for own in self.codes])


def measure(score, points, seed):
    """{"value", "standard_error"} of a score(points, rng), or a list of them if it returns a list."""
    require_scikit_learn()
    from threadpoolctl import threadpool_limits  # a requirement of scikit-learn

    # The matrices are small: on two busy cores one thread is five times faster, and the sums have one order everywhere.
    with threadpool_limits(1):
        value = np.asarray(score(points, np.random.default_rng([seed, 0])))
        halves = []
        for number in range(1, HALVES + 1):
            rng = np.random.default_rng([seed, number])
            half = rng.permutation(len(points))[: len(points) // 2]
            halves.append(score(points.take(half), rng))
    error = np.std(halves, axis=0, ddof=1)
    if value.ndim:
        return [_metric(*pair) for pair in zip(value, error, strict=True)]
    return _metric(value, error)


def _metric(value, error):
    return {"value": float(value), "standard_error": float(error)}


def checked(codes, factors, seed, fewest=1):
    """The points, refused if they are too few, if all latents are constant, or if too few factors can be measured."""
    check_seed(seed)
    points, constant, reasons = read(codes, factors)
    check_count(len(points))
    if constant.all():
        raise UndefinedMetricError(
            f"every latent of the code is constant ({len(constant)} of {len(constant)}), so it tells nothing about any "
            "factor; give the codes of a model that has not collapsed"
        )
    if len(points.factors) < fewest:
        raise UndefinedMetricError(too_few_factors(points.factors, reasons, fewest))
    return points


def too_few_factors(factors, reasons, fewest=2):
    """The sentence that too few factors can be measured, with the reason for each that cannot."""
    because = "".join(f"; {reason}" for reason in reasons.values())
    return (
        f"{len(factors)} of {len(factors) + len(reasons)} factors can be measured, and this metric needs at least "
        f"{fewest}{because}"
    )


def check_seed(seed):
    """Refuse a seed out of range."""
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")


def check_count(count):
    """Refuse too few points."""
    if count < POINTS:
        raise UndefinedMetricError(f"{count} points are too few; disentanglement metrics need at least {POINTS}")


def read(codes, factors):
    """The points with the factors that can be measured, whether each latent is constant [D], and {factor: reason}."""
    codes = read_codes(codes)
    found, reasons = [], {}
    for name, values in read_mapping(factors).items():
        factor = read_factor(name, values, len(codes))
        if reason := _reason_to_leave_out(factor):
            reasons[factor.name] = reason
        else:
            found.append(factor)
    return Points(codes, found), np.ptp(codes, axis=0) == 0, reasons


def read_codes(codes):
    """Codes [N,D] of mean 0 and variance 1; a constant latent is 0."""
    codes = as_numbers(codes, "the code")
    if codes.ndim != 2 or 0 in codes.shape:
        raise VaezooError(f"the code has the shape {list(codes.shape)}; give [N,D], of N points and D latents")
    return _scaled(codes, CONSTANT)


def _scaled(numbers, constant=0.0):
    """Numbers [N,...] of mean 0 and variance 1; 0 where their range is at most this share of their size."""
    size = np.abs(numbers).max(0)
    numbers = numbers / np.where(size > 0, size, 1)  # the square of a very large number would overflow
    varies = np.ptp(numbers, axis=0) > constant
    numbers = numbers - numbers.mean(0)
    return np.where(varies, numbers / np.where(varies, numbers.std(0), 1), 0)


def as_numbers(given, what):
    """What was given as an array of finite float64."""
    try:
        numbers = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise VaezooError(f"{what} is not an array; give one of numbers") from error
    if numbers.dtype.kind not in "biuf":
        raise VaezooError(f"{what} is of the type {numbers.dtype}; give real numbers")
    broken = int((~np.isfinite(numbers)).sum())
    if broken:
        raise VaezooError(f"{broken:,} of {numbers.size:,} numbers of {what} are NaN or infinite; give finite ones")
    return numbers.astype("float64")


def read_mapping(factors):
    """The factors as a mapping of names; anything else is refused."""
    if not isinstance(factors, Mapping) or not factors:
        given = "no factors" if isinstance(factors, Mapping) else f"factors of the type {type(factors).__name__}"
        raise VaezooError(f"{given}; give a mapping of at least one name to an array of values [N]")
    return factors


def read_factor(name, values, count):
    """The factor, for `count` points."""
    name, what = str(name), f"the factor '{name}'"
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise VaezooError(f"{what} is not an array; give one of a value for each point") from error
    if values.shape != (count,):
        raise VaezooError(f"{what} has the shape {list(values.shape)}; the code has {count} points, so give [{count}]")
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        values = values.astype(str)
    if values.dtype.kind not in "biufUS":
        raise VaezooError(f"{what} is of the type {values.dtype}; give integers or strings (categories), or floats")
    if values.dtype.kind != "f":
        known, values = np.unique(values, return_inverse=True)
        return Factor(name, values, len(known))
    numbers = _scaled(as_numbers(values, what))
    known, values = np.unique(numbers, return_inverse=True)
    if len(known) > FACTOR_BINS:
        edges = np.quantile(numbers, np.linspace(0, 1, FACTOR_BINS + 1)[1:-1], method="inverted_cdf")
        # Equal edges, of a value that fills more than a bin, would leave numbers of bins without points.
        known, values = np.unique(np.searchsorted(edges, numbers), return_inverse=True)
    return Factor(name, values, len(known), numbers)


def _reason_to_leave_out(factor):
    """Why a factor cannot be measured, or None."""
    if factor.count == 1:
        return f"the factor '{factor.name}' has one value only"
    if reason := too_many_values(factor):
        return reason
    if np.partition(np.bincount(factor.values), -2)[-2] < COMMON:
        return f"fewer than two values of the factor '{factor.name}' have {COMMON} points"
    return None


def too_many_values(factor):
    """The sentence that a factor has too many values for its points; None if it has not."""
    points = len(factor.values)
    if factor.count * PER_BIN <= points:
        return None
    return (
        f"the factor '{factor.name}' has {factor.count} values, too many for {points} points; give at least {PER_BIN} "
        "points for each value, or floats if it is continuous"
    )


def binned(points, bins):
    """The points with the bin of each code."""
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 2:
        raise VaezooError(f"{bins!r} bins; give an integer of at least 2")
    if len(points) < PER_BIN * bins:
        raise UndefinedMetricError(
            f"{len(points)} points are too few for {bins} bins; give at least {PER_BIN} for each bin, or fewer bins"
        )
    low, width = points.codes.min(0), np.ptp(points.codes, axis=0)
    place = (points.codes - low) / np.where(width > 0, width, 1) * bins
    # A value at an edge, as an integer may be, must not fall into either bin by how its scale is rounded.
    bin_of = np.minimum(np.floor(place + 1e-9), bins - 1).astype(int)
    return dataclasses.replace(points, bin_of=bin_of, bins=int(bins))

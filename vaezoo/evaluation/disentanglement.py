"""Disentanglement metrics: how a code [N,D] holds the known factors of variation of the same N examples.

    report = disentanglement(codes, {"shape": shapes, "x": positions})    # everything, fit for JSON
    mig(codes, {"shape": shapes})                                         # {"value": 0.7, "standard_error": 0.01}

All functions take the same arguments:

- codes [N,D]: finite numbers, such as the posterior means. The scale and the order of the latents do not matter.
- factors: a mapping name → array [N]. Integers, booleans and strings are categories. Floats are continuous, and where a
  metric needs categories they are divided into 10 equally filled bins; a value is never divided, and up to 10 different
  values are a bin each.
- seed: of every draw and split, 0 <= seed < 2^31. The same seed gives the same result.

Every metric is {"value", "standard_error"}. The value is that of all N points. The standard error is the standard
deviation of the metric over 8 random halves of the points, drawn without replacement, each with draws and splits of
its own. A half varies about the set it is taken from as much as that set varies about the population: the variance of
its mean is (1 - 1/2) s^2 / (N/2) = s^2 / N. Unlike a bootstrap it never puts one point into both training and held-out
points, and never counts it twice, which would add mutual information. With 8 halves the error itself is known to 27 %.
That of `dci` and `explicitness`, which hold out half of the points, errs upwards by up to 22 %: the value is a mean
over N/2 of them, of variance 2 s^2 / N, and those held out in halves have (1 - 1/4) s^2 / (N/4) = 3 s^2 / N.

A factor that cannot be measured is left out: one with a single value, one with more than N/10 values, and one of which
fewer than two values have 20 points. It is an error if none is left. `disentanglement` says which were left out.
"""

import dataclasses
import importlib.util
import warnings
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
BATCH = 64  # L, the examples or pairs of a vote, as in Locatello et al. 2019
VOTES = 5000  # to train on, and as many that are held out
TREES, LEAF = 10, 5  # of a forest, and the fewest points in a leaf
ITERATIONS = 1000  # of a solver
CONSTANT = 1e-6  # the range of a constant latent, relative to its size: the rounding of float32
INFORMATIVE = 0.01  # nats of KL, above which a latent counts in the UDR (Duan et al. 2020, section 4)
PENALTY = 0.1  # of the Lasso of the UDR, on codes of variance 1


def require_scikit_learn():
    """Raise a VaezooError if scikit-learn is not installed; `dci`, `explicitness`, `udr` and one score need it."""
    if importlib.util.find_spec("sklearn") is None:
        raise VaezooError(
            "the disentanglement metrics need scikit-learn, which is not installed: pip install "
            "'vaezoo[disentanglement]'"
        )


def disentanglement(codes, factors, seed=0):
    """Every metric of this module that needs no second model.

    Args:
        codes, factors, seed: see the module.

    Returns:
        A mapping fit for JSON. Each defined metric is {"value", "standard_error"}: beta_vae_score, factor_vae_score,
        mig, sap, dci_disentanglement, dci_completeness, dci_informativeness, modularity, explicitness. "left_out" is
        {metric: the reason why it is not defined} and "factors_left_out" is {factor: the reason}. "points",
        "latents", "constant_latents" and "factors" (the number of values of each, after binning) describe the input.

    Raises:
        VaezooError: for codes that are not finite or not [N,D], for no factors, for a factor that is not [N] or not
            finite, or for a seed out of range.
    """
    _check_seed(seed)
    points, constant, reasons = _read(codes, factors)
    report = {
        "points": len(points.codes),
        "latents": len(constant),
        "constant_latents": int(constant.sum()),
        "factors": {factor.name: factor.count for factor in points.factors},
    }
    left_out = {}
    for metric in (beta_vae_score, factor_vae_score, mig, sap, modularity, explicitness):
        try:
            report[metric.__name__] = metric(codes, factors, seed=seed)
        except UndefinedMetricError as error:
            left_out[metric.__name__] = str(error)
    names = "disentanglement", "completeness", "informativeness"
    try:
        found = dci(codes, factors, seed=seed)
        report |= {f"dci_{name}": found[name] for name in names if found[name] is not None}
        if found["disentanglement"] is None:
            left_out["dci_disentanglement"] = _too_few_factors(points.factors, reasons)
    except UndefinedMetricError as error:
        left_out |= {f"dci_{name}": str(error) for name in names}
    return report | {"left_out": left_out, "factors_left_out": reasons}


def beta_vae_score(codes, factors, seed=0):
    """How well a linear classifier tells which factor two examples share, from the mean |z1 - z2|.

    For each vote a factor is chosen, each equally often, and then 64 pairs of different points that share its value.
    Pairs are resampled among the N points, which are grouped by the (binned) value; the first point of a pair is any
    point, so that a value is drawn as often as it occurs. The vote is the mean of |z1 - z2| over the pairs [D]. A
    logistic regression is trained on 5,000 votes. A value with one point is not drawn.

    Args:
        codes, factors, seed: see the module; at least two factors.

    Returns:
        {"value", "standard_error"}: the accuracy on 5,000 other votes. 1 is best, and 1 / the number of factors is
        chance. A rotated code can score 1.

    Raises:
        UndefinedMetricError: for fewer than 200 points, fewer than two factors that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Higgins et al. 2017, "beta-VAE", appendix A.4.
    """
    return _measure(_beta_vae_score, _checked(codes, factors, seed, fewest=2), seed)


def factor_vae_score(codes, factors, seed=0):
    """How well the latent that varies least tells which factor is fixed.

    For each vote a factor is chosen, each equally often, and then 64 points that share its value: resampled with
    replacement among the N points, which are grouped by the (binned) value. A value is drawn as often as it occurs.
    Each latent is divided by its standard deviation over all points, and the vote is the latent of the smallest
    variance. The classifier predicts the factor that was fixed most often among the 5,000 training votes for this
    latent. Constant latents are left out, and so are values with one point.

    Args:
        codes, factors, seed: see the module; at least two factors.

    Returns:
        {"value", "standard_error"}: the accuracy on 5,000 other votes. 1 is best, and 1 / the number of factors is
        chance.

    Raises:
        UndefinedMetricError: for fewer than 200 points, fewer than two factors that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Kim & Mnih 2018, "Disentangling by Factorising", arXiv:1802.05983, section 4.
    """
    return _measure(_factor_vae_score, _checked(codes, factors, seed, fewest=2), seed)


def mig(codes, factors, seed=0, bins=BINS):
    """The mutual information gap: how much more the best latent knows about a factor than the second best.

    (I(z_1; v) - I(z_2; v)) / H(v) for the two most informative latents, averaged over the factors. A single latent is
    compared with a constant one, of no information.

    Args:
        codes, factors, seed: see the module.
        bins: equally wide, between the smallest and the largest value of a latent.

    Returns:
        {"value", "standard_error"}, in [0, 1]; higher is better. A factor of more values than bins cannot reach 1: at
        most log(bins) / log(values), if all are equally frequent.

    Raises:
        UndefinedMetricError: for fewer than 200 points or 10 for each bin, no factor that can be measured, or constant
            codes.
        VaezooError: for fewer than two bins, or other invalid arguments; see `disentanglement`.

    Source: Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", arXiv:1802.04942, section 4; with binned
    codes, as in Locatello et al. 2019.
    """
    return _measure(_mig, _binned(_checked(codes, factors, seed), bins), seed)


def sap(codes, factors, seed=0):
    """The separated attribute predictability: how much better the best latent predicts a factor than the second best.

    The score of one latent for a continuous factor is R^2 of a linear regression, on all points. That for a categorical
    one is the balanced accuracy, on held-out points, of the value with the nearest mean: a linear discriminant of equal
    class weights, with a threshold between each two neighbouring means. Each half of the points is held out once. The
    gap of the best two is averaged over the factors. A single latent is compared with a constant one, which has R^2 = 0
    or the accuracy 1/K of K values.

    Args:
        codes, factors, seed: see the module. Integers are categories here too: give floats for a regression.

    Returns:
        {"value", "standard_error"}; higher is better. The best is 1 for continuous factors and 1 - 1/K for categories,
        whose chance is not subtracted.

    Raises:
        UndefinedMetricError: for fewer than 200 points, no factor that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Kumar et al. 2018, "Variational Inference of Disentangled Latent Concepts", arXiv:1711.00848, section 3.
    """
    return _measure(_sap, _checked(codes, factors, seed), seed)


def dci(codes, factors, seed=0):
    """Disentanglement, completeness and informativeness, from what trees need to predict each factor.

    A random forest of 10 trees predicts each factor from all latents, on half of the points: a classifier for
    categories, a regression for continuous factors. (Locatello et al. 2019 boost trees, which takes minutes for a
    factor of 40 values; Eastwood & Williams have forests too.) Each split chooses among all latents and no leaf has
    fewer than 5 points, so that latents without information are hardly used. The importance R_df is the share of latent
    d in the decrease of impurity for factor f. The shares for a factor add up to 1 even if no latent knows about it, so
    read the first two only together with the informativeness.

    - disentanglement: 1 - the entropy of R_d. / sum R_d. in units of log(factors), of each latent, weighted by its
      share in all importance. None for a single factor, where every latent is about one factor at most.
    - completeness: 1 - the entropy of R_.f in units of log(latents), averaged over the factors. It is 1 for a single
      latent. Constant latents count among the latents.
    - informativeness: the accuracy for categories, R^2 (at least 0) for continuous factors, on the other half of the
      points, averaged over the factors.

    Args:
        codes, factors, seed: see the module.

    Returns:
        A mapping of the three names above, each {"value", "standard_error"}, in [0, 1]; higher is better.

    Raises:
        UndefinedMetricError: for fewer than 200 points, no factor that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Eastwood & Williams 2018, "A Framework for the Quantitative Evaluation of Disentangled Representations",
    section 2.
    """
    points = _checked(codes, factors, seed)
    found = _measure(_dci, points, seed)
    if len(points.factors) == 1:
        found[0] = None
    return dict(zip(("disentanglement", "completeness", "informativeness"), found, strict=True))


def modularity(codes, factors, seed=0, bins=BINS):
    """Whether each latent has information about one factor only.

    1 - sum_f I(z_d; v_f)^2 / ((F - 1) max_f I(z_d; v_f)^2), where the sum leaves out the best of F factors, averaged
    over the latents that are not constant. A latent of noise adds a number without a meaning: that of the errors of its
    mutual information.

    Args:
        codes, factors, seed: see the module; at least two factors.
        bins: as in `mig`.

    Returns:
        {"value", "standard_error"}, in [0, 1]; higher is better. Duplicated latents do not lower it.

    Raises:
        UndefinedMetricError: for fewer than 200 points or 10 for each bin, fewer than two factors that can be measured,
            or constant codes.
        VaezooError: for fewer than two bins, or other invalid arguments; see `disentanglement`.

    Source: Ridgeway & Mozer 2018, "Learning Deep Disentangled Embeddings With the F-Statistic Loss", arXiv:1802.05312,
    section 3.
    """
    return _measure(_modularity, _binned(_checked(codes, factors, seed, fewest=2), bins), seed)


def explicitness(codes, factors, seed=0):
    """How well a logistic regression recovers each value of each factor from all latents.

    It is trained on half of the points of each value. 2 AUC - 1, of the area under the ROC curve of its probability of
    a value against all others on the other half, is averaged over the values of a factor, then over the factors. A
    value with one point is left out.

    Args:
        codes, factors, seed: see the module.

    Returns:
        {"value", "standard_error"}, at most 1, which is best; 0 is chance. A rotated code scores as much.

    Raises:
        UndefinedMetricError: for fewer than 200 points, no factor that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Ridgeway & Mozer 2018, arXiv:1802.05312, section 3.
    """
    return _measure(_explicitness, _checked(codes, factors, seed), seed)


def mutual_information(codes, factors, bins=BINS):
    """I(z_d; v_f) of each latent, in equally wide bins, and each factor.

    Args:
        codes, factors: see the module. A constant latent and a factor of one value have the information 0.
        bins: between the smallest and the largest value of a latent.

    Returns:
        [D,F] in nats; the columns are in the order of the factors. It errs upwards, for K values and no information by
        about (bins - 1) (K - 1) / 2N.

    Raises:
        UndefinedMetricError: for fewer than 10 points for each bin, or a factor with more than N/10 values.
        VaezooError: for fewer than two bins, or other invalid arguments; see `disentanglement`.
    """
    codes = _read_codes(codes)
    factors = [_read_factor(name, values, len(codes)) for name, values in _read_mapping(factors).items()]
    for factor in factors:
        if reason := _too_many_values(factor):
            raise UndefinedMetricError(reason)
    return _mutual_information(_binned(_Points(codes, factors), bins))


def udr(codes, kl, seed=0):
    """The unsupervised disentanglement ranking: how well each model agrees with the others, without any factor.

    The Lasso version. Each code has variance 1, and latents of a KL of at most 0.01 nats, or that are constant, are
    left out. R_ab = |coefficient| of latent a of the other model in a Lasso (penalty 0.1) that predicts latent b of
    this one. The agreement of two models is (sum_b max_a R^2 / sum_a R + sum_a max_b R^2 / sum_b R) / (the number of
    latents of both). The score of a model is the median of its agreement with the others. The standard error is that of
    the points, not that of the choice of the models.

    Args:
        codes: a list of arrays [N,D], the codes of the same N examples by each of at least two models, usually of the
            same recipe and different seeds; the paper advises at least five. D may differ.
        kl: a list of arrays [D], the KL of each latent in nats, as from `kl_per_latent`.
        seed: see the module.

    Returns:
        A list of {"value", "standard_error"}, one for each model, in [0, 1]; higher is better. Models that are equal
        except for the order, sign and scale of independent latents score 1 - the penalty = 0.9; a model without any
        informative latent scores 0.

    Raises:
        UndefinedMetricError: for fewer than 200 points.
        VaezooError: for fewer than two models, codes or KL that are not finite or do not fit each other.

    Source: Duan et al. 2020, "Unsupervised Model Selection for Variational Disentangled Representation Learning",
    arXiv:1905.12614, section 4.
    """
    _check_seed(seed)
    if len(codes) < 2:
        raise VaezooError(f"the UDR compares models, and {len(codes)} was given; give the codes of at least two")
    if len(codes) != len(kl):
        raise VaezooError(f"{len(codes)} codes and {len(kl)} lists of KL; give one of both for each model")
    models = []
    for number, (own, per_latent) in enumerate(zip(codes, kl, strict=True)):
        own, per_latent = _read_codes(own), _numbers(per_latent, f"the KL of model {number}")
        if per_latent.shape != own.shape[1:]:
            raise VaezooError(
                f"the KL of model {number} has the shape {list(per_latent.shape)}, and its code has {own.shape[1]} "
                "latents; give one number for each"
            )
        if len(models) and len(own) != len(models[0]):
            raise VaezooError(
                f"model {number} has the codes of {len(own)} examples, and model 0 of {len(models[0])}; give those of "
                "the same examples in the same order"
            )
        models.append(own[:, (per_latent > INFORMATIVE) & (np.ptp(own, axis=0) > 0)])
    _check_count(len(models[0]))
    return _measure(_udr, _Models(models), seed)


# The points, as the metrics read them


@dataclasses.dataclass(frozen=True)
class _Factor:
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
        numbers = None if self.numbers is None else self.numbers[chosen]
        return dataclasses.replace(self, values=self.values[chosen], numbers=numbers)


@dataclasses.dataclass(frozen=True)
class _Points:
    """Codes [N,D] of mean 0 and variance 1 (a constant latent is 0), factors, and the bin of each code [N,D]."""

    codes: np.ndarray
    factors: list[_Factor]
    bin_of: np.ndarray | None = None
    bins: int = 0

    def __len__(self):
        return len(self.codes)

    def take(self, chosen):
        bin_of = None if self.bin_of is None else self.bin_of[chosen]
        factors = [factor.take(chosen) for factor in self.factors]
        return dataclasses.replace(self, codes=self.codes[chosen], factors=factors, bin_of=bin_of)


@dataclasses.dataclass(frozen=True)
class _Models:
    """Codes of the same N points by several models, [N,D] each."""

    codes: list[np.ndarray]

    def __len__(self):
        return len(self.codes[0])

    def take(self, chosen):
        return _Models([own[chosen] for own in self.codes])


def _measure(score, points, seed):
    """{"value", "standard_error"} of a score(points, rng), or a list of them if it returns a list."""
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


def _checked(codes, factors, seed, fewest=1):
    """The points, refused if they are too few, if all latents are constant, or if too few factors can be measured."""
    _check_seed(seed)
    points, constant, reasons = _read(codes, factors)
    _check_count(len(points))
    if constant.all():
        raise UndefinedMetricError(
            f"every latent of the code is constant ({len(constant)} of {len(constant)}), so it tells nothing about any "
            "factor; give the codes of a model that has not collapsed"
        )
    if len(points.factors) < fewest:
        raise UndefinedMetricError(_too_few_factors(points.factors, reasons, fewest))
    return points


def _too_few_factors(factors, reasons, fewest=2):
    because = "".join(f"; {reason}" for reason in reasons.values())
    return (
        f"{len(factors)} of {len(factors) + len(reasons)} factors can be measured, and this metric needs at least "
        f"{fewest}{because}"
    )


def _check_seed(seed):
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")


def _check_count(count):
    if count < POINTS:
        raise UndefinedMetricError(f"{count} points are too few; disentanglement metrics need at least {POINTS}")


def _read(codes, factors):
    """The points with the factors that can be measured, whether each latent is constant [D], and {factor: reason}."""
    codes = _read_codes(codes)
    found, reasons = [], {}
    for name, values in _read_mapping(factors).items():
        factor = _read_factor(name, values, len(codes))
        if reason := _reason_to_leave_out(factor):
            reasons[factor.name] = reason
        else:
            found.append(factor)
    return _Points(codes, found), np.ptp(codes, axis=0) == 0, reasons


def _read_codes(codes):
    """Codes [N,D] of mean 0 and variance 1; a constant latent is 0."""
    codes = _numbers(codes, "the code")
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


def _numbers(given, what):
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


def _read_mapping(factors):
    if not isinstance(factors, Mapping) or not factors:
        given = "no factors" if isinstance(factors, Mapping) else f"factors of the type {type(factors).__name__}"
        raise VaezooError(f"{given}; give a mapping of at least one name to an array of values [N]")
    return factors


def _read_factor(name, values, count):
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
        return _Factor(name, values, len(known))
    numbers = _scaled(_numbers(values, what))
    known, values = np.unique(numbers, return_inverse=True)
    if len(known) > FACTOR_BINS:
        edges = np.quantile(numbers, np.linspace(0, 1, FACTOR_BINS + 1)[1:-1], method="inverted_cdf")
        # Equal edges, of a value that fills more than a bin, would leave numbers of bins without points.
        known, values = np.unique(np.searchsorted(edges, numbers), return_inverse=True)
    return _Factor(name, values, len(known), numbers)


def _reason_to_leave_out(factor):
    """Why a factor cannot be measured, or None."""
    if factor.count == 1:
        return f"the factor '{factor.name}' has one value only"
    if reason := _too_many_values(factor):
        return reason
    if np.partition(np.bincount(factor.values), -2)[-2] < COMMON:
        return f"fewer than two values of the factor '{factor.name}' have {COMMON} points"
    return None


def _too_many_values(factor):
    points = len(factor.values)
    if factor.count * PER_BIN <= points:
        return None
    return (
        f"the factor '{factor.name}' has {factor.count} values, too many for {points} points; give at least {PER_BIN} "
        "points for each value, or floats if it is continuous"
    )


def _binned(points, bins):
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


# The metrics of points: each is a function (points, rng) → a number, or a list of numbers


def _beta_vae_score(points, rng):
    def vote(first, group_start, group_size):
        second = _another(first, group_start, group_size, rng)
        return lambda z: np.abs(z[first] - z[second]).mean(1)

    votes, fixed = _votes(points, rng, vote, pairs=True)
    spread = votes[0].std(0)
    used = spread > 0
    train, test = ((part[:, used] - votes[0][:, used].mean(0)) / spread[used] for part in votes)
    if not used.any():
        return 1 / len(points.factors)
    return float((_logistic_regression(train, fixed).predict(test) == fixed).mean())


def _another(place, start, size, rng):
    """Another place of the same group, for places in groups of at least two that begin at `start`."""
    steps = 1 + (rng.random(place.shape) * (size - 1)).astype(int)
    return start + (place - start + steps) % size


def _factor_vae_score(points, rng):
    def vote(first, group_start, group_size):
        chosen = group_start + (rng.random((len(first), BATCH)) * group_size).astype(int)
        return lambda z: z[chosen].var(1)

    votes, fixed = _votes(points, rng, vote, pairs=False)
    variance = points.codes.var(0)
    # Dividing each latent by its standard deviation divides its variance; a constant one never has the smallest.
    train, test = (
        np.where(variance > 0, part / np.where(variance > 0, variance, 1), np.inf).argmin(1) for part in votes
    )
    counts = np.zeros([points.codes.shape[1], len(points.factors)], int)
    np.add.at(counts, (train, fixed), 1)
    return float((counts.argmax(1)[test] == fixed).mean())


def _votes(points, rng, vote, pairs):
    """Two sets of votes [V,D], to train on and held out, and the number of the factor of each vote [V].

    Args:
        points: `_Points`.
        rng: of the draws.
        vote: (points as places in the order of the value [v,L] or [v,1], the place where the group of each begins, its
            size) → a function of one latent [N] in that order, which returns the vote [v].
        pairs: whether each vote is about L first points, of any values, or about one.
    """
    shares = np.array_split(np.arange(VOTES), len(points.factors))
    sets = []
    for _ in range(2):
        votes = []
        for factor, share in zip(points.factors, shares, strict=True):
            order = np.argsort(factor.values, kind="stable")
            sizes = np.bincount(factor.values, minlength=factor.count)
            starts = np.cumsum(sizes) - sizes
            places = np.flatnonzero(sizes[factor.values[order]] > 1)
            first = rng.choice(places, [len(share), BATCH if pairs else 1])
            group = factor.values[order][first]
            of_latent = vote(first, starts[group], sizes[group])
            # One latent at a time, since [v,L,D] would be large.
            votes.append(np.stack([of_latent(z) for z in points.codes[order].T], axis=1))
        sets.append(np.concatenate(votes))
    return sets, np.repeat(np.arange(len(points.factors)), [len(share) for share in shares])


def _mig(points, rng):
    entropies = np.array([_entropy(np.bincount(factor.values)) for factor in points.factors])
    # A factor can have lost all values but one in a half, and then has no information to divide.
    return float((_gap(_mutual_information(points), 0) / np.where(entropies > 0, entropies, 1)).mean())


def _gap(scores, constant):
    """The difference of the best two latents for each factor [F], of scores [D,F]; or of the one and a constant's."""
    if len(scores) == 1:
        scores = np.stack([scores[0], np.broadcast_to(constant, scores[0].shape)])
    best = np.sort(scores, axis=0)
    return best[-1] - best[-2]


def _mutual_information(points):
    """[D,F] in nats."""
    found = np.empty([points.codes.shape[1], len(points.factors)])
    for number, factor in enumerate(points.factors):
        for latent, own in enumerate(points.bin_of.T):
            joint = np.bincount(own * factor.count + factor.values, minlength=points.bins * factor.count)
            joint = joint.reshape(points.bins, factor.count)
            information = _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint)
            found[latent, number] = max(0.0, information)
    return found


def _entropy(weights):
    """The entropy in nats of weights of any shape, at least 0 and not all 0."""
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


def _sap(points, rng):
    test = _held_out(len(points), rng)
    scores, constant = [], []
    for factor in points.factors:
        if factor.numbers is None:
            scores.append(
                [
                    np.mean([_threshold_accuracy(z, factor.values, mask) for mask in (test, ~test)])
                    for z in points.codes.T
                ]
            )
            constant.append(np.mean([1 / len(np.unique(factor.values[mask])) for mask in (test, ~test)]))
        else:
            scores.append([_squared_correlation(z, factor.numbers) for z in points.codes.T])
            constant.append(0)
    return float(_gap(np.transpose(scores), np.array(constant)).mean())


def _squared_correlation(z, v):
    """R^2 of the linear regression of v on z, or of z on v; 0 if either is constant."""
    z, v = z - z.mean(), v - v.mean()
    size = (z @ z) * (v @ v)
    return float((z @ v) ** 2 / size) if size > 0 else 0.0


def _threshold_accuracy(z, values, test):
    """The balanced accuracy on test points (a mask) of the value with the nearest mean."""
    known, place = np.unique(values[~test], return_inverse=True)
    means = np.bincount(place, z[~test]) / np.bincount(place)
    found = known[np.abs(z[test, np.newaxis] - means).argmin(1)]
    counts = np.bincount(values[test])
    right = np.bincount(values[test], found == values[test])
    return float((right[counts > 0] / counts[counts > 0]).mean())


def _held_out(count, rng):
    """A mask [N] of a random half of the points."""
    test = np.zeros(count, bool)
    test[rng.permutation(count)[: count // 2]] = True
    return test


def _dci(points, rng):
    require_scikit_learn()
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    test = _held_out(len(points), rng)
    importance, informativeness = [], []
    for factor in points.factors:
        settings = {"n_estimators": TREES, "min_samples_leaf": LEAF, "random_state": int(rng.integers(2**31))}
        if factor.numbers is None:
            # By entropy, since every split of equally frequent values decreases the Gini impurity by the same.
            forest = RandomForestClassifier(criterion="entropy", max_features=None, **settings)
            forest.fit(points.codes[~test], factor.values[~test])
            informativeness.append((forest.predict(points.codes[test]) == factor.values[test]).mean())
        else:
            forest = RandomForestRegressor(max_features=None, **settings)
            forest.fit(points.codes[~test], factor.numbers[~test])
            held_out = factor.numbers[test]
            error = np.square(forest.predict(points.codes[test]) - held_out).mean()
            informativeness.append(max(0.0, 1 - error / held_out.var()))
        importance.append(forest.feature_importances_)
    return [*_dci_of(np.transpose(importance)), float(np.mean(informativeness))]


def _dci_of(importance):
    """Disentanglement and completeness of an importance matrix [D,F]."""
    latents, factors = importance.shape
    # A latent that is not used at all has no weight; a factor for which none is used has no completeness.
    about = np.array([1 - _entropy(row) / np.log(max(factors, 2)) if row.any() else 0 for row in importance])
    within = [1 - _entropy(column) / np.log(max(latents, 2)) if column.any() else 0 for column in importance.T]
    weights = importance.sum(1) / (importance.sum() or 1)
    return float(about @ weights), float(np.mean(within))


def _modularity(points, rng):
    squared = _mutual_information(points) ** 2
    squared = squared[squared.max(1) > 0]
    if not len(squared):
        return 0.0
    best = squared.max(1)
    return float((1 - (squared.sum(1) - best) / (best * (squared.shape[1] - 1))).mean())


def _explicitness(points, rng):
    scores = []
    for factor in points.factors:
        test = _held_out_of_each_value(factor.values, rng)
        classifier = _logistic_regression(points.codes[~test], factor.values[~test])
        probability = classifier.predict_proba(points.codes[test])
        scores.append(2 * _roc_auc(probability, classifier.classes_, factor.values[test]) - 1)
    return float(np.mean(scores))


def _held_out_of_each_value(values, rng):
    """A mask [N] of a random half of the points of each value, rounded down: a single point is one to train on."""
    order = rng.permutation(len(values))
    order = order[np.argsort(values[order], kind="stable")]
    sizes = np.bincount(values)
    rank = np.arange(len(values)) - (np.cumsum(sizes) - sizes)[values[order]]
    test = np.empty(len(values), bool)
    test[order] = rank < sizes[values[order]] // 2
    return test


def _roc_auc(scores, classes, values):
    """The mean over the classes that occur of the area under the ROC curve of each against all others.

    It is the probability that a point of the class has a higher score than another point, where equal ones count half.
    """
    from scipy.stats import rankdata

    own = values[:, np.newaxis] == classes  # [N,K]
    count = own.sum(0)
    scored = (count > 0) & (count < len(values))
    wins = (rankdata(scores, axis=0) * own).sum(0) - count * (count + 1) / 2
    return float((wins[scored] / (count * (len(values) - count))[scored]).mean())


def _udr(models, rng):
    """The score of each model; it draws nothing."""
    return [
        np.median([_agreement(_lasso(other, own)) for number, other in enumerate(models.codes) if number != this])
        for this, own in enumerate(models.codes)
    ]


def _lasso(x, y):
    """The absolute coefficients [A,B] of each latent of x [N,A] in the Lasso that predicts each of y [N,B]."""
    require_scikit_learn()
    from sklearn.linear_model import Lasso

    if not (x.shape[1] and y.shape[1]):
        return np.zeros([x.shape[1], y.shape[1]])
    x, y = ((z - z.mean(0)) / np.where(z.std(0) > 0, z.std(0), 1) for z in (x, y))
    coefficients = _fit(Lasso(alpha=PENALTY, max_iter=ITERATIONS), x, y).coef_  # [B,A], or [A] if B = 1
    return np.abs(coefficients).reshape(y.shape[1], x.shape[1]).T


def _agreement(strength):
    """The UDR of two models from R [A,B]."""
    if not strength.any():
        return 0.0
    total = 0.0
    for axis in (0, 1):
        sums, best = strength.sum(axis), strength.max(axis)
        total += (best[sums > 0] ** 2 / sums[sums > 0]).sum()
    return float(total / sum(strength.shape))


def _logistic_regression(x, y):
    require_scikit_learn()
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(max_iter=ITERATIONS), x, y)


def _fit(model, x, y):
    """The fitted model. One that has not converged is scored as it is: the step limit is part of its definition."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)

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

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.evaluation.disentanglement import reading, scores
from vaezoo.evaluation.sample_quality import UndefinedMetricError


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
    reading.check_seed(seed)
    points, constant, reasons = reading.read(codes, factors)
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
            left_out["dci_disentanglement"] = reading.too_few_factors(points.factors, reasons)
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
        chance, if there are many points: the votes repeat the points, so from few of them a code of noise scores more.
        A rotated code can score 1.

    Raises:
        UndefinedMetricError: for fewer than 200 points, fewer than two factors that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Higgins et al. 2017, "beta-VAE", appendix A.4.
    """
    return reading.measure(scores.beta_vae_score, reading.checked(codes, factors, seed, fewest=2), seed)


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
        chance, if there are many points: the votes repeat the points, so from few of them a code of noise scores more.
        Ten latents of noise and five factors of four values: 0.34 from 200 points, 0.24 from 1,000, 0.20 from 10,000.

    Raises:
        UndefinedMetricError: for fewer than 200 points, fewer than two factors that can be measured, or constant codes.
        VaezooError: for invalid arguments; see `disentanglement`.

    Source: Kim & Mnih 2018, "Disentangling by Factorising", arXiv:1802.05983, section 4.
    """
    return reading.measure(scores.factor_vae_score, reading.checked(codes, factors, seed, fewest=2), seed)


def mig(codes, factors, seed=0, bins=reading.BINS):
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
    return reading.measure(scores.mig, reading.binned(reading.checked(codes, factors, seed), bins), seed)


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
    return reading.measure(scores.sap, reading.checked(codes, factors, seed), seed)


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
    points = reading.checked(codes, factors, seed)
    found = reading.measure(scores.dci, points, seed)
    if len(points.factors) == 1:
        found[0] = None
    return dict(zip(("disentanglement", "completeness", "informativeness"), found, strict=True))


def modularity(codes, factors, seed=0, bins=reading.BINS):
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
    return reading.measure(
        scores.modularity, reading.binned(reading.checked(codes, factors, seed, fewest=2), bins), seed
    )


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
    return reading.measure(scores.explicitness, reading.checked(codes, factors, seed), seed)


def mutual_information(codes, factors, bins=reading.BINS):
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
    codes = reading.read_codes(codes)
    factors = [reading.read_factor(name, values, len(codes)) for name, values in reading.read_mapping(factors).items()]
    for factor in factors:
        if reason := reading.too_many_values(factor):
            raise UndefinedMetricError(reason)
    return scores.mutual_information(reading.binned(reading.Points(codes, factors), bins))


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
    reading.check_seed(seed)
    if len(codes) < 2:
        raise VaezooError(f"the UDR compares models, and {len(codes)} was given; give the codes of at least two")
    if len(codes) != len(kl):
        raise VaezooError(f"{len(codes)} codes and {len(kl)} lists of KL; give one of both for each model")
    models = []
    for number, (own, per_latent) in enumerate(zip(codes, kl, strict=True)):
        own, per_latent = reading.read_codes(own), reading.as_numbers(per_latent, f"the KL of model {number}")
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
        models.append(own[:, (per_latent > reading.INFORMATIVE) & (np.ptp(own, axis=0) > 0)])
    reading.check_count(len(models[0]))
    return reading.measure(scores.udr, reading.Models(models), seed)

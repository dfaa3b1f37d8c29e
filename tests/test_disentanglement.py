"""Disentanglement metrics on codes whose scores follow from the definitions, and against other ways to compute them."""

import ast
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vaezoo.errors import VaezooError
from vaezoo.evaluation.disentanglement import (
    beta_vae_score,
    dci,
    disentanglement,
    explicitness,
    factor_vae_score,
    mig,
    modularity,
    mutual_information,
    reading,
    sap,
    scores,
    udr,
)
from vaezoo.evaluation.sample_quality import UndefinedMetricError

RNG = np.random.default_rng(0)
N, F, K = 2000, 4, 5  # points, factors, values of each
CATEGORIES = {f"factor {number}": RNG.integers(K, size=N) for number in range(F)}
CONTINUOUS = {f"factor {number}": RNG.random(N) for number in range(F)}
NOISE = RNG.normal(size=(N, F))
ROTATION = np.linalg.qr(RNG.normal(size=(F, F)))[0]
METRICS = (beta_vae_score, factor_vae_score, mig, sap, dci, modularity, explicitness)
NAMES = {
    "beta_vae_score",
    "factor_vae_score",
    "mig",
    "sap",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
    "modularity",
    "explicitness",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The values do not depend on the number of halves, and 1,000 votes have an error of at most 1.6 %."""
    monkeypatch.setattr(reading, "HALVES", 2)
    monkeypatch.setattr(scores, "VOTES", 1000)


def matrix(factors):
    return np.stack([np.asarray(values, "float64") for values in factors.values()], axis=1)


def values(report):
    return {name: report[name]["value"] for name in NAMES & report.keys()}


# A table of expectations: code → metric → (least, most), and the reason

ALONE = math.log(2 * F)  # the largest entropy of the importances of 2F latents
CHANCE = (1 / F - 0.06, 1 / F + 0.06)  # four standard errors of 1,000 votes

EXPECTED = {
    "factors": {
        "beta_vae_score": (1, 1),  # the latent of the shared factor has |z1 - z2| = 0, and no other has
        "factor_vae_score": (1, 1),  # the latent of the fixed factor has the variance 0
        "mig": (0.98, 1),  # I(z, v) = H(v), and less than 19 * 4 / 2N = 0.02 nats of error in the second
        "sap": (1 - 1 / K - 0.06, 1 - 1 / K + 0.06),  # the second best is chance, which is not subtracted
        "dci_disentanglement": (0.999, 1),  # each tree needs one latent
        "dci_completeness": (0.999, 1),
        "dci_informativeness": (1, 1),
        "modularity": (0.999, 1),
        "explicitness": (0.999, 1),  # values in order on a line: each has its interval
    },
    "rotated": {
        "mig": (0, 0.3),  # several latents have information about each factor
        "sap": (0, 0.3),
        "dci_disentanglement": (0, 0.5),
        "dci_completeness": (0, 0.5),
        "explicitness": (0.999, 1),  # a rotation can be undone by a linear classifier
    },
    "twice": {
        "beta_vae_score": (1, 1),
        "factor_vae_score": (1, 1),
        "mig": (0, 1e-12),  # the second best latent is as good as the best
        "sap": (0, 1e-12),
        "dci_disentanglement": (0.999, 1),  # each latent is still about one factor
        "dci_completeness": (1 - math.log(2) / ALONE - 0.01, 1 - math.log(2) / ALONE + 0.05),  # split in two halves
        "dci_informativeness": (1, 1),
        "modularity": (0.999, 1),
        "explicitness": (0.999, 1),
    },
    "noise": {
        "beta_vae_score": CHANCE,
        "factor_vae_score": CHANCE,
        "mig": (0, 0.01),
        "sap": (0, 0.06),
        "dci_disentanglement": (0, 0.02),  # every latent overfits as much as another
        "dci_completeness": (0, 0.02),
        "dci_informativeness": (1 / K - 0.04, 1 / K + 0.04),
        "modularity": (0, 0.6),  # the mutual information errs by about as much for each factor
        "explicitness": (-0.08, 0.08),
    },
    "half of the factors": {
        "beta_vae_score": (0.6, 0.85),  # two are told, of the other two one is guessed: 3/4
        "factor_vae_score": (0.5 - 0.06, 0.5 + 0.06),  # two latents vote for two factors, and for others never rightly
        "mig": (0.48, 0.52),  # 1, 1, 0, 0
        "explicitness": (0.44, 0.56),
    },
}


def code(kind):
    z = matrix(CATEGORIES)
    return {
        "factors": z,
        "rotated": (z - z.mean(0)) / z.std(0) @ ROTATION,
        "twice": np.repeat(z, 2, axis=1),
        "noise": NOISE,
        "half of the factors": z[:, :2],
    }[kind]


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_table_of_expectations(kind):
    report = disentanglement(code(kind), CATEGORIES)
    assert report.keys() >= NAMES
    for name, (least, most) in EXPECTED[kind].items():
        assert least <= report[name]["value"] <= most, name
    assert (report["left_out"], report["factors_left_out"]) == ({}, {})
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_continuous_factors_as_codes_score_one():
    found = values(disentanglement(matrix(CONTINUOUS), CONTINUOUS))
    # 20 equally wide bins of a uniform latent are nested in 10 equally filled ones, except for points at the edges.
    assert found.pop("mig") > 0.9
    assert found.pop("explicitness") > 0.9  # neighbouring bins touch
    assert found["sap"] <= 1
    for name, value in found.items():
        assert value > 0.99, name


def test_the_rotation_lowers_what_it_must():
    straight, rotated = (values(disentanglement(code(kind), CATEGORIES)) for kind in ("factors", "rotated"))
    for name in NAMES - {"explicitness", "dci_informativeness"}:
        # The beta-VAE score forgives much of a rotation, as Kim & Mnih say.
        assert rotated[name] < straight[name] - (0.02 if name == "beta_vae_score" else 0.1), name


@pytest.mark.parametrize("factors", [CATEGORIES, CONTINUOUS], ids=["categories", "continuous"])
def test_the_order_and_the_scale_of_the_latents_do_not_matter(factors):
    z = (matrix(factors) - 1) @ ROTATION + np.std(matrix(factors)) * 0.4 * NOISE  # nowhere 0 or 1
    changed = z[:, [2, 0, 3, 1]] * [1e4, 1e-4, 3, 0.7] + [0, 1, -5, 1e3]
    before, after = values(disentanglement(z, factors)), values(disentanglement(changed, factors))
    for name in NAMES:
        # Trees choose among equally good splits by the order of the latents, the logistic regression rounds.
        tolerance = 0.03 if name.startswith("dci") else 0.005 if name in ("beta_vae_score", "explicitness") else 1e-9
        assert abs(before[name] - after[name]) < tolerance, name
        assert 0.01 < before[name] < 1, name  # so that a change would show


def test_constant_latents_change_nothing_but_the_base_of_completeness():
    z = code("factors") + 0.3 * NOISE
    more = np.concatenate([np.zeros((N, 1)), z, np.full((N, 3), 7.7)], axis=1)
    before, after = disentanglement(z, CATEGORIES), disentanglement(more, CATEGORIES)
    assert (before["constant_latents"], after["constant_latents"]) == (0, 4)
    for name in ("beta_vae_score", "factor_vae_score", "mig", "sap", "modularity", "explicitness"):
        assert math.isclose(before[name]["value"], after[name]["value"], abs_tol=0.01), name
    # (1 - C) log D is the mean entropy, which stays.
    entropy = [(1 - report["dci_completeness"]["value"]) * math.log(d) for report, d in ((before, F), (after, F + 4))]
    assert math.isclose(*entropy, rel_tol=0.1)


def test_a_single_latent_is_compared_with_a_constant_one():
    z = code("factors")[:, :1]
    two = np.concatenate([z, np.zeros((N, 1))], axis=1)
    for metric in (mig, sap):
        for factors in (CATEGORIES, CONTINUOUS):
            assert math.isclose(metric(z, factors)["value"], metric(two, factors)["value"], abs_tol=1e-12)
    assert mig(z, {"a": CATEGORIES["factor 0"]})["value"] == 1
    assert math.isclose(sap(z, {"a": CATEGORIES["factor 0"]})["value"], 1 - 1 / K)
    assert math.isclose(sap(z, {"a": z[:, 0]})["value"], 1)  # of floats, by R^2
    assert dci(z, CATEGORIES)["completeness"]["value"] == 1


# Each part, computed in another way


def test_mutual_information_is_that_of_scikit_learn():
    from sklearn.metrics import mutual_info_score

    z = code("factors") @ RNG.normal(size=(F, 3)) + NOISE[:, :3]
    factors = {**CATEGORIES, "text": np.array(["b", "a", "c"])[CATEGORIES["factor 1"] % 3], "real": NOISE[:, 0]}
    deciles = np.digitize(NOISE[:, 0], np.quantile(NOISE[:, 0], np.arange(1, 10) / 10))
    for bins in (2, 20, 33):
        found = mutual_information(z, factors, bins)
        assert found.shape == (3, F + 2)
        for latent, own in enumerate(z.T):
            place = np.digitize(own, np.histogram_bin_edges(own, bins)[1:-1])
            for number, values in enumerate([*factors.values()][:-1]):
                np.testing.assert_allclose(found[latent, number], mutual_info_score(values, place), atol=1e-12)
            # A decile may be on either side of its edge.
            np.testing.assert_allclose(found[latent, -1], mutual_info_score(deciles, place), atol=0.01)


def test_mutual_information_of_what_does_not_vary_is_zero():
    found = mutual_information(np.stack([NOISE[:, 0], np.full(N, 3.3)], 1), {"one": np.ones(N, int), **CATEGORIES})
    assert found.shape == (2, F + 1)
    assert not found[:, 0].any()
    assert not found[1].any()
    assert found[0, 1:].all()  # it errs upwards


def test_the_mig_of_a_noisy_channel_has_its_closed_form():
    # Exactly N/2 of each bit, flipped in a share p: I = log 2 - h(p), and a second latent flips q of them.
    bit = np.repeat([0, 1], 1000)

    def flipped(share):
        return bit ^ np.tile(np.arange(1000) < 1000 * share, 2)

    def h(p):
        return stats.entropy([p, 1 - p])

    z = np.stack([flipped(0.1), flipped(0.3)], axis=1)
    np.testing.assert_allclose(mutual_information(z, {"bit": bit})[:, 0], [math.log(2) - h(0.1), math.log(2) - h(0.3)])
    assert math.isclose(mig(z, {"bit": bit})["value"], (h(0.3) - h(0.1)) / math.log(2), rel_tol=1e-9)


def test_the_mig_of_more_values_than_bins_has_its_limit():
    values = np.arange(N) % 40
    assert math.isclose(mig(values[:, None], {"a": values}, bins=20)["value"], math.log(20) / math.log(40))
    assert math.isclose(mig(values[:, None], {"a": values}, bins=40)["value"], 1)


def test_the_sap_of_continuous_factors_is_the_gap_of_the_squared_correlations():
    z = matrix(CONTINUOUS) @ RNG.normal(size=(F, 3)) + 0.1 * NOISE[:, :3]
    squared = np.corrcoef(z.T, matrix(CONTINUOUS).T)[:3, 3:] ** 2
    expected = np.mean([sorted(column)[-1] - sorted(column)[-2] for column in squared.T])
    np.testing.assert_allclose(sap(z, CONTINUOUS)["value"], expected, rtol=1e-9)


def test_the_threshold_classifier_is_a_linear_discriminant_of_equal_class_weights():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import balanced_accuracy_score

    values = RNG.choice(3, N, p=[0.7, 0.2, 0.1])
    z = values + 0.8 * NOISE[:, 0]
    test = np.arange(N) % 2 == 0
    model = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(z[~test, None], values[~test])
    expected = balanced_accuracy_score(values[test], model.predict(z[test, None]))
    np.testing.assert_allclose(scores._threshold_accuracy(z, values, test), expected)
    assert 0.5 < expected < 0.9


def test_the_area_under_the_curve_is_that_of_mann_and_whitney():
    from sklearn.metrics import roc_auc_score

    values = RNG.choice(3, 300, p=[0.6, 0.3, 0.1])
    ratings = np.round(RNG.random((300, 3)) + 0.5 * np.eye(3)[values], 1)  # rounded: with ties
    areas = [
        stats.mannwhitneyu(ratings[values == k, k], ratings[values != k, k]).statistic
        / ((values == k).sum() * (values != k).sum())
        for k in range(3)
    ]
    found = scores._roc_auc(ratings, np.arange(3), values)
    np.testing.assert_allclose(found, np.mean(areas))
    np.testing.assert_allclose(found, np.mean([roc_auc_score(values == k, ratings[:, k]) for k in range(3)]))
    assert math.isclose(scores._roc_auc(ratings, np.array([0, 1, 7]), values), np.mean(areas[:2]))  # 7 does not occur


def test_explicitness_is_normalized():
    # Of two classes at distance d, N(0, 1) and N(d, 1), the area is Phi(d / sqrt 2): the best score is z itself.
    bit = np.arange(N) % 2
    expected = 2 * stats.norm.cdf(1.5 / math.sqrt(2)) - 1
    found = explicitness(1.5 * bit[:, None] + NOISE[:, :1], {"bit": bit})["value"]
    assert abs(found - expected) < 4 * 0.025  # the standard error of 2 AUC - 1 of 500 and 500 points


def test_the_entropies_of_dci_are_those_of_a_hand_made_matrix():
    importance = np.array([[0.8, 0.1, 0.0], [0.2, 0.3, 0.0], [0.0, 0.6, 1.0], [0.0, 0.0, 0.0]])
    weights = importance.sum(1) / importance.sum()
    about = [1 - stats.entropy(row, base=3) if row.any() else 0 for row in importance]
    within = [1 - stats.entropy(column, base=4) for column in importance.T]
    found = scores._dci_of(importance)
    np.testing.assert_allclose(found, [weights @ about, np.mean(within)], rtol=1e-12)
    assert scores._dci_of(np.eye(3)) == (1, 1)
    np.testing.assert_allclose(scores._dci_of(np.ones((4, 3))), [0, 0], atol=1e-12)
    np.testing.assert_allclose(scores._dci_of(np.ones((1, 3))), [0, 1], atol=1e-12)
    assert scores._dci_of(np.zeros((4, 3))) == (0, 0)


def test_the_informativeness_of_dci_is_held_out():
    noise = RNG.normal(size=(N, 3))
    assert dci(noise, {"real": RNG.random(N)})["informativeness"]["value"] == 0  # R^2 is negative: trees overfit
    signal = RNG.normal(size=N)
    found = dci(np.stack([signal, noise[:, 0]], 1), {"real": signal + noise[:, 1]})
    assert 0.3 < found["informativeness"]["value"] <= 0.5  # half of the variance is noise


def test_modularity_follows_from_the_mutual_information():
    z = code("rotated")
    squared = mutual_information(z, CATEGORIES) ** 2
    expected = np.mean([1 - (row.sum() - row.max()) / ((F - 1) * row.max()) for row in squared])
    np.testing.assert_allclose(modularity(z, CATEGORIES)["value"], expected)
    assert 0.2 < expected < 0.98


def test_the_factor_vae_score_forgives_a_rotation_within_one_factor_but_not_between():
    # Two latents of one angle: either is fixed with it.
    angle = CATEGORIES["factor 0"] * 2 * np.pi / K
    z = np.stack([np.cos(angle), np.sin(angle), CATEGORIES["factor 1"]], axis=1)
    two = {name: CATEGORIES[name] for name in ("factor 0", "factor 1")}
    assert factor_vae_score(z, two)["value"] == 1
    # z1 = a + b and z2 = a - b have the same variance whichever is fixed.
    a, b = ((v - v.mean()) / v.std() for v in two.values())
    assert 0.4 < factor_vae_score(np.stack([a + b, a - b], 1), two)["value"] < 0.65


def test_the_votes_share_a_value_and_pair_different_points():
    # With the number of the point as the code no pair has the distance 0, with the value as the code each has.
    values = np.concatenate([np.repeat(np.arange(50), 2), [50]])  # pairs, and one value that is alone
    z = np.stack([np.arange(101.0), values], axis=1)
    points = reading.Points(z, [reading.Factor("a", values, 51), reading.Factor("b", np.arange(101) % 2, 2)])
    seen = []

    def vote(first, start, size):
        second = scores._another(first, start, size, np.random.default_rng(1))

        def of_latent(z):
            seen.append((z[first], z[second]))
            return np.abs(z[first] - z[second]).mean(1)

        return of_latent

    (votes, _), fixed = scores._votes(points, np.random.default_rng(0), vote, pairs=True)
    np.testing.assert_array_equal(votes[fixed == 0], [[1, 0]] * (fixed == 0).sum())
    assert (votes[fixed == 1] > 2).any()
    assert (fixed == 0).sum() == (fixed == 1).sum() == scores.VOTES // 2
    assert not any((first == second).any() for first, second in seen[::2])
    assert not (seen[0][0] == 100).any()


# The UDR


def test_the_udr_of_models_that_differ_by_order_sign_and_scale():
    z = NOISE
    codes = [z, z[:, [3, 1, 0, 2]] * [2, -1, 5, 0.1], -z[:, ::-1] + 7]
    found = udr(codes, [np.ones(F)] * 3)
    # The coefficient of a Lasso of one predictor of variance 1 is 1 - penalty.
    for score in found:
        assert 0.89 < score["value"] <= 0.9
    rotated = udr([z, z @ ROTATION, z @ np.linalg.qr(RNG.normal(size=(F, F)))[0]], [np.ones(F)] * 3)
    independent = udr([RNG.normal(size=(N, F)) for _ in range(3)], [np.ones(F)] * 3)
    assert all(score["value"] < 0.7 for score in rotated)
    assert all(score["value"] == 0 for score in independent)  # every correlation is below the penalty


def test_the_lasso_of_orthogonal_codes_has_its_closed_form():
    # Of orthogonal predictors: the correlation, moved towards 0 by the penalty.
    z = np.linalg.qr(NOISE - NOISE.mean(0))[0] * math.sqrt(N)
    target = z[:, :3] @ np.array([[0.8, 0.05], [0.6, 0.0], [0.0, 0.95]])
    correlation = np.abs(np.corrcoef(z.T, target.T)[:F, F:])
    np.testing.assert_allclose(scores._lasso(z, target), np.maximum(correlation - 0.1, 0), atol=1e-3)


def test_the_agreement_of_two_models_is_the_formula():
    strength = np.array([[0.9, 0.3, 0.0], [0.1, 0.2, 0.0]])
    columns = 0.9**2 / 1.0 + 0.3**2 / 0.5 + 0
    rows = 0.9**2 / 1.2 + 0.2**2 / 0.3
    assert math.isclose(scores._agreement(strength), (columns + rows) / 5)
    assert scores._agreement(np.zeros((2, 3))) == 0
    assert scores._agreement(np.zeros((0, 3))) == 0


def test_the_udr_leaves_out_latents_without_information():
    noisy = [np.concatenate([NOISE[:, :2], 10 * RNG.normal(size=(N, 2)), np.ones((N, 1))], 1) for _ in range(3)]
    informative = [np.array([1, 1, 0.001, 0.01, 5])] * 3
    assert all(score["value"] > 0.89 for score in udr(noisy, informative))
    assert all(score["value"] < 0.6 for score in udr(noisy, [np.ones(5)] * 3))  # 2 of 4 latents agree
    scores = udr([*noisy[:2], NOISE], [*informative[:2], np.zeros(F)])
    assert [round(score["value"], 1) for score in scores] == [0.5, 0.5, 0]  # the median of 0.9 and 0


# The standard error


def test_the_standard_error_is_the_spread_over_new_points(monkeypatch):
    monkeypatch.setattr(reading, "HALVES", 8)
    found = []
    for number in range(40):
        rng = np.random.default_rng(number)
        bit = rng.integers(2, size=400)
        z = np.stack([bit ^ (rng.random(400) < share) for share in (0.1, 0.3)], 1)
        real = bit + 0.5 * rng.random(400)
        scores = mig(z, {"a": bit}), sap(z, {"a": bit}), sap(z, {"a": real}), explicitness(z, {"a": bit})
        found.append([[score["value"], score["standard_error"]] for score in scores])
    # 40 values know their spread to 11 %; the error of explicitness errs upwards, by up to 22 %.
    for most, (values, errors) in zip((1.3, 1.3, 1.3, 1.55), np.transpose(found, (1, 2, 0)), strict=True):
        assert 0.75 < np.sqrt((errors**2).mean()) / values.std(ddof=1) < most


def test_a_seed_repeats_the_result_and_another_draws_anew():
    z = code("rotated") + 0.4 * NOISE
    first = disentanglement(z, CATEGORIES, seed=3)
    assert disentanglement(z, CATEGORIES, seed=3) == first
    other = disentanglement(z, CATEGORIES, seed=4)
    for name in NAMES - {"mig", "modularity"}:  # those two draw nothing but the halves
        assert other[name]["value"] != first[name]["value"], name
    for name in NAMES:
        assert other[name]["standard_error"] != first[name]["standard_error"], name


# Input that is refused


def refused(error, text, call, *args, **keywords):
    with pytest.raises(error, match=text) as raised:
        call(*args, **keywords)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metric", [*METRICS, disentanglement])
def test_invalid_arguments_are_refused(metric):
    z, a = NOISE, CATEGORIES["factor 0"]
    broken = np.where(np.arange(N * F).reshape(N, F) == 5, np.nan, z)
    refused(VaezooError, "1 of 8,000 numbers of the code are NaN or infinite", metric, broken, CATEGORIES)
    refused(VaezooError, r"the code has the shape \[2000\]; give \[N,D\]", metric, z[:, 0], CATEGORIES)
    refused(VaezooError, r"the code has the shape \[2000, 0\]", metric, z[:, :0], CATEGORIES)
    refused(VaezooError, "the code is of the type <U", metric, z.astype(str), CATEGORIES)
    refused(VaezooError, r"'a' has the shape \[1999\]; the code has 2000 points", metric, z, {"a": a[1:], "b": a})
    refused(VaezooError, "the factor 'a' are NaN or infinite", metric, z, {"a": broken[:, 1], "b": a})
    refused(VaezooError, "the factor 'a' is of the type complex", metric, z, {"a": a + 1j, "b": a})
    refused(VaezooError, "no factors; give a mapping", metric, z, {})
    refused(VaezooError, "factors of the type ndarray", metric, z, a)
    refused(VaezooError, "the seed -1 is outside 0 to 2147483647", metric, z, CATEGORIES, seed=-1)


@pytest.mark.parametrize("metric", METRICS)
def test_undefined_metrics_say_why(metric):
    z, a = NOISE, CATEGORIES["factor 0"]
    few = {name: values[:199] for name, values in CATEGORIES.items()}
    refused(UndefinedMetricError, "199 points are too few; .* at least 200", metric, z[:199], few)
    constant = np.tile([1.1, 0.0, -1e5], (N, 1))
    refused(UndefinedMetricError, r"every latent of the code is constant \(3 of 3\)", metric, constant, CATEGORIES)
    refused(UndefinedMetricError, "the factor 'a' has one value only", metric, z, {"a": np.zeros(N, int)})
    refused(UndefinedMetricError, "the factor 'a' has one value only", metric, z, {"a": np.full(N, 0.3)})
    refused(UndefinedMetricError, "'a' has 2000 values, too many for 2000", metric, z, {"a": np.arange(N)})
    rare = (np.arange(N) < 19).astype(int)
    refused(UndefinedMetricError, "fewer than two values of the factor 'a' have 20 points", metric, z, {"a": rare})
    if metric in (beta_vae_score, factor_vae_score, modularity):
        refused(UndefinedMetricError, "1 of 1 factors can be measured, .* at least 2", metric, z, {"a": a})
        refused(UndefinedMetricError, "1 of 2 factors .*'b' has one value", metric, z, {"a": a, "b": np.zeros(N, int)})


def test_the_report_leaves_out_what_is_not_defined_and_says_why():
    z, a = code("factors"), CATEGORIES["factor 0"]
    report = disentanglement(z, {"a": a, "same": np.full(N, "x"), "number": np.arange(N)})
    lonely = {"beta_vae_score", "factor_vae_score", "modularity", "dci_disentanglement"}
    assert report["left_out"].keys() == lonely
    assert all("1 of 3 factors can be measured" in reason for reason in report["left_out"].values())
    assert report["factors_left_out"].keys() == {"same", "number"}
    assert report["factors"] == {"a": K}
    assert NAMES & report.keys() == NAMES - lonely
    assert report["mig"] == mig(z, {"a": a})  # the other factors have no part in it
    for codes, factors in ((np.ones((N, 3)), CATEGORIES), (z[:50], {"a": a[:50], "b": a[:50]})):
        report = disentanglement(codes, factors)
        assert report["left_out"].keys() == NAMES
        assert not NAMES & report.keys()
    assert (report["points"], report["latents"]) == (50, F)


def test_strings_booleans_and_floats_of_few_values_are_categories_or_bins_of_their_own():
    a, b = CATEGORIES["factor 0"], CATEGORIES["factor 1"] > 2
    z = np.stack([a, b], axis=1)
    texts = np.array(["one", "two", "three", "four", "five"])[a]
    expected = mutual_information(z, {"a": a, "b": b.astype(int)})
    for text in (texts, texts.astype(object), texts.tolist()):
        np.testing.assert_allclose(mutual_information(z, {"a": text, "b": b}), expected)
    np.testing.assert_allclose(mutual_information(z, {"a": a / 7, "b": b / 3}), expected)
    skewed = np.where(NOISE[:, 0] < 0.5, 0, NOISE[:, 0])  # 69 % are one value, which is one bin
    factor = reading.read_factor("skewed", skewed, N)
    assert factor.count == len(np.unique(factor.values)) == 5
    assert (factor.values == 0).sum() == (skewed == 0).sum()


def test_bins_are_refused():
    refused(VaezooError, "1 bins; give an integer of at least 2", mig, NOISE, CATEGORIES, bins=1)
    refused(VaezooError, "2.5 bins; give an integer", modularity, NOISE, CATEGORIES, bins=2.5)
    for metric in (mig, modularity, mutual_information):
        refused(UndefinedMetricError, "2000 points are too few for 201 bins", metric, NOISE, CATEGORIES, bins=201)
    refused(UndefinedMetricError, "too many for 2000", mutual_information, NOISE, {"a": np.arange(N)})


def test_models_that_the_udr_cannot_compare_are_refused():
    z, kl = NOISE, np.ones(F)
    refused(VaezooError, "the UDR compares models, and 1 was given", udr, [z], [kl])
    refused(VaezooError, "2 codes and 1 lists of KL", udr, [z, z], [kl])
    refused(
        VaezooError, r"the KL of model 1 has the shape \[3\], and its code has 4 latents", udr, [z, z], [kl, kl[1:]]
    )
    refused(VaezooError, "model 1 has the codes of 1999 examples, and model 0 of 2000", udr, [z, z[1:]], [kl, kl])
    refused(
        VaezooError,
        "1 of 4 numbers of the KL of model 0 are NaN",
        udr,
        [z, z],
        [np.where(kl.cumsum() > 3, np.nan, 1), kl],
    )
    refused(UndefinedMetricError, "199 points are too few", udr, [z[:199]] * 2, [kl] * 2)
    refused(VaezooError, "the seed 2147483648 is outside", udr, [z, z], [kl, kl], seed=2**31)


def test_scikit_learn_is_imported_only_when_it_is_used():
    # Keras imports it too where it is installed, so that sys.modules would not tell.
    lines = [line for file in Path(reading.__file__).parent.glob("*.py") for line in ast.parse(file.read_text()).body]
    names = {line.module for line in lines if isinstance(line, ast.ImportFrom)}
    names |= {alias.name for line in lines if isinstance(line, ast.Import) for alias in line.names}
    assert not any(name.split(".")[0] in ("sklearn", "scipy", "threadpoolctl") for name in names)
    assert "numpy" in names


def test_without_scikit_learn_its_metrics_say_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for metric in (disentanglement, *METRICS):
        refused(VaezooError, "pip install 'vaezoo\\[disentanglement\\]'", metric, NOISE, CATEGORIES)

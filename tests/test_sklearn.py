"""The scikit-learn estimator: its densities against exact ones, and scikit-learn's own contract."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys

import keras
import numpy as np
import pandas
import pytest
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import vaezoo
from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.evaluation.nll import estimate_nll
from vaezoo.seeds import EVALUATION, fold_seed, initial_weights
from vaezoo.sklearn import PATIENCE, VAE, _divided
from vaezoo.training import train

QUICK = {"latent_dim": 2, "hidden": (8,), "epochs": 20, "random_state": 0}


def linear_gaussian(count, columns=6, noise=0.5, seed=0):
    """Rows x = u (W z + noise e) + b of two latents z, in units u from a hundredth to a hundred."""
    shape, rng = np.random.default_rng(7), np.random.default_rng(seed)
    weights, offset = shape.normal(size=(columns, 2)), shape.normal(size=columns)
    rows = rng.normal(size=(count, 2)) @ weights.T + noise * rng.normal(size=(count, columns))
    return np.geomspace(0.01, 100, columns) * rows + 10 * offset


@pytest.fixture(scope="module")
def rows():
    return linear_gaussian(300)


@pytest.fixture(scope="module")
def fitted(rows):
    """A linear model, whose density is known, trained until it is good."""
    return VAE(2, hidden=(), epochs=600, learning_rate=5e-3, random_state=0).fit(rows)


def exact(estimator, X):
    """log p(x) of a linear model, by its own weights: N(x; b, W W^T + s^2 I) of standardized rows."""
    model = estimator.model_
    weights, offset = model.decoder.get_weights()  # [D,F], [F]
    scale = float(model.decode(np.zeros([1, len(weights)], "float32")).stddev()[0, 0])
    marginal = stats.multivariate_normal(offset, weights.T @ weights + scale**2 * np.eye(len(offset)))
    return marginal.logpdf((X - estimator.mean_) / estimator.scale_) - np.log(estimator.scale_).sum()


@pytest.mark.slow
def test_the_density_of_a_linear_model_is_that_of_its_gaussian_in_the_units_of_the_rows(fitted):
    X = linear_gaussian(200, seed=1)
    np.testing.assert_allclose(fitted.score_samples(X), exact(fitted, X), atol=0.05)
    assert fitted.score(X) == pytest.approx(exact(fitted, X).mean(), abs=0.01)


@pytest.mark.slow
def test_the_density_is_near_that_of_probabilistic_pca(rows, fitted):
    """Its maximum of the likelihood is known (Tipping & Bishop 1999); 300 rows tell it within 0.2 nats."""
    X, scaler = linear_gaussian(1000, seed=1), StandardScaler().fit(rows)
    best = PCA(2).fit(scaler.transform(rows)).score_samples(scaler.transform(X)) - np.log(scaler.scale_).sum()
    found = fitted.score_samples(X)
    assert found.mean() == pytest.approx(best.mean(), abs=0.2)
    assert np.corrcoef(found, best)[0, 1] > 0.98


@pytest.mark.slow
def test_many_rows_reach_the_likelihood_of_probabilistic_pca():
    rows, X = linear_gaussian(5000), linear_gaussian(2000, seed=1)
    scaler = StandardScaler().fit(rows)
    best = PCA(2).fit(scaler.transform(rows)).score(scaler.transform(X)) - np.log(scaler.scale_).sum()
    found = VAE(2, hidden=(), learning_rate=5e-3, random_state=0).fit(rows).score(X)
    assert found == pytest.approx(best, abs=0.03)


def test_more_draws_are_closer_to_the_exact_density(fitted):
    X = linear_gaussian(200, seed=1)
    errors = {}
    for draws in (4, 1024):
        few = pickle.loads(pickle.dumps(fitted)).set_params(importance_samples=draws)
        errors[draws] = np.abs(few.score_samples(X) - exact(fitted, X)).mean()
    assert errors[1024] < 0.1 * errors[4]


def test_the_density_agrees_with_the_evaluation_of_runs(fitted):
    X = linear_gaussian(100, seed=1)
    standardized = (X - fitted.mean_) / fitted.scale_
    nll = estimate_nll(fitted.model_, standardized, samples=1000).nll
    np.testing.assert_allclose(fitted.score_samples(X), -nll - np.log(fitted.scale_).sum(), atol=0.1)


@pytest.mark.slow
def test_another_unit_changes_neither_codes_nor_ranks(rows, fitted):
    unit = np.array([1, 10, 0.1, 1000, 3, 0.5])
    other = clone(fitted).fit(rows * unit)
    np.testing.assert_allclose(other.transform(rows * unit), fitted.transform(rows), atol=1e-3)
    np.testing.assert_allclose(
        other.score_samples(rows * unit), fitted.score_samples(rows) - np.log(unit).sum(), atol=1e-3
    )


def test_codes_decode_to_rows_far_better_than_the_mean(rows, fitted):
    codes = fitted.transform(rows)
    assert codes.shape == (300, 2)
    assert codes.dtype == "float32"
    error = ((fitted.inverse_transform(codes) - rows) / rows.std(0)) ** 2
    assert error.mean() < 1.1 * (PCA(2).fit(rows / rows.std(0)).noise_variance_ * 4 / 6)  # the least of any 2 numbers
    assert error.mean() < 0.3


def test_samples_have_the_moments_of_the_model(fitted):
    weights, offset = fitted.model_.decoder.get_weights()
    scale = float(fitted.model_.decode(np.zeros([1, 2], "float32")).stddev()[0, 0])
    drawn = (fitted.sample(20_000) - fitted.mean_) / fitted.scale_
    np.testing.assert_allclose(drawn.mean(0), offset, atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), weights.T @ weights + scale**2 * np.eye(6), atol=0.06)


def test_samples_are_a_function_of_the_random_state(fitted):
    np.testing.assert_array_equal(fitted.sample(5), fitted.sample(5))
    np.testing.assert_array_equal(fitted.sample(5, random_state=3), fitted.sample(5, random_state=3))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5, random_state=3))


# Outliers


def test_the_threshold_is_the_smallest_density_of_few_held_out_rows(rows, fitted):
    held_out = fitted.score_samples(rows[_divided(300, 0.1, fitted.model_.seed)[1]])
    assert fitted.offset_ == pytest.approx(held_out.min())
    new = linear_gaussian(1000, seed=2)
    np.testing.assert_array_equal(fitted.predict(new) == -1, fitted.score_samples(new) < fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(10 * new), -1)


@pytest.mark.slow
def test_a_hundredth_of_new_rows_is_below_the_threshold():
    """By 300 held-out rows: the share is that of the third smallest of them, Beta(3, 298), whose mean is 3 / 301."""
    shares = []
    for seed in range(5):
        estimator = VAE(2, hidden=(), learning_rate=5e-3, epochs=30, random_state=seed).fit(
            linear_gaussian(3000, seed=seed)
        )
        shares.append(np.mean(estimator.predict(linear_gaussian(20_000, seed=100 + seed)) == -1))
    low, high = stats.beta(3, 298).ppf([1e-4, 1 - 1e-4])
    assert all(low < share < high for share in shares)
    assert np.mean(shares) == pytest.approx(0.01, abs=4 * stats.beta(3, 298).std() / np.sqrt(5))


@pytest.mark.slow
def test_the_contamination_is_the_share_of_the_rows_of_fit(rows):
    estimator = VAE(contamination=0.1, **QUICK)
    assert np.sum(estimator.fit_predict(rows) == -1) == 30


def test_a_row_beyond_all_bounds_has_a_finite_density_and_is_an_outlier(fitted, rows):
    far = np.repeat(rows[:1], 4, axis=0)
    far[:, 2] = 1e6, 1e12, 1e100, -1e300
    scores = fitted.score_samples(far)
    assert np.isfinite(scores).all()
    assert (scores < fitted.score_samples(rows).min()).all()


# Random numbers


@pytest.mark.slow
def test_the_random_state_decides_everything_and_leaves_other_generators_alone(rows):
    before = random.getstate(), np.random.get_state()[1].copy()
    first = VAE(**QUICK).fit(rows)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    np.random.seed(5)
    np.testing.assert_array_equal(VAE(**QUICK).fit(rows).score_samples(rows), first.score_samples(rows))


@pytest.mark.parametrize("prior", ["standard_normal", "mixture", "flow"])
def test_initial_weights_are_those_of_keras_own_seed(prior):
    def weights():
        return vaezoo.create_model("mlp_vae", (4,), latent_dim=2, likelihood="normal", prior=prior).get_weights()

    keras.utils.set_random_seed(3)
    expected = weights()
    random.seed(4)
    with initial_weights(3):
        found = weights()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_weights_of_the_best_look_are_kept_and_training_ends_soon_after(rows):
    """A wide network learns 54 rows by heart."""
    estimator = VAE(2, hidden=(128,), random_state=0).fit(rows[:60])
    best, losses = np.argmin(estimator.history_["val_loss"]), estimator.history_["val_loss"]
    assert len(losses) == best + 1 + PATIENCE
    assert estimator.history_["loss"][-1] < estimator.history_["loss"][best]
    held_out = estimator._standardized(rows[:60])[_divided(60, 0.1, estimator.model_.seed)[1]]
    kept = estimator.model_.terms(held_out, fold_seed(estimator.model_.seed, EVALUATION, 0), 0)["loss"]
    assert float(np.mean(kept)) == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "epochs"), [(200, 50), (200, 3), (500, 10)])
def test_no_more_passes_are_made_than_were_asked_for(count, epochs, monkeypatch):
    take, steps = VAE._take, []

    def counted(self, model):
        steps.append(int(model.optimizer.iterations))
        take(self, model)

    monkeypatch.setattr(VAE, "_take", counted)
    VAE(2, hidden=(), epochs=epochs, random_state=0).fit(linear_gaussian(count))
    most = epochs * (round(0.9 * count) // 128)
    assert 0.94 * most <= steps[0] <= most


# Rows of every kind


@pytest.mark.parametrize(
    "X",
    [
        np.ones((30, 3)),
        np.arange(40.0)[:, None],
        np.array([[0.0, 1.0], [2.0, 3.0]]),
        np.array([[1e9, 0, 5], [1e9 + 1, 1, 5], [1e9 + 2, 0, 5]] * 10),
    ],
    ids=["constant", "one column", "two rows", "a large offset and a constant column"],
)
@pytest.mark.slow
def test_odd_rows_give_finite_results(X):
    estimator = VAE(**QUICK).fit(X)
    assert np.isfinite(estimator.score_samples(X)).all()
    assert np.isfinite(estimator.inverse_transform(estimator.transform(X))).all()
    assert np.abs(estimator.sample(10) - X.mean(0)).max() < 10 * max(1, X.std(0).max())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"validation_fraction": 0}, "validation_fraction is 0; it must be a number in (0, 0.5]"),
        ({"contamination": 0.7}, "contamination is 0.7; it must be 'auto' or a number in (0, 0.5]"),
        ({"importance_samples": 0}, "importance_samples is 0; it must be an integer, at least 1"),
        ({"hidden": 64}, "hidden is 64; it must be a sequence of widths, as in (64,) or ()"),
        ({"latent_dim": 0}, "'model.latent_dim' should be greater than or equal to 1, not 0"),
        ({"batch_size": 0}, "'training.batch_size' should be greater than or equal to 1, not 0"),
        ({"likelihood": "normall"}, "unknown model.likelihood 'normall'. Did you mean 'normal'?"),
        ({"likelihood": "bernoulli"}, "the likelihood 'bernoulli' needs zeros and ones"),
        ({"model": {"depth": 3}}, "unknown key 'model.depth'"),
        ({"model": {"posterior": "point"}}, "infinite for the posterior 'point'"),
    ],
)
def test_a_wrong_keyword_is_refused(rows, keywords, message):
    with pytest.raises(VaezooError) as caught:
        VAE(**{**QUICK, **keywords}).fit(rows)
    assert message in str(caught.value)


def test_rows_that_no_table_has_are_refused_as_by_every_estimator(rows, fitted):
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        fitted.score_samples(sparse.csr_array(rows))
    with pytest.raises(ValueError, match="contains NaN"):
        clone(fitted).fit(np.where(rows > 0, rows, np.nan))
    with pytest.raises(ValueError, match="a minimum of 2 is required"):
        clone(fitted).fit(rows[:1])
    with pytest.raises(ValueError, match="X has 5 features, but VAE is expecting 6"):
        fitted.transform(rows[:, :5])
    with pytest.raises(NotFittedError):
        VAE().sample()


@pytest.mark.slow
def test_zeros_and_ones_have_their_exact_probability():
    """Without a code that says anything, each column is a coin: log p(x) is the sum of the columns' logarithms."""
    X = (np.random.default_rng(0).uniform(size=(2000, 3)) < [0.2, 0.5, 0.9]).astype(float)
    estimator = VAE(
        1, hidden=(), likelihood="bernoulli", standardize=False, epochs=100, learning_rate=1e-2, random_state=0
    ).fit(X)
    exact = stats.bernoulli.logpmf(X, [0.2, 0.5, 0.9]).sum(axis=1)
    np.testing.assert_allclose(estimator.score_samples(X), exact, atol=0.2)
    assert set(np.unique(estimator.sample(100))) == {0, 1}
    np.testing.assert_allclose(estimator.sample(5000).mean(0), [0.2, 0.5, 0.9], atol=0.04)


# scikit-learn's habits


@pytest.mark.slow
def test_a_pickle_gives_the_same_results_in_another_process(rows, fitted, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "estimator.pkl").write_bytes(pickle.dumps(fitted))
    code = """if True:
        import pickle, sys, numpy as np
        rows = np.load("rows.npy")
        estimator = pickle.loads(open("estimator.pkl", "rb").read())
        np.savez("found.npz", a=estimator.score_samples(rows), b=estimator.transform(rows), c=estimator.sample(9))
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["a"], fitted.score_samples(rows))
        np.testing.assert_array_equal(found["b"], fitted.transform(rows))
        np.testing.assert_array_equal(found["c"], fitted.sample(9))


def test_the_module_is_imported_without_tensorflow():
    code = "import vaezoo.sklearn, sys; assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_tables_keep_their_names(rows):
    table = pandas.DataFrame(rows, columns=list("abcdef"), index=np.arange(300) + 7)
    estimator = VAE(**QUICK).set_output(transform="pandas").fit(table)
    codes = estimator.transform(table)
    assert list(codes.columns) == list(estimator.get_feature_names_out()) == ["vae0", "vae1"]
    assert (codes.index == table.index).all()
    assert list(estimator.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.transform(table[list("badcef")])


@pytest.mark.slow
def test_scikit_learns_own_checks_pass():
    """Every one: none is skipped or expected to fail. In a process of its own, for the switch of the array API.

    Without graphs, whose tracing takes longer than these trainings; other tests fit with them.
    """
    code = (
        "import tensorflow as tf; tf.config.run_functions_eagerly(True)\n"
        "from sklearn.utils.estimator_checks import check_estimator\n"
        "from vaezoo.sklearn import VAE\n"
        "found = check_estimator(VAE(hidden=(16,), epochs=2), on_skip=None)\n"
        "assert len(found) > 50 and {each['status'] for each in found} == {'passed'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_grid_search_maximizes_the_density(jobs):
    rows = linear_gaussian(400)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), VAE(hidden=(), learning_rate=5e-3, random_state=0)),
        {"vae__latent_dim": np.array([1, 2])},
        cv=3,
        n_jobs=jobs,
        error_score="raise",
    ).fit(rows)
    assert search.best_params_ == {"vae__latent_dim": 2}  # as the rows were drawn
    assert search.best_score_ > search.cv_results_["mean_test_score"][0] + 0.1


@pytest.mark.slow
def test_it_works_behind_other_transformers():
    rows = linear_gaussian(200)
    X = np.column_stack([rows, np.arange(200) % 3])
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), slice(0, 6)), ("kind", OneHotEncoder(sparse_output=False), [6])]
    )
    scores = cross_val_score(make_pipeline(columns, VAE(**QUICK)), X, cv=2, error_score="raise")
    assert np.isfinite(scores).all()
    sparse_kinds = ColumnTransformer([("kind", OneHotEncoder(), [6])], sparse_threshold=1)
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        make_pipeline(sparse_kinds, VAE(**QUICK)).fit(X)


@pytest.mark.slow
def test_malignant_tumours_are_found_from_benign_ones():
    X, y = load_breast_cancer(return_X_y=True)
    train, normal = np.split(np.random.default_rng(0).permutation(X[y == 1]), [280])
    scores = VAE(random_state=0).fit(train).score_samples(np.concatenate([normal, X[y == 0]]))
    malignant = np.arange(len(scores)) >= len(normal)
    assert roc_auc_score(malignant, -scores) > 0.9
    noise = np.random.default_rng(1).normal(size=len(scores))
    assert roc_auc_score(malignant, noise) < 0.6


# Run directories


@pytest.fixture(scope="module")
def saved(rows, fitted, tmp_path_factory):
    return fitted.save_run(tmp_path_factory.mktemp("runs") / "a", rows)


@pytest.mark.slow
def test_a_saved_run_is_the_same_estimator(rows, fitted, saved):
    found = VAE.from_run(saved)
    for method in ("score_samples", "transform", "predict"):
        np.testing.assert_array_equal(getattr(found, method)(rows), getattr(fitted, method)(rows))
    np.testing.assert_array_equal(found.sample(9), fitted.sample(9))
    assert found.offset_ == fitted.offset_
    assert VAE.from_run(saved, contamination=0.1).predict(rows).tolist().count(-1) == 30


def test_commands_and_keras_take_a_saved_run(rows, fitted, saved, tmp_path, capsys):
    standardized = ((rows - fitted.mean_) / fitted.scale_).astype("float32")
    encoder = keras.models.load_model(saved / "encoder.keras")
    np.testing.assert_allclose(encoder(standardized[:50])["loc"], fitted.transform(rows[:50]), atol=1e-5)
    model = keras.models.load_model(saved / "model.keras")
    np.testing.assert_allclose(model.codes(standardized[:50]), fitted.transform(rows[:50]), atol=1e-5)
    for command in (["evaluate", str(saved), "--importance-samples", "100"], ["sample", str(saved), "-n", "4"]):
        assert main(command) in (0, None)
    report = json.loads((saved / "evaluation" / "report.json").read_text())
    held_out = rows[_divided(300, 0.1, fitted.model_.seed)[1]]
    assert -report["nll"]["value"] == pytest.approx(fitted.score(held_out) + np.log(fitted.scale_).sum(), abs=0.05)


def test_a_run_holds_what_the_estimator_was_fitted_to(rows, fitted, saved, tmp_path):
    with pytest.raises(VaezooError, match="already holds a run"):
        fitted.save_run(saved, rows)
    with pytest.raises(VaezooError, match="not the rows that the estimator was fitted to"):
        fitted.save_run(tmp_path / "b", rows[::-1])
    (tmp_path / "data.npz").write_bytes(b"mine")
    with pytest.raises(VaezooError, match="exists already"):
        fitted.save_run(tmp_path, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.slow
def test_a_run_of_the_command_line_becomes_an_estimator(rows, tmp_path):
    np.save(tmp_path / "rows.npy", ((rows - rows.mean(0)) / rows.std(0)).astype("float32"))
    recipe = load_recipe(
        "mlp_vae",
        {
            "data.name": str(tmp_path / "rows.npy"),
            "model.latent_dim": 2,
            "model.encoder.hidden": [16],
            "model.decoder.hidden": [16],
            "model.likelihood": {"name": "normal", "scale": 1.0},
            "model.prior": {"name": "mixture", "components": 3},
            "training.epochs": 20,  # a poor posterior would leave the density noisy
            "training.learning_rate": 0.01,
            "training.batch_size": 32,
        },
    )
    run = train(recipe, tmp_path / "run", quiet=True)
    estimator = VAE.from_run(run.path)
    X = np.load(tmp_path / "rows.npy")
    np.testing.assert_allclose(estimator.score_samples(X), -estimate_nll(run.model, X, 2000).nll, atol=0.2)
    again = clone(estimator).fit(X)
    assert again.recipe_.model.prior.components == 3
    assert again.model_.count_params() == run.model.count_params()


def test_a_run_whose_rows_are_gone_is_refused_in_one_line(saved, tmp_path):
    run = shutil.copytree(saved, tmp_path / "run")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(saved / "data.npz"), str(run / "data.npz")))
    (run / "data.npz").unlink()
    with pytest.raises(VaezooError, match=r"data\.npz") as error:
        VAE.from_run(run)
    assert "\n" not in str(error.value)


def test_a_run_of_images_is_refused(tiny_run):
    with pytest.raises(VaezooError, match="give a run of vectors without labels"):
        VAE.from_run(tiny_run)

"""`vaezoo evaluate`: what it writes and prints for every kind of model, and how it refuses."""

import io
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_plots import assert_nothing_is_cut_off_or_overlaps

from vaezoo import evaluation, plots
from vaezoo.cli import main
from vaezoo.cli.evaluating import progress_bar
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.evaluation import metrics
from vaezoo.evaluation.metrics import psnr
from vaezoo.evaluation.report import as_text, remarks
from vaezoo.posteriors import DiagonalNormalDistribution
from vaezoo.runs import Run, load_recipe_data
from vaezoo.training.run_directory import RunDirectory
from vaezoo.zoo import build_model


@pytest.fixture(scope="module")
def run_of(tiny_recipe, bars_file, tmp_path_factory):
    """Settings of the tiny recipe → a run directory of a model that was never trained, on the bars."""
    folder = tmp_path_factory.mktemp("evaluated_runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

        def leave(name, **settings):
            recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), **settings})
            keras.utils.set_random_seed(1)
            with RunDirectory(folder / name) as run:
                run.text("recipe.yaml", to_yaml(recipe))
                run.model("model.keras", build_model(recipe, load_recipe_data(recipe).spec))
            return run.path

        yield leave


def done(capsys, *arguments):
    """Run a command that must succeed; what it printed."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.err == ""
    return captured.out


def test_a_run_is_measured_and_its_report_is_written(run_of, capsys):
    path = run_of("plain")
    out = done(capsys, "evaluate", path, "--importance-samples", 20)
    folder = path / "evaluation"
    names = {"report.json", "report.md", "nll.png", "latents.png", "per_example.npz"}
    assert {file.name for file in folder.iterdir()} == names
    report = json.loads((folder / "report.json").read_text())
    assert f"{report['nll']['value']:.2f} ±" in out
    assert str(folder / "report.md") in out

    run = Run(path)
    images, _ = run.first("test")
    found = evaluation.estimate_nll(run.model, images, 20)
    np.testing.assert_allclose(report["nll"]["value"], found.nll.mean())
    np.testing.assert_allclose(report["nll"]["standard_error"], found.nll.std(ddof=1) / 10)  # of 100 images
    with np.load(folder / "per_example.npz") as arrays:
        np.testing.assert_array_equal(arrays["nll"], found.nll)
    bound = {name: report["bound"][name]["value"] for name in ("elbo", "reconstruction", "kl")}
    np.testing.assert_allclose(bound["elbo"], -bound["reconstruction"] - bound["kl"])
    np.testing.assert_allclose(report["nll"]["gap"]["value"], -report["nll"]["value"] - bound["elbo"])
    np.testing.assert_allclose(sum(report["code"]["kl_per_latent"]), bound["kl"], rtol=1e-5)
    assert [point["samples"] for point in report["nll"]["curve"]] == [1, 10, 20]
    assert (report["examples"], report["importance_samples"], report["seed"]) == (100, 20, 0)
    assert report["versions"]["keras"] == keras.__version__

    errors = np.square(images - run.model(images)).mean((1, 2, 3))
    np.testing.assert_allclose(report["psnr"]["value"], np.mean(-10 * np.log10(errors)), rtol=1e-4)
    np.testing.assert_allclose(report["psnr"]["standard_error"], np.std(10 * np.log10(errors), ddof=1) / 10, rtol=1e-3)
    assert f"{report['psnr']['value']:.2f} ± {report['psnr']['standard_error']:.2f} dB" in out

    # A second one overwrites nothing; the first images of the same draw are the same.
    done(capsys, "evaluate", path, "--importance-samples", 20, "--limit", 70)
    again = json.loads((path / "evaluation-2" / "report.json").read_text())
    assert again["examples"] == 70
    assert (folder / "report.json").read_text() == json.dumps(report, indent=2) + "\n"


@pytest.mark.slow
def test_samples_are_compared_in_the_features_of_a_classifier(run_of, capsys, tmp_path):
    path = run_of("samples")
    done(capsys, "evaluate", path, "--out", tmp_path / "one")
    samples = json.loads((tmp_path / "one" / "report.json").read_text())["samples"]
    assert samples["classifier"]["balanced_accuracy"] > 0.9  # which of eight rows has the bar
    assert samples["images"] == 100
    assert samples["training_images"] == 380
    # A model that learned nothing paints grey: nowhere near the bars, where training images are.
    real = samples["of_real_images"]
    assert samples["frechet_distance"]["value"] > 5 * real["frechet_distance"]
    assert samples["precision"]["value"] < 0.5 < real["precision"]
    assert samples["memorization"]["value"] == 0
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert not any("memorized" in remark for remark in remarks(report))
    report["samples"]["memorization"]["value"], report["samples"]["of_real_images"]["memorization"] = 0.3, 0.0
    assert any("30.0% of the samples copy one of 380 training images" in remark for remark in remarks(report))
    run = Run(path)
    first = evaluation.feature_space(run.recipe.data)
    second = evaluation.feature_space(run.recipe.data)  # from the cache
    images, _ = run.spaced("test", 5)
    np.testing.assert_array_equal(first.features(images), second.features(images))
    assert first.kind == "labels"
    assert first.features(images).shape == (5, 64)
    np.testing.assert_allclose(first.features_of(run.data.test, 5), first.features(images), atol=1e-5)


def test_images_that_no_model_should_draw_score_badly_in_the_metric_for_it(run_of):
    run = Run(run_of("adversarial"))
    space = evaluation.feature_space(run.recipe.data)
    train, real = space.features_of(run.data.train), space.features_of(run.data.test)
    (images, _), count = run.first("train"), len(real)
    precision, recall = evaluation.precision_recall(train[:count], real)
    floor = evaluation.frechet_distance(train[:count], real)
    assert min(precision, recall) > 0.8

    noise = space.features(np.random.default_rng(0).random((count, 8, 8, 1), "float32"))
    assert evaluation.frechet_distance(noise, real) > 5 * floor
    assert evaluation.precision_recall(noise, real)[0] < 0.1

    one = space.features(np.repeat(images[:1], count, axis=0))
    assert evaluation.frechet_distance(one, real) > 5 * floor
    assert evaluation.precision_recall(one, real)[1] < 0.1

    # Bars have 64 images in all, so that a test image is as much a copy as a training image; halves of them are none.
    assert evaluation.memorization(space.features(images), train) == 1
    assert evaluation.memorization(real, train) > 0.9
    halves = space.features((images + np.roll(images, 1, axis=0)) / 2)
    assert evaluation.memorization(halves, train) < 0.5


@pytest.mark.slow
def test_without_labels_that_the_images_tell_samples_are_compared_in_features_of_their_changes(
    run_of, bars_file, tmp_path, capsys
):
    rng = np.random.default_rng(0)
    with np.load(bars_file) as bars:
        arrays = dict(bars)
    for split in ("train", "test"):  # 60 % in one class
        arrays[f"y_{split}"] = rng.choice(3, len(arrays[f"y_{split}"]), p=[0.6, 0.2, 0.2])
    np.savez(tmp_path / "random_labels.npz", **arrays)
    np.savez(tmp_path / "unlabelled.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])
    reports = {}
    for name in ("random_labels", "unlabelled"):
        path = run_of(name, **{"data.name": str(tmp_path / f"{name}.npz")})
        out = done(capsys, "evaluate", path, "--importance-samples", 1)
        reports[name] = json.loads((path / "evaluation" / "report.json").read_text())
        assert reports[name]["samples"]["features"]["kind"] == "changes"
        assert ("The labels are not used: the classifier" in out) == (name == "random_labels")
        assert "images whose quadrants are in disorder" in out
    assert "does not tell the classes apart" in reports["random_labels"]["samples"]["features"]["instead"]
    first, second = (report["samples"] for report in reports.values())
    assert first["features"].pop("instead")
    assert second["features"].pop("instead") is None
    assert first == second  # the labels have no part in it
    # Bars look the same from all sides, so that of the five changes only the disorder can be told: (1 + 4 / 4) / 5.
    assert 0.3 < second["classifier"]["balanced_accuracy"] < 0.5
    assert second["frechet_distance"]["value"] > 5 * second["of_real_images"]["frechet_distance"]


@pytest.mark.slow
def test_a_class_of_most_images_does_not_keep_the_others_from_being_learned(run_of, bars_file, tmp_path):
    with np.load(bars_file) as bars:
        arrays = dict(bars)
    for split in ("train", "test"):  # rows 0 to 4 are one class
        arrays[f"y_{split}"] = np.maximum(arrays[f"y_{split}"], 4)
    np.savez(tmp_path / "unequal.npz", **arrays)
    run = Run(run_of("unequal", **{"data.name": str(tmp_path / "unequal.npz")}))
    space = evaluation.feature_space(run.recipe.data)
    assert 0.5 < space.accuracies["largest_class"] < 0.75
    assert space.accuracies["balanced_accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"model.conditional": True},
        {"model.posterior": "full_normal"},
        {"model.likelihood": "normal", "data.binarize": "none"},
        {"model.likelihood": "continuous_bernoulli", "data.binarize": "none"},
        {"model.likelihood": "discretized_logistic", "data.binarize": "none"},
        {"training.precision": "mixed_bfloat16"},
        {"data.binarize": "dynamic", "model.encoder": "conv", "model.decoder": "conv"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_kind_of_model_is_measured(run_of, settings):
    path = run_of("-".join(map(str, settings.values())), **settings)
    report, per_example = evaluation.evaluate(Run(path), samples=10, limit=20)
    assert per_example.keys() == {"nll", "elbo", "effective_samples"}
    assert all(np.isfinite(values).all() and len(values) == 20 for values in per_example.values())
    gap = report["nll"]["gap"]
    assert gap["value"] > -3 * gap["standard_error"]
    json.dumps(report, allow_nan=False)
    text = as_text(report)
    assert "20 images are too few" in text
    assert ("densities" in text) == (settings.get("model.likelihood") in ("normal", "continuous_bernoulli"))
    assert ("of its marginal" in text) == (settings.get("model.posterior") == "full_normal")


@pytest.mark.parametrize("settings", [{}, {"model.conditional": True}, {"model.prior": "mixture"}], ids=str)
def test_the_examples_are_encoded_once(run_of, settings, monkeypatch):
    run = Run(run_of(f"once-{len(str(settings))}", **settings))
    encoder_params, encoded = run.model.encoder_params, []

    def counted(batch):
        encoded.append(len(batch["x"]))
        return encoder_params(batch)

    monkeypatch.setattr(run.model, "encoder_params", counted)
    evaluation.evaluate(run, samples=3, limit=50)
    assert encoded == [50]


def test_a_posterior_that_depends_on_its_draws_has_no_mutual_information(run_of, monkeypatch):
    run = Run(run_of("hierarchy"))
    expected, _ = evaluation.evaluate(run, samples=10, limit=30)
    posterior = run.model.posterior

    def draw(params, noise, decoder):  # as down a hierarchy: each draw has a q of its own, [K,B]
        q = posterior.distribution(params)
        tiled = [tf.broadcast_to(moment, tf.shape(noise)) for moment in (q.mean(), q.stddev())]
        return DiagonalNormalDistribution(*tiled), posterior.transform(q, noise), None

    monkeypatch.setattr(posterior, "draw", draw)
    monkeypatch.setattr(posterior, "normal", False)
    report, _ = evaluation.evaluate(run, samples=10, limit=30)
    np.testing.assert_allclose(report["nll"]["value"], expected["nll"]["value"], rtol=1e-6)
    assert report["bound"]["kl_method"] == "monte_carlo"
    assert report["code"]["mutual_information"] is None
    assert "mutual information is not estimated" in as_text(report)


def test_an_autoencoder_has_a_reconstruction_and_active_units_alone(run_of, capsys):
    path = run_of("ae", **{"model.posterior": "point", "model.objective": "reconstruction"})
    out = done(capsys, "evaluate", path, "--limit", 30)
    report = json.loads((path / "evaluation" / "report.json").read_text())
    assert report["nll"] is None
    assert report["bound"]["elbo"] is None
    assert report["code"]["mutual_information"] is None
    assert "no ELBO and no NLL" in out
    assert not list((path / "evaluation").glob("*.png"))
    run = Run(path)
    images, _ = run.first("test", 30)
    nats = -run.model.decode(run.model.encode(images).mean()).log_prob(images)
    np.testing.assert_allclose(report["bound"]["reconstruction"]["value"], np.mean(nats), rtol=1e-6)


@pytest.mark.slow
def test_what_the_latents_hold_of_the_known_factors_is_measured_if_asked_for(run_of, capsys, monkeypatch):
    path = run_of("factors", **{"data.name": "sprites"})
    monkeypatch.setattr(evaluation.metrics, "_samples", lambda *_: (None, "a classifier takes a minute"))
    out = done(capsys, "evaluate", path, "--limit", 1000, "--importance-samples", 2, "--disentanglement")
    found = json.loads((path / "evaluation" / "report.json").read_text())["disentanglement"]
    run = Run(path)
    codes, factors = run.model.codes(run.first("test", 1000)[0]), run.data.test.factors
    first = {name: values[:1000] for name, values in factors.items()}
    assert list(found["factors"]) == ["shape", "scale", "orientation", "x", "y"]  # the label is the shape
    expected = evaluation.disentanglement.mig(codes, first)
    assert found["mig"] == pytest.approx(expected, rel=1e-6)
    assert f"{expected['value']:.3f} ± {expected['standard_error']:.3f}" in out
    matrix = evaluation.disentanglement.mutual_information(codes, first)
    np.testing.assert_allclose(found["mutual_information"], matrix, rtol=1e-6)
    assert (path / "evaluation" / "factors.png").is_file()
    assert "explicitness" in (path / "evaluation" / "report.md").read_text()


def test_without_known_factors_there_is_no_disentanglement(run_of, capsys):
    path = run_of("no_factors")
    assert main(["evaluate", str(path), "--disentanglement"]) == 2
    line = capsys.readouterr().err
    assert "no factors of variation are known" in line
    assert "total correlation" in line
    assert line.count("\n") == 1
    assert not (path / "evaluation").exists()


def test_the_picture_of_the_information_orders_the_latents_by_their_factors():
    nats = [[0.1, 0.9, 0.0], [0.0, 0.0, 0.7], [1.2, 0.1, 0.0], [0.0, 0.4, 0.0]]
    figure = plots.information(nats, ["shape", "scale", "x"], "a run\nWhich latent holds which factor")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "0", "3", "1"]
    np.testing.assert_allclose(axes.images[0].get_array(), np.array(nats)[[2, 0, 3, 1]].T)
    assert_nothing_is_cut_off_or_overlaps(figure)


def test_the_psnr_of_known_errors():
    x = np.zeros((3, 4, 4, 1))
    decoded = x + np.array([1.0, 0.1, 0.0])[:, None, None, None]
    known = SimpleNamespace(reconstructions=lambda: [(x[:2], decoded[:2]), (x[2:], decoded[2:])])
    np.testing.assert_allclose(psnr(known), [0, 20, 100], atol=1e-9)  # of an exact one at most 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vector", "sequence"])
def test_examples_that_are_no_images_are_measured_without_their_samples(run_of, tmp_path, kind):
    rng = np.random.default_rng(0)
    examples = rng.normal(size=(200, 6)).astype("float32") if kind == "vector" else rng.integers(0, 5, (200, 6))
    np.savez(tmp_path / f"{kind}s.npz", **{{"vector": "x", "sequence": "tokens"}[kind]: examples})
    likelihood = {"vector": "normal", "sequence": "categorical"}[kind]
    settings = {"data.name": str(tmp_path / f"{kind}s.npz"), "data.binarize": "none", "model.likelihood": likelihood}
    run = Run(run_of(kind, **settings))
    with pytest.raises(VaezooError, match="InceptionV3 needs images"):
        evaluation.evaluate(run, samples=10, features="inception")
    report, per_example = evaluation.evaluate(run, samples=10)
    assert report["psnr"] is None
    assert len(per_example["nll"]) == report["examples"] == 20
    assert report["dimensions"] == 6
    text = as_text(report)
    assert f"20 test {kind}s" in text
    assert f"samples are compared for images, and these examples are {kind}s of" in text
    json.dumps(report, allow_nan=False)


def test_sequences_without_a_change_have_no_accuracy_of_changes(monkeypatch):
    found = {"tokens": np.array([0.5, 1.0]), "changes": np.full(2, np.nan), "most_common": 1.0}
    monkeypatch.setattr(metrics, "accuracy", lambda encoded: dict(found))
    assert metrics._accuracy(None) == {"tokens": metrics.metric([0.5, 1.0]), "most_common": 1.0}
    found["changes"][0] = 0.25
    assert metrics._accuracy(None)["changes"] == {"value": 0.25, "standard_error": None}
    with pytest.raises(VaezooError, match="a metric of 0 values"):
        metrics.metric([])


def test_a_collapsed_posterior_is_called_so(run_of):
    path = run_of("collapsed")
    run = Run(path)
    kernel, bias = run.model.encoder.get_weights()[-2:]
    weights = run.model.encoder.get_weights()[:-2]
    bias[3:] = np.log(np.expm1(1 - 1e-4))  # scale 1
    run.model.encoder.set_weights([*weights, 0 * kernel, bias])
    report, _ = evaluation.evaluate(run, samples=1, limit=30)
    assert report["code"]["active_units"] == 0
    assert any("collapsed" in remark and "warm-up" in remark for remark in remarks(report))
    run.model.encoder.set_weights([*weights, kernel * np.array([30, 30, 0, 1, 1, 1]), bias])
    report, _ = evaluation.evaluate(run, samples=1, limit=30)
    assert report["code"]["active_units"] == 2
    assert any("1 of 3 latents are not in use" in remark for remark in remarks(report))
    report, _ = evaluation.evaluate(run, samples=1, limit=1)  # whose means have no variance
    assert not any("collapsed" in remark or "not in use" in remark for remark in remarks(report))
    assert any("With fewer than 20 test images" in remark for remark in remarks(report))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--importance-samples", "0"], "0 importance samples; give at least 1"),
        (["--limit", "0"], "limit of 0 test examples; give at least 1"),
        (["--seed", "-1"], "seed -1 is outside"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run_of, capsys, arguments, reason):
    path = run_of("refused" + arguments[0])
    assert main(["evaluate", str(path), *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (path / "evaluation").exists()


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_the_progress_is_drawn_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen, file = io.StringIO(), io.StringIO()
    screen.isatty = lambda: True
    with progress_bar("NLL", screen) as progress:
        progress(0.5)
    assert "NLL" in screen.getvalue()
    with progress_bar("NLL", file) as progress:
        progress(0.5)
    assert file.getvalue() == ""


def test_a_long_title_is_not_cut_off():
    title = f"{'a_long_name_' * 5} on 10,000 test images of {'data' * 6} (dynamic binarization)\nlog p(x)"
    figures = (
        plots.nll_curve([1, 10, 1000, 5000], [0.1, 2, 3, 4], [0.1] * 4, -90.0, title),
        plots.latent_bars(np.arange(60.0), np.arange(60) > 20, title),
    )
    for figure in figures:
        assert_nothing_is_cut_off_or_overlaps(figure)


def test_the_pictures_show_their_numbers():
    figure = plots.nll_curve([1, 10, 50], [0.1, 2.0, 2.5], [0.1, 0.05, 0.05], -90.0, "title")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"−ELBO 90.00", "89.90", "88.00", "87.50"} <= texts
    figure = plots.latent_bars([0.5, 3.0, 0.0], [True, True, False], "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z1", "z0", "z2"]
    assert [patch.get_height() for patch in axes.patches] == [3.0, 0.5, 0.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["active", "not in use"]

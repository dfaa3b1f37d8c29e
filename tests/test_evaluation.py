"""`vaezoo evaluate`: what it writes and prints for every kind of model, and how it refuses."""

import io
import json

import keras
import numpy as np
import pytest
from test_plots import assert_nothing_is_cut_off_or_overlaps

from vaezoo import evaluation, plots
from vaezoo.cli import main
from vaezoo.cli.evaluating import progress_bar
from vaezoo.config import load_recipe, to_yaml
from vaezoo.evaluation.report import as_text, remarks
from vaezoo.runs import Run
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
                run.model("model.keras", build_model(recipe, (8, 8, 1), 8))
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
    names = {"report.json", "report.md", "evidence.png", "latents.png", "per_image.npz"}
    assert {file.name for file in folder.iterdir()} == names
    report = json.loads((folder / "report.json").read_text())
    assert f"{report['evidence']['log_evidence']['value']:.2f} ±" in out
    assert str(folder / "report.md") in out

    run = Run(path)
    images, _ = run.first("test")
    found = evaluation.log_evidence(run.model, images, 20)
    np.testing.assert_allclose(report["evidence"]["log_evidence"]["value"], found.log_evidence.mean())
    error = found.log_evidence.std(ddof=1) / 10  # of 100 images
    np.testing.assert_allclose(report["evidence"]["log_evidence"]["standard_error"], error)
    with np.load(folder / "per_image.npz") as arrays:
        np.testing.assert_array_equal(arrays["log_evidence"], found.log_evidence)
    bound = {name: report["bound"][name]["value"] for name in ("elbo", "reconstruction", "kl")}
    np.testing.assert_allclose(bound["elbo"], -bound["reconstruction"] - bound["kl"])
    np.testing.assert_allclose(sum(report["code"]["kl_per_latent"]), bound["kl"], rtol=1e-5)
    assert [point["samples"] for point in report["evidence"]["curve"]] == [1, 10, 20]
    assert (report["images"], report["importance_samples"], report["seed"]) == (100, 20, 0)
    assert report["versions"]["keras"] == keras.__version__

    # A second one overwrites nothing; the first images of the same draw are the same.
    done(capsys, "evaluate", path, "--importance-samples", 20, "--limit", 70)
    again = json.loads((path / "evaluation-2" / "report.json").read_text())
    assert again["images"] == 70
    assert (folder / "report.json").read_text() == json.dumps(report, indent=2) + "\n"


def test_samples_are_compared_in_the_features_of_a_classifier(run_of, capsys, tmp_path):
    path = run_of("samples")
    done(capsys, "evaluate", path, "--out", tmp_path / "one")
    samples = json.loads((tmp_path / "one" / "report.json").read_text())["samples"]
    assert samples["classifier_accuracy"] > 0.9  # which of eight rows has the bar
    assert samples["images"] == 100
    # A model that learned nothing paints grey: nowhere near the bars, where training images are.
    assert samples["frechet_distance"]["value"] > 5 * samples["of_training_images"]["frechet_distance"]
    assert samples["precision"]["value"] < 0.5 < samples["of_training_images"]["precision"]
    run = Run(path)
    first = evaluation.feature_space(run.recipe.data)
    second = evaluation.feature_space(run.recipe.data)  # from the cache
    images, _ = run.first("test", 5)
    np.testing.assert_array_equal(first.features(images), second.features(images))
    assert first.features(images).shape == (5, 64)


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
    report, per_image = evaluation.evaluate(Run(path), samples=10, limit=20)
    assert all(np.isfinite(values).all() and len(values) == 20 for values in per_image.values())
    gap = report["evidence"]["gap"]
    assert gap["value"] > -3 * gap["standard_error"]
    json.dumps(report, allow_nan=False)
    text = as_text(report)
    assert "20 images are too few" in text
    assert ("densities" in text) == (settings.get("model.likelihood") in ("normal", "continuous_bernoulli"))
    assert ("marginals" in text) == (settings.get("model.posterior") == "full_normal")


def test_an_autoencoder_has_a_reconstruction_and_active_units_alone(run_of, capsys):
    path = run_of("ae", **{"model.posterior": "point", "model.objective": "reconstruction"})
    out = done(capsys, "evaluate", path, "--limit", 30)
    report = json.loads((path / "evaluation" / "report.json").read_text())
    assert report["evidence"] is None
    assert report["bound"]["elbo"] is None
    assert report["code"]["mutual_information"] is None
    assert "no ELBO and no evidence" in out
    assert not list((path / "evaluation").glob("*.png"))
    run = Run(path)
    images, _ = run.first("test", 30)
    nats = -run.model.decode(run.model.encode(images).mean()).log_prob(images)
    np.testing.assert_allclose(report["bound"]["reconstruction"]["value"], np.mean(nats), rtol=1e-6)


def test_images_without_labels_have_no_features(run_of, bars_file, tmp_path):
    with np.load(bars_file) as bars:
        np.savez(tmp_path / "unlabelled.npz", x_train=bars["x_train"], x_test=bars["x_test"])
    path = run_of("unlabelled", **{"data.name": str(tmp_path / "unlabelled.npz")})
    report, _ = evaluation.evaluate(Run(path), samples=1)
    assert report["samples"] is None
    assert "no classes" in as_text(report)


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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--importance-samples", "0"], "0 importance samples; give at least 1"),
        (["--limit", "0"], "limit of 0 test images; give at least 1"),
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
    with progress_bar("evidence", screen) as progress:
        progress(0.5)
    assert "evidence" in screen.getvalue()
    with progress_bar("evidence", file) as progress:
        progress(0.5)
    assert file.getvalue() == ""


def test_a_long_title_is_not_cut_off():
    title = f"{'a_long_name_' * 5} on 10,000 test images of {'data' * 6} (dynamic binarization)\nlog p(x)"
    figures = (
        plots.evidence_curve([1, 10, 1000, 5000], [0.1, 2, 3, 4], [0.1] * 4, -90.0, title),
        plots.latent_bars(np.arange(60.0), np.arange(60) > 20, title),
    )
    for figure in figures:
        assert_nothing_is_cut_off_or_overlaps(figure)


def test_the_pictures_show_their_numbers():
    figure = plots.evidence_curve([1, 10, 50], [0.1, 2.0, 2.5], [0.1, 0.05, 0.05], -90.0, "title")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"ELBO −90.00", "−89.90", "−88.00", "−87.50"} <= texts
    figure = plots.latent_bars([0.5, 3.0, 0.0], [True, True, False], "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z1", "z0", "z2"]
    assert [patch.get_height() for patch in axes.patches] == [3.0, 0.5, 0.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["active", "not in use"]

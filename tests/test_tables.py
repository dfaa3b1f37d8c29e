"""The tables of metrics: made by one command and resumed by the same, here on a small set."""

import csv
import json
from types import SimpleNamespace

import disentanglement_table
import gradient_noise
import measured
import melody_table
import numpy as np
import precision_table
import pytest
import reproduce_iwae
import scale_table
import sharp_table
import strategy_table
import training_curves
import zoo_table
from conftest import small_recipe
from test_plots import assert_nothing_is_cut_off_or_overlaps

from vaezoo.errors import VaezooError
from vaezoo.training import train
from vaezoo.training.setup import prepare
from vaezoo.training.strategies import read_cluster


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_papers_table_is_made_once_and_then_only_read(bars_file, tmp_path):
    small = ["--data", str(bars_file), "--epochs", "1", "--samples", "10", "--limit", "20", "--out", str(tmp_path)]
    reproduce_iwae.main([*small, "--rows", "5"])
    (five,) = rows_of(tmp_path / "table.csv")
    run = tmp_path / "k5-epochs1-seed0"
    report, test = (json.loads((run / name).read_text()) for name in ("nll-10-of-20.json", "test.json"))
    assert float(five["elbo"]) == round(test["elbo"], 2)  # of all test images
    assert float(five["nll"]) == round(-test["elbo"] - report["nll"]["gap"]["value"], 2)
    assert float(five["nll"]) < -float(five["elbo"])
    assert (five["paper_nll"], five["epochs"], five["test_images"]) == ("85.54", "1", "20")
    written = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    reproduce_iwae.main([*small, "--rows", "1", "5"])
    assert [row["row"] for row in rows_of(tmp_path / "table.csv")] == ["1", "5"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert rows_of(tmp_path / "table.csv")[1] == five
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == written


@pytest.mark.slow
def test_a_training_starts_from_the_weights_of_a_run_even_if_it_was_interrupted(bars_file, tmp_path):
    def recipe(**more):
        return small_recipe("mlp_vae", bars_file, **{"training.compilation": "graph", "training.epochs": 1, **more})

    def weights(name, start, **more):
        run = measured.trained(recipe(**{"training.seed": 1, **more}), tmp_path / name, start and (lambda: start))
        return run.model.get_weights()

    start = measured.trained(recipe(), tmp_path / "start")
    still = weights("still", start, **{"training.learning_rate": 1e-9})
    for before, after in zip(start.model.get_weights(), still, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)
    whole = weights("whole", start)
    assert any((one != other).any() for one, other in zip(whole, weights("random", None), strict=True))
    # Killed before the first checkpoint, and after one.
    for name, checkpoint_every in (("at once", None), ("later", 1e-9)):
        axe = measured._Start(start)
        axe.on_train_batch_end = lambda *_, **__: 1 / 0
        with pytest.raises(ZeroDivisionError):
            train(recipe(**{"training.seed": 1}), tmp_path / name, True, False, checkpoint_every, callbacks=[axe])
        assert any((tmp_path / name).glob("checkpoints/*.json")) == bool(checkpoint_every)
        for one, other in zip(weights(name, start), whole, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_recipes_of_the_papers_table_are_the_papers():
    above = []
    for name, row in reproduce_iwae.ROWS.items():
        model = reproduce_iwae.recipe(name).model
        assert (model.latent_dim, model.encoder.hidden, model.decoder.hidden) == (50, (200, 200), (200, 200))
        assert model.objective.samples == row.k
        assert row.start is None or row.start in above
        above.append(name)


@pytest.mark.slow
def test_rows_start_from_the_weights_of_a_training_of_five(bars_file, tmp_path, monkeypatch):
    starts = []
    monkeypatch.setattr(reproduce_iwae, "measured", lambda *_: {"nll": starts.append(_[-1]())})
    monkeypatch.setattr(reproduce_iwae, "curves", lambda runs: SimpleNamespace(savefig=lambda path: path.touch()))
    small = ["--data", str(bars_file), "--epochs", "1", "--out", str(tmp_path)]
    reproduce_iwae.main([*small, "--rows", "50", "5-again", "50-again"])
    assert [run.path.name for run in starts] == [*2 * ["k5-epochs1-seed0"], "k5-again-epochs1-seed0"]
    assert [run.recipe.model.objective.samples for run in starts] == [5, 5, 5]


@pytest.mark.slow
def test_the_table_of_the_sharper_models_has_the_rows_that_were_asked_for(bars_file, tmp_path, capsys):
    small = ["--data", str(bars_file), "--epochs", "1", "--samples", "10", "--limit", "20", "--out", str(tmp_path)]
    sharp_table.main([*small, "--rows", "vamp_300"])
    (row,) = rows_of(tmp_path / "table.csv")
    test = json.loads((tmp_path / "vamp_300-epochs1-seed0" / "test.json").read_text())
    assert (row["row"], row["target_nll"], float(row["elbo"])) == ("vamp_300", "82.5", round(test["elbo"], 2))
    assert f"NLL {row['nll']}, aimed at 82.5" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_row_of_the_sharper_models_is_its_recipe_and_what_is_changed():
    assert {row: sharp_table.recipe(row).training.epochs for row in sharp_table.ROWS} == {
        "flow_vae": 20,
        "ladder_vae": 10,
        "ladder_vae_long": 50,
        "vamp_300": 100,
    }
    assert sharp_table.recipe("vamp_300").model.latent_dim == 40


@pytest.mark.slow
def test_the_zoos_table_refuses_a_run_of_other_settings(bars_file, tmp_path):
    models = ["--models", "mlp_vae", "linear_ae", "kl_only"]  # the first alone is a VAE
    small = [*models, "--data", str(bars_file), "--samples", "10", "--out", str(tmp_path)]
    zoo_table.main([*small, "--epochs", "1"])
    assert [row["recipe"] for row in rows_of(tmp_path / "table.csv")] == ["mlp_vae"]
    with pytest.raises(VaezooError, match="holds a run of other settings"):
        zoo_table.main([*small, "--epochs", "2"])


@pytest.mark.slow
def test_the_table_of_precisions_compares_each_with_float32(tiny_recipe, bars_file, tmp_path):
    small = ["--data", str(bars_file), "--epochs", "1", "--out", str(tmp_path)]
    precision_table.main([*small, "--models", "linear_ae", str(tiny_recipe)])
    rows = rows_of(tmp_path / "table.csv")
    metrics = [(row["recipe"], row["figure"]) for row in rows]
    assert metrics == [("linear_ae", "-reconstruction")] * 3 + [("tiny", "elbo")] * 3
    assert [row["precision"] for row in rows] == ["float32", "mixed_float16", "mixed_bfloat16"] * 2
    elbo = [json.loads((tmp_path / f"tiny-{row['precision']}-seed0/test.json").read_text())["elbo"] for row in rows[3:]]
    assert [float(row["difference"]) for row in rows[3:]] == pytest.approx([x - elbo[0] for x in elbo], abs=2e-3)
    assert [row["difference"] for row in rows[::3]] == ["0.0", "0.0"]
    chosen = ["--precisions", "mixed_bfloat16", "--seeds", "0", "1"]
    precision_table.main([*small, "--models", str(tiny_recipe), *chosen])
    again = rows_of(tmp_path / "table.csv")
    assert [(row["seed"], row["precision"]) for row in again] == [
        (seed, precision) for seed in "01" for precision in ("float32", "mixed_bfloat16")
    ]
    assert again[:2] == [rows[3], rows[5]]
    difference = float(again[3]["nats"]) - float(again[2]["nats"])
    assert float(again[3]["difference"]) == pytest.approx(difference, abs=2e-3)


def test_what_a_run_decided_by_its_data_is_no_other_setting(bars_file):
    asked = small_recipe("image_vae", bars_file, **{"training.epochs": None, "model.likelihood": "bernoulli"})
    resolved = prepare(asked, print).recipe
    assert (resolved.training.epochs, resolved.data.binarize) != (asked.training.epochs, asked.data.binarize)
    assert measured._what_is_trained(resolved, asked) == measured._what_is_trained(asked, asked)
    other = asked.model_copy(update={"training": asked.training.model_copy(update={"seed": 1})})
    assert measured._what_is_trained(resolved, other) != measured._what_is_trained(other, other)


def test_the_size_of_the_data_that_a_run_was_told_is_no_other_setting(bars_file):
    asked = small_recipe("tc_vae", bars_file)
    decided = prepare(asked, print).recipe
    assert decided.model.objective.dataset_size == 380  # of the 400, without those to validate
    assert measured._what_is_trained(decided, asked) == measured._what_is_trained(asked, asked)
    other = small_recipe("tc_vae", bars_file, **{"model.objective.beta": 2.0})
    assert measured._what_is_trained(decided, other) != measured._what_is_trained(other, other)


def test_the_axes_of_the_gradients_have_numbers_and_no_formulas():
    rows = [
        {"epoch": epoch, "estimator": name, "variance": variance * 10.0**epoch}
        for epoch in range(3)
        for name, variance in (("score function", 5), ("reparameterized", 0.1))
    ]
    figure = gradient_noise.picture(rows)
    assert_nothing_is_cut_off_or_overlaps(figure)
    (axes,) = figure.axes
    labels = [label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    assert "100" in labels
    assert not any("$" in label or "." in label.removeprefix("0.") for label in labels)


def test_the_table_of_disentanglement_has_medians_and_ranges():
    rows = [
        {"method": name, **dict.fromkeys(disentanglement_table.SHOWN, value)}
        for name, value in (("vae", 0.5), ("vae", 0.1), ("vae", 0.3), ("tc_vae", None), ("tc_vae", -2.0))
    ]
    lines = disentanglement_table.as_markdown(rows).splitlines()
    assert lines[:2] == ["| | `vae` | `tc_vae` |", "|-|-|-|"]
    assert "| mig | 0.3 (0.1–0.5) | −2 |" in lines


def test_the_udr_of_the_table_compares_the_seeds_of_one_method(monkeypatch, tmp_path):
    codes = np.random.default_rng(0).normal(size=(2000, 3))
    models = {"a-0": codes, "a-1": -codes[:, ::-1], "b-0": codes}  # equal but for order and sign
    monkeypatch.setattr(disentanglement_table, "Run", lambda path: path.name)
    monkeypatch.setattr(disentanglement_table, "code_and_kl", lambda name: (models[name], np.ones(3)))
    rows = [{"method": method, "seed": seed, "udr": None} for method, seed in (("a", 0), ("a", 1), ("b", 0))]
    disentanglement_table.add_udr(rows[:2], tmp_path)
    disentanglement_table.add_udr(rows[2:], tmp_path)
    assert [each["udr"] for each in rows] == [pytest.approx(0.9, abs=0.01)] * 2 + [None]


def test_the_total_correlation_of_the_table_is_the_closed_form_of_a_normal():
    rng, n = np.random.default_rng(0), 4000
    means, scale = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], n), 0.5
    q = SimpleNamespace(stddev=lambda: np.full((n, 2), scale))
    encoded = SimpleNamespace(passes=lambda: [SimpleNamespace(q=q)], means=lambda: means)
    expected = -0.5 * np.log(1 - (0.9 / 1.25) ** 2)
    assert abs(disentanglement_table.gaussian_total_correlation(encoded) - expected) < 0.03


def test_a_table_of_melodies_leaves_out_what_a_variant_has_not():
    row = {"variant": "autoencoder", **dict.fromkeys(melody_table.SHOWN, 0.5), "elbo": None, "teacher_forced": None}
    cells = [cell.strip() for cell in melody_table.as_markdown([row]).splitlines()[2].strip("|").split("|")]
    shown = dict(zip(("variant", *melody_table.SHOWN), cells, strict=True))
    assert (shown["variant"], shown["elbo"], shown["teacher_forced"], shown["tokens"]) == ("autoencoder", "", "", "0.5")


def test_a_path_without_a_model_goes_from_one_melody_to_the_other():
    pairs = np.stack([np.zeros((20, 32), int), np.ones((20, 32), int)], axis=1)
    path = melody_table.blended(pairs, steps=5)
    assert (path[:, 0] == 0).all()
    assert (path[:, -1] == 1).all()
    assert (np.diff(path, axis=1) >= 0).all()  # a place that was taken stays taken
    np.testing.assert_allclose(path.mean((0, 2)), [0, 0.25, 0.5, 0.75, 1], atol=0.1)


@pytest.mark.slow
def test_the_cost_over_scale_is_measured_once_in_processes_of_their_own(tmp_path, monkeypatch):
    cases = [("images", "mlp_vae", 3000, 16, 1), ("side", "image_vae", 200, 32, 1), ("width", "conv_vae", 2000, 16, 2)]
    monkeypatch.setattr(scale_table, "CASES", cases)
    scale_table.main(["--seconds", "1", "--out", str(tmp_path)])
    mlp, image, conv = rows_of(tmp_path / "table.csv")
    for row in (mlp, image, conv):
        assert float(row["images_per_second"]) > 0
        assert 0.3 < float(row["peak_gigabytes"]) < 10
        assert float(row["first_call_seconds"]) > 0
    assert image["gigaflops"] == ""
    # Two operations for each weight, and a forward pass and two gradients; of the first layer one is not needed.
    weights = 3 * (256 * 500 + 500 * 500 + 500 * 40 + 20 * 500 + 500 * 500 + 500 * 256) - 256 * 500
    expected = 2 * weights * float(mlp["images_per_second"]) / 1e9
    assert float(mlp["gigaflops"]) == pytest.approx(expected, rel=0.02, abs=0.1)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(written) == 3
    scale_table.main(["--seconds", "1", "--out", str(tmp_path)])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")} == written


def test_the_processes_of_a_cluster_agree_on_it():
    assert strategy_table.environments(1) == [{}]
    configs = [each["TF_CONFIG"] for each in strategy_table.environments(2)]
    assert [read_cluster(config) for config in configs] == [(0, 2), (1, 2)]
    one, two = (json.loads(config)["cluster"] for config in configs)
    assert one == two


@pytest.mark.parametrize("epochs", [1, 30, 85, 1000])
def test_the_epochs_of_the_curves_are_plain_numbers(epochs, tmp_path):
    rows = "".join(f"{epoch},{-90 + epoch / epochs}\n" for epoch in range(1, epochs + 1))
    (tmp_path / "metrics.csv").write_text(f"epoch,val_elbo\n{rows}")
    lines = [("k = 1", tmp_path, lambda row: float(row["val_elbo"]), -85.0)]
    figure = training_curves.training_curves("The bound", lines)
    assert_nothing_is_cut_off_or_overlaps(figure)
    shown = [label.get_text() for minor in (False, True) for label in figure.axes[0].xaxis.get_ticklabels(minor)]
    assert not any("$" in text for text in shown), shown
    assert epochs == 1 or len([text for text in shown if text]) >= 2


def test_the_picture_of_the_scale_is_readable():
    rows = [
        {"axis": axis, "recipe": name, "images": images, "side": side, "width": width, "images_per_second": 2000.0}
        | {"megapixels_per_second": 2.0, "gigaflops": 100.0, "peak_gigabytes": images / 1e6 + 1}
        for axis, name, images, side, width in scale_table.CASES
    ]
    figure = scale_table.picture(rows)
    assert_nothing_is_cut_off_or_overlaps(figure)
    assert len(figure.axes) == 6

"""Training: the run directory, its metrics, its repeatability, and what is left when it ends early."""

import csv
import json
import os
import signal

import keras
import numpy as np
import pytest
from conftest import small_recipe
from PIL import Image

import vaezoo
from vaezoo import plots
from vaezoo.checkpoints import Checkpoints
from vaezoo.config import load_recipe
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training import inspect, results, train
from vaezoo.training.compilation import epoch_shape, use_xla
from vaezoo.training.setup import prepare
from vaezoo.zoo import build_model


def tiny(tiny_recipe, bars_file, **overrides):
    return load_recipe(tiny_recipe, {"data.name": str(bars_file), **overrides})


@pytest.fixture(scope="module")
def run(tiny_recipe, bars_file, tmp_path_factory):
    """A finished run."""
    recipe = tiny(tiny_recipe, bars_file, **{"training.compilation": "auto"})
    return train(recipe, tmp_path_factory.mktemp("runs") / "a", quiet=True)


def test_the_run_directory_holds_everything(run):
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        *("recipe.yaml", "environment.json", "metrics.csv", "test.json"),
        *("model.keras", "encoder.keras", "decoder.keras", "checkpoints"),
        *("reconstructions.png", "samples.png", "curves.png"),
    }
    rows = list(csv.DictReader((run.path / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert float(row["elbo"]) == pytest.approx(-float(row["reconstruction"]) - float(row["kl"]), abs=1e-3)
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["status"] == "finished"
    assert environment["keras"] == keras.__version__
    assert json.loads((run.path / "test.json").read_text())["elbo"] == run.test["elbo"]
    for name in ("reconstructions.png", "samples.png", "curves.png"):
        with Image.open(run.path / name) as picture:
            assert min(picture.size) > 200


def test_a_run_is_read_back(run, bars_file):
    again = Run(run.path)
    assert again.recipe.data.name == str(bars_file)
    assert again.recipe.parameters == run.model.count_params()
    x, _ = again.data.test.first(8)
    np.testing.assert_array_equal(again.model(x), run.model(x))
    batches = again.data.test.batches(100, binarize="threshold")
    assert again.model.evaluate(batches, verbose=0, return_dict=True)["elbo"] == pytest.approx(
        run.test["elbo"], abs=1e-4
    )


@pytest.mark.slow
def test_training_learns(tiny_recipe, bars_file, tmp_path):
    # A pixel is lit with probability 1 - (7/8)^2 = 15/64, so a model of independent pixels needs 64 H(15/64) = 34.8
    # nats; a perfect one log 64 = 4.2, for the 64 images that there are.
    recipe = tiny(tiny_recipe, bars_file, **{"training.epochs": 25, "training.learning_rate": 0.03})
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert -30 < trained.test["elbo"] < -4.2


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.slow
def test_one_seed_gives_bit_identical_weights_and_another_does_not(network, tiny_recipe, bars_file, tmp_path):
    def weights(folder, seed):
        parts = {"model.encoder": network, "model.decoder": network, "data.binarize": "dynamic"}
        settings = {"training.compilation": "auto", "training.seed": seed, "training.epochs": 1}
        recipe = tiny(tiny_recipe, bars_file, **parts, **settings)
        return train(recipe, tmp_path / folder, quiet=True).model.get_weights()

    first, second, other = weights("a", 5), weights("b", 5), weights("c", 6)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.abs(a - c).max() > 0 for a, c in zip(first, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_with_float32_terms(precision, tiny_recipe, bars_file, tmp_path):
    trained = train(tiny(tiny_recipe, bars_file, **{"training.precision": precision}), tmp_path / "run", quiet=True)
    model = trained.model
    assert model.encoder.layers[2].compute_dtype == precision.removeprefix("mixed_")
    assert all(weight.dtype == "float32" for weight in model.trainable_variables)
    assert model.encode(np.zeros((1, 8, 8, 1))).mean().dtype == "float32"
    assert int(model.optimizer.iterations) == 20
    assert hasattr(model.optimizer, "dynamic_scale") == (precision == "mixed_float16")
    decoder = keras.models.load_model(trained.path / "decoder.keras")
    assert decoder.dtype_policy.name == "float32"
    assert {layer.compute_dtype for layer in decoder.layers} == {"float32"}
    z = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(decoder(z), model.examples(z), atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "compilation"),
    [
        ("float32", "graph"),
        ("mixed_float16", "xla"),
        pytest.param("float32", "xla", marks=pytest.mark.slow),
        pytest.param("mixed_float16", "graph", marks=pytest.mark.slow),
    ],
)
def test_a_critic_learns_beside_the_model(precision, compilation, bars_file, tmp_path):
    settings = {"training.precision": precision, "training.compilation": compilation, "training.learning_rate": 0.01}
    trained = train(small_recipe("factor", bars_file, **settings), tmp_path / "run", quiet=True)
    with open(tmp_path / "run/metrics.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    for row in (*rows, trained.test):
        assert row["loss"] == pytest.approx(-row["elbo"] + 10 * row["total_correlation"], rel=1e-3)
        assert 0 < row["critic"] < 3 * np.log(2)  # 2 ln 2 while the critic cannot tell the codes apart
    assert rows[-1]["elbo"] > rows[0]["elbo"] + 1
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert (environment["precision"], environment["compilation"]) == (precision, compilation)
    loaded = Run(tmp_path / "run").model
    critic = loaded.objective.critic.trainable_variables
    assert [tuple(weight.shape) for weight in critic] == [(20, 16), (16,), (16, 1), (1,)]
    for ours, theirs in zip(trained.model.objective.critic.trainable_variables, critic, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trained.model.count_params() == Run(tmp_path / "run").recipe.parameters


def first_gradients(recipe):
    """The gradients of the first step, one that the optimizer sees, by the path of the weight, and the weights."""
    setup = prepare(recipe, print)
    model, weights = setup.model, [weight.numpy() for weight in setup.model.trainable_variables]
    batches = setup.data.train.training_batches(380, 1, **setup.batches)
    model.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[setup.watch])
    assert int(model.optimizer.iterations) == 1
    momenta = [v.numpy() for v in model.optimizer.variables if "momentum" in v.path]  # a tenth of the first gradient
    return [10 * momentum for momentum in momenta], weights


@pytest.mark.slow
def test_the_loss_scale_of_float16_does_not_change_the_gradients_of_either_player(bars_file):
    settings = {"training.batch_size": 380, "training.clip_norm": None, "training.compilation": "graph"}
    full, half = (
        first_gradients(small_recipe("factor", bars_file, **settings, **{"training.precision": precision}))
        for precision in ("float32", "mixed_float16")
    )
    for ours, theirs in zip(full[1], half[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)  # both begin with the same weights
    for ours, theirs in zip(full[0], half[0], strict=True):
        assert np.abs(ours).max() > 0
        np.testing.assert_allclose(theirs, ours, atol=0.02 * np.abs(ours).max())


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.5, None])
def test_a_long_gradient_is_shortened(limit, tiny_recipe, bars_file, tmp_path, monkeypatch):
    # Adam's first momentum is a tenth of the first gradient that it receives.
    settings = {"training.clip_norm": limit, "training.epochs": 1, "training.batch_size": 380}
    recipe = tiny(tiny_recipe, bars_file, **settings)
    optimizer = train(recipe, tmp_path / "run", quiet=True).model.optimizer
    assert int(optimizer.iterations) == 1
    momenta = [v.numpy().ravel() for v in optimizer.variables if "momentum" in v.path]
    norm = 10 * np.linalg.norm(np.concatenate(momenta))
    assert norm == pytest.approx(limit, rel=1e-4) if limit else norm > 1


def test_the_plain_autoencoder_reports_no_bound(tiny_recipe, bars_file, tmp_path):
    recipe = tiny(tiny_recipe, bars_file, **{"model.posterior": "point", "model.objective": "reconstruction"})
    assert set(train(recipe, tmp_path / "run", quiet=True).test) == {"loss", "reconstruction"}


@pytest.mark.slow
def test_a_conditional_run_draws_every_class(tiny_recipe, bars_file, tmp_path, monkeypatch):
    drawn = {}
    real = plots.image_grid

    def spy(images, columns, title="", **labels):
        drawn[title] = (np.asarray(images), columns, labels)
        return real(images, columns, title, **labels)

    monkeypatch.setattr(plots, "image_grid", spy)
    train(tiny(tiny_recipe, bars_file, **{"model.conditional": True}), tmp_path / "run", quiet=True)
    images, columns, labels = drawn["tiny: samples of each class"]
    assert columns == 8
    assert labels["column_labels"] == tuple("01234567")
    assert len(images) == 64


def test_ctrl_c_does_not_break_into_the_writing_of_a_model(tiny_recipe, bars_file, tmp_path, monkeypatch):
    real = Checkpoints.write

    def pressed_while_writing(self, model, state):
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, model, state)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Checkpoints, "write", pressed_while_writing)
    monkeypatch.setattr(results, "leave_results", lambda *arguments: None)
    with pytest.raises(KeyboardInterrupt, match="epoch 1 of 2 is kept"):
        train(tiny(tiny_recipe, bars_file), tmp_path / "run", quiet=True)
    assert int(vaezoo.load(tmp_path / "run").optimizer.iterations) == 10
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("images", [1, 7, 100, 421 * 128, 57_000, 60_000, 10**6])
@pytest.mark.parametrize("batch_size", [1, 20, 128])
def test_an_epoch_is_a_multiple_of_the_steps_of_a_call(images, batch_size):
    if batch_size > images:
        return
    steps, call = epoch_shape(images, batch_size)
    assert steps % call == 0
    assert 1 <= call <= 32
    assert 0 <= images // batch_size - steps <= 7
    assert steps >= 0.9 * (images // batch_size)


def test_the_rule_of_compilation():
    assert not use_xla(vaezoo.create_model("conv_vae"))
    assert use_xla(vaezoo.create_model("mlp_vae"))
    assert use_xla(vaezoo.create_model("conv_vae"), "xla")
    assert not use_xla(vaezoo.create_model("mlp_vae"), "graph")
    half = load_recipe("mlp_vae", {"training.precision": "mixed_bfloat16"})
    assert not use_xla(build_model(half, Spec("image", (28, 28, 1))))


@pytest.mark.slow
def test_mlp_vae_reaches_its_bound_on_mnist(mnist, tmp_path):
    # The recipe's 20 epochs take it to -93.6. Without its KL the bound would be too high.
    recipe = load_recipe("mlp_vae", {"data.name": "mnist", "training.epochs": 5})
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert trained.test["elbo"] == pytest.approx(-106.82, abs=1)


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_is_a_warning(tiny_recipe, bars_file, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("Image size of 100000x1 pixels is too large")

    monkeypatch.setattr(plots, "reconstructions", fail)
    trained = train(load_recipe(tiny_recipe, {"data.name": str(bars_file)}), tmp_path / "run")
    assert "warning: reconstructions.png is not drawn: Image size of 100000x1" in capsys.readouterr().err
    assert inspect(trained.path).status == "finished"
    assert {"samples.png", "curves.png", "test.json"} <= {path.name for path in trained.path.iterdir()}

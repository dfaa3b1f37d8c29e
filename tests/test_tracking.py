"""A training in TensorBoard, Weights & Biases and MLflow, and Keras callbacks of the user."""

import contextlib
import csv
import json
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image

from vaezoo.checkpoints import Checkpoints
from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.keras_files import load_keras_file
from vaezoo.runs import Run
from vaezoo.tracking import TensorBoard, Tracker
from vaezoo.training import train

tf = pytest.importorskip("tensorflow")


def metrics_of(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def events(folder):
    """(tag, step) → what was written, a number or the size of a picture."""
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for path in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                array = make_ndarray(value.tensor)
                number = float(array) if array.dtype != object else tuple(int(each) for each in array[:2])
                found[value.tag, event.step] = number
    return found


@pytest.mark.slow
def test_tensorboard_holds_the_metrics_the_pictures_and_the_codes(tiny_recipe, bars_file, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", str(tiny_recipe), "--data", str(bars_file), "--out", str(run), "--callback", "tensorboard"]
    assert main([*command, "--epochs", "2"]) == 0, capsys.readouterr().err
    found = events(run / "tensorboard")
    for row in metrics_of(run):
        assert found["elbo", int(row["epoch"])] == pytest.approx(float(row["elbo"]), abs=1e-4)
        assert found["val_loss", int(row["epoch"])] == pytest.approx(float(row["val_loss"]), abs=1e-4)
    assert found["test_elbo", 2] == pytest.approx(json.loads((run / "test.json").read_text())["elbo"], abs=1e-4)
    with contextlib.closing(keras.utils.load_img(run / "samples.png")) as picture:
        assert found["samples", 2] == picture.size
    codes = np.loadtxt(run / "tensorboard" / "codes.tsv")
    classes = (run / "tensorboard" / "classes.tsv").read_text().splitlines()
    assert codes.shape == (len(classes), 3)
    assert "codes.tsv" in (run / "tensorboard" / "projector_config.pbtxt").read_text()
    assert main(["train", "--resume", str(run), "--epochs", "3", "--callback", "tensorboard"]) == 0
    assert ("elbo", 3) in events(run / "tensorboard")


def test_the_epoch_of_the_test_metrics_is_the_last_one_where_the_data_decide_how_many_there_are(tmp_path):
    recipe = load_recipe("table_vae")
    assert recipe.training.epochs is None
    Image.new("RGB", (4, 3)).save(tmp_path / "samples.png")
    tracker = TensorBoard(tmp_path, recipe)
    tracker.on_train_begin()
    tracker.on_epoch_end(6, {"elbo": -2.0})
    Tracker.finish(tracker, {"elbo": -3.0})
    tracker.close()
    found = events(tmp_path / "tensorboard")
    assert found == {("elbo", 7): -2.0, ("test_elbo", 7): -3.0, ("samples", 7): (4, 3)}


class Stand:
    """A module that stands in for a tracker: it writes down every call."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments, **keywords):
            self.calls.append((name, arguments, keywords))
            return self

        return call


@pytest.mark.slow
@pytest.mark.parametrize(("name", "numbers"), [("wandb", "log"), ("mlflow", "log_metrics")])
def test_other_trackers_get_the_same(name, numbers, tiny_recipe, bars_file, tmp_path, monkeypatch, capsys):
    stand, module = Stand(), types.ModuleType(name)
    module.__getattr__ = stand.__getattr__
    module.__spec__ = types.SimpleNamespace(name=name)
    monkeypatch.setitem(sys.modules, name, module)
    run = tmp_path / "run"
    command = ["train", str(tiny_recipe), "--data", str(bars_file), "--out", str(run), "--callback", name]
    assert main([*command, "--epochs", "1"]) == 0, capsys.readouterr().err
    logged = [call[1][0] for call in stand.calls if call[0] == numbers and call[1] and isinstance(call[1][0], dict)]
    assert float(metrics_of(run)[0]["elbo"]) == pytest.approx(next(each["elbo"] for each in logged if "elbo" in each))
    assert any("test_elbo" in each for each in logged)
    assert "samples.png" in str(stand.calls)
    assert stand.calls[-1][0] in ("finish", "end_run")


def test_a_tracker_that_is_missing_or_unknown_is_refused_and_nothing_is_written(
    tiny_recipe, bars_file, tmp_path, monkeypatch, capsys
):
    command = ["train", str(tiny_recipe), "--data", str(bars_file), "--out", str(tmp_path / "run"), "--callback"]
    assert main([*command, "tensorbord"]) == 2
    assert "unknown callback 'tensorbord'. Did you mean 'tensorboard'?" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*command, "wandb"]) == 2
    assert "pip install 'vaezoo[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_callback_of_keras_can_stop_a_training(tiny_recipe, bars_file, tmp_path):
    class StopAfterTwo(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "training.epochs": 4})
    trained = train(recipe, tmp_path / "run", quiet=True, callbacks=[StopAfterTwo()])
    assert [row["epoch"] for row in metrics_of(trained.path)] == ["1", "2"]
    assert np.isfinite(trained.test["elbo"])
    assert (trained.path / "decoder.keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("restore", [True, False])
def test_all_files_are_of_the_weights_that_a_callback_leaves(restore, average, tiny_recipe, bars_file, tmp_path):
    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "training.epochs": 3, "training.average": average})
    first = keras.callbacks.EarlyStopping("epoch_1", mode="max", patience=9, restore_best_weights=restore)
    first.get_monitor_value = lambda logs: -len(metrics_of(tmp_path / "run"))  # so that the first epoch is the best
    trained = train(recipe, tmp_path / "run", quiet=True, callbacks=[first])
    run, weights = Run(trained.path), trained.model.get_weights()
    for value, other in zip(run.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, other)
    z = np.eye(3, dtype="float32")
    decoded = keras.models.load_model(trained.path / "decoder.keras")(z)
    np.testing.assert_allclose(decoded, trained.model.examples(z), atol=1e-6)
    scored = run.model.evaluate(run.data.test.batches(1000, **run.batches), verbose=0, return_dict=True)
    assert scored["elbo"] == pytest.approx(trained.test["elbo"], abs=1e-3)
    if restore:
        wanted = first.best_weights
    else:
        last = load_keras_file(Checkpoints(trained.path).all()[0].model)
        wanted = [*last.optimizer.averages] if average else last.get_weights()
    for value, other in zip(weights, wanted, strict=True):
        np.testing.assert_array_equal(value, other)

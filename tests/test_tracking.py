"""A training in TensorBoard, Weights & Biases and MLflow, and Keras callbacks of the user."""

import contextlib
import csv
import json
import sys
import types

import keras
import numpy as np
import pytest

from vaezoo.cli import main
from vaezoo.config import load_recipe
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

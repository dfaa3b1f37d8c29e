"""A training that was broken off and resumed ends with the very weights of one that never was."""

import csv
import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest

import vaezoo
from vaezoo.config import load_recipe, recipe_names
from vaezoo.training import resume, train
from vaezoo.training.callbacks import Recorder


@dataclasses.dataclass
class Killed(Exception):
    """Nothing in vaezoo expects it: the run directory is left as a killed process leaves it."""


class Axe(keras.callbacks.Callback):
    """Ends the training after some calls of the step, with no chance to tidy up."""

    left = 0

    def on_train_batch_end(self, batch, logs=None):
        Axe.left -= 1
        if Axe.left == 0:
            raise Killed


@pytest.fixture
def axe(monkeypatch):
    """Set how many calls of the step are left, and whether the moments between them are checkpoints."""
    real_end = Recorder.on_train_batch_end

    def end(self, batch, logs=None):
        real_end(self, batch, logs)
        Axe().on_train_batch_end(batch)

    monkeypatch.setattr(Recorder, "on_train_batch_end", end)

    def set_calls(calls):
        Axe.left = calls

    return set_calls


def state_of(model):
    """Every variable of the model and of its optimizer."""
    return [variable.numpy() for variable in (*model.weights, *model.optimizer.variables)]


def rows_of(path):
    """The metrics by epoch, but for the columns of time."""
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in rows]


def assert_same_run(disturbed, whole):
    for a, b in zip(state_of(disturbed.model), state_of(whole.model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows_of(disturbed.path) == rows_of(whole.path)
    assert disturbed.test == whole.test


def small(name, bars_file, **overrides):
    """A recipe of the zoo, its widths cut down, on the bars: three epochs of two calls of ten steps."""
    recipe = load_recipe(name, {"data.name": str(bars_file), "training.epochs": 3, "training.batch_size": 19})
    model = recipe.model
    for side in ("encoder", "decoder"):
        width = (
            {"hidden": [8] * len(getattr(model, side).hidden)}
            if getattr(model, side).name == "mlp"
            else {"filters": [3, 4], "dense": 8}
        )
        overrides = {**{f"model.{side}.{key}": value for key, value in width.items()}, **overrides}
    return load_recipe(name, {**recipe_overrides(recipe), **overrides})


def recipe_overrides(recipe):
    return {"data.name": recipe.data.name, "training.epochs": recipe.training.epochs, "training.batch_size": 19}


@pytest.mark.parametrize("compilation", ["graph", "xla"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe(name, precision, compilation, bars_file, tmp_path, axe):
    if (name, precision, compilation) not in QUICK:
        pytest.skip("slow")
    recipe = small(name, bars_file, **{"training.precision": precision, "training.compilation": compilation})
    axe(-1)
    whole = train(recipe, tmp_path / "whole", quiet=True)
    for calls in (1, 3):  # in the middle of the first epoch, then of the second or the third
        axe(calls)
        with pytest.raises(Killed):
            if calls == 1:
                train(recipe, tmp_path / "run", quiet=True, checkpoint_every=1e-9)
            else:
                resume(tmp_path / "run", quiet=True, checkpoint_every=1e-9)
    axe(-1)
    assert_same_run(resume(tmp_path / "run", quiet=True), whole)


QUICK = [("mlp_vae", "float32", "xla"), ("conv_vae", "mixed_float16", "graph")]

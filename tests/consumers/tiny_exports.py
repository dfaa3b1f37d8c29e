"""Small runs and their exports, made once; the conftest gives these fixtures to every test file."""

import numpy as np
import pytest

from vaezoo.config import load_recipe
from vaezoo.exporting import export
from vaezoo.training import train

CONV = {
    "model.encoder": {"name": "conv", "filters": [4, 8], "dense": 16},
    "model.decoder": {"name": "conv", "filters": [8, 4], "dense": 16},
}


def train_tiny(recipe, data, out, **overrides):
    """A run of the tiny recipe; returns its folder."""
    recipe = load_recipe(recipe, {"data.name": str(data), **{k.replace("__", "."): v for k, v in overrides.items()}})
    return train(recipe, out, quiet=True).path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_recipe, bars_file):
    """A convolutional run on 8×8 bars, D = 3."""
    overrides = {**CONV, "name": "tiny"}
    return train_tiny(tiny_recipe, bars_file, tmp_path_factory.mktemp("runs") / "tiny", **overrides)


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory, tiny_run):
    """All formats of the tiny run except ONNX: an `Exported`."""
    return export(tiny_run, tmp_path_factory.mktemp("exports") / "tiny", with_encoder=True)


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory, tiny_recipe, bars_file):
    """A conditional MLP run on the bars with their rows as labels, D = 3, Y = 8."""
    path = tmp_path_factory.mktemp("runs") / "told"
    return train_tiny(tiny_recipe, bars_file, path, name="told", model__conditional=True)


@pytest.fixture(scope="session")
def conditional_export(tmp_path_factory, conditional_run):
    """The SavedModel and one LiteRT file of the conditional run: an `Exported`."""
    path = tmp_path_factory.mktemp("exports") / "told"
    formats = ("savedmodel", "litert")
    return export(conditional_run, path, formats=formats, quantizations=("int8",))


@pytest.fixture(scope="session")
def vector_run(tmp_path_factory, tiny_recipe):
    """A run on vectors of 6 numbers from -8 to 8, a nonlinear function of 2, with a normal likelihood, D = 3."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    vectors = np.tanh(rng.standard_normal((500, 2)) @ rng.standard_normal((2, 6))) * 8
    np.savez(folder / "vectors.npz", x=vectors[:400], x_test=vectors[400:])
    likelihood = {"name": "normal", "scale": 1.0}
    settings = {"data__binarize": "none", "model__likelihood": likelihood, "training__epochs": 1}
    return train_tiny(tiny_recipe, folder / "vectors.npz", folder / "numbers", name="numbers", **settings)


@pytest.fixture(scope="session")
def sequence_run(tmp_path_factory, tiny_recipe):
    """A conditional run on sequences of 5 tokens out of 7 that go up by a constant step, the label; D = 3."""
    folder = tmp_path_factory.mktemp("runs")
    start, step = np.random.default_rng(0).integers([7, 3], size=(500, 2)).T
    tokens = (start[:, None] + step[:, None] * np.arange(5)) % 7
    split = {"tokens": tokens[:400], "labels": step[:400], "test_tokens": tokens[400:], "test_labels": step[400:]}
    np.savez(folder / "tokens.npz", **split)
    settings = {"data__binarize": "none", "model__likelihood": "categorical", "model__conditional": True}
    settings["training__epochs"] = 1
    return train_tiny(tiny_recipe, folder / "tokens.npz", folder / "steps", name="steps", **settings)


def _export_other(path, run):
    return export(run, path, formats=("savedmodel", "litert"), quantizations=("float32", "int8"), with_encoder=True)


@pytest.fixture(scope="session")
def vector_export(tmp_path_factory, vector_run):
    """The SavedModel and four LiteRT files of the vector run: an `Exported`."""
    return _export_other(tmp_path_factory.mktemp("exports") / "vectors", vector_run)


@pytest.fixture(scope="session")
def sequence_export(tmp_path_factory, sequence_run):
    """The SavedModel and four LiteRT files of the sequence run: an `Exported`."""
    path = tmp_path_factory.mktemp("exports") / "sequences"
    return _export_other(path, sequence_run)


def newest(exported):
    """The folder of the version that an export wrote."""
    return exported.path / "savedmodel" / exported.name / str(exported.version)

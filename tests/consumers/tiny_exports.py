"""Small runs and their exports, made once for all the test files that import these fixtures."""

import pytest

from vaezoo.config import load_recipe
from vaezoo.exporting import export
from vaezoo.training import train

CONV = {
    "model.encoder": {"name": "conv", "filters": [4, 8], "dense": 16},
    "model.decoder": {"name": "conv", "filters": [8, 4], "dense": 16},
}
_made = {}  # a fixture that two files import would run twice without it


def once(name, make):
    """What `make` returned when this name was first asked for."""
    if name not in _made:
        _made[name] = make()
    return _made[name]


def train_tiny(recipe, data, out, **overrides):
    """A run of the tiny recipe on the bars; returns its folder."""
    recipe = load_recipe(recipe, {"data.name": str(data), **{k.replace("__", "."): v for k, v in overrides.items()}})
    return train(recipe, out, quiet=True).path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_recipe, bars_file):
    """A convolutional run on 8×8 bars, D = 3."""

    def make():
        overrides = {**CONV, "name": "tiny"}
        return train_tiny(tiny_recipe, bars_file, tmp_path_factory.mktemp("runs") / "tiny", **overrides)

    return once("tiny", make)


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory, tiny_run):
    """Everything of the tiny run but ONNX: an `Exported`."""
    return once("export", lambda: export(tiny_run, tmp_path_factory.mktemp("exports") / "tiny", with_encoder=True))


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory, tiny_recipe, bars_file):
    """A conditional MLP run on the bars with their rows as labels, D = 3, Y = 8."""

    def make():
        path = tmp_path_factory.mktemp("runs") / "told"
        return train_tiny(tiny_recipe, bars_file, path, name="told", model__conditional=True)

    return once("conditional", make)


@pytest.fixture(scope="session")
def conditional_export(tmp_path_factory, conditional_run):
    """The SavedModel and one LiteRT file of the conditional run: an `Exported`."""
    path = tmp_path_factory.mktemp("exports") / "told"
    formats = ("savedmodel", "litert")
    return once("told", lambda: export(conditional_run, path, formats=formats, quantizations=("int8",)))


def newest(exported):
    """The folder of the version that an export wrote."""
    return exported.path / "savedmodel" / exported.name / str(exported.version)

"""Presets: a trained model as a folder of four files, small, measured, and without any code.

config.json        the resolved recipe, and what one example is
model.weights.h5   the weights, with 16 bits or 8
metadata.json      format, versions, checksums, test metrics
README.md          the model card, for people

The zoo's own are called RECIPE/DATA, as in conv_vae/mnist, and lie in the package.
"""

import fnmatch
import functools
import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict

from vaezoo import hubs
from vaezoo.config import recipe_of
from vaezoo.errors import VaezooError, unknown
from vaezoo.reading import Count, Text, parse_json, read_json
from vaezoo.recipe_files import recipe_names, zoo_folder
from vaezoo.regular_files import LARGEST, broken, read_bytes
from vaezoo.runs import Environment, Run
from vaezoo.spec import Spec
from vaezoo.weight_limit import weights_within

CONFIG, METADATA, WEIGHTS, CARD = FILES = ("config.json", "metadata.json", "model.weights.h5", "README.md")
FORMAT = 1
LARGEST_WEIGHTS = 2**31  # bytes of model.weights.h5
UNSTORED = 2**16  # bytes of variables that it lacks, such as the means of metrics

KINDS = ("float16", "int8")
LEAST_INT8 = 4096  # elements of a matrix that is stored with 8 bits; smaller ones win nothing


class Config(TypedDict):
    """The content of config.json."""

    recipe: dict[str, Any]
    spec: Spec


class Metadata(TypedDict):
    """The content of metadata.json."""

    format: Count
    weights: Literal[KINDS]
    steps: Count
    test: dict[str, float]
    sha256: dict[str, Text]
    environment: Environment


class Preset(Run):
    """A preset as a run: everything that reads a `Run` takes it.

    Args:
        folder: of its files, which are never written to by what reads it.
        name: what it was asked for by; by default the name of the folder.

    Attributes:
        folder: of its files.
        name: what it was asked for by.
        path: where what is made of it is written by default: runs/RECIPE-DATA in the working directory.

    Raises:
        VaezooError: if the folder holds no preset, or one of a newer format.
    """

    def __init__(self, folder: str | Path, name: str | None = None):
        self.folder, self.name = Path(folder), name or Path(folder).resolve().name
        for file in FILES[:3]:
            if not os.path.isfile(self.folder / file):  # unlike Path.is_file, this takes any path
                raise VaezooError(f"'{name or folder}' holds no preset: there is no {file} in it")
        self.path = Path("runs") / self.name.rpartition("://")[2].replace("/", "-")
        found = read_json(self.folder / METADATA, TypedDict("Format", {"format": Count}))
        if found["format"] > FORMAT:
            raise VaezooError(f"'{self.folder}' has the format {found['format']} of a newer vaezoo; update vaezoo")

    @property
    def model_file(self) -> Path:
        """The file that holds the weights of the model."""
        return self.folder / WEIGHTS

    @property
    def size(self) -> int:
        """The bytes of its files."""
        return sum((self.folder / name).stat().st_size for name in FILES[:3])

    @property
    def headline(self) -> str:
        """The metric that tells most of it, with two digits."""
        name = next((each for each in ("elbo", "loss") if each in self.test), None)
        return f"{name} {self.test[name]:.2f}" if name else ""

    @functools.cached_property
    def metadata(self) -> Metadata:
        """The content of metadata.json."""
        return read_json(self.folder / METADATA, Metadata)

    @functools.cached_property
    def _config(self):
        path = self.folder / CONFIG
        content = self._verified(CONFIG, LARGEST)
        with broken(path):
            config = parse_json(content, Config)
        return recipe_of(config["recipe"], source=path), config["spec"]

    @property
    def recipe(self):
        """The resolved `Recipe`."""
        return self._config[0]

    @property
    def environment(self) -> Environment:
        """What the model was trained on and with; a mapping."""
        return self.metadata["environment"]

    @property
    def test(self) -> dict[str, float]:
        """The test metrics by name, measured with the stored weights."""
        return self.metadata["test"]

    @functools.cached_property
    def model(self):
        """The trained `VAE`, compiled with the optimizer of its recipe at its first learning rate."""
        from vaezoo import optimizer, zoo

        content = self._verified(WEIGHTS, LARGEST_WEIGHTS)
        recipe, spec = self._config
        with broken(self.folder):
            # A weight of 4 bytes is stored with at least one.
            with weights_within(4 * len(content) + UNSTORED, f"{CONFIG} asks for more weights than {WEIGHTS} holds"):
                model = zoo.build_model(recipe, spec)
            _load_weights(model, content)
        model.compile(optimizer=optimizer.optimizer_of(recipe.training, recipe.training.learning_rate))
        model.optimizer.iterations.assign(self.metadata["steps"])  # a warm-up that is over stays over
        return model

    def check(self):
        """Compare the files of the recipe and the weights with their checksums; a VaezooError for one that differs."""
        self._verified(CONFIG, LARGEST)
        self._verified(WEIGHTS, LARGEST_WEIGHTS)

    def _verified(self, name, most):
        """The content of a file, if it has the checksum in metadata.json."""
        content = read_bytes(self.folder / name, most)
        if hashlib.sha256(content).hexdigest() != self.metadata["sha256"].get(name):
            raise VaezooError(
                f"'{self.folder / name}' is broken: its checksum is not that in {METADATA}; fetch the preset again"
            )
        return content


def preset_names(pattern: str = "*") -> list[str]:
    """The names of the zoo's own presets that match a shell pattern such as `*/mnist`, sorted."""
    folder = zoo_folder("zoo_presets")
    found = (path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/*/{METADATA}"))
    return fnmatch.filter(sorted(found), pattern)


def open_run(name: str | Path) -> Run:
    """What a command that takes a run works on. An existing path wins over a name.

    Args:
        name: a run directory; a folder that holds a preset; a preset by name, as in "conv_vae/mnist"; or one on a hub:
            "hf://USER/MODEL", "kaggle://USER/MODEL/FRAMEWORK/VARIATION".

    Returns:
        A `Run`, which may be a `Preset`.

    Raises:
        VaezooError: if it is none of these.
    """
    return open_preset(name) or Run(name)


def open_preset(name: str | Path) -> Preset | None:
    """The preset that `open_run` opens; None for a run directory, or what can only be the path of one."""
    text = str(name)
    if os.path.isdir(text):
        is_preset = os.path.lexists(Path(text) / METADATA) and not os.path.lexists(Path(text) / "recipe.yaml")
        return Preset(text) if is_preset else None
    if hubs.is_address(text):
        return Preset(hubs.download(text, FILES, LARGEST_WEIGHTS), text)
    if text in (names := preset_names()):
        return Preset(zoo_folder("zoo_presets") / text, text)
    if text.split("/")[0] in recipe_names() and text.count("/") == 1:
        raise unknown(
            "preset", text, names, hint=f"There is no folder of that name either. Presets: {', '.join(names)}."
        )
    return None


def load(run):
    """The trained model of a run directory or a preset.

    Args:
        run: the folder that `vaezoo train` wrote; or a preset, as in `open_run`.

    Returns:
        The `VAE`, compiled.

    Raises:
        VaezooError: if there is no such run or preset, or a file is broken or not to be trusted: nothing of it was run.
    """
    return open_run(run).model


def write_files(folder: Path, run: Run, kind: str) -> None:
    """Write config.json and model.weights.h5 of a run, of whose data only the name is kept.

    Args:
        folder: an existing one.
        run: a `Run`.
        kind: how the weights are stored. "float16"; or "int8", where a matrix of LEAST_INT8 elements or more has 8 bits
            an element, with a float32 scale for each output channel.
    """
    recipe, spec = run.recipe.model_dump(mode="json"), run.model.spec
    name = recipe["data"]["name"]
    if os.path.isabs(name):  # where somebody keeps their files is nobody else's business
        recipe["data"]["name"] = f"./{Path(name).name}"
    config = {"recipe": recipe, "spec": spec.as_config()}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _write_weights(folder / WEIGHTS, run.model, kind)


def write_metadata(folder: Path, kind: str, steps: int, test: Mapping[str, float], environment: Environment) -> None:
    """Write metadata.json, with the checksums of the files that are there."""
    checksums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)}
    content = {
        "format": FORMAT, "weights": kind, "steps": steps, "test": dict(test), "sha256": checksums,
        "environment": dict(environment),
    }  # fmt: skip
    (folder / METADATA).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _places(model):
    """Where each weight stands in the file → the weight: PART/NUMBER."""
    from vaezoo.models.vae import PARTS

    return {f"{part}/{number}": weight for part in PARTS for number, weight in enumerate(getattr(model, part).weights)}


def _write_weights(path, model, kind):
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        for place, weight in _places(model).items():
            for ending, array in _stored(np.asarray(weight), kind).items():
                file[place + ending] = array


def _stored(value, kind):
    """The arrays that stand for a weight, by the ending of their name."""
    import numpy as np

    if value.dtype.kind != "f":
        return {"": value}
    if kind == "int8" and value.ndim > 1 and value.size >= LEAST_INT8:
        largest = np.abs(value).max(axis=tuple(range(value.ndim - 1)))
        scale = np.where(largest > 0, largest / 127, 1).astype("float32")  # one for each output channel
        return {"": np.rint(value / scale).astype("int8"), ".scale": scale}
    with np.errstate(over="ignore"):
        half = value.astype("float16")
    return {"": half if np.isfinite(half).all() else value}


def _load_weights(model, content):
    """Give a model the weights in the content of a model.weights.h5; a ValueError for any that are not its own."""
    import h5py

    from vaezoo import keras_files

    with h5py.File(io.BytesIO(content), "r") as file:
        keras_files.check_weights(file)
        places, found = _places(model), set()
        file.visititems(lambda name, item: found.add(name) if isinstance(item, h5py.Dataset) else None)
        for place, weight in places.items():
            weight.assign(_restored(file, place, weight, found))
        if found:
            raise ValueError(f"its weights hold '{min(found)}', which the model of its {CONFIG} has not")


def _restored(file, place, weight, found):
    """The value of a weight; what was used of the file is taken away from `found`."""
    import numpy as np

    shape, kind = tuple(weight.shape), np.dtype(weight.dtype).kind
    if place not in found or file[place].shape != shape or (file[place].dtype.kind == "f") > (kind == "f"):
        raise ValueError(f"its weights hold no '{place}' of shape {list(shape)}, which the model of its {CONFIG} has")
    found.remove(place)
    value = file[place][()]
    if (scale := f"{place}.scale") in found:
        if not shape or file[scale].shape != shape[-1:]:
            raise ValueError(f"its weights hold a '{scale}' of the wrong shape")
        found.remove(scale)
        value = value * file[scale][()].astype("float64")
    with np.errstate(over="ignore"):
        value = value.astype(weight.dtype)
    if not np.isfinite(value).all():
        raise ValueError(f"its weights '{place}' are not finite")
    return value

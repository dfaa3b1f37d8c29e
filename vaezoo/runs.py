"""Reading a run directory. TensorFlow is imported at the first use of the model or the data."""

import functools
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from vaezoo.checkpoints import Checkpoints
from vaezoo.config import recipe_of
from vaezoo.errors import VaezooError, unknown
from vaezoo.reading import Count, Text, Texts, read_json
from vaezoo.recipe_files import read_recipe
from vaezoo.versions import PACKAGES

FILES = (
    "recipe.yaml", "environment.json", "metrics.csv", "test.json", "skipped.txt",
    "model.keras", "encoder.keras", "decoder.keras", "latent.npz", "latent.gif",
)  # fmt: skip
SPLITS = ("train", "validation", "test")
LARGEST_METRICS = 2**16  # bytes of test.json; a few terms take 300
LARGEST_RECIPE = 2**20  # bytes of recipe.yaml; it names the columns of a table, of which there are up to 10,000

# The entries of environment.json that vaezoo reads. Each may be missing.
Environment = TypedDict(
    "Environment",
    {
        **dict.fromkeys(("vaezoo", "python", *PACKAGES, "device", "strategy", "precision", "compilation"), Text),
        "status": Literal["training", "finished", "interrupted", "failed"],
        "reason": Text,  # of a failure
        "images": TypedDict("Images", dict.fromkeys(SPLITS, Count)),
        "shape": Annotated[list[Count], Field(fail_fast=True)],
        "class_names": Texts | None,
        "sketch": Text,  # a checksum of some examples, which tells data sets apart
    },
    total=False,
)


class Run:
    """A run directory that training wrote: its recipe, model and data, each read at the first use.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        folder: of the files that training wrote; for a `Preset` it is another one.

    Raises:
        VaezooError: if it holds no run, or a run without a finished epoch.
    """

    def __init__(self, path: str | Path):
        self.path = self.folder = Path(path)
        for name in ("recipe.yaml", "model.keras"):
            if not os.path.isfile(self.path / name):  # unlike Path.is_file, this takes any path
                if name == "model.keras" and Checkpoints(self.path).all():
                    raise VaezooError(
                        f"the run in '{path}' has no model: there is no {name} in it; if it has finished no epoch yet, "
                        f"continue it with `vaezoo train --resume {path}`"
                    )
                raise VaezooError(f"'{path}' holds no run: there is no {name} in it; `vaezoo train` makes one")

    @property
    def model_file(self) -> Path:
        """The file that holds the weights of the model."""
        return self.path / "model.keras"

    @functools.cached_property
    def recipe(self):
        """The resolved `Recipe`."""
        return read_run_recipe(self.path)

    @functools.cached_property
    def environment(self):
        """What the run was trained on and how it ended, as in environment.json; a mapping."""
        return read_environment(self.path)

    @functools.cached_property
    def test(self):
        """The test metrics by name, as in test.json; empty without the file."""
        path = self.path / "test.json"
        return read_json(path, dict[str, float], LARGEST_METRICS) if os.path.lexists(path) else {}

    @functools.cached_property
    def model(self):
        """The trained `VAE`."""
        from vaezoo import zoo

        return zoo.load(self.path)

    @functools.cached_property
    def data(self):
        """The `Data` that the model was trained on, with the same splits."""
        return load_recipe_data(self.recipe, image_cache(self.path))

    @property
    def class_names(self):
        """The names of the classes, or None; the run knows them too, and loading the data can take minutes."""
        return self.environment.get("class_names") or self.data.class_names

    @property
    def batches(self):
        """How the model saw the data: keywords of `Split.batches` and `Split.training_batches`."""
        recipe = self.recipe
        return {"binarize": recipe.data.binarize, "seed": recipe.training.seed, "labels": recipe.model.conditional}

    def first(self, split, count=None):
        """The first examples of a split, as the model was trained on them: binarized if the recipe says so.

        Args:
            split: "train", "validation" or "test".
            count: how many; by default all.

        Returns:
            (x [N,...], labels [N] or None), with N = min(count, size of the split).

        Raises:
            VaezooError: for an unknown split, or one that the data does not have.
        """
        return self._split(split).first(count, binarize=self.recipe.data.binarize, seed=self.recipe.training.seed)

    def spaced(self, split, count):
        """At most so many examples of a split, equally spaced, to stand for all of it: a file may be sorted.

        Arguments, result and errors as of `first`.
        """
        found = self._split(split).spaced(count)
        return found.first(binarize=self.recipe.data.binarize, seed=self.recipe.training.seed)

    def _split(self, split):
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        found = getattr(self.data, split)
        if found is None:
            raise VaezooError(f"the data of '{self.path}' has no {split} split; data.validation sets its size")
        return found


def image_cache(path: str | Path) -> Path:
    """The folder that the runs beside a run directory share for decoded images. It may be deleted at any time."""
    return Path(os.path.realpath(path)).parent / ".vaezoo_cache"


def load_recipe_data(recipe, cache=None, quiet=False):
    """The data of a recipe; the training seed chooses what is held out for validation.

    Args:
        recipe: a `Recipe`.
        cache: as in `load_data`.
        quiet: as in `load_data`.
    """
    from vaezoo.data import load_data

    data = recipe.data
    options = {"validation": data.validation, "seed": recipe.training.seed, "cache": cache, "quiet": quiet}
    preparation = data.preparation
    if data.columns is None and recipe.model.likelihood.column_types:
        preparation["columns"] = {}  # vectors are the rows of a table
    return load_data(data.name, **preparation, **options)


def read_run_recipe(path: Path, changes=None):
    """The `Recipe` of a run directory.

    Args:
        path: the folder.
        changes: values by dotted key, as in `load_recipe`.

    Raises:
        VaezooError: if there is none, or it cannot be read.
    """
    file = path / "recipe.yaml"
    if not os.path.isfile(file):
        raise VaezooError(f"'{path}' holds no run: there is no recipe.yaml in it; `vaezoo train` makes one")
    return recipe_of({"name": file.stem, **read_recipe(file, LARGEST_RECIPE)}, changes, file)


def read_environment(path: Path) -> Environment:
    """The content of environment.json in a run directory; empty without the file.

    Raises:
        VaezooError: for a broken file; it names the entry.
    """
    path = path / "environment.json"
    return read_json(path, Environment) if os.path.lexists(path) else {}


def free_path(path: str | Path) -> Path:
    """The path, or the first of path-2, path-3, ... that does not exist."""
    path, number = Path(path), 1
    candidate = path
    while os.path.exists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate

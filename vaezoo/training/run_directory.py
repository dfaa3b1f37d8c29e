"""The directory that a run leaves behind: written file by file during training, read by every later command."""

import contextlib
import csv
import functools
import io
import json
import math
from pathlib import Path

import numpy as np

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.config import load_recipe
from vaezoo.data import load_data
from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import BATCH
from vaezoo.zoo import load

FILES = ("recipe.yaml", "environment.json", "metrics.csv", "test.json", "model.keras", "encoder.keras", "decoder.keras")


class RunDirectory:
    """A run directory that is being written. Every file in it appears whole.

    Args:
        path: the folder; made with its parents where it does not exist.

    Raises:
        VaezooError: if it holds a run already, or cannot be written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if any((self.path / name).exists() for name in FILES):
            raise VaezooError(
                f"'{path}' already holds a run, which is never overwritten; give another --out, or remove it"
            )
        with plain_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def text(self, name: str, content: str) -> Path:
        """Write a text file."""
        return write_text(self.path / name, content)

    def json(self, name: str, content: dict) -> Path:
        """Write a mapping as JSON."""
        return self.text(name, json.dumps(content, indent=2) + "\n")

    def table(self, name: str, rows: list[dict]) -> Path:
        """Write rows of equal keys as CSV."""
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self.text(name, text.getvalue())

    def model(self, name: str, model) -> Path:
        """Write a Keras model."""
        return write_file(self.path / name, model.save)

    def picture(self, name: str, figure) -> Path:
        """Write a matplotlib Figure."""
        return write_file(self.path / name, figure.savefig)

    def discard(self) -> None:
        """Remove the files of a run that came to nothing, and the folder if nothing else is in it."""
        with contextlib.suppress(OSError):
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()


class Run:
    """A run directory that training has left: its recipe, its model and its data, each read when first asked for.

    Args:
        path: the folder.

    Raises:
        VaezooError: if it holds no run.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        for name in ("recipe.yaml", "model.keras"):
            if not (self.path / name).is_file():
                raise VaezooError(f"'{path}' holds no run: there is no {name} in it; `vaezoo train` makes one")

    @functools.cached_property
    def recipe(self):
        """The resolved `Recipe`."""
        return load_recipe(self.path / "recipe.yaml")

    @functools.cached_property
    def model(self):
        """The trained `VAE`."""
        return load(self.path)

    @functools.cached_property
    def data(self):
        """The `Data` that it was trained on, with the same splits."""
        return load_recipe_data(self.recipe)


def images_of(run, split, count=None):
    """The first `count` images of a split, or all: float32 [N,H,W,C], and their classes [N] or None."""
    images, labels = [], []
    batches = split.batches(
        BATCH, binarize=run.recipe.data.binarize, seed=run.recipe.training.seed, labels=split.has_labels
    )
    if count is not None:
        batches = batches.take(math.ceil(count / BATCH))
    for batch in batches.as_numpy_iterator():
        if split.has_labels:
            labels.append(batch["label"])
            batch = batch["image"]
        images.append(batch)
    return np.concatenate(images)[:count], np.concatenate(labels)[:count] if labels else None


def load_recipe_data(recipe):
    """The data of a recipe; the training seed chooses what is held out for validation."""
    data = recipe.data
    return load_data(data.name, image_size=data.image_size, validation=data.validation, seed=recipe.training.seed)


def free_path(path: str | Path) -> Path:
    """The path, or the first of path-2, path-3, ... that does not exist."""
    path, number = Path(path), 1
    candidate = path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate

"""The directory that a run leaves behind: written file by file during training, read by every later command."""

import contextlib
import csv
import functools
import io
import json
import math
import os
from pathlib import Path

import numpy as np

from vaezoo.atomic import link_file, lock_folder, plain_errors, remove_unfinished, write_file, write_text
from vaezoo.config import load_recipe
from vaezoo.data import load_data
from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import BATCH
from vaezoo.training.checkpoints import Checkpoints
from vaezoo.zoo import load

FILES = ("recipe.yaml", "environment.json", "metrics.csv", "test.json", "model.keras", "encoder.keras", "decoder.keras")


class RunDirectory:
    """A run directory that is being written: a context, which keeps other processes from training into the folder.

    Every file in it appears whole.

    Args:
        path: the folder; made with its parents where it does not exist.
        resumed: whether it has to hold a run; otherwise it must not.

    Raises:
        VaezooError: if it holds a run and must not, or the other way round; on entry, if it cannot be written, or
            another process is training into it.
    """

    def __init__(self, path: str | Path, resumed: bool = False):
        self.path, self.resumed = Path(path), resumed
        self.checkpoints = Checkpoints(self.path)
        self._check()

    def _check(self):
        if self.resumed and not (self.path / "recipe.yaml").is_file():
            raise VaezooError(f"'{self.path}' holds no run: there is no recipe.yaml in it; `vaezoo train` makes one")
        if not self.resumed and any((self.path / name).exists() for name in FILES):
            raise VaezooError(
                f"'{self.path}' already holds a run, which is never overwritten; give another --out, remove it, or go "
                f"on with it by `vaezoo train --resume {self.path}`"
            )

    def __enter__(self):
        with plain_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = lock_folder(self.path)
            except BlockingIOError:
                raise VaezooError(
                    f"another process is training into '{self.path}'; wait for it, or give another --out"
                ) from None
        self._check()  # again: a training may have begun and ended since
        remove_unfinished(self.path)
        remove_unfinished(self.checkpoints.folder)
        return self

    def __exit__(self, *_):
        if self._lock is not None:
            os.close(self._lock)

    def text(self, name: str, content: str) -> Path:
        """Write a text file."""
        return write_text(self.path / name, content)

    def json(self, name: str, content: dict) -> Path:
        """Write a mapping as JSON."""
        return self.text(name, json.dumps(content, indent=2) + "\n")

    def status(self, environment: dict, status: str, **more) -> Path:
        """Write environment.json: what training runs on, and how it stands or ended."""
        return self.json("environment.json", {**environment, "status": status, **more})

    def show_epoch(self, state) -> None:
        """Let model.keras and metrics.csv be those of the newest checkpoint, which an epoch's end has written."""
        link_file(self.path / "model.keras", self.checkpoints.trusted[-1].model)
        self.table("metrics.csv", state.rows)

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

    def drop_results(self) -> None:
        """Remove what an earlier end has left, which a training that goes beyond it would belie."""
        with plain_errors(self.path):
            for name in ("test.json", "encoder.keras", "decoder.keras"):
                (self.path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the files of a run that came to nothing, and the folder if nothing else is in it."""
        with contextlib.suppress(OSError):
            if self.checkpoints.folder.exists():
                self.checkpoints.folder.rmdir()
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
                if Checkpoints(self.path).all():
                    raise VaezooError(
                        f"the run in '{path}' has finished no epoch yet; go on with `vaezoo train --resume {path}`"
                    )
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

"""What is in a run directory, how its training stands or ended, and whether every file is whole.

This file imports nothing heavy, so a run can be looked at in an instant, also while it trains.
"""

import dataclasses
import json
import os
import zipfile
import zlib
from pathlib import Path

from vaezoo.atomic import lock_folder
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.recipe_schema import Recipe
from vaezoo.training.checkpoints import Checkpoint, Checkpoints, TrainingState


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found in a run directory.

    Attributes:
        path: the folder.
        recipe: the resolved `Recipe`.
        environment: what environment.json says.
        running: whether a process is training into it.
        state: the `TrainingState` of the newest checkpoint that is whole; None if there is none.
        checkpoints: every checkpoint, the newest first, "whole" or "broken".
        files: the size in bytes of every file, by its name relative to the folder.
        broken: a line for each file that is broken or missing; empty for a run that is whole.
    """

    path: Path
    recipe: Recipe
    environment: dict
    running: bool
    state: TrainingState | None
    checkpoints: dict[Checkpoint, str]
    files: dict[str, int]
    broken: list[str]

    @property
    def status(self) -> str:
        """How the training stands or ended, in words."""
        status = self.environment.get("status", "unknown")
        if self.running:
            return "running"
        if status == "training":
            return "killed: it neither finished nor was told to end"
        reason = self.environment.get("reason")
        return f"{status}: {reason}" if reason else status

    @property
    def best(self) -> dict | None:
        """The row of metrics of the epoch with the lowest validation loss (without validation, training loss)."""
        rows = self.state.rows if self.state else []
        return min(rows, key=lambda row: row.get("val_loss", row["loss"]), default=None)


def inspect(path: str | Path) -> Inspection:
    """Look at a run directory without changing it; every checkpoint and Keras file is read through and checked.

    Args:
        path: the folder.

    Returns:
        The `Inspection`.

    Raises:
        VaezooError: if it holds no run.
    """
    path = Path(path)
    if not (path / "recipe.yaml").is_file():
        raise VaezooError(f"'{path}' holds no run: there is no recipe.yaml in it; `vaezoo train` makes one")
    recipe = load_recipe(path / "recipe.yaml")
    running = _is_locked(path)
    state, broken = None, []
    checkpoints = {}
    for checkpoint in Checkpoints(path).all():
        try:
            found = checkpoint.read()
        except VaezooError as error:
            if checkpoint.manifest.exists():  # or else the training has removed it just now
                checkpoints[checkpoint] = "broken"
                broken.append(str(error))
            continue
        checkpoints[checkpoint] = "whole"
        state = state or found
    environment = read_environment(path)
    if not environment:
        broken.append(f"'{path / 'environment.json'}' is missing or broken")
    for name in ("model.keras", "encoder.keras", "decoder.keras"):
        needed = environment.get("status") == "finished" or (name == "model.keras" and state and state.epoch)
        if problem := _problem_of_archive(path / name, needed):
            broken.append(problem)
    files = {str(file.relative_to(path)): file.stat().st_size for file in sorted(path.rglob("*")) if file.is_file()}
    return Inspection(path, recipe, environment, running, state, checkpoints, files, broken)


def read_environment(path: Path) -> dict:
    """What environment.json in a run directory says; an empty mapping where it cannot be read."""
    try:
        content = json.loads((path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_locked(path):
    try:
        descriptor = lock_folder(path)
    except BlockingIOError:
        return True
    if descriptor is not None:
        os.close(descriptor)
    return False


def _problem_of_archive(path, needed):
    """What is wrong with a Keras file, which is a zip archive with a checksum a member; None if nothing is."""
    if not path.exists():
        return f"'{path}' is missing" if needed else None
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        return f"'{path}' is broken: {' '.join(str(error).split())}"
    return f"'{path}' is broken: the checksum of its member {member} does not fit" if member else None

"""What is in a run directory, the status of its training, and whether every file is complete.

This module imports nothing heavy, so a run can be inspected quickly, also while it trains.
"""

import dataclasses
import os
from pathlib import Path

from vaezoo.atomic import LOCK, has_writer
from vaezoo.checkpoints import Checkpoint, Checkpoints, TrainingState
from vaezoo.errors import VaezooError
from vaezoo.keras_archives import open_keras_archive
from vaezoo.recipe_schema import Recipe
from vaezoo.regular_files import reason
from vaezoo.runs import read_environment, read_run_recipe


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found in a run directory.

    Attributes:
        path: the folder.
        recipe: the resolved `Recipe`.
        environment: the content of environment.json.
        running: whether a process is training into it; None if only a user who may write there can tell.
        state: the `TrainingState` of the newest complete checkpoint; None if there is none.
        checkpoints: every checkpoint, the newest first, "complete" or "broken".
        files: the size in bytes of every file, by its name relative to the folder.
        broken: a line for each file that is broken or missing; empty for a complete run.
    """

    path: Path
    recipe: Recipe
    environment: dict
    running: bool | None
    state: TrainingState | None
    checkpoints: dict[Checkpoint, str]
    files: dict[str, int]
    broken: list[str]

    @property
    def status(self) -> str:
        """The status of the training, in words."""
        status = self.environment.get("status", "unknown")
        if self.running:
            return "running"
        if status == "training" and self.running is None:
            return "running or killed: only a user who may write in the run directory can tell which"
        if status == "training":
            return "killed: the process ended without a handled signal or error"
        reason = self.environment.get("reason")
        return f"{status}: {reason}" if reason else status

    @property
    def best(self) -> dict | None:
        """The row of metrics of the best epoch; see `TrainingState.best_epoch`."""
        return self.state.rows[self.state.best_epoch - 1] if self.state and self.state.rows else None


def inspect(path: str | Path) -> Inspection:
    """Look at a run directory without changing it; every checkpoint and Keras file is read and verified.

    Args:
        path: the folder.

    Returns:
        The `Inspection`.

    Raises:
        VaezooError: if it holds no run.
    """
    path = Path(path)
    recipe = read_run_recipe(path)
    running = has_writer(path)
    state, broken = None, []
    checkpoints = {}
    for checkpoint in Checkpoints(path).all():
        try:
            found = checkpoint.read(recipe.model.objective.shown)
        except VaezooError as error:
            if os.path.lexists(checkpoint.manifest):  # otherwise the training has just removed it
                checkpoints[checkpoint] = "broken"
                broken.append(str(error))
            continue
        checkpoints[checkpoint] = "complete"
        state = state or found
    environment = {}
    try:
        environment = read_environment(path)
        if not environment:
            broken.append(f"'{path / 'environment.json'}' is missing or empty")
    except VaezooError as error:
        broken.append(str(error))
    for name in ("model.keras", "encoder.keras", "decoder.keras"):
        needed = environment.get("status") == "finished" or (name == "model.keras" and state and state.epoch)
        if problem := _problem_of_archive(path / name, needed):
            broken.append(problem)
    present = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != LOCK)
    files = {str(file.relative_to(path)): file.stat().st_size for file in present}
    return Inspection(path, recipe, environment, running, state, checkpoints, files, broken)


def _problem_of_archive(path, needed):
    """What is wrong with a Keras file, a zip archive with a checksum for each member; None if nothing is."""
    if not os.path.lexists(path):
        return f"'{path}' is missing" if needed else None
    try:
        with open_keras_archive(path) as archive:
            member = archive.testzip()
    except Exception as error:  # the reader of zip raises many types
        return f"'{path}' is broken: {reason(error)}"
    return f"'{path}' is broken: the checksum of its member {member} does not match" if member else None

"""Checkpoints: the model with its optimizer, and a manifest that says where training stood and what the file must be.

    checkpoints/epoch-3-step-0.keras      weights, the optimizer's moments, its loss scale and its count of steps
    checkpoints/epoch-3-step-0.json       the manifest: renamed into place last, so where it stands the file is whole

The order of the images and all noise are functions of (seed, epoch, step), so there is no random state to keep.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from pathlib import Path

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.errors import VaezooError

KEPT = 2  # the newest, and the one before in case the newest is found broken


@dataclasses.dataclass
class TrainingState:
    """Where a training stands: after `step` steps of the epoch that follows `epoch` finished ones.

    Attributes:
        epoch: how many epochs are finished.
        step: how many steps of the next one are.
        rows: the row of metrics of every finished epoch.
        seconds: spent in training, over all processes.
        epoch_seconds: spent in the epoch that is not finished.
        sums: by term, the state of its mean over that epoch.
        skipped: how many steps of that epoch were skipped as not finite.
        skipped_in_a_row: how many of the last steps were, one after the other.
    """

    epoch: int = 0
    step: int = 0
    rows: list[dict] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    sums: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    skipped: int = 0
    skipped_in_a_row: int = 0

    def describe(self) -> str:
        """Where that is, in words."""
        steps = f" and {self.step} steps of the next" if self.step else ""
        return f"{self.epoch} finished epoch{'s' * (self.epoch != 1)}{steps}"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: the paths of its two files."""

    model: Path

    @property
    def manifest(self) -> Path:
        """The path of the manifest."""
        return self.model.with_suffix(".json")

    @property
    def place(self) -> tuple[int, int]:
        """(epochs finished, steps of the next), as the name has it."""
        return tuple(int(number) for number in re.findall(r"\d+", self.model.stem))

    def read(self) -> TrainingState:
        """Check both files against their checksums.

        Returns:
            Where training stood.

        Raises:
            VaezooError: naming the file that is broken, and how.
        """
        try:
            content = json.loads(self.manifest.read_text(encoding="utf-8"))
            state, expected = content["state"], content["file"]
            if content["sha256"] != _digest_of_text(state, expected):
                raise ValueError("its checksum does not fit")
            state = TrainingState(**state)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VaezooError(f"'{self.manifest}' is broken: {_reason(error)}") from None
        try:
            size = self.model.stat().st_size
            if size != expected["bytes"]:
                raise VaezooError(f"'{self.model}' is broken: it has {size:,} bytes of {expected['bytes']:,}")
            if _digest(self.model) != expected["sha256"]:
                raise VaezooError(f"'{self.model}' is broken: its checksum does not fit")
        except OSError as error:
            raise VaezooError(f"'{self.model}' is broken: {_reason(error)}") from None
        return state


class Checkpoints:
    """The checkpoints of a run directory: written one by one, the two newest kept.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "checkpoints"
        self.trusted: list[Checkpoint] = []  # written or read by this process

    def all(self) -> list[Checkpoint]:
        """Every checkpoint that has a manifest, the newest first."""
        found = [Checkpoint(path.with_suffix(".keras")) for path in self.folder.glob("epoch-*-step-*.json")]
        return sorted(found, key=lambda checkpoint: checkpoint.place, reverse=True)

    def newest(self, warn) -> tuple[Checkpoint, TrainingState] | None:
        """The newest checkpoint that is whole, and where training stood; None if none was ever written.

        Args:
            warn: takes a line for each broken one that was passed over.

        Raises:
            VaezooError: if there are some and all are broken.
        """
        found = self.all()
        for checkpoint in found:
            try:
                state = checkpoint.read()
            except VaezooError as error:
                warn(f"{error}; going back to the checkpoint before it")
                continue
            self.trusted = [checkpoint]
            return checkpoint, state
        if not found:
            return None
        raise VaezooError(
            f"every checkpoint in '{self.folder}' is broken, so there is nothing to go on from; begin anew with "
            f"`vaezoo train {self.folder.parent / 'recipe.yaml'}`"
        )

    def write(self, model, state: TrainingState) -> Checkpoint:
        """Write a checkpoint, then remove all but it and the one before it.

        Raises:
            VaezooError: if it cannot be written; those before stay as they are.
        """
        with plain_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        checkpoint = Checkpoint(self.folder / f"epoch-{state.epoch}-step-{state.step}.keras")
        if self.trusted and self.trusted[-1] == checkpoint:
            return checkpoint  # training has not moved since
        # Where a broken one has this name, its manifest must not vouch for the new file.
        with contextlib.suppress(OSError):
            checkpoint.manifest.unlink(missing_ok=True)
        write_file(checkpoint.model, model.save)
        with plain_errors(checkpoint.model):
            file = {"sha256": _digest(checkpoint.model), "bytes": checkpoint.model.stat().st_size}
        fields = dataclasses.asdict(state)
        content = {"sha256": _digest_of_text(fields, file), "file": file, "state": fields}
        write_text(checkpoint.manifest, json.dumps(content) + "\n")
        self.trusted = [*self.trusted, checkpoint][-KEPT:]
        self._prune()
        return checkpoint

    def _prune(self):
        kept = {path for checkpoint in self.trusted for path in (checkpoint.manifest, checkpoint.model)}
        manifests_first = sorted(self.folder.glob("epoch-*-step-*.*"), key=lambda path: path.suffix != ".json")
        for path in manifests_first:
            if path not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_text(*content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(error):
    return getattr(error, "strerror", None) or " ".join(str(error).split())

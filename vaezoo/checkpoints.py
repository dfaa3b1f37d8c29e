"""Checkpoints: a model with its optimizer, and a manifest with the training state and the checksum of the model file.

    checkpoints/epoch-3-step-0.keras      weights, and the optimizer's moments, loss scale and step count
    checkpoints/epoch-3-step-0.json       the manifest, written last: if it exists, the model file is complete

The order of the examples and all noise are functions of (seed, epoch, step), so there is no random state to store.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from pathlib import Path

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.errors import VaezooError

KEPT = 2  # the newest, and the one before it in case the newest is broken


@dataclasses.dataclass
class TrainingState:
    """The progress of a training.

    Attributes:
        epoch: the number of finished epochs.
        step: the number of finished steps of the next epoch.
        rows: one row of metrics for each finished epoch.
        seconds: of training so far, in all processes.
        epoch_seconds: of training in the unfinished epoch.
        sums: by term, the state of its mean over the unfinished epoch.
        skipped: the number of steps of the unfinished epoch that were skipped as not finite.
        skipped_in_a_row: the number of consecutive skipped steps up to now.
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
        """The progress in words."""
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
        """(finished epochs, finished steps of the next one), as in the file name."""
        return tuple(int(number) for number in re.findall(r"\d+", self.model.stem))

    def read(self) -> TrainingState:
        """Verify the checksums of both files.

        Returns:
            The `TrainingState`.

        Raises:
            VaezooError: if a file is broken; it names the file and the reason.
        """
        try:
            content = json.loads(self.manifest.read_text(encoding="utf-8"))
            state, expected = content["state"], content["file"]
            if content["sha256"] != _digest_of_text(state, expected):
                raise ValueError("its checksum does not match")
            state = TrainingState(**state)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VaezooError(f"'{self.manifest}' is broken: {_reason(error)}") from None
        try:
            size = self.model.stat().st_size
            if size != expected["bytes"]:
                raise VaezooError(f"'{self.model}' is broken: it has {size:,} bytes of {expected['bytes']:,}")
            if _digest(self.model) != expected["sha256"]:
                raise VaezooError(f"'{self.model}' is broken: its checksum does not match")
        except OSError as error:
            raise VaezooError(f"'{self.model}' is broken: {_reason(error)}") from None
        return state


class Checkpoints:
    """The checkpoints of a run directory; the two newest are kept.

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
        """The newest complete checkpoint and its state; None if there are no checkpoints.

        Args:
            warn: takes a line for each broken checkpoint.

        Raises:
            VaezooError: if all checkpoints are broken.
        """
        found = self.all()
        for checkpoint in found:
            try:
                state = checkpoint.read()
            except VaezooError as error:
                warn(f"{error}; using the checkpoint before it")
                continue
            self.trusted = [checkpoint]
            return checkpoint, state
        if not found:
            return None
        raise VaezooError(
            f"every checkpoint in '{self.folder}' is broken, so the training cannot be resumed; train again with "
            f"`vaezoo train {self.folder.parent / 'recipe.yaml'}`"
        )

    def write(self, model, state: TrainingState) -> Checkpoint:
        """Write a checkpoint, then remove all but this one and the one before it.

        Raises:
            VaezooError: if it cannot be written; earlier checkpoints are left unchanged.
        """
        with plain_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        checkpoint = Checkpoint(self.folder / f"epoch-{state.epoch}-step-{state.step}.keras")
        if self.trusted and self.trusted[-1] == checkpoint:
            return checkpoint  # no step was taken since
        # A broken checkpoint may have this name; its manifest must not describe the new file.
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

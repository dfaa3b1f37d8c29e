"""Checkpoints: a model with its optimizer, and a manifest with the training state and the checksum of the model file.

    checkpoints/epoch-3-step-0.keras      weights, and the optimizer's moments, loss scale and step count
    checkpoints/epoch-3-step-0.json       the manifest, written last: if it exists, the model file is complete

The order of the examples and all noise are functions of (seed, epoch, step), so there is no random state to store.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.errors import VaezooError
from vaezoo.reading import LARGEST_TABLE, Count, parse_json
from vaezoo.regular_files import broken, open_regular, read_bytes

NAME = re.compile("epoch-([0-9]+)-step-([0-9]+)")
KEPT = 2  # the newest, and the one before it in case the newest is broken

Seconds = Annotated[float, Field(ge=0, le=1e12)]


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
        warm_up: the number of epochs whose loss is another one than that of later epochs: a weight in it still moves.
    """

    epoch: Count = 0
    step: Count = 0
    rows: Annotated[list[dict[str, Any]], Field(fail_fast=True)] = dataclasses.field(default_factory=list)
    seconds: Seconds = 0.0
    epoch_seconds: Seconds = 0.0
    sums: dict[str, Any] = dataclasses.field(default_factory=dict)
    skipped: Count = 0
    skipped_in_a_row: Count = 0
    warm_up: Count = 0

    @property
    def best_epoch(self) -> int:
        """The first epoch after a warm-up with the smallest validation loss; the last epoch, if there is none.

        Without validation it is the training loss, which is a mean over the epoch: a warm-up has to end before it.
        """
        first = self.warm_up + (self.warm_up > 0 and not any("val_loss" in row for row in self.rows))
        losses = [
            row.get("val_loss", row.get("loss", math.inf)) if number >= first else math.inf
            for number, row in enumerate(self.rows)
        ]
        smallest = min(filter(math.isfinite, losses), default=None)
        return len(losses) if smallest is None else 1 + losses.index(smallest)

    def describe(self) -> str:
        """The progress in words."""
        steps = f" and {self.step} steps of the next" if self.step else ""
        return f"{self.epoch} finished epoch{'s' * (self.epoch != 1)}{steps}"


@dataclasses.dataclass(frozen=True)
class _File:
    """What a manifest says of the model file."""

    sha256: str
    bytes: Annotated[int, Field(ge=0)]


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """The content of a manifest; its own checksum is that of the other two entries."""

    sha256: str
    file: _File
    state: TrainingState


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
        return tuple(int(number) for number in NAME.fullmatch(self.model.stem).groups())

    def read(self, terms: Iterable[str] = ()) -> TrainingState:
        """Verify the checksums of both files, and that the state is one of a training.

        Args:
            terms: what every row of metrics must have.

        Returns:
            The `TrainingState`.

        Raises:
            VaezooError: if a file is broken; it names the file and the reason.
        """
        content = read_bytes(self.manifest, LARGEST_TABLE)
        with broken(self.manifest):
            manifest = parse_json(content, _Manifest)
            raw = json.loads(content)  # the checksum is that of the numbers as they were written
            if manifest.sha256 != _digest_of_text(raw["state"], raw["file"]):
                raise ValueError("its checksum does not match")
            _check_keys(raw, _Manifest, ("file", _File), ("state", TrainingState))
            self._check(manifest.state, terms)
        with broken(self.model), open_regular(self.model) as file:
            size = os.fstat(file.fileno()).st_size
            if size != manifest.file.bytes:
                raise ValueError(f"it has {size:,} bytes of {manifest.file.bytes:,}")
            if _digest(file) != manifest.file.sha256:
                raise ValueError("its checksum does not match")
        return manifest.state

    def _check(self, state, terms):
        """Raise a ValueError unless the state is that of this file's name, with a row for each epoch."""
        if (state.epoch, state.step) != self.place:
            raise ValueError(f"it describes epoch {state.epoch} and step {state.step}, unlike its name")
        if len(state.rows) != state.epoch:
            raise ValueError(f"'state.rows' has {len(state.rows):,} rows of metrics for {state.epoch:,} epochs")
        for number, row in enumerate(state.rows):
            if missing := [term for term in ("epoch", "loss", *terms) if term not in row]:
                raise ValueError(f"the key 'state.rows[{number}].{missing[0]}' is missing")
            if row.keys() != state.rows[0].keys() or row["epoch"] != number + 1:
                raise ValueError(f"'state.rows[{number}]' is no row of metrics of epoch {number + 1} like the others")
            _check_numbers(f"state.rows[{number}]", row.values())
        for name, values in state.sums.items():
            _check_numbers(f"state.sums.{name}", values if isinstance(values, list) else [values, None])


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
        manifests = (path for path in self.folder.glob("*.json") if NAME.fullmatch(path.stem))
        found = [Checkpoint(path.with_suffix(".keras")) for path in manifests]
        return sorted(found, key=lambda checkpoint: checkpoint.place, reverse=True)

    def newest(self, warn, terms: Iterable[str] = ()) -> tuple[Checkpoint, TrainingState] | None:
        """The newest complete checkpoint and its state; None if there are no checkpoints.

        Args:
            warn: takes a line for each broken checkpoint.
            terms: as in `Checkpoint.read`.

        Raises:
            VaezooError: if all checkpoints are broken.
        """
        found = self.all()
        for checkpoint in found:
            try:
                state = checkpoint.read(terms)
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
        with plain_errors(checkpoint.model), open(checkpoint.model, "rb") as file:
            file = {"sha256": _digest(file), "bytes": os.fstat(file.fileno()).st_size}
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


# These checks end at the first deviation. Pydantic gathers all: for millions that takes minutes, and gigabytes.


def _check_keys(raw, kind, *parts):
    """Raise a ValueError for a key of a manifest that is no field of its dataclass."""
    for content, fields in ((raw, kind), *((raw[name], part) for name, part in parts)):
        known = {field.name for field in dataclasses.fields(fields)}
        if foreign := next((key for key in content if key not in known), None):
            raise ValueError(f"it has the key '{foreign}', which no manifest has")


def _check_numbers(name, values):
    if not all(type(value) in (int, float) for value in values):
        raise ValueError(f"'{name}' holds something else than numbers")


def _digest(file):
    return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_text(*content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

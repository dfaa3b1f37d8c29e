"""Writing a run directory, file by file; `vaezoo.runs` reads it."""

import contextlib
import json
import os
from pathlib import Path

from vaezoo.atomic import link_file, only_writer, plain_errors, remove_unfinished, write_file, write_text
from vaezoo.checkpoints import Checkpoints
from vaezoo.config import to_yaml
from vaezoo.errors import VaezooError
from vaezoo.optimizer import averaged
from vaezoo.runs import FILES, LARGEST_RECIPE
from vaezoo.tables import as_csv


class RunDirectory:
    """A run directory that is being written: a context, which keeps other processes from training into the folder.

    Every file in it is complete or absent.

    Args:
        path: the folder; it is made with its parents if it does not exist.
        resumed: whether it must hold a run; otherwise it must hold none.

    Raises:
        VaezooError: if it holds a run and must not, or the other way round; on entry, if it cannot be written, or
            another process is training into it.
    """

    def __init__(self, path: str | Path, resumed: bool = False):
        self.path, self.resumed = Path(path), resumed
        self.checkpoints = Checkpoints(self.path)
        self._discarded = False
        self._check()

    def _check(self):
        if self.resumed and not os.path.isfile(self.path / "recipe.yaml"):
            raise VaezooError(f"'{self.path}' holds no run: there is no recipe.yaml in it; `vaezoo train` makes one")
        if not self.resumed and any(os.path.exists(self.path / name) for name in FILES):
            raise VaezooError(
                f"'{self.path}' already holds a run, which is never overwritten; give another --out, remove it, or "
                f"resume it with `vaezoo train --resume {self.path}`"
            )

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            refusal = f"another process is training into '{self.path}'; wait for it, or give another --out"
            stack.enter_context(only_writer(self.path, refusal))
            self._check()  # again: another training may have finished since
            remove_unfinished(self.path)
            remove_unfinished(self.checkpoints.folder)
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._lock.close()
        if self._discarded:
            with contextlib.suppress(OSError):  # it holds other files
                self.path.rmdir()

    def text(self, name: str, content: str) -> Path:
        """Write a text file."""
        return write_text(self.path / name, content)

    def recipe(self, recipe) -> Path:
        """Write recipe.yaml; a VaezooError for one that is too large to be read back."""
        content = to_yaml(recipe)
        if len(content.encode()) > LARGEST_RECIPE:
            columns = len(recipe.data.columns or ())
            raise VaezooError(
                f"the recipe would have {len(content.encode()):,} bytes, of {LARGEST_RECIPE:,} at most, as it names "
                f"{columns:,} columns; give the columns shorter names, or take some out of the table"
            )
        return self.text("recipe.yaml", content)

    def json(self, name: str, content: dict) -> Path:
        """Write a mapping as JSON."""
        return self.text(name, json.dumps(content, indent=2) + "\n")

    def status(self, environment: dict, status: str, **more) -> Path:
        """Write environment.json: what training runs on, and its status."""
        return self.json("environment.json", {**environment, "status": status, **more})

    def show_epoch(self, state, model, keep="last") -> None:
        """Make model.keras and metrics.csv those of the newest checkpoint, which ends an epoch.

        With averaged weights, those are in model.keras, and the checkpoint holds what training continues from. To keep
        the best weights, model.keras stays as it is after an epoch that is not the best so far.
        """
        self.table("metrics.csv", state.rows)
        if keep == "best" and state.best_epoch != state.epoch:
            return
        with averaged(model) as differ:
            if differ:
                self.model("model.keras", model)
            else:
                link_file(self.path / "model.keras", self.checkpoints.trusted[-1].model)

    def table(self, name: str, rows: list[dict]) -> Path:
        """Write rows with equal keys as CSV."""
        return self.text(name, as_csv(rows))

    def model(self, name: str, model) -> Path:
        """Write a Keras model."""
        return write_file(self.path / name, model.save)

    def picture(self, name: str, figure) -> Path:
        """Write a matplotlib Figure."""
        return write_file(self.path / name, figure.savefig)

    def drop_results(self) -> None:
        """Remove the results of an earlier end of training: they do not describe the model that is trained further."""
        with plain_errors(self.path):
            for name in ("test.json", "encoder.keras", "decoder.keras"):
                (self.path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the files of a run without results; at the exit, the folder too if nothing else is in it."""
        self._discarded = True
        # A file of a model may lie there without its manifest.
        for path in (*(self.path / name for name in FILES), *self.checkpoints.folder.glob("epoch-*-step-*.*")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.checkpoints.folder.rmdir()

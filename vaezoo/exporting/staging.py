"""A target folder that never shows half an export: everything is written aside, checked, and then moved into place.

DIR/.writing/     what is being written; the next export removes what a killed one has left
DIR/savedmodel/   grows by versions
DIR/decoder.keras and the like: never overwritten
"""

import contextlib
import os
import shutil
from pathlib import Path

from vaezoo.atomic import flush_folder, lock_folder, plain_errors
from vaezoo.errors import VaezooError

REPORTS = ("verify.json", "verify.txt", "verify.png")  # of the last measurement: these alone are replaced


class Staging:
    """A context: its `path` is a folder to write in; `publish` moves what is there into the target.

    Args:
        target: the folder of the export; made with its parents where it does not exist, and removed again if
            nothing came of it.

    Raises:
        VaezooError: if it cannot be written, or another export is writing there.
    """

    def __init__(self, target: str | Path):
        self.target = Path(target)
        self.path = self.target / ".writing"

    def __enter__(self):
        # What is made here and stays empty is removed again.
        self._made = [folder for folder in (self.target, *self.target.parents) if not folder.exists()]
        with plain_errors(self.target):
            self.target.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = lock_folder(self.target)
            except BlockingIOError:
                raise VaezooError(
                    f"another export is writing to '{self.target}'; wait for it, or give another --to"
                ) from None
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in self._made:
                folder.rmdir()

    def refuse_existing(self, names):
        """Raise a VaezooError if any of these files stands in the target."""
        for name in names:
            if (self.target / name).exists():
                raise VaezooError(
                    f"'{self.target / name}' exists, and an export never overwrites; give another --to, or "
                    "--format savedmodel to add a version beside the others"
                )

    def next_version(self, name: str) -> Path:
        """Where to write the next version of a SavedModel: DIR/.writing/savedmodel/NAME/VERSION, not yet made."""
        version = max(versions(self.target / "savedmodel" / name), default=0) + 1
        base = self.path / "savedmodel" / name
        base.mkdir(parents=True)
        return base / str(version)

    def publish(self) -> None:
        """Move everything into the target: each version of a SavedModel, then the files."""
        with plain_errors(self.target):
            _flush(self.path)
            for version in self.path.glob("savedmodel/*/*"):
                place = self.target / version.relative_to(self.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                version.rename(place)
                flush_folder(place.parent)
            # The reports last: where they stand, what they speak of stands too.
            files = [path for path in self.path.iterdir() if path.is_file()]
            for path in sorted(files, key=lambda path: (path.name in REPORTS, path.name)):
                path.replace(self.target / path.name)
            flush_folder(self.target)


def versions(base: Path) -> list[int]:
    """The versions of a SavedModel under its base folder, oldest first."""
    if not base.is_dir():
        return []
    return sorted(int(path.name) for path in base.iterdir() if path.name.isdecimal() and path.is_dir())


def _flush(folder):
    """Put every file under the folder on the disk, so that a rename never outlives its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())

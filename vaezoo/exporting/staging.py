"""A target folder that never shows an incomplete export: files are written to a staging folder, then moved.

DIR/.writing/     the staging folder; the next export removes what a killed one left in it
DIR/savedmodel/   each export adds a version
DIR/decoder.keras and other files: never overwritten
"""

import contextlib
import os
import shutil
from pathlib import Path

from vaezoo.atomic import flush_folder, only_writer, plain_errors
from vaezoo.errors import VaezooError

REPORTS = ("verify.json", "verify.txt", "verify.png")  # of a measurement; the only files that are replaced


class Staging:
    """A context: its `path` is a folder to write in; `publish` moves what is there into the target.

    Args:
        target: the folder of the export. It is made with its parents where it does not exist, and removed again if
            nothing is published.

    Raises:
        VaezooError: if it cannot be written, or another export is writing there.
    """

    def __init__(self, target: str | Path):
        self.target = Path(target)
        self.path = self.target / ".writing"

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            refusal = f"another export is writing to '{self.target}'; wait for it, or give another --to"
            stack.enter_context(only_writer(self.target, refusal))
            stack.callback(shutil.rmtree, self.path, ignore_errors=True)
            shutil.rmtree(self.path, ignore_errors=True)
            with plain_errors(self.target):
                self.path.mkdir()
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._lock.close()

    def refuse_existing(self, names):
        """Raise a VaezooError if any of these files exists in the target."""
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
        with plain_errors(self.target):
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
            # The reports come last: where they exist, the files that they describe exist too. Beside the files of an
            # earlier export, those of a version alone are left out: the card of these files shows its own.
            left_out = REPORTS if (self.target / "decoder.keras").is_file() else ()
            files = [path for path in self.path.iterdir() if path.is_file() and path.name not in left_out]
            for path in sorted(files, key=lambda path: (path.name in REPORTS, path.name)):
                path.replace(self.target / path.name)
            flush_folder(self.target)


def versions(base: Path) -> list[int]:
    """The versions of a SavedModel under its base folder, oldest first."""
    if not base.is_dir():
        return []
    return sorted(int(path.name) for path in base.iterdir() if path.name.isdecimal() and path.is_dir())


def _flush(folder):
    """Flush every file under the folder to the disk, so that after a crash no renamed file lacks its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())

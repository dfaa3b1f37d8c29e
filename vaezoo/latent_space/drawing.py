"""A picture, with its arrays, its animation, its melody and its rows, and the files that they become."""

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vaezoo import plots
from vaezoo.atomic import plain_errors, write_arrays, write_file
from vaezoo.data.table_files import SUFFIXES, write_table
from vaezoo.errors import VaezooError
from vaezoo.music.files import write_melody

FORMATS = (".png", ".pdf", ".svg")


@dataclasses.dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and the arrays that it shows.

    Attributes:
        name: of the files.
        arrays: name → array; None is left out of the file.
        figure: a matplotlib Figure; None if the picture needs images and the examples are not images.
        lines: what to print with it.
        frames: uint8 [T,height,width,C] of an animation, or None.
        seconds: how long each frame is shown.
        melody: tokens [T] to listen to, or None.
        table: rows as a pyarrow.Table, or None.
    """

    name: str
    arrays: dict[str, Any]
    figure: Figure | None
    lines: tuple[str, ...] = ()
    frames: np.ndarray | None = None
    seconds: float = 0.1
    melody: np.ndarray | None = None
    table: Any = None

    def save(self, path: str | Path) -> list[Path]:
        """Write the picture, its arrays (.npz), animation (.gif), melody (.mid, .wav) and rows (.csv): all, or none.

        Args:
            path: the picture, which ends in .png, .pdf or .svg; or of rows their file, which ends in .csv or .parquet,
                with the picture beside it as .png; or a folder, for NAME.png or the first free one of
                NAME-2.png, NAME-3.png, ... Missing folders are made.

        Returns:
            The paths that were written, the picture first.

        Raises:
            VaezooError: for another suffix, or if a file cannot be written.
        """
        path = checked_path(path)
        rows = path.suffix if path.suffix.lower() in SUFFIXES else SUFFIXES[0]
        if path.suffix.lower() in SUFFIXES:
            if self.table is None:
                raise VaezooError(f"cannot write '{path}': there are no rows of a table; give a picture or a folder")
            path = path.with_suffix(".png")
        picture = path if path.suffix.lower() in FORMATS else self._free_in(path)
        with plain_errors(picture):
            picture.parent.mkdir(parents=True, exist_ok=True)
        before = set(picture.parent.iterdir())
        written = []
        try:
            written.append(write_arrays(picture.with_suffix(".npz"), self.arrays))
            if self.frames is not None:
                path = picture.with_suffix(".gif")
                written.append(write_file(path, lambda beside: plots.save_gif(beside, self.frames, self.seconds)))
            if self.melody is not None:
                written.extend(write_melody(picture.with_suffix(""), self.melody))
            if self.table is not None:
                path = picture.with_suffix(rows)
                written.append(write_file(path, lambda beside: write_table(beside, self.table)))
            if self.figure is not None:
                written.append(write_file(picture, self.figure.savefig))
        except BaseException:
            # Also what `written` has not yet, as the .mid whose .wav could not be written.
            endings = (".npz", ".gif", ".mid", ".wav", rows, picture.suffix)
            for path in {picture.with_suffix(ending) for ending in endings} - before:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        return written[::-1]

    def _free_in(self, folder):
        for number in itertools.count(1):
            picture = folder / (f"{self.name}.png" if number == 1 else f"{self.name}-{number}.png")
            if not (picture.exists() or picture.with_suffix(".npz").exists()):
                return picture


def checked_path(path):
    """The path of a picture or a folder; a VaezooError for a file of another format."""
    path = Path(path)
    if path.suffix and path.suffix.lower() not in (*FORMATS, *SUFFIXES) and not path.is_dir():
        raise VaezooError(f"cannot write a picture '{path}'; its name must end in {', '.join(FORMATS)}")
    return path

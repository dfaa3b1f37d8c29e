"""Files that appear whole: written beside their place, flushed to the disk, renamed; folders with one writer."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from vaezoo.errors import VaezooError


def write_file(path: str | Path, writer: Callable[[Path], object]) -> Path:
    """Let `writer` write a file beside `path`, flush it to the disk, and rename it there.

    Args:
        path: where the file shall be; its folder must exist.
        writer: takes a path with the same ending (Keras and matplotlib choose the format by it) and writes it.

    Returns:
        The path.

    Raises:
        VaezooError: if it cannot be written; what stood there before is left as it was.
    """
    path = Path(path)
    beside = path.with_name(f".writing.{path.name}")
    with plain_errors(path):
        try:
            beside.unlink(missing_ok=True)  # a link that lies there would be followed
            writer(beside)
            with open(beside, "rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
            flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, content: str) -> Path:
    """Write text as UTF-8; see `write_file`."""
    return write_file(path, lambda beside: beside.write_text(content, encoding="utf-8"))


def link_file(path: str | Path, source: Path) -> Path:
    """Let the file `source` stand at `path` too, at no cost where the system has hard links; see `write_file`."""

    def link(beside):
        beside.unlink(missing_ok=True)  # of a process that was killed just here
        try:
            os.link(source, beside)
        except OSError:  # some network and removable disks have no such links
            shutil.copyfile(source, beside)

    return write_file(path, link)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing in a folder."""
    for path in folder.glob(".writing.*"):
        with contextlib.suppress(OSError):
            path.unlink()


def flush_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, as `os.fsync` does with the content of a file."""
    with contextlib.suppress(OSError):  # Windows cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock_folder(folder: Path) -> int | None:
    """Become the one process that writes in a folder.

    Returns:
        A descriptor: `os.close` gives the folder back, and so does the end of the process, however it ends.
        None where the system has no such locks.

    Raises:
        BlockingIOError: if another has it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def plain_errors(path):
    """Turn the system's errors about `path` into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise VaezooError(f"cannot write '{path}': {reason}; mend that, or choose another place") from error

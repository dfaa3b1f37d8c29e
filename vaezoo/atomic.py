"""Files that appear whole: written beside their place, flushed to the disk, renamed."""

import contextlib
import os
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
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, content: str) -> Path:
    """Write text as UTF-8; see `write_file`."""
    return write_file(path, lambda beside: beside.write_text(content, encoding="utf-8"))


@contextlib.contextmanager
def plain_errors(path):
    """Turn the system's errors about `path` into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise VaezooError(f"cannot write '{path}': {reason}; mend that, or choose another place") from error

"""Files that anybody may have written: regular ones only, of a bounded size."""

import contextlib
import errno
import os
import stat
from pathlib import Path

from vaezoo.errors import VaezooError

LARGEST = 2**22  # bytes of a file with a fixed number of entries, or one for each class


@contextlib.contextmanager
def open_regular(path: str | Path):
    """Open a regular file, or a link to one, to read its bytes; a context.

    Raises:
        OSError: for anything else. It waits for no pipe, and reads from no device.
    """

    def at_once(name, flags):
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would wait for its writer

    with open(path, "rb", opener=at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        yield file


def read_bytes(path: str | Path, most: int = LARGEST) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        most: its largest size, in bytes.

    Raises:
        VaezooError: for a file that cannot be read, is not regular or is larger.
    """
    with broken(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"it is larger than {most:,} bytes")
        return file.read(size)


def read_text(path: str | Path, most: int = LARGEST) -> str:
    """The content of a regular file in UTF-8; see `read_bytes`."""
    content = read_bytes(path, most)
    with broken(path):
        return content.decode("utf-8")


@contextlib.contextmanager
def broken(path: str | Path):
    """Raise an error about a file that is read as a VaezooError, which says that the file is broken."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:  # the readers of NumPy, zip and CSV raise many types
        raise VaezooError(f"'{path}' is broken: {reason(error)}") from None


def reason(error: Exception) -> str:
    """What an error says, on one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__

"""Files that are complete or absent: written to a temporary name, flushed, renamed. Folders with one writer."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from vaezoo.errors import VaezooError

# What the operating system says of a disk that cannot be written, in the errors of TensorFlow.
OF_DISKS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO]
LOCK = ".lock"  # the lock file in a folder that is being written


def write_file(path: str | Path, writer: Callable[[Path], object]) -> Path:
    """Let `writer` write a temporary file in the same folder, flush it to the disk, and rename it to `path`.

    Args:
        path: of the file; its folder must exist.
        writer: takes a path with the same suffix (Keras and matplotlib choose the format by it) and writes it.

    Returns:
        The path.

    Raises:
        VaezooError: if it cannot be written; an existing file is left unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".writing.{path.name}")
    with plain_errors(path):
        try:
            temporary.unlink(missing_ok=True)  # an existing link would be followed
            writer(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, content: str) -> Path:
    """Write text as UTF-8; see `write_file`."""
    return write_file(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def write_arrays(path: str | Path, arrays: Mapping[str, object]) -> Path:
    """Write arrays by name as a compressed .npz, without those that are None; see `write_file`."""
    import numpy as np

    arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    return write_file(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def link_file(path: str | Path, source: Path) -> Path:
    """Make `path` a hard link to the file `source`, or a copy where there are no hard links; see `write_file`."""

    def link(temporary):
        temporary.unlink(missing_ok=True)  # left by a process that was killed here
        try:
            os.link(source, temporary)
        except OSError:  # some network and removable disks have no hard links
            shutil.copyfile(source, temporary)

    return write_file(path, link)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for path in folder.glob(".writing.*"):
        with contextlib.suppress(OSError):
            path.unlink()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, as `os.fsync` does for the content of a file."""
    with contextlib.suppress(OSError):  # Windows cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def only_writer(folder: Path, refusal: str):
    """Be the only process that writes in a folder, as long as the context lasts.

    The folder is made with its parents if it does not exist. At the end the lock file is removed, and so is each folder
    that was made here and is empty. The operating system releases the lock when the process ends, even if it is killed.

    Args:
        folder: the folder.
        refusal: the message of the error if another process is its writer.

    Raises:
        VaezooError: if another process is its writer, or the folder cannot be written.
    """
    import filelock  # here, since it takes a tenth of the time of `vaezoo list`

    made = [each for each in (folder, *folder.parents) if not os.path.exists(each)]  # unlike Path's, it takes any path
    lock = filelock.FileLock(folder / LOCK)
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise VaezooError(refusal) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it at the release
            (folder / LOCK).unlink()
        lock.release()
        with contextlib.suppress(OSError):  # stops at the first folder that is not empty
            for each in made:
                each.rmdir()


def has_writer(folder: Path) -> bool | None:
    """Whether a process is the `only_writer` of a folder; None if only a user who may write there can tell.

    It makes no file.
    """
    import filelock

    lock = folder / LOCK
    if not os.path.exists(lock):
        return False
    try:
        with filelock.FileLock(lock).acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return None


@contextlib.contextmanager
def plain_errors(path):
    """Raise the operating system's errors about `path` as a VaezooError, also those that TensorFlow passes on."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError):
            reason = error.strerror or " ".join(str(error).split())
        elif type(error).__module__.startswith("tensorflow."):  # by name, since importing TensorFlow takes seconds
            reason = next((text for text in map(os.strerror, OF_DISKS) if text in str(error)), None)
        else:
            reason = None
        if reason is None:
            raise
        raise VaezooError(f"cannot write '{path}': {reason}; fix that, or choose another path") from error

"""The zip archive of a `.keras` file: three members, stored as they are. Imports nothing heavy."""

import contextlib
import io
import struct
import zipfile

from vaezoo.regular_files import open_regular

MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
LARGEST_CONFIG = 2**21  # bytes; that of conv_vae has 20 KiB
LARGEST_DIRECTORY = 2**12  # bytes; three members take 200


@contextlib.contextmanager
def open_keras_archive(path):
    """Open the archive of a Keras file: a context with the `zipfile.ZipFile`. To read it takes as much as its size.

    Args:
        path: of the file.

    Raises:
        ValueError: if it has other members, or compressed ones; the message says why.
        OSError: if it is not a regular file. `zipfile` raises other types for a broken archive.
    """
    with open_regular(path) as file:
        if _directory_size(file) > LARGEST_DIRECTORY:
            raise ValueError("it has more members than a Keras file has")
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist())
            yield archive


def _directory_size(file):
    """The size of the list of members at the end of the zip archive; `zipfile` reads one of any size."""
    file.seek(0, io.SEEK_END)
    file.seek(-min(98, file.tell()), io.SEEK_END)
    tail = file.read()
    if tail[-22:-18] != b"PK\5\6":
        raise ValueError("not a Keras file, or truncated")
    (size,) = struct.unpack("<L", tail[-10:-6])
    if tail[-42:-38] == b"PK\6\7":  # above 2 GiB a wider record comes before it
        (wide,) = struct.unpack("<Q", tail[-58:-50])
        size = max(size, wide)
    return size


def _check_members(members):
    names = sorted(member.filename for member in members)
    if names != sorted(MEMBERS):
        raise ValueError(f"it holds {', '.join(names) or 'nothing'}; a Keras file holds {', '.join(MEMBERS)}")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"its {member.filename} is compressed, which Keras never does")
        if member.filename.endswith(".json") and member.file_size > LARGEST_CONFIG:
            raise ValueError(f"its {member.filename} is larger than {LARGEST_CONFIG:,} bytes")

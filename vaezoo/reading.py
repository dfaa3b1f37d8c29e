"""Content that anybody may have written, checked before it is used: JSON, tables and arrays of bounded size.

Every small file of a run directory is read here.
"""

import csv
import functools
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from vaezoo.errors import printable
from vaezoo.regular_files import LARGEST, broken, open_regular, read_bytes, read_text
from vaezoo.sections import describe

LARGEST_TABLE = 2**29  # bytes of a file with a row for each epoch
LARGEST_ARRAYS = 2**32  # bytes of arrays, unpacked

# Types of entries.
Text = Annotated[str, Field(max_length=4096), AfterValidator(printable)]
Texts = Annotated[list[Text], Field(fail_fast=True)]  # pydantic would gather the errors of millions of entries
Count = Annotated[int, Field(ge=0, lt=2**31)]


def read_json(path: str | Path, kind: Any, most: int = LARGEST) -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        kind: the type of the content, as pydantic understands it: `dict[str, float]`, a TypedDict, a dataclass.
        most: as in `read_bytes`.

    Raises:
        VaezooError: as `read_bytes`, or for content of another type; it names the entry.
    """
    content = read_bytes(path, most)
    with broken(path):
        return parse_json(content, kind)


def parse_json(content: bytes | str, kind: Any) -> Any:
    """The value of JSON, at any depth; a ValueError of one line for a value of another type."""
    try:
        return _adapter(kind).validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(describe(error)) from None


@functools.cache
def _adapter(kind):
    return TypeAdapter(kind)


def read_table(path: str | Path, needed: Iterable[str] = ()) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers.

    Args:
        path: of the file.
        needed: columns that it must have.

    Returns:
        A mapping with the same keys for each line after the first.

    Raises:
        VaezooError: as `read_bytes`, or for a missing column, or a cell that holds no number; it names the line.
    """
    text = read_text(path, LARGEST_TABLE)
    with broken(path):
        lines = csv.reader(io.StringIO(text, newline=""))
        names, rows = next(lines, []), []
        if missing := [name for name in needed if name not in names]:
            raise ValueError(f"it has no column '{missing[0]}'")
        for cells in lines:
            if len(cells) != len(names):
                raise ValueError(f"line {lines.line_num} has {len(cells)} cells of {len(names)}")
            rows.append({name: _number(cell, name, lines.line_num) for name, cell in zip(names, cells, strict=True)})
        return rows


def _number(cell, name, line):
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"'{name}' in line {line} is {cell!r}, which is no number") from None


def read_arrays(path: str | Path, most: int = LARGEST_ARRAYS) -> dict[str, Any]:
    """The arrays in an .npz file, by name; nothing is unpickled.

    Args:
        path: of the file.
        most: bytes that they may take, unpacked.

    Raises:
        VaezooError: for a file that is not such an archive, or unpacks to more.
    """
    import numpy as np

    with broken(path), open_regular(path) as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
        if sum(member.file_size for member in arrays.zip.infolist()) > most:
            raise ValueError(f"it unpacks to more than {most:,} bytes")
        return {name: np.asarray(arrays[name]) for name in arrays.files}

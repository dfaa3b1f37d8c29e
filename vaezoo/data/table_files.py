"""Tables in CSV and Parquet files, read with pyarrow, and rows written back to such files."""

import csv
import importlib.util
import os
import re
from pathlib import Path

import numpy as np

from vaezoo.errors import VaezooError, printable, unknown
from vaezoo.reading import LARGEST_TABLE
from vaezoo.regular_files import broken, open_regular, reason

SUFFIXES = (".csv", ".parquet")
DELIMITERS = ",;\t"
NAMELESS = r"\s*|__index_level_\d+__"  # the second is an index of pandas in a Parquet file, which has no name in a CSV
LARGEST_HEADER = 2**20  # bytes of the first line
MOST_COLUMNS = 10_000
MOST_CELLS = 2**28  # a Parquet file of a few kilobytes can hold any number of equal cells
DTYPES = {"int64": "float64", "float64": "float64", "bool": "bool", "str": "string"}  # of a cell → of pyarrow


def require_pyarrow():
    """Raise a VaezooError where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise VaezooError("CSV and Parquet files are read with pyarrow: pip install 'vaezoo[tables]'")


def read_table(name, dtypes=None):
    """A table in a CSV or Parquet file, with columns that have names.

    A CSV has a line of names and is UTF-8. Its cells are separated by commas, semicolons or tabs, whichever the first
    line has most of. A cell is missing where it is empty, or NA, NaN, N/A, null and their like.

    Args:
        name: the path.
        dtypes: name of a column → type of its cells (one of CELL_TYPES), where it is known: in a CSV, the cells of a
            column of text are not read as numbers.

    Returns:
        (pyarrow.Table, notes): without columns that have no name, nor an index of pandas that has none and that
        `dtypes` does not name, as a note says.

    Raises:
        VaezooError: for a file that cannot be read, is too large or broken, or has no rows, and for column names that
            occur twice.
    """
    require_pyarrow()
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() not in SUFFIXES:
        raise unknown("suffix of a table", path.suffix, SUFFIXES)
    if not os.path.isfile(path):
        raise VaezooError(f"there is no file '{name}'; give a .csv or a .parquet file")
    with broken(name), open_regular(path) as file:
        table = (_read_csv if path.suffix.lower() == ".csv" else _read_parquet)(name, file, dtypes or {})
    names = [str(each) for each in table.column_names]
    nameless = [
        place for place, each in enumerate(names) if re.fullmatch(NAMELESS, each) and each not in (dtypes or {})
    ]
    notes = []
    if nameless:
        places = ", ".join(str(place + 1) for place in nameless)
        notes.append(f"left out column {places}, which has no name: an index is no column")
        table = table.select([place for place in range(len(names)) if place not in nameless])
        names = table.column_names
    twice = [each for each in dict.fromkeys(names) if names.count(each) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise VaezooError(f"'{name}' has more than one column '{twice[0]}': give each column its own name")
    for each in names:
        if not each.isprintable():
            raise VaezooError(f"'{name}' has a column with the name '{printable(each)}': use printable characters")
    if len(names) > MOST_COLUMNS or not names:
        raise VaezooError(f"'{name}' has {len(names):,} columns: give 1 to {MOST_COLUMNS:,}")
    if not table.num_rows:
        raise VaezooError(f"'{name}' has no rows, only names of columns: give at least 10 rows")
    return table, notes


def _read_csv(name, file, dtypes):
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    size = os.fstat(file.fileno()).st_size
    if size > LARGEST_TABLE:
        raise VaezooError(
            f"'{name}' has {size / 2**20:,.0f} MiB, and the limit of a CSV file is {LARGEST_TABLE // 2**20} MiB: save "
            "it as .parquet, or its numbers as an .npy file"
        )
    header = file.readline(LARGEST_HEADER)
    if not header.strip():
        raise VaezooError(
            f"'{name}' begins with an empty line or is empty: the first line gives the names of the columns"
        )
    try:
        header = header.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(name) from None
    delimiter = max(DELIMITERS, key=header.count)
    file.seek(0)
    types = {each: "string" for each, dtype in dtypes.items() if dtype == "str"}  # "01" is no number there
    try:
        table = arrow_csv.read_csv(
            file,
            # One block, so that the types are those of all rows and not of the first megabyte.
            arrow_csv.ReadOptions(block_size=size + 1),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(strings_can_be_null=True, column_types=types),
        )
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _not_utf8(name) from None
        raise VaezooError(f"'{name}' is no table: {reason(error)}") from None
    if any(pa.types.is_binary(kind) for kind in table.schema.types):  # what is not UTF-8
        raise _not_utf8(name)
    return table


def _not_utf8(name):
    return VaezooError(f"'{name}' is not UTF-8 text: save it as 'CSV UTF-8', or convert it with iconv")


def _read_parquet(name, file, dtypes):
    from pyarrow import parquet

    opened = parquet.ParquetFile(file)
    meta = opened.metadata
    unpacked = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
    if meta.num_rows * meta.num_columns > MOST_CELLS or unpacked > 4 * LARGEST_TABLE:
        raise VaezooError(
            f"'{name}' has {meta.num_rows:,} rows of {meta.num_columns:,} columns: a table has at most {MOST_CELLS:,} "
            f"cells and {4 * LARGEST_TABLE // 2**30} GiB; save numbers as an .npy file"
        )
    return opened.read()


def cells_of(column, dtype=None):
    """The cells of a column of pyarrow as (array [N], one of CELL_TYPES).

    Numbers and bool become float64 with NaN for a missing cell, text becomes objects with None.

    Args:
        column: a pyarrow.ChunkedArray.
        dtype: the wanted type; None for that of the column.

    Raises:
        ValueError: for a type that is none of numbers, bool and text, or cells that are not of the wanted type.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_temporal(kind):
        raise ValueError("holds dates or times: convert them to numbers, such as days since a date, or leave it out")
    if pa.types.is_decimal(kind):
        column, kind = column.cast("float64"), pa.float64()
    if dtype is not None and not pa.types.is_null(kind):
        try:
            column = column.cast(DTYPES[dtype])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            what = {"str": "text", "bool": "true or false"}.get(dtype, "a number")
            raise ValueError(f"holds a cell that is not {what}, as in training: {reason(error)}") from None
    elif pa.types.is_null(kind):
        dtype = dtype or "float64"
    elif pa.types.is_boolean(kind):
        dtype = "bool"
    elif pa.types.is_integer(kind):
        dtype = "int64"
    elif pa.types.is_floating(kind):
        dtype = "float64"
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        dtype = "str"
    else:
        raise ValueError(f"holds cells of type {kind}: a table has numbers, text, true and false")
    if dtype == "str":
        return np.array([None] * len(column), object) if pa.types.is_null(kind) else np.array(
            column.to_pylist(), object
        ), dtype
    return np.asarray(column.cast("float64").to_numpy(), "float64"), dtype


def table_of(x, columns):
    """Rows [N,F] as a pyarrow.Table with the columns, types and values of the table that the model was trained on.

    Numbers of a column of whole numbers are rounded. A NaN is a missing cell.
    """
    import pyarrow as pa

    arrays = {column.name: _arrow(np.asarray(x)[:, place], column) for place, column in enumerate(columns)}
    return pa.table(arrays)


def _arrow(cells, column):
    import pyarrow as pa

    missing = np.isnan(cells)
    if not column.is_number:
        values = [
            None if gone else column.values[int(index)]
            for gone, index in zip(missing, np.nan_to_num(cells), strict=True)
        ]
    elif column.dtype == "int64":
        values = [None if gone else round(float(cell)) for gone, cell in zip(missing, cells, strict=True)]
    else:  # the shortest decimal number that is this float32
        values = [
            None if gone else float(str(cell)) for gone, cell in zip(missing, cells.astype("float32"), strict=True)
        ]
    return pa.array(values, {"str": "string", "bool": "bool"}.get(column.dtype, column.dtype))


def filled(table, column, cells):
    """The table with the missing cells of a column filled in.

    Args:
        table: a pyarrow.Table.
        column: a `Column` of it.
        cells: [N], as `table_of` takes them; those of observed cells are not used.
    """
    import pyarrow as pa
    from pyarrow import compute

    place = table.column_names.index(column.name)
    given = table.column(place)
    if not given.null_count and not _nans(given):
        return table
    new = _arrow(np.asarray(cells), column)
    if pa.types.is_null(given.type) or pa.types.is_dictionary(given.type):
        given = given.cast(new.type)
    if pa.types.is_integer(given.type) and pa.types.is_floating(new.type):
        new = compute.round(new)
    if pa.types.is_floating(given.type):
        given = compute.if_else(compute.is_nan(given), pa.scalar(None, given.type), given)
    return table.set_column(place, column.name, compute.coalesce(given, pa.chunked_array([new.cast(given.type)])))


def _nans(column):
    import pyarrow as pa
    from pyarrow import compute

    return pa.types.is_floating(column.type) and compute.any(compute.is_nan(column)).as_py()


def write_table(path, table):
    """Write a pyarrow.Table to a path that ends in .csv or .parquet."""
    if Path(path).suffix.lower() == ".parquet":
        from pyarrow import parquet

        parquet.write_table(table, path)
        return
    with open(path, "w", encoding="utf-8", newline="") as file:  # pyarrow would quote every name
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        columns = [column.to_pylist() for column in table.columns]
        writer.writerows(zip(*columns, strict=True))

"""Tables become rows of numbers: the type of each column, its values and its units."""

import dataclasses

import numpy as np

from vaezoo.columns import check_rows, standardized
from vaezoo.data.dataset import make_data, name_classes
from vaezoo.data.indexed import ArraySplit
from vaezoo.errors import VaezooError, printable, unknown
from vaezoo.spec import COLUMN_TYPES, Column, Spec

DROP = "drop"  # what data.columns says of a column that is left out
FEW_NUMBERS, LEAST_CELLS = 12, 10  # numbers of so few values, each in so many cells on average, are categories
MOST_CATEGORIES = 100  # of text: with more it is free text
FEWEST_STEPS = 10  # of float32, in the spread of a column around its middle
LEAST_SPREAD = 0.9  # variance / mean of counts: 1 for a Poisson, more for every mixture of them, less by chance
NAMED = 6  # columns in a note


def load(name, columns, label, validation, seed):
    """The data set in a CSV or Parquet file; see load_data."""
    from vaezoo.data.table_files import cells_of, read_table

    columns = dict(columns or {})
    table, notes = read_table(name, dict.fromkeys(columns))
    for each in [*columns, *([label] if label is not None else [])]:
        if each not in table.column_names:
            raise unknown(f"column in '{name}'", each, table.column_names)
    given, labels = {}, None
    for each in table.column_names:
        if columns.get(each) == DROP:
            continue
        try:
            cells, dtype = cells_of(table.column(each))
        except ValueError as error:
            hint = f"data.columns={{{each}: drop}}"
            raise VaezooError(f"the column '{each}' of '{name}' {error}; {hint} leaves it out") from None
        if each == label:
            labels = _labels(name, each, cells, dtype)
        else:
            given[each] = cells, dtype
    return make_table(name, given, labels, columns, validation, seed, notes=notes)


def make_table(name, given, labels, asked, validation, seed, test_rows=None, notes=()):
    """The Data of the columns of a table.

    The types and the values of the columns are those of all rows; their middle and spread, and whether cells are
    missing, are those of the training rows.

    Args:
        name: as given to load_data.
        given: name → (cells [N], type of a cell): float64 with NaN for numbers and bool, objects with None for text.
        labels: the class of each row [N], sortable values; None without classes.
        asked: name → type, in place of the inferred one, or DROP.
        validation: fraction of the training rows to hold out.
        seed: chooses them.
        test_rows: how many of the last rows are the test split; None to hold out a tenth.
        notes: lines for the user that come first.

    Returns:
        A Data of vectors [F], whose spec has the columns.

    Raises:
        VaezooError: for a column that no type describes, and if no column is left.
    """
    columns, x, left_out, identifiers = [], [], {}, []
    types = {each: DROP for each, kind in asked.items() if kind == DROP}
    for each, (cells, dtype) in given.items():
        column, numbers, reason = _described(name, each, cells, dtype, asked.get(each))
        types[each] = DROP if column is None else column.type
        if column is None:
            left_out[each] = reason
            continue
        columns.append(column)
        x.append(numbers)
        if column.dtype == "int64" and column.is_number and len(numbers) > 50 and len(set(numbers)) == len(numbers):
            identifiers.append(each)
    if not columns:
        raise VaezooError(f"'{name}' has no column that a model can learn: each is left out, constant or without cells")
    with np.errstate(over="ignore"):
        x = np.stack(x, axis=1).astype("float32")
    class_names, labels = name_classes(labels)
    spec = Spec("vector", (len(columns),), classes=len(class_names or ()), columns=columns)
    with_labels = [None if labels is None else labels[part] for part in _parts(len(x), test_rows)]
    splits = [ArraySplit(x[part], spec, own) for part, own in zip(_parts(len(x), test_rows), with_labels, strict=True)]
    data = make_data(name, splits[0], splits[1] if test_rows else None, class_names, validation, seed)
    spec = spec.with_columns([_measured(column, data.train.x[:, place]) for place, column in enumerate(columns)])
    try:
        check_rows(x, spec.columns)
    except VaezooError as error:
        raise VaezooError(f"in '{name}', {error}; correct it, or empty the cell") from None
    rest = {
        key: split and ArraySplit(split.x, spec, split.labels)
        for key, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    notes = (*notes, *_notes(spec, left_out, identifiers, x))
    return dataclasses.replace(data, spec=spec, columns=types, notes=notes, **rest)


def rows_of(table, columns, name, known=()):
    """The rows of a table that the model was not trained on, as it takes them.

    Args:
        table: a pyarrow.Table, read with the dtypes of the columns.
        columns: the `Column`s of the model; those of the table are matched by name, in any order.
        name: of the table, for messages.
        known: names of further columns that the table may have.

    Returns:
        x [N,F] float32, with NaN for a missing cell.

    Raises:
        VaezooError: for a missing or additional column, a value that training did not have, or a cell that is not
            allowed.
    """
    from vaezoo.data.table_files import cells_of

    check_names(table.column_names, columns, name, known)
    cells = []
    for column in columns:
        try:
            cells.append(cells_of(table.column(column.name), column.dtype)[0])
        except ValueError as error:
            raise VaezooError(f"the column '{column.name}' of '{name}' {' '.join(str(error).split())}") from None
    return rows_of_cells(cells, columns, name)


def check_names(given, columns, name, known=()):
    """Raise a VaezooError unless a table has the columns of a model, and no others but the known; see `rows_of`."""
    names = [column.name for column in columns]
    for each in names:
        if each not in given:
            raise VaezooError(
                f"'{name}' has no column '{each}', which the model was trained on: add it; its cells may be empty"
            )
    for each in given:
        if each not in names and each not in known:
            raise VaezooError(f"'{name}' has a column '{each}', which the training table had not: remove it")


def rows_of_cells(cells, columns, name):
    """The cells of each column, F arrays [N], as rows [N,F] float32; see `rows_of`."""
    given = zip(cells, columns, strict=True)
    x = np.stack([own if column.is_number else _indices(own, column, name) for own, column in given], axis=1)
    with np.errstate(over="ignore"):
        x = x.astype("float32")
    try:
        check_rows(x, columns)
    except VaezooError as error:
        raise VaezooError(f"in '{name}', {error}") from None
    return x


def _parts(count, test_rows):
    if test_rows is None:
        return [slice(None)]
    return [slice(count - test_rows), slice(count - test_rows, None)]


def _missing(cells):
    return np.array([cell is None for cell in cells], bool) if cells.dtype == object else np.isnan(cells)


def _described(name, each, cells, dtype, asked):
    """(the `Column` without its units, its numbers [N] float64, None), or (None, None, why it is left out)."""
    missing = _missing(cells)
    distinct = np.unique(cells[~missing])
    if len(distinct) < 2:
        return None, None, "constant" if len(distinct) else "all cells are missing"
    if dtype == "float64" and np.isinf(distinct).any():
        raise VaezooError(
            f"in '{name}', the column '{each}' holds inf: its cells must be finite; correct it, or empty the cell"
        )
    what = f"the column '{each}' of '{name}'"
    kind = asked or _inferred(what, each, cells[~missing], distinct, dtype)
    if kind not in COLUMN_TYPES:
        raise unknown(f"type of {what}", kind, [*COLUMN_TYPES, DROP])
    if kind in ("continuous", "count"):
        if dtype == "str":
            raise VaezooError(
                f"{what} holds text such as '{_short(distinct[0])}', and data.columns says {kind}: set categorical "
                "or drop"
            )
        if kind == "count" and ((distinct < 0) | (distinct != np.floor(distinct))).any():
            raise VaezooError(
                f"{what} holds {distinct[0]:g} to {distinct[-1]:g}, and a count is a whole number of 0 or more: set "
                "continuous"
            )
        loc, scale = _middle_and_spread(cells[~missing])
        with np.errstate(over="ignore", invalid="ignore"):
            step = np.spacing(np.float32(abs(loc)))
        if scale < FEWEST_STEPS * step:
            raise VaezooError(
                f"{what} is {loc:.6g} ± {scale:.2g}, and float32 has steps of {step:.2g} there: subtract a constant "
                f"such as {loc:.6g}, or set data.columns={{{each}: drop}}"
            )
        return Column(each, kind, dtype=dtype), cells, None
    if kind == "binary" and len(distinct) != 2:
        raise VaezooError(f"{what} has {len(distinct)} values, and data.columns says binary: set categorical")
    if len(distinct) > MOST_CATEGORIES:
        raise VaezooError(
            f"{what} has {len(distinct):,} values, and a categorical column has at most {MOST_CATEGORIES}: "
            "group them, or set drop"
        )
    as_cell = {"int64": int, "float64": float, "bool": bool, "str": str}[dtype]
    column = Column(each, kind, values=[as_cell(value) for value in distinct], dtype=dtype)
    return column, _indices(cells, column, name), None


def _inferred(what, each, cells, distinct, dtype):
    """The type of a column, from its observed cells.

    Two values are binary. Text is categorical. Whole numbers from 0 or 1 on that spread as counts do, with a variance
    of about their mean or more, are counts. Other numbers of few values are categorical, and all others continuous.
    """
    if len(distinct) == 2:
        return "binary"
    if dtype == "str":
        if len(distinct) > MOST_CATEGORIES or 2 * len(distinct) > len(cells):
            raise VaezooError(
                f"{what} is free text: {len(distinct):,} different values in {len(cells):,} rows, such as "
                f"'{_short(distinct[0])}'; set data.columns={{{each}: drop}} to leave it out, or group the values"
            )
        return "categorical"
    with np.errstate(over="ignore", invalid="ignore"):
        whole = (distinct == np.floor(distinct)).all()
        if whole and 0 <= distinct[0] <= 1 and cells.var() >= LEAST_SPREAD * cells.mean():
            return "count"
    few = len(distinct) <= FEW_NUMBERS and len(cells) >= LEAST_CELLS * len(distinct)
    return "categorical" if few else "continuous"


def _indices(cells, column, name):
    """The index of the value of each cell, float64 [N]; NaN for a missing cell."""
    missing = _missing(cells)
    index_of = {value: index for index, value in enumerate(column.values)}
    indices = np.full(len(cells), np.nan)
    for value in set(cells[~missing].tolist()):
        if value not in index_of:
            shown = value if column.dtype == "str" else f"{value:g}"
            allowed = ", ".join(map(str, column.values[:10])) + ", ..." * (len(column.values) > 10)
            raise VaezooError(
                f"the column '{column.name}' of '{name}' holds '{_short(shown)}', which is none of its values in "
                f"training: {allowed}; empty the cell to make it missing"
            )
    indices[~missing] = [index_of[value] for value in cells[~missing].tolist()]
    return indices


def _measured(column, x):
    """The column with the middle and the spread of its training cells x [N], and whether some are missing."""
    missing, observed = bool(np.isnan(x).any()), x[~np.isnan(x)]
    if not column.is_number or not len(observed):
        return dataclasses.replace(column, missing=missing)
    loc, scale = _middle_and_spread(standardized(observed[:, None], [column])[:, 0])  # log(1 + x) of a count
    return dataclasses.replace(column, loc=float(np.float32(loc)), scale=float(np.float32(scale)), missing=missing)


def _middle_and_spread(u):
    """The middle of numbers [N], and their spread around it, which is above 0 as float32.

    They are the median and half the distance between the quantiles of a normal at -1 and 1 standard deviations, so that
    outliers do not change them. Where more than two thirds of the numbers are equal that is 0: then it is half the
    distance at -2 and 2, or the standard deviation.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low, below, loc, above, high = np.quantile(u, [0.02275, 0.15866, 0.5, 0.84134, 0.97725])
        spreads = [(above - below) / 2, (high - low) / 4, u.std(), 1.0]
        return loc, next(each for each in spreads if np.isfinite(each) and np.float32(each) > 0)


def _labels(name, each, cells, dtype):
    missing = _missing(cells)
    if missing.any():
        raise VaezooError(
            f"the label '{each}' of '{name}' is missing in {missing.sum():,} rows: fill it in, or remove them"
        )
    as_cell = {"int64": int, "float64": float, "bool": bool, "str": str}[dtype]
    values = np.array([as_cell(cell) for cell in cells])
    if (count := len(np.unique(values))) > MOST_CATEGORIES:
        raise VaezooError(f"the label '{each}' of '{name}' has {count:,} values; at most {MOST_CATEGORIES} are allowed")
    return values


def _notes(spec, left_out, identifiers, x):
    counted = {kind: [column.name for column in spec.columns if column.type == kind] for kind in COLUMN_TYPES}
    yield "columns: " + "; ".join(f"{len(names)} {kind} ({_listed(names)})" for kind, names in counted.items() if names)
    if missing := int(np.isnan(x).sum()):
        yield f"missing: {missing:,} of {x.size:,} cells"
    for why in dict.fromkeys(left_out.values()):
        yield f"left out, since {why}: {_listed([each for each in left_out if left_out[each] == why])}"
    if identifiers:
        yield (
            f"every number of {_listed(identifiers)} is another one: if it only names the row, set "
            f"data.columns={{{identifiers[0]}: drop}}"
        )


def _listed(names):
    return ", ".join(names[:NAMED]) + f", ... {len(names) - NAMED} more" * (len(names) > NAMED)


def _short(text):
    text = printable(str(text))
    return text if len(text) <= 40 else f"{text[:37]}..."

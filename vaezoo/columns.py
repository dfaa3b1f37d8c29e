"""Rows of the columns of a table as arrays: their units, and what is allowed in them. NumPy alone."""

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.spec import Column

FARTHEST = 1e12  # scales from the middle: a square of more overflows float32 sooner or later


def columns_of(spec, default="continuous"):
    """The columns of a spec; without any, each element of a vector is a number of that type in its own unit."""
    return spec.columns or tuple(Column(f"x{place}", default) for place in range(spec.size))


def places_of(columns, *types):
    """The places [n] of the columns of these types."""
    return np.array([place for place, column in enumerate(columns) if column.type in types], "int32")


def units_of(columns):
    """The middle and the spread of each column, two float32 arrays [F]: those of log(1 + x) for a count."""
    return tuple(np.array([getattr(column, key) for column in columns], "float32") for key in ("loc", "scale"))


def standardized(x, columns):
    """Rows [...,F] in units of each column, float64: numbers as (x - loc) / scale, a count as its log(1 + x).

    The index of a binary or categorical column is left as it is, and NaN too.
    """
    x = np.array(x, "float64")
    counts = places_of(columns, "count")
    x[..., counts] = np.log1p(np.maximum(x[..., counts], 0))
    loc, scale = units_of(columns)
    return (x - loc) / scale


def check_rows(x, columns):
    """Raise a VaezooError unless rows [N,F] hold only what the columns allow; it names the column and a value."""
    for place, column in enumerate(columns):
        cells = x[:, place]
        cells = cells[~np.isnan(cells)]
        bad, allowed = _bad(cells, column)
        if bad.any():
            raise VaezooError(f"the column '{column.name}' holds {cells[bad.argmax()]:g}: {allowed}")


def _bad(cells, column):
    """Which cells are not allowed, bool [N], and what is."""
    if not column.is_number:
        last = len(column.values) - 1
        bad = (cells < 0) | (cells > last) | (cells != np.round(cells))
        return bad, f"it is {column.type}, and a row holds the index of the value, from 0 to {last}"
    if column.type == "count" and (bad := (cells < 0) | (cells != np.floor(cells))).any():
        return bad, "it is a count, so its cells must be whole numbers of 0 or more; else make it continuous"
    far = np.abs(standardized(cells[:, None], [column])) > FARTHEST
    return ~np.isfinite(cells) | far[:, 0], (
        f"its cells must be finite, and less than {FARTHEST:.0e} times the spread of the column ({column.scale:.3g}) "
        "away from the others"
    )

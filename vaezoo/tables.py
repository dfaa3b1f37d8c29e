"""Tables as text: aligned columns for the screen, and CSV."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence


def aligned(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """The rows as lines of plain text with aligned columns, two spaces apart.

    Args:
        rows: one text for each column; the headings are a row like the others.
        right: the columns to align to the right, counted from 0.

    Returns:
        One line for each row, without trailing spaces.
    """
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if column in right else "<" for column in range(len(widths))]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with equal keys as CSV, with a line of headings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

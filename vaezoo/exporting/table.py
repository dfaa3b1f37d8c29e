"""The table of agreement: what a difference is, its bounds, its text, and the Markdown of the model card."""

import numpy as np

from vaezoo.tables import aligned

# The largest errors against Keras, for outputs scaled to [0, 1]; an export with larger ones is not published.
# "largest" is over all elements of 1,000 examples, "worst_row" is the largest of their mean errors. Eight bits are
# bounded by the latter: the logits of a well-trained decoder change by tens for a unit of z, so that single pixels on
# an edge change by 0.1 or 0.2 in any 8-bit arithmetic, in images that look the same. Measured on conv_vae, MNIST, 7 and
# 12 epochs: float32 1.3e-6; float16 6.3e-4 and 4e-5; dynamic range (decoder, encoder) 3e-3, 1.2e-2; int8 1.3e-2,
# 1.5e-2.
BOUNDS = {
    "float32": {"largest": 1e-5},
    "float16": {"largest": 1e-3, "worst_row": 5e-4},
    "dynamic_range": {"worst_row": 2e-2},
    "int8": {"worst_row": 3e-2},
}

# Of tokens it is the share that are others. One that is nearly as likely as the next changes all that follow it, so a
# single melody can differ in every place.
BOUNDS_OF_TOKENS = {
    "float32": {"mean": 1e-3},
    "float16": {"mean": 2e-2},
    "dynamic_range": {"mean": 2e-1},
    "int8": {"mean": 3e-1},
}

HEADINGS = ("artefact", "size", "largest", "mean", "worst example", "ms at 1", "examples/s at 64")


def difference(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far each element is from the wanted one, float [...].

    Images and probabilities are within [0, 1]. Other numbers are divided by the largest absolute value that is wanted,
    where it is above 1. A token counts as 1 where it is another one.
    """
    if wanted.dtype.kind == "i":
        return (values != wanted).astype("float32")
    return np.abs(values - wanted) / max(1.0, np.abs(wanted).max())


def difference_of_rows(values: np.ndarray, wanted: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, float]:
    """How far rows [N,F] of a table are from the wanted ones.

    Args:
        values: the rows.
        wanted: the wanted rows.
        columns: [3,F], as `measured_inputs` keeps it.

    Returns:
        (the `difference` of each number, in units of its column and beyond what rounding to float32 explains; the share
        of values that are others).
    """
    contents, loc, scale = columns
    indices = contents == 2
    with np.errstate(invalid="ignore"):
        excess = np.sign(values - wanted) * np.maximum(np.abs(values - wanted) - 4 * np.spacing(np.abs(wanted)), 0)
    pair = [wanted + excess, wanted]
    pair = [np.where(contents == 1, np.log1p(np.maximum(rows, 0)), rows).astype("float64") for rows in pair]
    moved, base = ((rows - loc) / scale for rows in pair)
    others = float((values != wanted)[:, indices].mean()) if indices.any() else 0.0
    numbers = np.where(indices, 0.0, difference(moved, np.where(indices, 0.0, base)))
    return numbers, others


def exceeds(row: dict) -> str:
    """Which bound a row exceeds, as a sentence; empty if none. NaN exceeds every bound."""
    names = {
        "largest": "largest error",
        "worst_row": "mean error of the worst example",
        "mean": "share of other tokens",
    }
    if not row["other_values"] <= (most := BOUNDS_OF_TOKENS[row["precision"]]["mean"]):
        return f"the share of other values is {row['other_values']:.1e}, and at most {most:.0e} is allowed"
    bounds = BOUNDS_OF_TOKENS if row["tokens"] else BOUNDS
    for statistic, bound in bounds[row["precision"]].items():
        if not row[statistic] <= bound:
            return f"the {names[statistic]} is {row[statistic]:.1e}, and at most {bound:.0e} is allowed"
    return ""


def cells(row: dict) -> tuple[str, ...]:
    """A row as text."""
    size = row["bytes"]
    return (
        row["artefact"],
        f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB",
        *(f"{row[name]:.1e}" if row[name] else "0" for name in ("largest", "mean", "worst_row")),
        f"{row['milliseconds_at_1']:.3g}",
        f"{row['examples_per_second_at_64']:,.0f}",
    )


def conditions(report: dict) -> str:
    """The conditions of the measurement in one sentence."""
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['codes']:,} codes of the prior and {report['examples']:,} test examples, {threads}, CPU "
        f"({report['machine']}); {versions}"
    )


def as_text(report: dict) -> str:
    """The report as a table for a terminal."""
    table = aligned([HEADINGS, *(cells(row) for row in report["rows"])], right=range(1, len(HEADINGS)))
    failed = [f"{row['artefact']}: {row['exceeds']}" for row in report["rows"] if row["exceeds"]]
    return "\n".join(
        ["absolute error against Keras; " + conditions(report), "", table, *([""] if failed else []), *failed]
    )


def as_markdown(report: dict) -> str:
    """The report as a Markdown table."""
    lines = [HEADINGS, ("-", *["-:"] * (len(HEADINGS) - 1)), *(cells(row) for row in report["rows"])]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

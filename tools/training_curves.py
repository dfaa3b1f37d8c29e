"""The picture of several trainings: a bound of each over its epochs."""

import csv

from vaezoo.plots.style import DPI, PALETTE, Figure, plain_axes, plain_ticks

FIRST_DRAWN = 5  # epoch; the range of those before would hide the differences


def training_curves(title, lines):
    """A line for each training, and dotted, in its colour, what it is compared with.

    Args:
        title: of the picture.
        lines: for each training its label, the folder of the run, a function from a row of `metrics.csv` (a mapping of
            strings) to nats an image, and the nats to compare with, or None.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(7, 3.4), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, title, "epoch", "nats an image")
    for colour, (label, folder, value, compared) in zip(PALETTE, lines, strict=False):
        with open(folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        rows = rows[min(FIRST_DRAWN, len(rows)) - 1 :]
        epochs = [int(row["epoch"]) for row in rows]
        axes.plot(epochs, [value(row) for row in rows], color=colour, linewidth=1.3, label=label)
        if compared is not None:
            axes.axhline(compared, color=colour, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure

"""The terms of the objective over the epochs of a training."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from vaezoo.plots.style import DPI, PALETTE, TEXT, Figure

LEFT_OUT = 20  # the first 1/20 of the epochs, rounded down, does not set the range of the vertical axis


def training_curves(rows, names, title=""):
    """The terms over the epochs, for training and for validation.

    Args:
        rows: one mapping for each epoch, with "epoch" and the terms in nats; validation terms begin with "val_".
        names: the terms to draw, as `model.objective.shown` declares them.
        title: one line above the panels.

    Returns:
        The Figure, with one panel for each term. In a long training the first epochs are outside the panel, because
        their range would flatten all other epochs into a line.
    """
    figure = Figure(figsize=(3.1 * len(names), 2.7), dpi=DPI, layout="constrained")
    epochs = [row["epoch"] for row in rows]
    settled = len(rows) // LEFT_OUT
    for name, axes in zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True):
        shown = []
        for prefix, label, style in (("", "training", "-"), ("val_", "validation", "--")):
            if prefix + name in rows[0]:
                values = [row[prefix + name] for row in rows]
                marker = "o" if len(rows) < 25 else None
                color = PALETTE[0] if not prefix else PALETTE[1]
                axes.plot(epochs, values, style, color=color, label=label, marker=marker, markersize=3, linewidth=1.5)
                shown += [value for value in values[settled:] if np.isfinite(value)]
        if settled and max(shown, default=0) > min(shown, default=0):
            room = 0.06 * (max(shown) - min(shown))
            axes.set_ylim(min(shown) - room, max(shown) + room)
        title_of_term = {"elbo": "ELBO", "kl": "KL"}.get(name, name.replace("_", " ").capitalize())
        axes.set_title(title_of_term, fontsize=10, color=TEXT)
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_ylabel("nats per example", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT)
    return figure

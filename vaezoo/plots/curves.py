"""How training went: the terms over the epochs."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaezoo.plots.style import DPI, PALETTE, TEXT

LEFT_OUT = 20  # a twentieth of the epochs, rounded down: none of a training that is shorter


def training_curves(rows, title=""):
    """The terms over the epochs, for training and for validation.

    Args:
        rows: one mapping an epoch, with "epoch" and the terms in nats; validation terms begin with "val_".
        title: one line above the panels.

    Returns:
        The Figure: a panel for each of elbo, reconstruction and kl, or for the loss where there is no bound. In a long
        training the first epochs leave the panel, for they would press all the others into a line.
    """
    names = [name for name in ("elbo", "reconstruction", "kl") if name in rows[0]]
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
        axes.set_title({"elbo": "ELBO", "kl": "KL"}.get(name, name.capitalize()), fontsize=10, color=TEXT)
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_ylabel("nats an image", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT)
    return figure

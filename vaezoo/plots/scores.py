"""Pictures of anomaly scores: their histograms, heat maps over images, and bars for the columns of vectors."""

import numpy as np
from matplotlib.colors import TwoSlopeNorm

from vaezoo.plots.grids import show
from vaezoo.plots.style import DPI, PALETTE, TEXT, Figure, plain_axes

BINS = 60
WIDTH, HEIGHT = 6.2, 3.4  # inches
PANEL = 1.25  # inches, the side of an image among heat maps


def score_histogram(groups, threshold, title=""):
    """The densities of several groups of scores, and the threshold between normal examples and anomalies.

    Args:
        groups: name → scores [N], in nats; at most eight groups.
        threshold: the score above which an example is an anomaly.
        title: above the picture.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, title, "score, nats (higher is less typical)", "share of the group")
    scores = np.concatenate([np.append(values, threshold) for values in groups.values()])
    # A few far outliers must not press all others into one bar: they are counted in the last one.
    scores = scores[np.isfinite(scores)]
    low, high = scores.min(), np.percentile(scores, 99)
    high = max(high, threshold + 0.1 * (threshold - low), low + 1e-6 * max(1, abs(low)))
    edges = np.linspace(low, high, BINS + 1)
    for (name, values), colour in zip(groups.items(), PALETTE, strict=False):
        shares = np.histogram(np.fmin(values, high), edges)[0] / len(values)
        axes.stairs(shares, edges, color=colour, linewidth=1.3, label=f"{name} ({len(values):,})")
        axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
    axes.axvline(threshold, color=TEXT, linestyle="--", linewidth=1.0, label=f"threshold {threshold:.2f}")
    axes.legend(fontsize=7, frameon=False)
    return figure


def heat_maps(images, decoded, maps, labels, title=""):
    """Images, what the model makes of them, and how unusual each pixel is.

    Args:
        images: [N,H,W,C] in [0, 1].
        decoded: [N,H,W,C] in [0, 1].
        maps: [N,H,W], in nats above what the pixel costs on average; below 0 for a pixel more usual than that.
        labels: a text for each.
        title: above the picture.

    Returns:
        The Figure: three rows, a column for each image; red costs more than usual, blue less.
    """
    count = len(images)
    figure = Figure(figsize=(PANEL * count + 1.2, 3 * PANEL + 0.9), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, color=TEXT)
    panels = figure.subplots(3, count, squeeze=False)
    limit = max(float(np.percentile(np.abs(maps), 99.5)), 1e-6)
    for column in range(count):
        for row, image in enumerate((images[column], decoded[column])):
            show(panels[row, column], image)
        drawn = panels[2, column].imshow(
            maps[column], cmap="RdBu_r", norm=TwoSlopeNorm(0, -limit, limit), interpolation="nearest", aspect="auto"
        )
        panels[0, column].set_title(labels[column], fontsize=7, color=TEXT)
    for axes in panels.ravel():
        axes.set_xticks([])
        axes.set_yticks([])
    for row, name in enumerate(("image", "decoded", "excess, nats")):
        panels[row, 0].set_ylabel(name, fontsize=8)
    figure.colorbar(drawn, ax=panels[2, :], fraction=0.05, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def element_bars(values, names, labels, title="", most=15):
    """How many nats each element of some vectors costs more than usual, the largest first.

    Args:
        values: [N,F], in nats.
        names: of the F elements.
        labels: a text for each vector.
        title: above the picture.
        most: this many elements of each.

    Returns:
        The Figure: a panel for each vector, at most three in a row.
    """
    columns = min(3, len(values))
    rows, most = -(-len(values) // columns), min(most, len(names))
    size = (3.0 * columns, rows * (0.7 + 0.17 * most) + 0.4)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, color=TEXT)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(values) :]:
        axes.set_axis_off()
    for axes, row, label in zip(panels, values, labels, strict=False):
        order = np.argsort(-np.abs(row))[:most][::-1]
        colours = [PALETTE[1] if row[place] > 0 else PALETTE[0] for place in order]
        axes.barh(range(most), row[order], color=colours)
        axes.set_yticks(range(most), [names[place] for place in order], fontsize=6)
        axes.set_title(label, fontsize=8, color=TEXT)
        axes.tick_params(axis="x", labelsize=6)
        axes.axvline(0, color=TEXT, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("nats above average", fontsize=6)
    return figure

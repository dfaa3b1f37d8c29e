"""Pictures: arrays in, a matplotlib Figure out. Nothing here touches a file, a model or a global style."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe & Ito's palette: told apart by colour-blind readers, and ordered so that neighbours differ in greyscale too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
TEXT = "#222222"
DPI = 200


def tile(images, columns, gap=2, background=1.0):
    """Lay images out in rows, with a gap between them.

    Args:
        images: [N,H,W,C] in [0, 1].
        columns: how many stand in a row.
        gap: pixels of background between neighbours.
        background: the grey level of gaps and of places left over.

    Returns:
        One image [rows*(H+gap)-gap, columns*(W+gap)-gap, C].
    """
    images = np.asarray(images, "float32")
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), background, "float32")
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def image_grid(images, columns, title="", row_labels=None, column_labels=None):
    """A grid of images with crisp pixels.

    Args:
        images: [N,H,W,C] in [0, 1], C = 1, 3 or 4; row by row.
        columns: how many stand in a row.
        title: one line above the grid.
        row_labels, column_labels: a text for each row and each column.

    Returns:
        The Figure.
    """
    images = np.asarray(images, "float32")
    _, height, width, _ = images.shape
    rows = math.ceil(len(images) / columns)
    sheet = tile(images, columns, gap=max(1, round(height / 14)))
    cell = 0.55  # inches
    left = 0.08 * max((len(str(label)) for label in row_labels or ()), default=0) + 0.15
    top = 0.15 + 0.3 * bool(title) + 0.22 * bool(column_labels)
    grid_width, grid_height = columns * cell, rows * cell * height / width
    total_width = max(left + grid_width + 0.15, 0.085 * len(title) + 0.3)
    figure = Figure(figsize=(total_width, top + grid_height + 0.15), dpi=DPI)
    total_height = figure.get_figheight()
    axes = figure.add_axes(
        (left / total_width, 0.15 / total_height, grid_width / total_width, grid_height / total_height)
    )
    axes.imshow(
        np.clip(sheet[..., 0] if sheet.shape[2] == 1 else sheet, 0, 1),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_axis_off()
    if title:
        figure.text(left / total_width, 1 - 0.13 / total_height, title, fontsize=10, color=TEXT, va="top")
    for index, label in enumerate(row_labels or ()):
        axes.text(-0.1 / grid_width, 1 - (index + 0.5) / rows, label, **_beside(axes, ha="right", va="center"))
    for index, label in enumerate(column_labels or ()):
        axes.text((index + 0.5) / columns, 1 + 0.06 / grid_height, label, **_beside(axes, ha="center", va="bottom"))
    return figure


def _beside(axes, **alignment):
    return {"transform": axes.transAxes, "fontsize": 8, "color": TEXT, **alignment}


def reconstructions(images, decoded, title="Reconstructions from the posterior mean"):
    """Inputs [N,H,W,C] in the upper row and their reconstructions [N,H,W,C] below, at most ten pairs a row."""
    columns = min(len(images), 10)
    rows = [
        (images[start : start + columns], decoded[start : start + columns]) for start in range(0, len(images), columns)
    ]
    stacked = np.concatenate([np.concatenate(pair) for pair in rows])
    return image_grid(stacked, columns, title, row_labels=["input", "decoded"] * len(rows))


def training_curves(rows, title=""):
    """The terms over the epochs, for training and for validation.

    Args:
        rows: one mapping an epoch, with "epoch" and the terms in nats; validation terms begin with "val_".
        title: one line above the panels.

    Returns:
        The Figure: a panel for each of elbo, reconstruction and kl, or for the loss where there is no bound.
    """
    names = [name for name in ("elbo", "reconstruction", "kl") if name in rows[0]]
    figure = Figure(figsize=(3.1 * len(names), 2.7), dpi=DPI, layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for name, axes in zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True):
        for prefix, label, style in (("", "training", "-"), ("val_", "validation", "--")):
            if prefix + name in rows[0]:
                values = [row[prefix + name] for row in rows]
                marker = "o" if len(rows) < 25 else None
                color = PALETTE[0] if not prefix else PALETTE[1]
                axes.plot(epochs, values, style, color=color, label=label, marker=marker, markersize=3, linewidth=1.5)
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

"""Grids of images in which each pixel of an image is a square with an integer number of screen pixels."""

import math

import numpy as np
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from vaezoo.plots.style import DPI, TEXT, Figure

CELL = 100  # approximate size of an image with its gap, in pixels of the picture
MARGIN = 24  # pixels around everything
LINE = {10: 44, 9: 38, 8: 34}  # the height of a line of text in pixels, by font size in points


def tile(images, columns, gap=2, background=1.0):
    """Arrange images in rows, with a gap between them.

    Args:
        images: [N,H,W,C] in [0, 1].
        columns: images in a row.
        gap: pixels of background between neighbours.
        background: the grey level of gaps and of empty places.

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


def image_grid(images, columns, title="", row_labels=None, column_labels=None, x_label="", y_label="", gap=None):
    """A grid of images with crisp pixels.

    Args:
        images: [N,H,W,C] in [0, 1], C = 1, 3 or 4; row by row.
        columns: images in a row.
        title: above the grid; it may have several lines.
        row_labels, column_labels: a text for each row and each column, or pairs of a place and a text as from `ticks`.
        x_label, y_label: the names of the two axes.
        gap: pixels between images; by default 1/14 of their height.

    Returns:
        The Figure.
    """
    return panels_of_images([("", images)], columns, title, row_labels, column_labels, x_label, y_label, gap)


def panels_of_images(
    panels, columns, title="", row_labels=None, column_labels=None, x_label="", y_label="", gap=None, cell=CELL
):
    """Grids of images side by side, each with its own title.

    Args:
        panels: pairs of a title and images [N,H,W,C] in [0, 1], with the same N in each.
        columns: images in a row of a panel.
        title: above all panels.
        row_labels: a text for each row, or pairs of a place and a text, left of the first panel.
        column_labels: the same for the columns, above every panel.
        x_label, y_label: the names of the two axes.
        gap: pixels between images; by default 1/14 of their height.
        cell: the approximate size of an image in pixels of the picture; rounded to a multiple of its height.

    Returns:
        The Figure.
    """
    _, height, width, _ = np.shape(panels[0][1])
    gap = max(1, round(height / 14)) if gap is None else gap
    sheets = [tile(images, columns, gap) for _, images in panels]
    scale = max(1, round(cell / (height + gap)))  # screen pixels for each pixel: an integer, so that all are equal
    sheet_height, sheet_width = (length * scale for length in sheets[0].shape[:2])
    rows = math.ceil(len(panels[0][1]) / columns)
    step_x, step_y = (width + gap) * scale, (height + gap) * scale

    row_labels, column_labels = _placed(row_labels), _placed(column_labels)
    left = (
        MARGIN
        + max((_width(label) for _, label in row_labels), default=0)
        + 12 * bool(row_labels)
        + LINE[9] * bool(y_label)
    )
    top = MARGIN + (LINE[10] + 4) * (title.count("\n") + 1 if title else 0)
    subtitles = any(name for name, _ in panels)
    top += LINE[9] * subtitles + LINE[8] * bool(column_labels)
    bottom = MARGIN + LINE[9] * bool(x_label)
    between = 40
    grids = len(panels) * sheet_width + (len(panels) - 1) * between
    total_width = max(left + grids + MARGIN, 2 * MARGIN + max(_width(line, 10) for line in title.split("\n")))
    total_height = top + sheet_height + bottom
    figure = Figure(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)

    def write(x, y, text, size, **alignment):  # from the upper left corner, in pixels
        figure.text(x / total_width, 1 - y / total_height, text, fontsize=size, color=TEXT, **alignment)

    if title:
        write(MARGIN, MARGIN, title, 10, va="top", linespacing=1.35)
    for number, ((name, _), sheet) in enumerate(zip(panels, sheets, strict=True)):
        x = left + number * (sheet_width + between)
        box = (x / total_width, bottom / total_height, sheet_width / total_width, sheet_height / total_height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        show(axes, sheet)
        if name:
            write(x, top - LINE[8] * bool(column_labels) - 8, name, 9, va="bottom")
        for index, label in column_labels:
            write(x + index * step_x + width * scale / 2, top - 8, label, 8, ha="center", va="bottom")
        if x_label:
            write(x + sheet_width / 2, top + sheet_height + 12, x_label, 9, ha="center", va="top")
    for index, label in row_labels:
        write(left - 12, top + index * step_y + height * scale / 2, label, 8, ha="right", va="center")
    if y_label:
        write(MARGIN, top + rows * step_y / 2, y_label, 9, ha="left", va="center", rotation=90)
    return figure


def axis_grid(images, columns, x_values, y_values, x_label, y_label, title=""):
    """A grid of images whose columns and rows have numbers, written along the edges.

    Args:
        images: [N,H,W,C] in [0, 1], row by row from the top.
        columns: images in a row.
        x_values, y_values: the number of each column, and of each row from the top.
        x_label, y_label: the names of the two axes.
        title: above the grid.

    Returns:
        The Figure.
    """
    return image_grid(images, columns, title, ticks(y_values), ticks(x_values), x_label, y_label, gap=0)


def ticks(values, most=12):
    """Tick labels for an edge whose places have numbers.

    Args:
        values: the number of each place, ascending or descending.
        most: up to this many places, each has a label. With more, round numbers have one if the values are equally
            spaced; otherwise every second place, every third, ...

    Returns:
        Pairs of a place (from 0; fractional for a number between two places) and a text.
    """
    values, count = np.asarray(values, "float64"), len(values)
    if count <= most:
        return [(place, number(value)) for place, value in enumerate(values)]
    if np.allclose(np.diff(values), values[1] - values[0]):
        low, high = sorted(values[[0, -1]])
        chosen = [value for value in MaxNLocator(7).tick_values(low, high) if low - 1e-9 <= value <= high + 1e-9]
        return [((value - values[0]) / (values[1] - values[0]), number(value)) for value in chosen]
    return [(place, number(values[place])) for place in range(0, count, math.ceil(count / most))]


def number(value):
    """A number with at most two decimals, and a typographic minus."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("-", "−")


def reconstructions(images, decoded, title="Reconstructions from the posterior mean"):
    """Inputs [N,H,W,C] in the upper row and their reconstructions [N,H,W,C] below, at most ten pairs in a row."""
    columns = min(len(images), 10)
    rows = [
        (images[start : start + columns], decoded[start : start + columns]) for start in range(0, len(images), columns)
    ]
    # The last row is filled up with white; otherwise its reconstructions would move up into the row of inputs.
    white = np.ones((columns, *np.shape(images)[1:]), "float32")
    stacked = [np.concatenate([part, white])[:columns] for pair in rows for part in pair]
    return image_grid(np.concatenate(stacked), columns, title, row_labels=["input", "decoded"] * len(rows))


def _placed(labels):
    """Texts, or pairs of a place and a text → pairs of a place and a text."""
    return [label if isinstance(label, tuple) else (place, label) for place, label in enumerate(labels or ())]


def show(axes, sheet, **place):
    """Draw an image [H,W,C] in [0, 1] into matplotlib Axes, without interpolation and with exactly 256 levels."""
    levels = np.round(255 * np.clip(sheet, 0, 1)).astype("uint8")
    if levels.shape[2] == 1:
        levels = levels.repeat(3, axis=2)
    axes.imshow(levels, interpolation="nearest", aspect="auto", **place)


def _width(text, size=8):
    """The width of a text in pixels."""
    if not text.strip():
        return 0
    return math.ceil(TextPath((0, 0), text.replace("$", r"\$"), size=size).get_extents().x1 * DPI / 72)

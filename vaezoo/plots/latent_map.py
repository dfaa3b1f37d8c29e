"""Maps of a latent space: codes as points in a plane, coloured and named by class."""

import math
from typing import NamedTuple

import numpy as np

from vaezoo.plots.grids import show, ticks, tile
from vaezoo.plots.style import DPI, PALETTE, TEXT, Figure, class_colour


class Plane(NamedTuple):
    """The plane that codes are drawn in: coordinates = (z - origin) @ directions.

    Attributes:
        origin: [D].
        directions: orthonormal [D,2]; [D,1] with one latent.
        names: the labels of the two axes.
    """

    origin: np.ndarray
    directions: np.ndarray
    names: tuple[str, ...]

    def project(self, codes):
        """Codes [...,D] → their coordinates in the plane [...,2]."""
        return (np.asarray(codes, "float64") - self.origin) @ self.directions


def plane_of(codes, axes=None):
    """The plane to draw codes in: up to two latents as they are, more by a principal component analysis.

    Args:
        codes: [N,D], for the components.
        axes: two latent axes to draw instead, each from 0 to D-1.

    Returns:
        A `Plane`.
    """
    codes = np.asarray(codes, "float64")
    latent_dim = codes.shape[1]
    if axes is None and latent_dim <= 2:
        axes = tuple(range(latent_dim))
    if axes is not None:
        return Plane(np.zeros(latent_dim), np.eye(latent_dim)[:, list(axes)], tuple(f"z{axis}" for axis in axes))
    values, vectors = np.linalg.eigh(np.cov(codes, rowvar=False, ddof=0))  # ddof=1 divides by 0 for one code
    directions = vectors[:, [-1, -2]]
    # The sign of an eigenvector is arbitrary; its largest entry is made positive, so that equal runs give equal maps.
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), [0, 1]])
    shares = 100 * values[[-1, -2]] / max(values.sum(), 1e-300)
    names = tuple(f"principal component {which} ({share:.0f} %)" for which, share in zip("12", shares, strict=True))
    return Plane(codes.mean(0), directions, names)


def latent_map(points, labels=None, class_names=None, title="", names=("", "")):
    """Codes in a plane, coloured and named by class.

    Args:
        points: [N,2]; or [N,1], and each class gets its own row.
        labels: classes [N], or None.
        class_names: their names.
        title: above the map.
        names: the labels of the two axes.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(5.2, 5.0), dpi=DPI, layout="constrained")
    draw_map(figure.subplots(), points, labels, class_names, names, size=dot_size(len(points)))
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT, x=0.02, ha="left")
    return figure


def graded_map(points, values, label, title="", names=("", "")):
    """Codes in a plane, coloured by a number.

    Args:
        points: [N,2] or [N,1].
        values: numbers [N].
        label: what they are.
        title: above the map.
        names: the labels of the two axes.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(5.9, 5.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    draw_map(axes, points, None, None, names, size=dot_size(len(points)))
    dots = axes.collections[0]
    dots.set(array=np.asarray(values, "float64"), cmap="viridis")
    figure.colorbar(dots, ax=axes, label=label, fraction=0.05)
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT, x=0.02, ha="left")
    return figure


def latent_maps(panels, class_names=None, title=""):
    """Latent maps side by side.

    Args:
        panels: tuples of a title, points [N,2], labels [N] or None, and the labels of the two axes.
        class_names: the names of the classes.
        title: above all maps.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(4.0 * len(panels), 4.4), dpi=DPI, layout="constrained")
    for axes, (name, points, labels, names) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        draw_map(axes, points, labels, class_names, names, size=dot_size(len(points), 0.7))
        axes.set_title(name, fontsize=10, color=TEXT)
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT, x=0.02, ha="left")
    return figure


def manifold_and_map(manifold, values, points, labels, class_names, names, title=""):
    """The map of the codes, and beside it the images decoded from the same square of the latent space.

    Args:
        manifold: images [R,S,H,W,C], from the upper left corner.
        values: the numbers of the S columns, ascending; those of the rows are the same, descending.
        points: codes [N,2].
        labels: classes [N], or None.
        class_names: their names.
        names: the labels of the two axes.
        title: above both.

    Returns:
        The Figure.
    """
    rows, columns, height, width = manifold.shape[:4]
    sheet = tile(manifold.reshape(-1, *manifold.shape[2:]), columns, gap=0)
    scale = max(1, math.ceil(1000 / (columns * width)))
    wide, high = columns * width * scale, rows * height * scale  # pixels
    left, bottom, between, right, top = 120, 110, 130, 30, 80 if title else 30
    total_width, total_height = left + 2 * wide + between + right, bottom + high + top
    figure = Figure(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)
    box = (wide / total_width, high / total_height)
    plane = figure.add_axes((left / total_width, bottom / total_height, *box))
    grid = figure.add_axes(((left + wide + between) / total_width, bottom / total_height, *box))
    # The images of an evenly spaced grid extend half a step beyond their codes. So does the map, to align the two.
    even = np.allclose(np.diff(values), values[1] - values[0])
    beyond = (values[1] - values[0]) / 2 if even else 0
    limits = np.array([[values[0] - beyond, values[-1] + beyond]] * 2)
    draw_map(plane, points, labels, class_names, names, dot_size(len(points), 1.8), limits)
    show(grid, sheet, extent=(0, columns, 0, rows))
    places, texts = zip(*ticks(values), strict=True)
    grid.set_xticks(np.array(places) + 0.5, texts)
    grid.set_yticks(np.array(places) + 0.5, texts)
    _label(grid, names)
    if title:
        figure.text(left / total_width, 1 - 22 / total_height, title, fontsize=11, color=TEXT, va="top")
    return figure


def draw_map(axes, points, labels, class_names, names, size, limits=None):
    """Draw a latent map into matplotlib Axes; `limits` holds the ends of the two axes, [2,2]."""
    points = np.asarray(points, "float64")
    random = np.random.default_rng(0)
    line = points.shape[1] == 1
    if line:  # one latent: each class gets its own row
        level = np.zeros(len(points)) if labels is None else np.asarray(labels)
        points = np.stack([points[:, 0], level + random.uniform(-0.35, 0.35, len(points))], 1)
        names = (names[0], "" if labels is None else "class")
    if limits is None:
        centre, half = frame(points[:, :1] if line else points)
        limits = np.stack([centre - half, centre + half], 1)  # [2,2]
    if line:
        limits = np.array([limits[0], [points[:, 1].min() - 0.3, points[:, 1].max() + 0.3]])
        axes.set_yticks([])
    colours = PALETTE[0]
    if labels is not None:
        order = random.permutation(len(points))  # in random order, so that no class covers the others
        points, labels = points[order], np.asarray(labels)[order]
        colours = [class_colour(label) for label in labels]
    axes.scatter(*points.T, c=colours, s=size, alpha=0.75, linewidths=0, rasterized=True)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    axes.set_aspect("auto" if line else "equal", adjustable="box")
    _label(axes, names)
    if labels is not None:
        _name_classes(axes, points, labels, class_names, limits)


def dot_size(count, shrink=1.0):
    """The area of a dot in points squared: the more dots, the smaller."""
    return shrink * float(np.clip(16_000 / max(count, 1), 2.5, 30))


def frame(points):
    """The square that holds all points [N,2] (or [N,1]) but a few outliers: its centre and half its side.

    It is at least two standard deviations of the prior wide; otherwise collapsed codes would look spread out.
    """
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    return (low + high) / 2, max(1.06 * (high - low).max() / 2, 1.0)


def _name_classes(axes, points, labels, class_names, limits):
    """Write the name of each class at its median, or beside it if there is no room."""
    tag = {"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.85, "linewidth": 1.5}
    classes = np.unique(labels)
    names = [class_names[label] if class_names else str(label) for label in classes]
    medians = np.array([np.median(points[labels == label], axis=0) for label in classes])
    low, high = limits[:, 0], limits[:, 1]
    at = _apart((medians - low) / (high - low), room=(0.03 + 0.02 * max(map(len, names)), 0.055))
    for label, name, median, place in zip(classes, names, medians, low + at * (high - low), strict=True):
        if np.abs((place - median) / (high - low)).max() > 0.02:
            axes.plot(*np.stack([place, median], 1), color=TEXT, linewidth=0.6, alpha=0.7, zorder=2)
        text = axes.text(*place, name, fontsize=11, fontweight="bold", ha="center", va="center", color=TEXT, zorder=3)
        text.set_bbox({**tag, "edgecolor": class_colour(label)})


def _apart(places, room):
    """Move places [N,2] in the unit square apart until no two are within `room` of each other."""
    angles = np.arange(len(places)) * 2.4  # equal places move apart in different directions
    at = (places + 1e-4 * np.stack([np.cos(angles), np.sin(angles)], 1)) / room
    for _ in range(300):
        gaps = at[:, None] - at[None]  # [N,N,2]
        distance = np.linalg.norm(gaps, axis=-1) + np.eye(len(at)) * 9
        push = np.maximum(1.02 - distance, 0) / np.maximum(distance, 1e-9)
        if not push.any():
            break
        at = at + 0.3 * (push[..., None] * gaps).sum(1)
    return np.clip(at * room, 0.03, 0.97)


def _label(axes, names):
    axes.set_xlabel(names[0], fontsize=9, color=TEXT)
    axes.set_ylabel(names[1] if len(names) > 1 else "", fontsize=9, color=TEXT)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)

"""Pictures of the rows of a table: the distribution of each column, its reconstructions, the correlations."""

import math

import numpy as np

from vaezoo.plots.style import PALETTE, TEXT, Figure

MOST_PANELS = 24  # columns that are drawn
BINS = 30
MOST_BARS = 12  # values of a column that are drawn


def row_samples(data, samples, columns, title=""):
    """The distribution of each column in the data and in samples, and the rank correlations of both.

    Args:
        data: rows [N,F]; NaN is a missing cell.
        samples: rows [M,F].
        columns: F `Column`s; the first MOST_PANELS are drawn.
        title: of the figure.

    Returns:
        A Figure.
    """
    shown = min(len(columns), MOST_PANELS)
    figure, panels, below = _panels(shown, title, with_matrices=len(columns) > 1)
    for place, axes in enumerate(panels):
        column = columns[place]
        pair = [part[:, place][~np.isnan(part[:, place])] for part in (data, samples)]
        (_histogram if column.is_number else _bars)(axes, pair, column)
        axes.set_title(_short(column.name), fontsize=8, color=TEXT)
        axes.tick_params(labelsize=6)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].legend(("data", "samples"), fontsize=6, frameon=False)
    if below is not None:
        for axes, part, name in zip(below.subplots(1, 2), (data, samples), ("data", "samples"), strict=True):
            image = axes.imshow(rank_correlation(part), vmin=-1, vmax=1, cmap="RdBu_r")
            axes.set_title(f"rank correlations: {name}", fontsize=9, color=TEXT)
            axes.tick_params(labelsize=6)
            if len(columns) <= MOST_PANELS:
                names = [_short(column.name, 14) for column in columns]
                axes.set_xticks(range(len(names)), names, rotation=90)
                axes.set_yticks(range(len(names)), names)
        below.colorbar(image, ax=below.axes, shrink=0.7).ax.tick_params(labelsize=6)
    return figure


def row_reconstructions(inputs, decoded, columns, title=""):
    """Each column: the cells of some rows, across, against what the model makes of them, upwards.

    Args:
        inputs: rows [N,F]; NaN is a missing cell.
        decoded: rows [N,F].
        columns: F `Column`s; the first MOST_PANELS are drawn.
        title: of the figure.

    Returns:
        A Figure.
    """
    figure, panels, _ = _panels(min(len(columns), MOST_PANELS), title)
    for place, axes in enumerate(panels):
        column, x, y = columns[place], inputs[:, place], decoded[:, place]
        if column.is_number:
            low, high = _limits(np.concatenate([x, y]))
            axes.plot([low, high], [low, high], color="#bbbbbb", linewidth=0.8)
            axes.scatter(x, y, s=max(2, 12 - len(x) / 100), color=PALETTE[0], alpha=0.6, linewidths=0)
            axes.set(xlim=(low, high), ylim=(low, high))
        else:
            counts = np.zeros((len(column.values),) * 2)
            seen = ~np.isnan(x)
            np.add.at(counts, (y[seen].astype(int), x[seen].astype(int)), 1)
            axes.imshow(counts / np.maximum(counts.sum(0), 1), vmin=0, vmax=1, cmap="Blues", origin="lower")
            if len(column.values) <= MOST_BARS:
                names = [_short(str(value), 8) for value in column.values]
                axes.set_xticks(range(len(names)), names, rotation=90)
                axes.set_yticks(range(len(names)), names)
        axes.set_title(_short(column.name), fontsize=8, color=TEXT)
        axes.tick_params(labelsize=6)
    return figure


def rank_correlation(x):
    """Spearman's rank correlations of rows [N,F]: [F,F]. A missing cell has the mean rank; a constant column has 0."""
    ranks = []
    for cells in np.asarray(x, "float64").T:
        seen = ~np.isnan(cells)
        _, inverse, counts = np.unique(cells[seen], return_inverse=True, return_counts=True)
        mean_ranks = np.cumsum(counts) - (counts - 1) / 2
        rank = np.full(len(cells), mean_ranks[inverse].mean() if seen.any() else 0.0)
        rank[seen] = mean_ranks[inverse]
        ranks.append(rank - rank.mean())
    ranks = np.stack(ranks)
    norms = np.linalg.norm(ranks, axis=1)
    norms = np.where(norms > 0, norms, 1.0)
    return (ranks / norms[:, None]) @ (ranks / norms[:, None]).T


def _panels(count, title, with_matrices=False):
    """(a Figure, axes for so many columns, a subfigure below or None)."""
    across = min(6, count)
    lines = math.ceil(count / across)
    height = 1.5 * lines + 0.4
    figure = Figure(figsize=(max(1.7 * across, 5), height + 4.4 * with_matrices), layout="constrained", dpi=150)
    above, below = figure, None
    if with_matrices:
        above, below = figure.subfigures(2, 1, height_ratios=(height, 4.4))
    panels = np.atleast_1d(above.subplots(lines, across)).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    above.suptitle(title, fontsize=10, color=TEXT)
    return figure, panels[:count], below


def _histogram(axes, pair, column):
    low, high = _limits(pair[0])
    edges = np.linspace(low, high, BINS + 1)
    if column.type == "count" and high - low <= BINS:
        edges = np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    for cells, colour, style in zip(pair, PALETTE, ("stepfilled", "step"), strict=False):
        weights = np.full(len(cells), 1 / max(len(cells), 1))
        alpha = 0.35 if style == "stepfilled" else 1.0
        axes.hist(
            np.clip(cells, edges[0], edges[-1]), edges, weights=weights, histtype=style, color=colour, alpha=alpha
        )


def _bars(axes, pair, column):
    count = len(column.values)
    shares = [np.bincount(cells.astype(int), minlength=count) / max(len(cells), 1) for cells in pair]
    order = np.argsort(-shares[0], kind="stable")[:MOST_BARS] if count > MOST_BARS else np.arange(count)
    for number, (share, colour) in enumerate(zip(shares, PALETTE, strict=False)):
        axes.bar(
            np.arange(len(order)) + 0.4 * number - 0.2, share[order], 0.4, color=colour, alpha=0.35 + 0.65 * number
        )
    axes.set_xticks(range(len(order)), [_short(str(column.values[index]), 8) for index in order], rotation=90)


def _limits(cells):
    """The middle 98 % of cells, and a margin; an outlier would leave one bar."""
    cells = cells[np.isfinite(cells)]
    low, high = np.quantile(cells, [0.01, 0.99]) if len(cells) else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return float(low - margin), float(high + margin)


def _short(text, most=22):
    return text if len(text) <= most else f"{text[: most - 1]}…"

"""The measurements as a picture: a panel of bars for each network, one of the decoders, and lines for the scaling."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarking.peers import HALF_PRECISION, PROGRAMS, RUNTIMES
from benchmarking.report import decoding_rows, training_rows
from vaezoo.plots.style import DPI, PALETTE, TEXT


def draw(measurements, image_shape, batch):
    """The Figure, or None if nothing came to an end.

    Args:
        measurements: a mapping for each run.
        image_shape: (H, W, C).
        batch: of the bars, at width 1; the lines of the scaling pass through it.
    """
    rows = [row for row in training_rows(measurements, image_shape) if "images_per_second" in row]
    decoders = [row for row in decoding_rows(measurements) if "median_seconds" in row]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    panels = []
    for network in networks:
        bars = [row for row in rows if (row["network"], row["width"], row["batch"]) == (network, 1, batch)]
        panels.append((_rates, (network, bars)))
    for network in dict.fromkeys(row["network"] for row in decoders):
        panels.append((_latencies, (network, [row for row in decoders if row["network"] == network])))
    for network in networks:
        for key, fixed in (("batch", {"width": 1}), ("width", {"batch": batch})):
            line = [row for row in rows if row["network"] == network and fixed.items() <= row.items()]
            if len({row[key] for row in line}) > 1:
                panels.append((_scaling, (network, key, line)))
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.6 * columns, 2.9 * lines), dpi=DPI, layout="constrained")
    for (panel, arguments), axes in zip(panels, figure.subplots(lines, columns, squeeze=False).flat, strict=False):
        panel(axes, *arguments)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    return figure


def _bars(axes, labels, spreads, texts, highlighted):
    """Horizontal bars from the top down, with whiskers from the smallest to the largest value."""
    medians = [spread.median for spread in spreads]
    whiskers = [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]
    colours = [PALETTE[0] if marked else "#B8BEC4" for marked in highlighted]
    axes.barh(labels, medians, xerr=whiskers, color=colours, height=0.66, error_kw={"ecolor": TEXT, "elinewidth": 0.8})
    for label, spread, text in zip(labels, spreads, texts, strict=True):
        axes.annotate(text, (spread.high, label), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.4 * max(spread.high for spread in spreads))
    axes.grid(axis="x", alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)


def _rates(axes, network, rows):
    titles = [PROGRAMS[row["program"]].title for row in rows]
    ours = [row["program"].startswith("vaezoo") for row in rows]
    texts = [f"{row['images_per_second'].median:,.0f}" for row in rows]
    for place, row in enumerate(rows):
        if "times" in row and not ours[place] and row["program"] not in HALF_PRECISION:
            texts[place] += f"  (vaezoo ×{row['times'].median:.2f})"
    _bars(axes, titles, [row["images_per_second"] for row in rows], texts, ours)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(f"{network}: training, images a second, batch {rows[0]['batch']}", fontsize=10, color=TEXT)


def _latencies(axes, network, rows):
    spreads = [type(row["median_seconds"])(*(1e3 * value for value in row["median_seconds"])) for row in rows]
    texts = [f"{spread.median:.2f}" for spread in spreads]
    _bars(axes, [RUNTIMES[row["runtime"]] for row in rows], spreads, texts, [True] * len(rows))
    axes.set_title(f"{network}: decoding one code, milliseconds", fontsize=10, color=TEXT)


def _scaling(axes, network, key, rows):
    for name, colour in zip(PROGRAMS, PALETTE, strict=False):
        line = sorted((row for row in rows if row["program"] == name), key=lambda row: row[key])
        if len(line) > 1 and all("share" in row for row in line):
            values, shares = [row[key] for row in line], [row["share"] for row in line]
            axes.plot(
                values, [100 * share.median for share in shares], "o-", color=colour, markersize=3.5, linewidth=1.5
            )
            axes.annotate(
                PROGRAMS[name].title, (values[-1], 100 * shares[-1].median), (5, 0),
                textcoords="offset points", va="center", fontsize=8, color=colour,
            )  # fmt: skip
            band = [[100 * share.low for share in shares], [100 * share.high for share in shares]]
            axes.fill_between(values, *band, color=colour, alpha=0.15, linewidth=0)
    values = sorted({row[key] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"×{value}" if key == "width" else str(value) for value in values])
    axes.set_ylim(0, None)
    axes.set_title(f"{network}: share of the matrix product, %, by {key}", fontsize=10, color=TEXT)
    axes.grid(alpha=0.25, linewidth=0.5)

"""Piano rolls: time from left to right, pitch upwards, a bar for each note, lines between the bars of the music."""

import math

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from vaezoo.music.tokens import STEPS, name_of, notes_of
from vaezoo.plots.style import DPI, PALETTE, TEXT, Figure

BEAT = 4  # sixteenths
LINE = 8  # bars: a longer melody that stands alone continues on the next line
WIDEST = 8  # bars side by side in a row of melodies
LEAST_RANGE = 12  # semitones that are shown at least
WHITE, BLACK, PAPER = "#ffffff", "#f1f1f4", "#d5d5dc"  # the rows of the white and the black keys, thin lines
INSET, GAP, ONSET = -0.06, 0.14, 0.3  # of a row, and of a sixteenth: the space around a note, its dark beginning


def piano_roll(melodies, labels=None, title="", columns=None, colours=None, beside=False):
    """Melodies as piano rolls, with the same pitches in each.

    A single melody of more than 8 bars is drawn in lines of 8 bars.

    Args:
        melodies: tokens [N,T] or [T], see `vaezoo.music.tokens`; T is a multiple of 16.
        labels: a text above each of them.
        title: above all of them; it may have several lines.
        columns: melodies in a row; by default as many as make 8 bars, at most the square root of N.
        colours: of the notes of each melody; by default all are blue.
        beside: whether the labels stand on the right of the rolls, which are lower then, and not above them.

    Returns:
        The Figure.
    """
    melodies = np.atleast_2d(np.asarray(melodies))
    count, bars = len(melodies), melodies.shape[1] // STEPS
    labels = labels or [""] * count
    colours = colours or [PALETTE[0]] * count
    if count == 1 and bars > LINE:
        spans = [(0, start, min(start + LINE, bars)) for start in range(0, bars, LINE)]
        columns, shown = 1, LINE
    else:
        spans = [(number, 0, bars) for number in range(count)]
        columns, shown = columns or max(1, min(WIDEST // bars, math.ceil(math.sqrt(count)))), bars
    rows = math.ceil(len(spans) / columns)
    notes = [notes_of(melody) for melody in melodies]
    low, high = _range([note.pitch for melody in notes for note in melody])
    # Inches: of a roll, from what can be read to what fits on a screen.
    width = max(min(1.15 * shown, 9 + 0.25 * shown), 4.4 / columns)
    height = float(np.clip(0.05 * (high - low), 0.8, 1.5)) * (0.62 if beside else 1.4 if rows == 1 else 1)
    size = (
        0.55 + columns * (width + 0.12) + 0.4 * beside,
        0.3 + rows * (height + 0.08 + 0.2 * (any(labels) and not beside)) + 0.22 * len(title.splitlines()),
    )
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.03, wspace=0.01, hspace=0.01)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(spans):
            axes.set_axis_off()
            continue
        number, start, stop = spans[place]
        _draw(axes, notes[number], start, start + shown, stop, low, high, colours[number])
        if beside:
            label = {"fontsize": 8, "color": colours[number], "va": "center", "fontweight": "bold"}
            axes.text(1.012, 0.5, labels[number], transform=axes.transAxes, **label)
        elif labels[number] and start == 0:
            axes.set_title(labels[number], fontsize=8, color=TEXT, loc="left", pad=3)
        last = place + columns >= len(spans) or len(spans) > count
        axes.tick_params(labelleft=place % columns == 0, labelbottom=last)
    if title:
        figure.suptitle(title, fontsize=10, color=TEXT, x=0.01, ha="left")
    return figure


def piano_roll_path(melodies, weights=None, title=""):
    """A melody that turns into another: one roll below the other, from blue to vermilion.

    Args:
        melodies: tokens [N,T], from the first to the last.
        weights: a number for each, shown beside it; by default N numbers from 0 to 1.
        title: above them.

    Returns:
        The Figure.
    """
    count = len(melodies)
    weights = np.linspace(0, 1, count) if weights is None else weights
    # Grey between the two: both ends keep their colour for every reader, and what lies between is neither.
    scale = LinearSegmentedColormap.from_list("path", [PALETTE[0], "#8a8a94", PALETTE[1]])
    colours = [scale(place) for place in np.linspace(0, 1, count)]
    return piano_roll(melodies, [f"{weight:.2f}" for weight in weights], title, 1, colours, beside=True)


def _draw(axes, notes, start, stop, end, low, high, colour):
    """The notes of one melody between two bars, on its rows; after `end` the paper is empty."""
    left, right = start * STEPS, end * STEPS
    axes.set_xlim(left - 0.25, stop * STEPS + 0.25)
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_facecolor("none")
    for pitch in range(low, high + 1):
        axes.fill_between([left, right], pitch - 0.5, pitch + 0.5, color=_row(pitch), linewidth=0, zorder=0)
        if pitch % 12 in (0, 5) and pitch > low:  # between B and C, and between E and F, two white keys meet
            axes.plot([left, right], [pitch - 0.5] * 2, color=PAPER, linewidth=0.4, zorder=1)
    for step in range(left, right + 1, BEAT):
        bar = step % STEPS == 0
        axes.plot(
            [step] * 2,
            [low - 0.5, high + 0.5],
            color="#77777f" if bar else PAPER,
            linewidth=0.8 if bar else 0.35,
            zorder=1,
        )
    visible = [note for note in notes if note.start < right and note.start + note.length > left]
    bodies = [_box(max(note.start, left), min(note.start + note.length, right) - GAP, note.pitch) for note in visible]
    begins = [_box(note.start, note.start + ONSET, note.pitch) for note in visible if note.start >= left]
    axes.add_collection(PolyCollection(bodies, facecolors=colour, linewidths=0, zorder=2))
    axes.add_collection(PolyCollection(begins, facecolors=_darker(colour), linewidths=0, zorder=3))
    axes.set_xticks(range(left, right, STEPS), [f"{number + 1}" for number in range(start, end)])
    tones = (0, 4, 7) if high - low <= LEAST_RANGE else (0, 7) if high - low <= 3 * LEAST_RANGE else (0,)
    named = [pitch for pitch in range(low, high + 1) if pitch % 12 in tones]
    axes.set_yticks(named, [name_of(pitch) for pitch in named])
    axes.tick_params(labelsize=6.5, length=0, pad=2, labelcolor="#55555c")
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("left")
    axes.spines[:].set_visible(False)


def _range(pitches):
    """The lowest and the highest pitch to show: a semitone around the notes, and an octave at least."""
    if not pitches:
        return 60, 60 + LEAST_RANGE
    low, high = min(pitches) - 1, max(pitches) + 1
    missing = max(LEAST_RANGE - (high - low), 0)
    return low - missing // 2, high + (missing + 1) // 2


def _row(pitch):
    return BLACK if pitch % 12 in (1, 3, 6, 8, 10) else WHITE


def _box(start, stop, pitch):
    """The corners of a note."""
    low, high = pitch - 0.5 + INSET, pitch + 0.5 - INSET
    return [(start, low), (stop, low), (stop, high), (start, high)]


def _darker(colour):
    return tuple(0.6 * part for part in to_rgb(colour))

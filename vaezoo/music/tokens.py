"""The tokens of a melody: one a sixteenth, in the 90 classes of MusicVAE (Roberts et al. 2018, arXiv:1803.05428)."""

import itertools
from typing import NamedTuple

import numpy as np

HOLD, OFF, FIRST = 0, 1, 2  # nothing happens; the note ends; FIRST + n begins a note of pitch LOWEST + n
LOWEST, HIGHEST = 21, 108  # the pitches of a piano, as MIDI numbers; 60 is the middle C
CLASSES = FIRST + HIGHEST - LOWEST + 1
STEPS = 16  # sixteenths in a bar
NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


class Note(NamedTuple):
    """A note: where it begins and how long it is, in steps (sixteenths), and its pitch, a MIDI number."""

    start: int
    length: int
    pitch: int


def tokens_of(notes, steps):
    """Notes as tokens. A note ends where the next one begins; of notes that begin together, the first is kept.

    Args:
        notes: `Note`s in the order of their starts, which are in 0..steps-1; lengths are at least 1, and a note may
            sound beyond the end; pitches are in LOWEST..HIGHEST.
        steps: T, the length of the melody.

    Returns:
        uint8 [T]. Silence at the start is HOLD.

    Raises:
        ValueError: for a start or a pitch that is out of range.
    """
    tokens = np.full(steps, HOLD, "uint8")
    notes = [next(together) for _, together in itertools.groupby(notes, key=lambda note: note[0])]
    for number, (start, length, pitch) in enumerate(notes):
        if not (0 <= start < steps and LOWEST <= pitch <= HIGHEST):
            raise ValueError(f"pitch {pitch} at step {start} is not in {LOWEST}..{HIGHEST} and 0..{steps - 1}")
        tokens[start] = FIRST + pitch - LOWEST
        after = notes[number + 1][0] if number + 1 < len(notes) else steps
        if start + length < after:
            tokens[start + length] = OFF
    return tokens


def notes_of(tokens):
    """The notes of a melody; the reverse of `tokens_of`.

    Args:
        tokens: integers [T] in 0..CLASSES-1. An OFF where nothing sounds has no effect.

    Returns:
        A list of `Note`s. The last ends at T, unless an OFF ends it.

    Raises:
        ValueError: for a token that is out of range.
    """
    tokens = np.asarray(tokens, "int64")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < CLASSES:
        raise ValueError(f"the tokens go from {tokens.min()} to {tokens.max()}: they must be in 0..{CLASSES - 1}")
    events = [*np.flatnonzero(tokens != HOLD).tolist(), len(tokens)]
    return [
        Note(start, end - start, int(tokens[start]) - FIRST + LOWEST)
        for start, end in itertools.pairwise(events)
        if tokens[start] >= FIRST
    ]


def sounding(tokens):
    """The pitch that sounds at each step: tokens [...,T] → MIDI numbers, int64 [...,T]; 0 where it is silent."""
    tokens = np.asarray(tokens, "int64")
    steps = np.arange(tokens.shape[-1])
    last = np.maximum.accumulate(np.where(tokens != HOLD, steps, 0), axis=-1)  # the newest event at each step
    newest = np.take_along_axis(tokens, last, axis=-1)
    return np.where(newest >= FIRST, newest - FIRST + LOWEST, 0)


def windows_of(tokens, bars):
    """Every part of so many bars of a melody that begins on a bar.

    Args:
        tokens: uint8 [16 * n].
        bars: the length of a window.

    Returns:
        uint8 [n - bars + 1, 16 * bars]; none if the melody is shorter. A note that sounds when a window begins, begins
        with it.
    """
    length = STEPS * bars
    if len(tokens) < length:
        return np.zeros((0, length), "uint8")
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length)[::STEPS].copy()
    pitch = sounding(tokens)[: len(windows) * STEPS : STEPS]
    windows[:, 0] = np.where(pitch, pitch - LOWEST + FIRST, HOLD)
    return windows


def transposed(tokens, semitones):
    """Tokens [...] with every pitch moved by so many semitones; the caller keeps them in the range."""
    tokens = np.asarray(tokens)
    return np.where(tokens >= FIRST, tokens.astype("int64") + semitones, tokens).astype(tokens.dtype)


def name_of(pitch):
    """The name of a pitch, a MIDI number: 60 is "C4", 70 is "B♭4"."""
    octave, tone = divmod(int(pitch), 12)
    return f"{NAMES[tone]}{octave - 1}"


def joined(melodies):
    """Melodies one after the other, as one.

    Args:
        melodies: integers [N,T].

    Returns:
        integers [N * T]. A melody that begins with silence ends the last note of the one before.
    """
    melodies = np.array(melodies)
    later = melodies[1:, 0]
    later[later == HOLD] = OFF
    return melodies.reshape(-1)

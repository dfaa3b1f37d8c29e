"""A tune: complete bars of one melody, whatever it was read from."""

import dataclasses
import math

import numpy as np

from vaezoo.music.keys import Key
from vaezoo.music.tokens import CLASSES, FIRST, STEPS, Note, tokens_of, transposed

# The metres that are taken, each with its sixteenths. Two bars of 2/4 make one bar of 16 steps.
METRES = {"4/4": 16, "2/2": 16, "2/4": 8}
MOST_BARS = 4096  # of a part: a file of a few bytes may name a rest of a year


class UnusableTuneError(ValueError):
    """A tune that is left out. The message is the reason, in the words for a count, as in "12 in 6/8"."""


@dataclasses.dataclass(frozen=True)
class Tune:
    """A melody in complete bars.

    Attributes:
        title: its title, or the name of its file.
        metre: one of METRES; of a tune that changes its metre, that of its first part.
        key: its `Key`, at its beginning.
        parts: uint8 [16 * n] each: what lies between bars that are left out. No window spans two parts.
        left_out: the number of bars that are left out: of another length than the metre says, or in another metre.
        polyphonic: whether other notes than those of the melody are left out.
    """

    title: str
    metre: str
    key: Key
    parts: tuple[np.ndarray, ...]
    left_out: int = 0
    polyphonic: bool = False

    @property
    def bars(self):
        """The number of bars of 16 steps, in all parts."""
        return sum(map(len, self.parts)) // STEPS

    def in_natural_key(self):
        """The same tune with a signature without sharps and flats, within the range of the tokens.

        It may be an octave away; a tune that would not fit at all stays in its key.
        """
        tokens = np.concatenate(self.parts).astype("int64")
        tokens = tokens[tokens >= FIRST]
        for semitones in (self.key.to_natural, self.key.to_natural - 12, self.key.to_natural + 12):
            moved = tokens + semitones
            if not moved.size or FIRST <= moved.min() <= moved.max() < CLASSES:
                return dataclasses.replace(self, parts=tuple(transposed(part, semitones) for part in self.parts))
        return self


def quantized(notes, steps):
    """Notes at any times as tokens: starts and ends are rounded to the nearest sixteenth.

    A triplet of eighths so begins at the steps 0, 1 and 3. Of notes that round to the same step, the one
    nearest to it is kept, and not the ornament before or after it.

    Args:
        notes: (start, length, pitch) in the order of their starts, in sixteenths.
        steps: T; notes that begin beyond it are left out.

    Returns:
        uint8 [T].

    Raises:
        UnusableTuneError: for a pitch that is out of the range of the tokens.
    """
    nearest = {}
    for note in notes:
        step = nearest_step(note[0])
        if step < steps and (step not in nearest or abs(note[0] - step) < abs(nearest[step][0] - step)):
            nearest[step] = note
    rounded = [
        Note(step, max(nearest_step(start + length) - step, 1), pitch)
        for step, (start, length, pitch) in nearest.items()
    ]
    try:
        return tokens_of(rounded, steps)
    except ValueError:
        raise UnusableTuneError("beyond the range of a piano") from None


def nearest_step(time):
    """The sixteenth that is nearest to a time.

    A half is rounded down: the second of two thirty-seconds does not take the place of the next note.
    """
    return math.ceil(time - 0.5)

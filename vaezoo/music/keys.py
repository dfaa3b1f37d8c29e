"""Keys: their signatures, the transposition to one without sharps and flats, and the key of notes without one."""

from typing import NamedTuple

import numpy as np

SHARPS = "FCGDAEB"  # in the order in which a signature gets them; flats come in the reverse order
TONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # semitones above C
MODES = {"maj": 0, "ion": 0, "mix": -1, "dor": -2, "min": -3, "aeo": -3, "phr": -4, "loc": -5, "lyd": 1}  # sharps
MINOR = ("min", "aeo", "dor", "phr", "loc")  # with a minor third
# How well each tone fits the key of C, and that of C minor: the probe-tone ratings of Krumhansl & Kessler (1982).
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


class Key(NamedTuple):
    """A key: the sharps of its signature (flats are negative), and whether its third is minor."""

    sharps: int
    minor: bool

    @property
    def to_natural(self):
        """The semitones, -6..5, that bring it to a signature without sharps and flats: C major, A minor, D dorian."""
        return (-7 * self.sharps + 6) % 12 - 6

    @property
    def mode(self):
        """The word "major" or "minor", by the third."""
        return "minor" if self.minor else "major"


def key_of(tonic, mode=""):
    """The `Key` of a tonic such as "F#" or "Bb" and a mode such as "", "m", "minor", "Dorian" or "mix".

    Raises:
        ValueError: for a mode or a tonic that does not exist.
    """
    name = "min" if mode == "m" else mode[:3].lower() if len(mode) > 2 else {"": "maj", "M": "maj"}.get(mode)
    if name not in MODES or tonic[0] not in TONES:
        raise ValueError(f"there is no key '{tonic}{mode}'")
    sharps = SHARPS.index(tonic[0]) - 1 + 7 * (tonic.count("#") - tonic.count("b")) + MODES[name]
    return Key(sharps, name in MINOR)


def estimated_key(durations):
    """The major or minor key that notes fit best, by the algorithm of Krumhansl & Schmuckler.

    Args:
        durations: [12], how long each tone sounds in all, from C; in any unit.

    Returns:
        A `Key`; C major if nothing sounds.
    """
    durations = np.asarray(durations, "float64")
    if not durations.std():
        return Key(0, False)
    tonics = np.arange(12)
    fits = [
        [np.corrcoef(np.roll(profile, tonic), durations)[0, 1] for tonic in tonics]
        for profile in (MAJOR_PROFILE, MINOR_PROFILE)
    ]
    minor, tonic = np.unravel_index(np.argmax(fits), (2, 12))
    # The signature of a major key has 7 sharps a semitone, modulo 12; a minor key has that of the key 3 above it.
    sharps = (7 * (tonic + 3 * minor) + 5) % 12 - 5
    return Key(int(sharps), bool(minor))

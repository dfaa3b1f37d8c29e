"""Your own music: a folder of MIDI and ABC files, or one such file."""

import collections
import os

import numpy as np

from vaezoo.data.decoded import file_bar
from vaezoo.data.listing import first_names
from vaezoo.data.melodies import count_of_tunes, make_melodies
from vaezoo.errors import VaezooError, printable
from vaezoo.music.abc import read_abc
from vaezoo.music.midi import read_midi
from vaezoo.music.tunes import UnusableTuneError

LARGEST = 2**26  # bytes of an ABC file


def load(name, listing, preparation, windows, validation, seed, quiet):
    """The melodies of a folder of .mid, .midi and .abc files.

    A MIDI file is one tune: see `read_midi` for what is taken of several voices. An ABC file holds any number of them.
    Classes and splits are those of a folder of images. If there are no `train` and `test`, `make_melodies` divides the
    tunes.

    Args:
        name: as given to load_data.
        listing: the `Listing` of the folder.
        preparation: a `Preparation`, which must be the default one.
        windows: a `Windows`.
        validation: fraction of the training tunes to hold out.
        seed: chooses them.
        quiet: whether to show no progress.

    Raises:
        VaezooError: if more than half of the files hold no melody, or too few windows are left.
    """
    if preparation.image_size is not None:
        raise VaezooError(
            f"image_size={preparation.image_size} (instead of None) needs images, and '{name}' holds music"
        )
    tunes, origin, skipped, left_out = [], [], {}, collections.Counter()
    with file_bar("reading music", len(listing.files), quiet) as advance:
        for number, file in enumerate(listing.files):
            found, reasons = _read(listing.path(number))
            tunes += found
            origin += [number] * len(found)
            if found:
                left_out += reasons
            else:
                skipped[file] = next(iter(reasons), "without a tune")
            advance(1)
    reasons = collections.defaultdict(list)
    for file, reason in skipped.items():
        reasons[reason].append(file)
    parts = (f"{len(files):,} {reason} ({first_names(files)})" for reason, files in sorted(reasons.items()))
    note = f"{len(skipped):,} of {len(listing.files):,} files are skipped: {', '.join(parts)}"
    if 2 * len(skipped) > len(listing.files):
        raise VaezooError(f"more than half of '{name}' cannot be used: {note}; replace or remove them.")
    notes = [*listing.notes, *[note] * bool(skipped), *count_of_tunes(left_out)]
    if polyphonic := sum(tune.polyphonic for tune in tunes):
        notes.append(f"{polyphonic:,} files have several voices: the highest notes of the one with the most are taken")
    given = None
    if len(listing.counts) > 1:
        given = np.searchsorted(np.cumsum(listing.counts), origin, side="right")
    return make_melodies(
        name,
        tunes,
        None if listing.classes is None else [listing.classes[number] for number in origin],
        windows,
        validation,
        seed,
        given=given,
        notes=tuple(map(printable, notes)),
        skipped=tuple((printable(file), reason) for file, reason in sorted(skipped.items())),
    )


def _read(path):
    """(the tunes of a file, a Counter of the reasons why others of it are left out)."""
    try:
        if not os.path.isfile(path):  # a named pipe, which would block
            raise UnusableTuneError("not a file")
        if not path.lower().endswith(".abc"):
            return [read_midi(path)], collections.Counter()
        if os.path.getsize(path) > LARGEST:
            raise UnusableTuneError(f"larger than {LARGEST // 2**20} MiB")
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return read_abc(file.read())
    except UnusableTuneError as error:
        return [], collections.Counter([str(error)])
    except OSError as error:
        return [], collections.Counter([f"that cannot be read: {error.strerror}"])

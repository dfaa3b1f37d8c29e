"""MIDI files: written here, read with mido."""

import itertools
import os
import pathlib
import struct

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.music.keys import estimated_key, key_of
from vaezoo.music.tokens import STEPS, notes_of
from vaezoo.music.tunes import METRES, MOST_BARS, Tune, UnusableTuneError, nearest_step, quantized

TICKS = 120  # of a sixteenth, in the files that are written
LARGEST = 2**20  # bytes of a file that is read: mido takes some seconds for so many
DRUMS = 9  # the channel of General MIDI, from 0


def midi_bytes(tokens, tempo=120):
    """A melody as a MIDI file of one track, in 4/4.

    Args:
        tokens: integers [T], see `vaezoo.music.tokens`.
        tempo: quarter notes a minute, 4..1000.

    Returns:
        The content of the file, bytes.
    """
    events = [(0, b"\xff\x51\x03" + round(60e6 / tempo).to_bytes(3, "big")), (0, b"\xff\x58\x04\x04\x02\x18\x08")]
    for start, length, pitch in notes_of(tokens):
        events += [(start, bytes([0x90, pitch, 90])), (start + length, bytes([0x80, pitch, 0]))]
    track, now = b"", 0
    for step, event in [*events, (max(len(tokens), events[-1][0]), b"\xff\x2f\x00")]:
        track += _variable((step - now) * TICKS) + event
        now = step
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 4 * TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def _variable(number):
    """A number in groups of 7 bits, of which all but the last are marked."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def read_midi(path):
    """The melody of a MIDI file.

    Of all tracks and channels but the drums, the one with the most notes is taken, and of it the highest note at each
    time: a note that begins below one that still sounds is left out. Times are rounded to the nearest sixteenth, so
    that a triplet of eighths begins at the steps 0, 1 and 3; the tempo does not matter. Without a metre the file is in
    4/4; what is in a metre that is not in METRES is left out. Without a key signature the key is `estimated_key`.

    Args:
        path: of the file.

    Returns:
        A `Tune`.

    Raises:
        UnusableTuneError: for a file that is not MIDI, or has no melody in such a metre.
        VaezooError: if mido is not installed.
    """
    voices, metres, key, ticks = _events(path)
    if not voices:
        raise UnusableTuneError("without notes")
    busiest = max(voices.values(), key=len)
    notes = _highest(busiest, ticks)
    end = max(end for _, end, _ in notes)
    starts = {0: "4/4", **metres}

    def step_from(time, note):
        """A note played a little before a metre begins is of that metre."""
        return nearest_step((note[0] - time) / ticks)

    parts, taken, others, left_out = [], [], set(), 0
    for start, stop in itertools.pairwise([*sorted(starts), None]):
        last = stop is None or stop >= end
        length = ((end if last else stop) - start) / ticks  # in sixteenths
        if length <= 0:
            continue
        if length > STEPS * MOST_BARS:
            raise UnusableTuneError(f"with more than {MOST_BARS:,} bars")
        inside = [note for note in notes if step_from(start, note) >= 0 and (last or step_from(stop, note) < 0)]
        within = [((on - start) / ticks, (off - on) / ticks, pitch) for on, off, pitch in inside]
        metre, bars = starts[start], int(length // STEPS)
        if last:
            ends = [max(nearest_step(on) + 1, nearest_step(on + held)) for on, held, _ in within]
            bars = -(-max(ends, default=0) // STEPS)
        if within and metre not in METRES:
            others.add(metre)
            left_out += max(bars, 1)
        elif within and bars:
            parts.append(quantized(within, STEPS * bars))
            taken.append(metre)
    if not parts:
        raise UnusableTuneError(f"in {' and '.join(sorted(others))}" if others else "without a complete bar")
    if key is None:
        durations = np.zeros(12)
        for on, off, pitch in notes:
            durations[pitch % 12] += off - on
        key = estimated_key(durations)
    polyphonic = len(voices) > 1 or len(notes) < len(busiest)
    return Tune(pathlib.Path(path).stem, taken[0], key, tuple(parts), left_out, polyphonic)


def _events(path):
    """({(track, channel): (start, end, pitch) of each note}, {time: metre}, key or None, ticks of a sixteenth)."""
    try:
        import mido
    except ImportError:
        raise VaezooError(
            "MIDI files are read with mido, which is not installed: pip install 'vaezoo[music]'"
        ) from None
    if os.path.getsize(path) > LARGEST:
        raise UnusableTuneError(f"larger than {LARGEST // 2**20} MiB")
    try:
        file = mido.MidiFile(path, clip=True)
        voices, metres, key = {}, {}, None
        for number, track in enumerate(file.tracks):
            now, open_notes = 0, {}
            for message in track:
                now += message.time
                if message.type == "time_signature":
                    metres[now] = f"{message.numerator}/{message.denominator}"
                elif message.type == "key_signature":
                    key = key or key_of(message.key.removesuffix("m"), "m" * message.key.endswith("m"))
                elif message.type in ("note_on", "note_off") and message.channel != DRUMS:
                    voice = message.channel, message.note
                    if voice in open_notes and (begun := open_notes.pop(voice)) < now:
                        voices.setdefault((number, message.channel), []).append((begun, now, message.note))
                    if message.type == "note_on" and message.velocity:
                        open_notes[voice] = now
        ticks = file.ticks_per_beat / 4
    except Exception as error:  # mido raises many types
        raise UnusableTuneError("that cannot be read") from error
    if file.type == 2:
        raise UnusableTuneError("of tracks that do not belong together (type 2)")
    if ticks <= 0:
        raise UnusableTuneError("with times in seconds (SMPTE)")
    return voices, metres, key, ticks


def _highest(notes, ticks):
    """The highest note at each time.

    Notes that begin within half a sixteenth are a chord. A note that lasts a sixteenth into the next is only legato.
    """
    melody = []
    for start, end, pitch in sorted(notes, key=lambda note: (note[0], -note[2])):
        if melody:
            before, until, above = melody[-1]
            if 2 * (start - before) < ticks:
                melody[-1] = max(melody[-1], (before, end, pitch), key=lambda note: note[2])
                continue
            if until - start > ticks and pitch < above:
                continue
            melody[-1] = before, min(until, start), above
        melody.append((start, end, pitch))
    return melody

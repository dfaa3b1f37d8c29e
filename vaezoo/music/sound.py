"""A small synthesizer: a melody as a waveform, a plucked string of a few partials."""

import io
import wave

import numpy as np

from vaezoo.music.tokens import notes_of

RATE = 44_100  # samples a second
PARTIALS = np.arange(1, 9)
LOUDNESS = 1 / PARTIALS**1.6  # of the partials
DECAY = 1.4 + 0.9 * PARTIALS  # a second: high partials die first, as those of a string
ATTACK, RELEASE = 0.006, 0.09  # seconds: short ramps, so that no note begins or ends with a click
HIGHEST_PARTIAL = 9000  # Hz
PEAK = 0.8


def frequency(pitch):
    """The frequency of a pitch, a MIDI number, in Hz: equal temperament, A4 = 69 is 440 Hz."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def waveform(tokens, tempo=120, rate=RATE):
    """A melody as sound.

    Args:
        tokens: integers [T], see `vaezoo.music.tokens`.
        tempo: quarter notes a minute.
        rate: samples a second.

    Returns:
        float32 [S] in [-0.8, 0.8], of the length of the melody and the release of the last note.
    """
    step = 15 / tempo  # seconds
    sound = np.zeros(round((len(tokens) * step + RELEASE) * rate) + 1)
    for start, length, pitch in notes_of(tokens):
        note = _note(frequency(pitch), length * step, rate)
        begin = round(start * step * rate)
        note = note[: len(sound) - begin]
        sound[begin : begin + len(note)] += note
    loudest = np.abs(sound).max(initial=0)
    return (sound * (PEAK / loudest if loudest else 0)).astype("float32")


def _note(hertz, seconds, rate):
    """One note; its release comes after its length."""
    time = np.arange(round((seconds + RELEASE) * rate)) / rate
    # Higher ones would sound harsh, and beyond half the rate come back as false tones.
    partials = PARTIALS[: max(int(min(HIGHEST_PARTIAL, 0.45 * rate) / hertz), 1)][:, None]
    loudness, decay = LOUDNESS[: len(partials), None], DECAY[: len(partials), None]
    sound = (loudness * np.exp(-decay * time) * np.sin(2 * np.pi * hertz * partials * time)).sum(0)
    return sound * _ramp(time / ATTACK) * _ramp((time[-1] - time) / RELEASE if len(time) else time)


def _ramp(progress):
    """0 → 1 as half a cosine."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(progress, 0, 1))


def wav_bytes(tokens, tempo=120, rate=RATE):
    """A melody as a .wav file of one channel and 16 bits; see `waveform`.

    Returns:
        The content of the file, bytes.
    """
    file = io.BytesIO()
    with wave.open(file, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(rate)
        opened.writeframes(np.round(waveform(tokens, tempo, rate) * 32767).astype("<i2").tobytes())
    return file.getvalue()

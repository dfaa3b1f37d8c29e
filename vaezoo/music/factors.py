"""What is known of a window of a melody, by name: what an edit or a disentanglement metric can ask for."""

import numpy as np

from vaezoo.music.tokens import FIRST, LOWEST, STEPS, sounding


def factors_of(tokens):
    """The factors that the notes of each window have.

    Args:
        tokens: integers [N,T]; each window has at least one note.

    Returns:
        A dict of arrays float32 [N]:

        - density: notes that begin, for each bar.
        - range: from the lowest to the highest pitch, in semitones.
        - contour: the slope of the line that fits the sounding pitches best, in semitones a bar; above 0 it rises.
    """
    tokens = np.asarray(tokens)
    begins, pitch = tokens >= FIRST, sounding(tokens)
    height = tokens.astype("int64") - FIRST + LOWEST
    highest = np.where(begins, height, -1).max(-1)
    lowest = np.where(begins, height, 999).min(-1)
    weight = (pitch > 0).astype("float64")
    bar = np.arange(tokens.shape[-1]) / STEPS
    total = np.maximum(weight.sum(-1, keepdims=True), 1)
    time = bar - (weight * bar).sum(-1, keepdims=True) / total
    spread = (weight * time**2).sum(-1)
    slope = (weight * time * pitch).sum(-1) / np.where(spread > 0, spread, 1)
    return {
        "density": (begins.sum(-1) * (STEPS / tokens.shape[-1])).astype("float32"),
        "range": (highest - lowest).astype("float32"),
        "contour": slope.astype("float32"),
    }

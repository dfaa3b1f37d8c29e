"""Melodies as notes, tokens, text, files and sound: NumPy alone, no TensorFlow and no Keras."""

from vaezoo.music.tokens import CLASSES, FIRST, HIGHEST, HOLD, LOWEST, OFF, STEPS, Note, name_of, notes_of, tokens_of

__all__ = [
    "CLASSES",
    "FIRST",
    "HIGHEST",
    "HOLD",
    "LOWEST",
    "OFF",
    "STEPS",
    "Note",
    "name_of",
    "notes_of",
    "tokens_of",
]

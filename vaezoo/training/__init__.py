"""Training: from a recipe to a run directory, also after interruptions.

The names are imported at their first use, so that `inspect` does not import TensorFlow.
"""

import importlib

_HOME = {
    "Inspection": "inspection",
    "Trained": "fit",
    "inspect": "inspection",
    "refit": "refitting",
    "resume": "fit",
    "train": "fit",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'vaezoo.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vaezoo.training.{_HOME[name]}"), name)

"""Training: from a recipe to a run directory, however often it is broken off.

The names are imported when they are first used: to look at a run directory takes no TensorFlow.
"""

import importlib

_HOME = {
    "Inspection": "inspection",
    "Trained": "fit",
    "inspect": "inspection",
    "resume": "fit",
    "train": "fit",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'vaezoo.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vaezoo.training.{_HOME[name]}"), name)

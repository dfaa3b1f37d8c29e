"""Exporting: a run → Keras files, a SavedModel, LiteRT files, ONNX, and the measured agreement between them.

The names are imported lazily, so that a wrong format is refused before TensorFlow is loaded.
"""

import importlib

_HOME = {
    "FORMATS": "vaezoo.exporting.plan",
    "QUANTIZATIONS": "vaezoo.exporting.plan",
    "Plan": "vaezoo.exporting.plan",
    "export": "vaezoo.exporting.exporter",
    "verify": "vaezoo.exporting.agreement",
}

__all__ = ["FORMATS", "QUANTIZATIONS", "Plan", "export", "verify"]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'vaezoo.exporting' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)

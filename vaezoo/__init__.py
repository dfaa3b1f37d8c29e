"""vaezoo: a model zoo of variational autoencoders for Keras 3 and TensorFlow.

The public names are imported at their first use, so `import vaezoo` is fast.
"""

import importlib

import wrapt

__version__ = "0.2.0"

_HOME = {
    "VaezooError": "vaezoo.errors",
    "create_model": "vaezoo.zoo",
    "export": "vaezoo.exporting",
    "load": "vaezoo.presets",
    "load_data": "vaezoo.data",
    "load_recipe": "vaezoo.config",
    "make_preset": "vaezoo.publishing",
    "push": "vaezoo.publishing",
    "recipe_names": "vaezoo.config",
    "resume": "vaezoo.training",
    "train": "vaezoo.training",
    "verify": "vaezoo.exporting",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'vaezoo' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return __all__


# `vaezoo list` must not import Keras, yet after `import vaezoo`, `keras.models.load_model` must know vaezoo's classes,
# whichever of the two is imported first. So this hook registers them as soon as Keras is imported.
@wrapt.when_imported("keras")
def _register_classes(_keras):
    importlib.import_module("vaezoo.zoo")

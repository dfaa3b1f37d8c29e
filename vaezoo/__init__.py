"""vaezoo: a model zoo of variational autoencoders for Keras 3 and TensorFlow.

The public names are imported when they are first used, so `import vaezoo` costs nothing. Once Keras is imported too,
before or after, `keras.models.load_model` knows every class that a vaezoo file can hold.
"""

import importlib

import wrapt

__version__ = "0.1.0"

_HOME = {
    "VaezooError": "vaezoo.errors",
    "create_model": "vaezoo.zoo",
    "export": "vaezoo.exporting",
    "load": "vaezoo.zoo",
    "load_data": "vaezoo.data",
    "load_recipe": "vaezoo.config",
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


@wrapt.when_imported("keras")
def _register_classes(_keras):
    importlib.import_module("vaezoo.zoo")

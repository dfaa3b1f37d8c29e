"""vaezoo: a model zoo of variational autoencoders for Keras 3 and TensorFlow.

The public names are imported at their first use, so `import vaezoo` is fast.
"""

import importlib
import sys

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
    "recipe_names": "vaezoo.recipe_files",
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


class _AfterKeras:
    """A finder of modules that imports `vaezoo.zoo`, which registers the classes of the zoo, after the import of Keras.

    `vaezoo list` must not import Keras, yet after `import vaezoo`, `keras.models.load_model` must know these classes,
    whichever of the two is imported first.
    """

    def find_spec(self, name, path=None, target=None):
        """Where Keras is, as the other finders say it; None for any other module."""
        if name != "keras":
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                importlib.import_module("vaezoo.zoo")

            spec.loader.exec_module = execute_and_register
        return spec


if "keras" in sys.modules:
    importlib.import_module("vaezoo.zoo")
else:
    sys.meta_path.insert(0, _AfterKeras())

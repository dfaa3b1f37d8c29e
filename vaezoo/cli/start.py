"""Importing TensorFlow and Keras for a command: without their messages, and without what no command needs of them."""

import contextlib
import sys

from vaezoo.quiet import quiet_tensorflow

# Keras, LiteRT and tf-keras import these where they are installed, for functions that no command calls: together a
# third of the time until a command begins.
UNNEEDED = ("IPython", "jax", "matplotlib.pyplot", "pandas", "scipy", "sklearn")


@contextlib.contextmanager
def quick_tensorflow():
    """Import Keras, then what the block imports; as `quiet_tensorflow`. What Keras did not find, others still find."""
    with quiet_tensorflow():
        hidden = [] if "keras" in sys.modules else [name for name in UNNEEDED if name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # None: an ImportError
        try:
            import keras  # noqa: F401
        finally:
            for name in hidden:
                sys.modules.pop(name, None)
        yield

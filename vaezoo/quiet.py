"""Importing TensorFlow without its messages, and for a command also without what no command needs of it."""

import contextlib
import gc
import logging
import os
import sys
import tempfile

# Keras, LiteRT and tf-keras import these where they are installed, for functions that no command calls: together a
# third of the time until a command begins.
UNNEEDED = ("IPython", "jax", "matplotlib.pyplot", "pandas", "scipy", "sklearn")


@contextlib.contextmanager
def quiet_tensorflow():
    """Hold back what TensorFlow writes to standard error during its import; show it only if the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise, contextlib.ExitStack() as stack:
        real = os.dup(2)
        stack.callback(os.close, real)
        os.dup2(noise.fileno(), 2)
        try:
            yield
            from vaezoo.hardware import let_memory_grow

            let_memory_grow()  # the search for a GPU prints messages too
        except BaseException:
            noise.seek(0)
            os.write(real, noise.read())
            raise
        finally:
            os.dup2(real, 2)


@contextlib.contextmanager
def quick_tensorflow():
    """Import Keras, then what the block imports; as `quiet_tensorflow`. What Keras did not find, others still find."""
    first = "keras" not in sys.modules
    with quiet_tensorflow(), _without_collections(forever=first):
        hidden = [name for name in UNNEEDED if first and name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # None: an ImportError
        try:
            import keras  # noqa: F401
        finally:
            for name in hidden:
                sys.modules.pop(name, None)
        yield


@contextlib.contextmanager
def _without_collections(forever):
    """Run the block without garbage collections; with `forever`, later ones leave out what it made.

    They look at half a million objects of modules again and again, a fifth of the time until a command begins.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if forever:
            gc.freeze()
        if enabled:
            gc.enable()

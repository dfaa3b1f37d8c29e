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
    with quiet_tensorflow():
        if "keras" in sys.modules:
            yield
            return
        with _without_collections():
            hidden = [name for name in UNNEEDED if name not in sys.modules]
            sys.modules.update(dict.fromkeys(hidden))  # None: an ImportError
            try:
                import keras  # noqa: F401
            finally:
                for name in hidden:
                    sys.modules.pop(name, None)
            yield


@contextlib.contextmanager
def _without_collections():
    """Run the block without garbage collections, and leave what it made out of later ones.

    They look at half a million objects of modules again and again, a fifth of the time until a command begins.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()

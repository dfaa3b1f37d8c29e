"""Importing TensorFlow without its greetings."""

import contextlib
import logging
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet_tensorflow():
    """Keep what TensorFlow writes to standard error while it is imported, and show it only if the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise, contextlib.ExitStack() as stack:
        real = os.dup(2)
        stack.callback(os.close, real)
        os.dup2(noise.fileno(), 2)
        try:
            yield
            from vaezoo.training.hardware import let_memory_grow

            let_memory_grow()  # the search for a GPU has lines of its own
        except BaseException:
            noise.seek(0)
            os.write(real, noise.read())
            raise
        finally:
            os.dup2(real, 2)

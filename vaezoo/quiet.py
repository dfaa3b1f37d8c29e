"""Importing TensorFlow without its messages."""

import contextlib
import logging
import os
import sys
import tempfile


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

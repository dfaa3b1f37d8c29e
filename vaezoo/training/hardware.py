"""What a training runs on."""

import collections
import contextlib
import os


def let_memory_grow():
    """Take a GPU's memory as it is needed, not all of it at once, so that others can use the GPU too.

    Call it before anything runs on a GPU. One that is in use already, or that its user has divided, stays as it is.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


def describe_devices():
    """The GPUs by name, as in "2 × NVIDIA H200", or the cores of the CPU where there is none."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = collections.Counter(
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    )
    described = [f"{count} × {name}" if count > 1 else name for name, count in names.items()]
    return " and ".join(described) or f"CPU, {os.cpu_count()} cores"

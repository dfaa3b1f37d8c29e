"""The devices of this machine. TensorFlow is imported at the first use."""

import collections
import contextlib
import os


def let_memory_grow():
    """Take GPU memory as it is needed instead of all at once, so that other processes can use the GPU too.

    Call it before anything runs on a GPU. A GPU that is already in use, or that has logical devices, is left unchanged.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


def on_gpu():
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def describe_devices():
    """The names of the GPUs, as in "2 × NVIDIA H200", or the number of CPU cores if there is no GPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = collections.Counter(
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    )
    described = [f"{count} × {name}" if count > 1 else name for name, count in names.items()]
    return " and ".join(described) or f"CPU, {os.cpu_count()} cores"

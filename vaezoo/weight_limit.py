"""A limit on the weights that a description may ask for, which holds before they take any memory."""

import contextlib

import tensorflow as tf

from vaezoo.errors import VaezooError


@contextlib.contextmanager
def weights_within(limit, complaint):
    """Let no more variables be made than fit into a number of bytes.

    A recipe of a few lines, or a Keras file of a few kilobytes, can ask for terabytes.

    Args:
        limit: bytes.
        complaint: the message of the error.

    Raises:
        VaezooError: at the first variable that no longer fits, before it is made.
    """
    total = 0
    nowhere = tf.Graph()  # where an initial value has a shape and takes no memory

    def counted(make, **keywords):
        nonlocal total
        value = keywords["initial_value"]
        if callable(value):
            with nowhere.as_default():
                value = value()
        total += value.shape.num_elements() * value.dtype.size
        if total > limit:
            raise VaezooError(complaint)
        return make(**keywords)

    with tf.variable_creator_scope(counted):
        yield

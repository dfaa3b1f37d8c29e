"""A limit on the weights that a description may ask for, checked before they take any memory."""

import contextlib

from vaezoo.errors import VaezooError


@contextlib.contextmanager
def weights_within(limit, complaint):
    """A context in which the variables that are made take at most a number of bytes.

    A recipe of a few lines, or a Keras file of a few kilobytes, can ask for terabytes.

    Args:
        limit: bytes.
        complaint: the message of the error.

    Raises:
        VaezooError: at the first variable beyond the limit, before it takes memory.
    """
    import tensorflow as tf  # here: importing it first would run the Keras import hook, which needs this module

    total = 0
    scratch = tf.Graph()  # an initial value that is made here has a shape and takes no memory

    def counted(make, **keywords):
        nonlocal total
        value = keywords["initial_value"]
        if callable(value):
            with scratch.as_default():
                value = value()
        total += value.shape.num_elements() * value.dtype.size
        if total > limit:
            raise VaezooError(complaint)
        return make(**keywords)

    with tf.variable_creator_scope(counted):
        yield

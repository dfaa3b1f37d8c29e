"""Streams of random numbers: each draw is a function of (seed, purpose, step), so it can be repeated."""

import contextlib
import random

# Each purpose has a stream of its own.
TRAINING, EVALUATION, SAMPLING, IMPORTANCE, EXPORT, SCORING = 1, 2, 3, 4, 5, 6


def fold_seed(seed, purpose, step):
    """A stateless seed [2], a function of (seed, purpose, step)."""
    import tensorflow as tf  # here: importing it first would run the Keras import hook, which needs this module

    root = tf.stack([tf.cast(seed, tf.int32), 0])
    for number in (purpose, step):  # the default algorithm depends on the device
        root = tf.random.experimental.stateless_fold_in(root, tf.cast(number, tf.int32), alg="philox")
    return root


@contextlib.contextmanager
def initial_weights(seed):
    """Make the initial weights of layers that are built inside a function of the seed, and leave no other trace.

    An initializer of Keras takes its seed from Python's generator. `keras.utils.set_random_seed` would also set the
    generators of NumPy and TensorFlow, which belong to the caller.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)

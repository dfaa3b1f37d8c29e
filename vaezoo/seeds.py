"""Streams of random numbers: every draw is a function of (seed, purpose, step) alone, so it can be drawn again."""

import tensorflow as tf

# Two purposes never share a stream.
TRAINING, EVALUATION, SAMPLING, IMPORTANCE, EXPORT = 1, 2, 3, 4, 5


def fold_seed(seed, purpose, step):
    """A stateless seed [2] that is a function of (seed, purpose, step) alone."""
    root = tf.stack([tf.cast(seed, tf.int32), 0])
    for number in (purpose, step):  # Philox by name, as for the noise itself: see `posteriors`
        root = tf.random.experimental.stateless_fold_in(root, tf.cast(number, tf.int32), alg="philox")
    return root

"""A training step on several devices: each has its rows of the batch, and all make the same update.

A replica is one of R devices with the same weights. Replica r has the rows [r B, (r + 1) B) of the batch, so the means
of the gradients and of the terms over the replicas are those of the batch. On one device R is 1, and every function
here returns its input.
"""

import tensorflow as tf

from vaezoo import internals


def count():
    """R, the number of replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def with_place(seed, x):
    """The seed of the noise of this replica's rows: the noise that these rows have in the full batch.

    Args:
        seed: the stateless seed [2] of the step, the same on every replica.
        x: the examples of this replica [B,...].

    Returns:
        (seed, first row, rows of the full batch) [4] for `normal`; if R is 1, the seed [2] itself.
    """
    if count() == 1:
        return seed
    rows = tf.shape(x)[0]
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * rows
    return tf.concat([seed, [first, count() * rows]], axis=0)


def normal(shape, seed, **options):
    """Standard normal noise of the Philox generator.

    Args:
        shape: of the noise, an integer tensor; [...,B,D] for a seed [4].
        seed: stateless, [2]; or [4], from `with_place`.
        options: of `tf.random.stateless_normal`.

    Returns:
        The noise; for a seed [4], the rows of this replica of the noise of the full batch.
    """
    if seed.shape[0] == 2:
        return tf.random.stateless_normal(shape, seed, alg="philox", **options)
    seed, (first, rows) = seed[:2], tf.unstack(seed[2:])
    full = tf.concat([shape[:-2], [rows], shape[-1:]], axis=0)
    noise = tf.random.stateless_normal(full, seed, alg="philox", **options)
    return tf.gather(noise, first + tf.range(shape[-2]), axis=-2)


def mean(tensors):
    """The means of a list of tensors over the replicas, the same on every replica; None stays None."""
    if count() == 1:
        return tensors
    given = [tensor for tensor in tensors if tensor is not None]
    means = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, given))
    return [None if tensor is None else next(means) for tensor in tensors]


def apply(optimizer, gradients, variables):
    """One step of a Keras optimizer with the gradients of the full batch."""
    if count() > 1:
        internals.take_summed_gradients(optimizer)
    optimizer.apply(gradients, variables)


def only_if(condition, update, *arguments):
    """Call `update(*arguments)` if the condition holds, which must be the same on every replica.

    In TensorFlow, a branch inside a replica cannot change shared variables, so the branch is outside the replicas.
    """
    if count() == 1:
        tf.cond(condition, lambda: update(*arguments), lambda: None)
        return

    def branch(strategy, condition, *arguments):
        def update_all():
            strategy.extended.call_for_each_replica(update, arguments)

        tf.cond(strategy.experimental_local_results(condition)[0], update_all, lambda: None)

    tf.distribute.get_replica_context().merge_call(branch, (condition, *arguments))


def as_log(value):
    """A number as `fit` expects it from a step: with several machines, Keras takes the mean over its first axis."""
    several_machines = isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
    return tf.reshape(value, [1]) if several_machines else value

"""A training step that several devices take together: each has its rows of the batch, all make the same update.

A replica is one of R devices that hold the same weights. Replica r is given the rows [r B, (r + 1) B) of the batch; the
means over the replicas, of the gradients and of the terms, are then those of the batch. On one device R is 1, and every
function here gives back what it is given.
"""

import tensorflow as tf


def count():
    """R, the number of replicas that take the step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def with_place(seed, x):
    """The seed of the noise of this replica's rows: that which these rows have in the whole batch.

    Args:
        seed: the stateless seed [2] of the step, the same on every replica.
        x: this replica's images [B,H,W,C].

    Returns:
        (seed, first row, rows of the whole batch) [4] for `normal`; the seed [2] itself where R is 1.
    """
    if count() == 1:
        return seed
    rows = tf.shape(x)[0]
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * rows
    return tf.concat([seed, [first, count() * rows]], axis=0)


def normal(shape, seed, **options):
    """Standard normal noise of the Philox generator.

    Args:
        shape: of the noise, an integer tensor; [...,B,D] for a seed with a place.
        seed: stateless, [2]; or [4], from `with_place`.
        options: of `tf.random.stateless_normal`.

    Returns:
        The noise; with a place, the rows of that place of the noise of the whole batch.
    """
    if seed.shape[0] == 2:
        return tf.random.stateless_normal(shape, seed, alg="philox", **options)
    seed, (first, every) = seed[:2], tf.unstack(seed[2:])
    whole = tf.concat([shape[:-2], [every], shape[-1:]], axis=0)
    noise = tf.random.stateless_normal(whole, seed, alg="philox", **options)
    return tf.gather(noise, first + tf.range(shape[-2]), axis=-2)


def mean(tensors):
    """The means over the replicas of a list of tensors, the same on every replica; None stays None."""
    if count() == 1:
        return tensors
    given = [tensor for tensor in tensors if tensor is not None]
    means = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, given))
    return [None if tensor is None else next(means) for tensor in tensors]


def apply(optimizer, gradients, variables):
    """One step of a Keras optimizer with the gradients of the whole batch."""
    if count() > 1:
        # Keras would clip each replica's gradients, then add them up over the replicas. These have been put together.
        getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list
    optimizer.apply(gradients, variables)


def only_if(condition, update, *arguments):
    """Call `update(*arguments)` where the condition holds, which has to be the same on every replica.

    TensorFlow allows no branch within a replica to change what all replicas share, so the branch surrounds them all.
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
    """A number as Keras's `fit` wants it of a step: it takes the mean over an axis where there are several machines."""
    several_machines = isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
    return tf.reshape(value, [1]) if several_machines else value

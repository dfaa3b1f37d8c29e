"""A function that is traced once, for batches of every size."""

import functools

import tensorflow as tf


class Graph:
    """A function of tensors that Python calls as one graph, traced once for batches of every size.

    It is inlined when called inside another trace. It is a graph, not XLA, which compiles again for every batch size.

    It hides the `tf.function` from Keras and TensorFlow, which would save a `tf.function` that is an attribute of a
    model.

    Args:
        function: tensors → tensors, built of TensorFlow operations alone.
        *signature: a structure of `tf.TensorSpec` for each argument; axes of any size are None.
    """

    def __init__(self, function, *signature):
        self.function = function
        # TensorFlow counts the traces of a lambda for all graphs together, and warns of retracing once a program has
        # several models. Those of a `partial` it counts one by one.
        call = functools.partial(lambda *inputs: function(*inputs))
        self.compiled = tf.function(call, input_signature=signature, autograph=False)

    def __call__(self, *inputs):
        """The result of the function."""
        return self.compiled(*inputs) if tf.executing_eagerly() else self.function(*inputs)

    @classmethod
    def of_network(cls, network):
        """The graph of a functional Keras model, for the inputs that the model declares."""
        return cls(network, tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), network.input))

    @property
    def traces(self):
        """How many times it was traced."""
        return self.compiled.experimental_get_tracing_count()

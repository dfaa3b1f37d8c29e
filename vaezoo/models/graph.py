"""A function that is traced once, for batches of every size."""

import tensorflow as tf


class Graph:
    """A function of tensors that Python calls as one graph, traced at the first call and never again.

    Called while another graph is traced, it is plainly a part of that one: it shares its shapes and its compilation.
    A graph, not XLA, which compiles anew for every size of a batch. It reads the variables, not copies of them.

    It hides the `tf.function` from Keras and TensorFlow, which would save it with a model that has one as attribute.

    Args:
        function: tensors → tensors, built of TensorFlow operations alone.
        *signature: a structure of `tf.TensorSpec` for each argument; axes of any size are None.
    """

    def __init__(self, function, *signature):
        self.function = function
        self.compiled = tf.function(lambda *inputs: function(*inputs), input_signature=signature, autograph=False)

    def __call__(self, *inputs):
        """What the function gives for these tensors."""
        return self.compiled(*inputs) if tf.executing_eagerly() else self.function(*inputs)

    @classmethod
    def of_network(cls, network):
        """The graph of a functional Keras model: what it takes is what it says that it takes."""
        return cls(network, tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), network.input))

    @property
    def traces(self):
        """How often it was traced."""
        return self.compiled.experimental_get_tracing_count()

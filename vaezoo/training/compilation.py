"""Compilation of the training step: XLA or graph, and the number of steps in one call."""

import keras
import tensorflow as tf

from vaezoo import internals
from vaezoo.decoding import layers_of
from vaezoo.hardware import on_gpu


def use_xla(model, choice="auto"):
    """Whether to compile the step with XLA.

    On a CPU, XLA makes dense networks a third faster, as it fuses their many small operations. It makes convolutional
    networks a third slower, as oneDNN's convolutions are faster than its own. So are oneDNN's products of bfloat16, on
    a processor with instructions for them. On a GPU, XLA is faster for all networks.

    Args:
        model: a `VAE`.
        choice: "xla", "graph", or "auto" for the rule above.
    """
    if choice != "auto":
        return choice == "xla"
    better_by_graph = (
        isinstance(layer, _CONVOLUTIONS) or layer.dtype_policy.compute_dtype == "bfloat16"
        for layer in layers_of(model.encoder, model.decoder)
    )
    return on_gpu() or not any(better_by_graph)


_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)


def epoch_shape(images, batch_size):
    """The number of steps in an epoch, and of steps in one call.

    Calls of 8 to 32 steps make the cost of Python between them small. An epoch must be an integer number of calls, so
    some batches at its end may be dropped; the length of a call is chosen to drop the fewest. Each epoch has a new
    order, so no example is dropped from all epochs.

    Args:
        images: the number of training examples.
        batch_size: at most that number.

    Returns:
        (steps in an epoch, steps in a call).
    """
    steps = images // batch_size
    if steps < 8:
        return steps, steps
    call = min(range(8, min(32, steps) + 1), key=lambda length: (steps % length, -length))
    return steps - steps % call, call


def compile_whole_calls(model):
    """Compile all steps of a call as one XLA program; Keras compiles one program that it enters for each step.

    The weights and Adam's moments then stay in the program during the call. That saves a tenth of the time of a dense
    network, and a sixth of that of a small one.

    Args:
        model: a `VAE`, compiled with `jit_compile=True`. Its epochs must be multiples of `steps_per_execution` steps.
    """
    steps = model.steps_per_execution

    @tf.function(jit_compile=True, autograph=False)
    def train_on(batches):  # each tensor [S,B,...]
        def body(step):
            model.train_step(tf.nest.map_structure(lambda tensor: tensor[step], batches))
            return step + 1

        tf.while_loop(lambda step: step < steps, body, [0], maximum_iterations=steps)
        return model.get_metrics_result()

    @tf.function(autograph=False)
    def call(iterator):
        batches = [next(iterator) for _ in range(steps)]
        return train_on(tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *batches))

    internals.set_train_function(model, call)

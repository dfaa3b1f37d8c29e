"""How the training step is compiled: XLA or graph, and how many steps run in one call."""

import keras
import tensorflow as tf


def use_xla(model, choice="auto"):
    """Whether to compile the step with XLA.

    On a CPU, XLA fuses the many small operations of dense networks and wins a third; its convolutions are slower than
    oneDNN's and lose a third, and so are its products of bfloat16 on a processor that has instructions for them. On a
    GPU it wins for all.

    Args:
        model: a `VAE`.
        choice: "xla", "graph", or "auto" for that rule.
    """
    if choice != "auto":
        return choice == "xla"
    layers = model.encoder.layers + model.decoder.layers
    better_by_graph = (
        isinstance(layer, _CONVOLUTIONS) or layer.dtype_policy.compute_dtype == "bfloat16" for layer in layers
    )
    return on_gpu() or not any(better_by_graph)


_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)


def on_gpu():
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def epoch_shape(images, batch_size):
    """The steps of an epoch, and how many of them run in one call.

    Calls of 8 to 32 steps hide the cost of Python between them. Every epoch must be a whole number of calls, and of
    these lengths the one is taken that leaves out the fewest batches at the epoch's end; the order is drawn anew each
    epoch, so no image is left out for good.

    Args:
        images: the number of training images.
        batch_size: at most that number.

    Returns:
        (steps an epoch, steps a call).
    """
    steps = images // batch_size
    if steps < 8:
        return steps, steps
    call = min(range(8, min(32, steps) + 1), key=lambda length: (steps % length, -length))
    return steps - steps % call, call


def compile_whole_calls(model):
    """Make one XLA program of all the steps of a call, where Keras would enter and leave one in every step.

    The weights and Adam's moments then stay where they are for the length of the call, in place of being handed to each
    step and back: a tenth of the time of a dense network, a sixth of that of a small one.

    Args:
        model: a `VAE`, compiled with `jit_compile=True`. Its epochs must be whole numbers of `steps_per_execution`.
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

    model.train_function = call  # what `fit` would make for itself if there were none

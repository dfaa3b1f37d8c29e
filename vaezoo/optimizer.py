"""Adam using TensorFlow's fused kernel, and the moving average of the weights."""

import contextlib

import keras
import tensorflow as tf

from vaezoo import internals


@keras.saving.register_keras_serializable("vaezoo")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` using TensorFlow's fused kernel, which updates a weight and its moments in one operation.

    Keras uses a dozen operations, each of which reads and writes memory. With the kernel, a training step of `conv_vae`
    without XLA takes a tenth less time. With `amsgrad`, the update is that of Keras.

    Args:
        average: the decay of a moving average of the weights, in (0, 1); None for no average. In the first steps the
            decay is smaller, t / (t + 9), so that the average does not remember the initial weights.

    Source: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, in the form at the end of
    section 2: a step size alpha_t in place of bias-corrected moments. The average is that of their section 7.2.
    """

    def __init__(self, *args, average=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.average = average

    def build(self, variables):
        """Make the moments, and the averages if there are any."""
        super().build(variables)
        if self.average:
            self.averages = self.add_optimizer_variables(variables, "average")

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable, its moments m and v, and its average in place."""
        self._adam(gradient, variable, learning_rate)
        if self.average:
            average = internals.of_variable(self, self.averages, variable).value.handle
            step = tf.cast(self.iterations, variable.dtype)
            rest = 1 - tf.minimum(tf.cast(self.average, variable.dtype), step / (step + 9))
            new, old = (tf.raw_ops.ReadVariableOp(resource=h, dtype=variable.dtype) for h in (variable.handle, average))
            tf.raw_ops.AssignAddVariableOp(resource=average, value=rest * (new - old))

    def _adam(self, gradient, variable, learning_rate):
        if self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        step = tf.cast(self.iterations + 1, variable.dtype)
        m, v = internals.adam_moments(self, variable)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.value.handle,
            v=v.value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),
        )

    def get_config(self):
        """The arguments of the constructor."""
        return {**super().get_config(), "average": self.average}


def take_averages(model):
    """Set the weights of a model that is being trained to their moving averages.

    Returns:
        The weights before, in the order of `model.trainable_variables`; None for an optimizer without averages.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # under mixed_float16 it is wrapped
    if not getattr(optimizer, "average", None):
        return None
    before = [weight.numpy() for weight in model.trainable_variables]
    for weight, average in zip(model.trainable_variables, optimizer.averages, strict=True):
        weight.assign(average)
    return before


@contextlib.contextmanager
def averaged(model):
    """Inside, the weights of a model that is being trained are their moving averages; yields whether there are any."""
    before = take_averages(model)
    try:
        yield before is not None
    finally:
        if before is not None:
            for weight, value in zip(model.trainable_variables, before, strict=True):
                weight.assign(value)

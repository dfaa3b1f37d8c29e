"""Adam using TensorFlow's fused kernel, Muon, and the moving average of the weights."""

import contextlib
from functools import partial

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
        self.update_weight(gradient, variable, learning_rate)
        if self.average:
            average = internals.of_variable(self, self.averages, variable).value.handle
            step = tf.cast(self.iterations, variable.dtype)
            rest = 1 - tf.minimum(tf.cast(self.average, variable.dtype), step / (step + 9))
            new, old = (tf.raw_ops.ReadVariableOp(resource=h, dtype=variable.dtype) for h in (variable.handle, average))
            tf.raw_ops.AssignAddVariableOp(resource=average, value=rest * (new - old))

    def update_weight(self, gradient, variable, learning_rate):
        """Update a variable and its moments, but not its average."""
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


@keras.saving.register_keras_serializable("vaezoo")
class Muon(Adam):
    """`Adam`, but the kernels of convolutions move along orthogonal matrices.

    The momentum of a kernel's gradient, as a matrix whose columns are its last axis, is brought close to the nearest
    matrix whose singular values are all one. So directions in which the gradient is small move as far as those in which
    it is large. Its length is then that of Adam's usual update, so that one learning rate serves both.
    (`keras.optimizers.Muon` takes matrices alone, and leaves convolutions to Adam.)

    Args:
        dense: whether the kernels of dense layers move so too. It pays where their smaller side is about 200:
            the time of an orthogonal update grows as the square of it, and that of the rest of a step as itself.
        args, kwargs: those of `Adam`.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the length is that of Liu et
    al. 2025, "Muon is Scalable for LLM Training", arXiv:2502.16982, equation 4.
    """

    MOMENTUM = 0.95

    def __init__(self, *args, dense=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.dense = dense

    def build(self, variables):
        """Make the moments, and decide which weights move along orthogonal matrices."""
        super().build(variables)
        axes = 2 if self.dense else 3
        self.orthogonal = [variable.name == "kernel" and len(variable.shape) >= axes for variable in variables]

    def update_weight(self, gradient, variable, learning_rate):
        """Update a variable and its moments, but not its average."""
        if not internals.of_variable(self, self.orthogonal, variable):
            return super().update_weight(gradient, variable, learning_rate)
        m, _ = internals.adam_moments(self, variable)
        momentum = self.MOMENTUM * m + gradient
        self.assign(m, momentum)
        ahead = self.MOMENTUM * momentum + gradient  # Nesterov's
        update = orthogonalized(tf.reshape(ahead, [-1, variable.shape[-1]]))  # [n, m], m the last axis
        length = 0.2 * max(update.shape) ** 0.5 * tf.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, tf.reshape(length * update, variable.shape))

    def get_config(self):
        """The arguments of the constructor."""
        return {**super().get_config(), "dense": self.dense}


def orthogonalized(matrix):
    """A matrix [n, m] with the singular vectors of the given one, and with singular values near one, in 0.67 to 1.14.

    Five Newton-Schulz steps of the polynomial of Jordan et al. (2024), which bring values of a hundredth of the
    matrix's norm into that range. The powers are those of the smaller Gram matrix: fewer operations than with the
    matrix itself.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    tall = tf.transpose(matrix) if wide else matrix
    tall /= tf.norm(tall) + 1e-12
    gram = tf.matmul(tall, tall, transpose_a=True)  # [m, m], if m is the smaller
    factor = identity = tf.eye(gram.shape[0], dtype=gram.dtype)
    for _ in range(5):
        step = 3.4445 * identity - 4.7750 * gram + 2.0315 * gram @ gram
        factor, gram = factor @ step, step @ gram @ step
    return tf.transpose(tall @ factor) if wide else tall @ factor


def optimizer_of(settings, learning_rate, average=None):
    """The optimizer that a recipe names.

    Args:
        settings: the section `training` of a `Recipe`.
        learning_rate: a float or a schedule.
        average: as in `Adam`.
    """
    kind = {"adam": Adam, "muon": Muon, "muon_all": partial(Muon, dense=True)}[settings.optimizer]
    return kind(
        learning_rate,
        beta_2=settings.beta_2,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        average=average,
    )


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

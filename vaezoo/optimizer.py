"""Adam using TensorFlow's fused kernel."""

import keras
import tensorflow as tf

from vaezoo import internals


@keras.saving.register_keras_serializable("vaezoo")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` using TensorFlow's fused kernel, which updates a weight and its moments in one operation.

    Keras uses a dozen operations, each of which reads and writes memory. With the kernel, a training step of `conv_vae`
    without XLA takes a tenth less time. With `amsgrad`, the update is that of Keras.

    Source: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, in the form at the end of
    section 2: a step size alpha_t in place of bias-corrected moments.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable and its moments m and v in place."""
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

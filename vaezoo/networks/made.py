"""Masked autoregressive networks: one pass gives, for every variable, a function of those before it alone."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("vaezoo")
class MaskedDense(keras.layers.Dense):
    """A dense layer whose output j sees input i only where degrees_in[i] <= degrees_out[j] (Germain et al. 2015).

    A masked weight is zero at first and has no gradient, so it stays zero: a plain dense layer with the same kernel
    computes the same.

    Args:
        degrees_in: an integer for each input.
        degrees_out: an integer for each output.
        activation: the nonlinearity, by its Keras name; none by default.
    """

    def __init__(self, degrees_in, degrees_out, activation=None, **kwargs):
        super().__init__(len(degrees_out), activation, **kwargs)
        self.degrees_in, self.degrees_out = [int(d) for d in degrees_in], [int(d) for d in degrees_out]
        self.mask = np.less_equal.outer(self.degrees_in, self.degrees_out).astype("float32")  # [inputs,outputs]

    def build(self, input_shape):
        """Make the kernel, with zeros where it is masked, and the bias."""
        super().build(input_shape)
        self.kernel.assign(self.kernel * self.mask)

    def call(self, inputs, training=None):
        """activation(inputs (kernel * mask) + bias)."""
        return self.activation(ops.matmul(inputs, self.kernel * self.mask) + self.bias)

    def plain(self):
        """A Keras `Dense` layer of the same name, for the same weights."""
        return keras.layers.Dense(self.units, self.activation, name=self.name, dtype=self.dtype_policy)

    def get_config(self):
        """The constructor's arguments."""
        own = {"degrees_in": self.degrees_in, "degrees_out": self.degrees_out}
        config = super().get_config()
        del config["units"]
        return {**config, **own}


def made(latent_dim, context, hidden, backwards=False, name="made"):
    """A masked network over z, given a context h: [B,C+D] = (h, z) → [B,2D], two numbers a variable.

    Those of variable d depend on all of h and on the variables before d: z_1 ... z_(d-1), or, `backwards`,
    z_(d+1) ... z_D. The context has degree 0, the variables 1 to D in their order, a hidden unit 0 to D-1: what it may
    see. The network is float32 under every precision, since densities are computed with it.

    Args:
        latent_dim: D.
        context: C.
        hidden: the widths of the hidden layers; their units see from none to D-1 variables, evenly.
        backwards: whether the order is D to 1.
        name: of the model.

    Returns:
        A functional Keras model.

    Source: Germain et al. 2015, "MADE", arXiv:1502.03509; tanh keeps the output bounded for codes far from the data.
    """
    before = np.arange(latent_dim)[:: -1 if backwards else 1]  # how many variables come before each
    inputs = keras.Input((context + latent_dim,), name="context_and_z")
    x, degrees = inputs, [*[0] * context, *(before + 1)]
    for width in hidden:
        seen = np.arange(width) * latent_dim // width
        x, degrees = MaskedDense(degrees, seen, "tanh", dtype="float32")(x), seen
    return keras.Model(inputs, MaskedDense(degrees, [*before, *before], dtype="float32")(x), name=name)

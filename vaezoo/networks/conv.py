"""Convolutional bodies: every level of the encoder halves the image, every level of the decoder doubles it."""

import keras

from vaezoo.errors import VaezooError
from vaezoo.networks.ends import flat_features, float32_model, image_inputs, latent_inputs
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register("conv")
def conv_encoder(image_shape, params_size, classes=0, *, filters=(32, 64), kernel_size=4, dense=512, activation="gelu"):
    """A convolutional encoder: image [B,H,W,C] → params [B,P].

    Args:
        image_shape: (H, W, C); H and W must be multiples of 2 to the power of len(filters).
        params_size: P, the number of parameters of q(z|x).
        classes: Y, the number of classes that the label [B] of a conditional model can take; 0 for none.
            The label joins the features before the dense layer.
        filters: the width of each convolution; each has a stride of 2.
        kernel_size: the side of every kernel, in pixels.
        dense: the width of the dense layer between the convolutions and the parameters.
        activation: the nonlinearity between layers, by its Keras name.

    Returns:
        A functional Keras model named "encoder".

    Raises:
        VaezooError: for an image that the strides do not divide.
    """
    _smallest_size(image_shape, len(filters))
    inputs = image_inputs(image_shape, classes)
    h = inputs["image"] if classes else inputs
    for width in filters:
        h = keras.layers.Conv2D(width, kernel_size, strides=2, padding="same", activation=activation)(h)
    h = flat_features(inputs, h, classes)
    h = keras.layers.Dense(dense, activation)(h)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@DECODERS.register("conv")
def conv_decoder(
    latent_dim,
    image_shape,
    params_per_channel,
    classes=0,
    *,
    filters=(64, 64),
    kernel_size=3,
    dense=512,
    activation="gelu",
):
    """A convolutional decoder: z [B,D] → params [B,H,W,P*C].

    The last doubling is a depth-to-space: a convolution at half the resolution makes four times the channels, which
    are then laid out as 2×2 pixels (Shi et al., 2016, arXiv:1609.05158). A transposed convolution down to one channel
    at full resolution costs several times as much and is no better.

    Args:
        latent_dim: D.
        image_shape: (H, W, C); H and W must be multiples of 2 to the power of len(filters).
        params_per_channel: P, the number of parameters of p(x|z) for each channel of each pixel.
        classes: Y, the number of classes that the label [B] of a conditional model can take; 0 for none.
        filters: the width at each resolution below the full one, from the smallest up.
        kernel_size: the side of every kernel, in pixels.
        dense: the width of the dense layer that the code enters.
        activation: the nonlinearity between layers, by its Keras name.

    Returns:
        A functional Keras model named "decoder".

    Raises:
        VaezooError: for an image that the strides do not divide.
    """
    height, width = _smallest_size(image_shape, len(filters))
    inputs = latent_inputs(latent_dim, classes)
    h = flat_features(inputs, inputs["z"] if classes else inputs, classes)  # [B,D(+Y)]
    h = keras.layers.Dense(dense, activation)(h)
    h = keras.layers.Dense(height * width * filters[0], activation)(h)
    h = keras.layers.Reshape((height, width, filters[0]))(h)
    for level in filters[1:]:
        h = keras.layers.Conv2DTranspose(level, kernel_size, strides=2, padding="same", activation=activation)(h)
    channels = params_per_channel * image_shape[2]
    h = keras.layers.Conv2D(4 * channels, kernel_size, padding="same")(h)  # [B,H/2,W/2,4PC]
    height, width = image_shape[0] // 2, image_shape[1] // 2
    h = keras.layers.Reshape((height, width, 2, 2, channels))(h)
    h = keras.layers.Permute((1, 3, 2, 4, 5))(h)  # [B,H/2,2,W/2,2,PC]
    return float32_model(inputs, keras.layers.Reshape((2 * height, 2 * width, channels))(h), "decoder")


def _smallest_size(image_shape, levels):
    """The height and width after `levels` halvings."""
    height, width, _ = image_shape
    step = 2**levels
    if height % step or width % step:
        raise VaezooError(
            f"an image of {height}×{width} does not fit 'conv' with {levels} strides of 2: height and width must be "
            f"multiples of {step}; set data.image_size, or give fewer filters"
        )
    return height // step, width // step

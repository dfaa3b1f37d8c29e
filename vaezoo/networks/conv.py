"""Convolutional networks: every level of the encoder halves the image, every level of the decoder doubles it."""

import keras

from vaezoo import decoding, part_schema  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.networks.ends import (
    cropped,
    depth_to_space,
    example_features,
    example_inputs,
    flat_features,
    float32_model,
    latent_inputs,
    padded,
    padded_size,
)
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register(part_schema.ConvEncoder)
def conv_encoder(spec, params_size, *, filters, kernel_size, dense, activation):
    """A convolutional encoder: image [B,H,W,C] → params [B,P].

    Args:
        spec: the `Spec` of images, which are padded to a height and a width that the strides divide; where it has
            classes, the label joins the features before the dense layer.
        params_size: P, the number of parameters of q(z|x).

    Returns:
        A functional Keras model named "encoder".
    """
    inputs = example_inputs(spec)
    h = padded(example_features(inputs, spec), spec, len(filters))
    for width in filters:
        h = keras.layers.Conv2D(width, kernel_size, strides=2, padding="same", activation=activation)(h)
    h = flat_features(inputs, h, spec.classes)
    h = keras.layers.Dense(dense, activation)(h)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@DECODERS.register(part_schema.ConvDecoder)
def conv_decoder(latent_dim, spec, params_shape, *, filters, blocks, kernel_size, dense, activation):
    """A convolutional decoder: z [B,D] → params [B,H,W,P*C].

    The last doubling is a depth-to-space: a convolution at half the resolution makes four times the channels, which
    are then laid out as 2×2 pixels (Shi et al., 2016, arXiv:1609.05158). A transposed convolution down to one channel
    at full resolution costs several times as much and is no better.

    A residual convolution is h + activation(conv(h)) (He et al. 2016, arXiv:1512.03385). At the lowest resolution two
    of them cost little and gain much.

    Args:
        latent_dim: D.
        spec: the `Spec` of images, of which padding is cut off at the end; where it has classes, the label joins the
            code.
        params_shape: (H, W, P*C), P parameters of p(x|z) for each channel of each pixel.

    Returns:
        A functional Keras model named "decoder".
    """
    height, width = (side >> len(filters) for side in padded_size(spec, len(filters)))
    inputs = latent_inputs(latent_dim, spec.classes)
    h = flat_features(inputs, decoding.codes_of(inputs), spec.classes)  # [B,D(+Y)]
    h = keras.layers.Dense(dense, activation)(h)
    h = keras.layers.Dense(height * width * filters[0], activation)(h)
    h = keras.layers.Reshape((height, width, filters[0]))(h)
    for _ in range(blocks):
        r = keras.layers.Conv2D(filters[0], kernel_size, padding="same", activation=activation)(h)
        h = keras.layers.Add()([h, r])
    for level in filters[1:]:
        h = keras.layers.Conv2DTranspose(level, kernel_size, strides=2, padding="same", activation=activation)(h)
    h = keras.layers.Conv2D(4 * params_shape[-1], kernel_size, padding="same")(h)  # [B,H/2,W/2,4PC]
    return float32_model(inputs, cropped(depth_to_space(h), spec), "decoder")

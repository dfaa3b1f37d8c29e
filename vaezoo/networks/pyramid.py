"""Convolutional pyramids for pictures of any size from 8 pixels: the larger the picture, the more levels."""

import itertools
import math

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

GRID = 4  # the smallest grid is at least 4×4, and less than 8×8 for a square picture
NARROWEST = 16  # channels at the highest resolutions


@ENCODERS.register(part_schema.PyramidEncoder)
def pyramid_encoder(spec, params_size, *, width, blocks, activation):
    """A convolutional pyramid: image [B,H,W,C] → params [B,P].

    Every level halves the image by a convolution with a stride of 2. Below the half resolution, residual blocks (He et
    al. 2016, arXiv:1512.03385) may follow. They have no normalization: the last convolution of a block starts at zero,
    so that every block starts as the identity.

    Args:
        spec: the `Spec` of images; where it has classes, the label joins the features before the last layer.
        params_size: P, the number of parameters of q(z|x).

    Returns:
        A functional Keras model named "encoder".
    """
    widths = _widths(spec, width)
    inputs = example_inputs(spec)
    h = padded(example_features(inputs, spec), spec, len(widths))
    for number, level in enumerate(widths[::-1]):
        h = keras.layers.Conv2D(level, 4, strides=2, padding="same")(h)
        h = refined(h, level, blocks if number else 0, activation)
    h = flat_features(inputs, h, spec.classes)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@DECODERS.register(part_schema.PyramidDecoder)
def pyramid_decoder(latent_dim, spec, params_shape, *, width, blocks, activation):
    """A convolutional pyramid: z [B,D] → params [B,H,W,P]. It mirrors the encoder.

    The last doubling is a depth-to-space, as in `conv_decoder`.

    Args:
        latent_dim: D.
        spec: the `Spec` of images; where it has classes, the label joins the code.
        params_shape: (H, W, P), P parameters of p(x|z) for each pixel.

    Returns:
        A functional Keras model named "decoder".
    """
    widths = _widths(spec, width)
    height, width = padded_size(spec, len(widths))
    rows, columns = height >> len(widths), width >> len(widths)
    inputs = latent_inputs(latent_dim, spec.classes)
    h = flat_features(inputs, decoding.codes_of(inputs), spec.classes)  # [B,D(+Y)]
    h = keras.layers.Dense(rows * columns * widths[0])(h)
    h = keras.layers.Reshape((rows, columns, widths[0]))(h)
    for level, outer in itertools.pairwise(widths):
        h = refined(h, level, blocks, activation)
        h = keras.layers.Conv2DTranspose(outer, 4, strides=2, padding="same")(h)
    h = refined(h, widths[-1], 0, activation)
    return float32_model(inputs, pixels(h, params_shape, spec), "decoder")


def pixels(h, params_shape, spec):
    """[B,h,w,F] at half the padded size → params [B,H,W,P], by a convolution and a depth-to-space."""
    head = keras.layers.Conv2D(4 * params_shape[-1], 3, padding="same")
    h = depth_to_space(head(h))  # [B,2h,2w,P], of the padded size
    # The four pixels of a square begin equal, so that no checkerboard is left in the pictures (Aitken et al. 2017,
    # arXiv:1707.02937).
    head.kernel.assign(keras.ops.tile(head.kernel[..., : params_shape[-1]], (1, 1, 1, 4)))
    return cropped(h, spec)


def levels_of(spec):
    """How many times the image is halved."""
    return max(1, int(math.log2(max(1, min(spec.shape[:2]) / GRID))))


def _widths(spec, width):
    """The channels of each level, from the smallest grid outwards: halved with every doubling but the first."""
    return [width, *(max(min(NARROWEST, width), width >> number) for number in range(levels_of(spec) - 1))]


def refined(h, width, blocks, activation):
    """Residual blocks, and the activation of what comes out."""
    for _ in range(blocks):
        h = residual(h, width, activation)
    return keras.layers.Activation(activation)(h)


def residual(h, width, activation):
    """A residual block: h + conv(activation(conv(activation(h))))."""
    r = keras.layers.Activation(activation)(h)
    r = keras.layers.Conv2D(width, 3, padding="same", activation=activation)(r)
    r = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(r)
    return keras.layers.Add()([h, r])

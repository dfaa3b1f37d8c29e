"""Fully connected bodies. Without hidden layers they are linear maps: the textbook's linear autoencoder."""

import math

import keras

from vaezoo.networks.ends import flat_features, float32_model, image_inputs, latent_inputs
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register("mlp")
def mlp_encoder(image_shape, params_size, classes=0, *, hidden=(500, 500), activation="relu"):
    """A fully connected encoder: image [B,H,W,C] → params [B,P].

    Args:
        image_shape: (H, W, C).
        params_size: P, the number of parameters of q(z|x).
        classes: Y, the number of classes that the label [B] of a conditional model can take; 0 for none.
        hidden: the widths of the hidden layers, from the image inwards; empty for a linear map.
        activation: the nonlinearity between layers, by its Keras name.

    Returns:
        A functional Keras model named "encoder".
    """
    inputs = image_inputs(image_shape, classes)
    image = inputs["image"] if classes else inputs
    h = flat_features(inputs, image, classes)  # [B,HWC(+Y)]
    for width in hidden:
        h = keras.layers.Dense(width, activation)(h)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@DECODERS.register("mlp")
def mlp_decoder(latent_dim, image_shape, params_per_channel, classes=0, *, hidden=(500, 500), activation="relu"):
    """A fully connected decoder: z [B,D] → params [B,H,W,P*C].

    Args:
        latent_dim: D.
        image_shape: (H, W, C).
        params_per_channel: P, the number of parameters of p(x|z) for each channel of each pixel.
        classes: Y, the number of classes that the label [B] of a conditional model can take; 0 for none.
        hidden: the widths of the hidden layers, from the code outwards; empty for a linear map.
        activation: the nonlinearity between layers, by its Keras name.

    Returns:
        A functional Keras model named "decoder".
    """
    inputs = latent_inputs(latent_dim, classes)
    h = flat_features(inputs, inputs["z"] if classes else inputs, classes)  # [B,D(+Y)]
    for width in hidden:
        h = keras.layers.Dense(width, activation)(h)
    height, width, channels = image_shape
    out_shape = (height, width, params_per_channel * channels)
    h = keras.layers.Dense(math.prod(out_shape))(h)
    return float32_model(inputs, keras.layers.Reshape(out_shape)(h), "decoder")

"""Fully connected networks. Without hidden layers they are linear maps: the textbook's linear autoencoder."""

import math

import keras

from vaezoo import decoding, part_schema  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.networks.ends import example_features, example_inputs, flat_features, float32_model, latent_inputs
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register(part_schema.MLPEncoder)
def mlp_encoder(spec, params_size, *, hidden, activation):
    """A fully connected encoder: example [B,...] → params [B,P].

    Args:
        spec: a `Spec`; where it has classes, the label joins the flat example.
        params_size: P, the number of parameters of q(z|x).

    Returns:
        A functional Keras model named "encoder".
    """
    inputs = example_inputs(spec)
    h = flat_features(inputs, example_features(inputs, spec), spec.classes)  # [B,F(+Y)]
    for width in hidden:
        h = _hidden_layer(h, width, activation)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@DECODERS.register(part_schema.MLPDecoder)
def mlp_decoder(latent_dim, spec, params_shape, *, hidden, activation):
    """A fully connected decoder: z [B,D] → params [B,*params_shape].

    Args:
        latent_dim: D.
        spec: a `Spec`; where it has classes, the label joins the code.
        params_shape: the shape of the parameters of p(x|z) of one example.

    Returns:
        A functional Keras model named "decoder".
    """
    inputs = latent_inputs(latent_dim, spec.classes)
    h = flat_features(inputs, decoding.codes_of(inputs), spec.classes)  # [B,D(+Y)]
    for width in hidden:
        h = _hidden_layer(h, width, activation)
    h = keras.layers.Dense(math.prod(params_shape))(h)
    return float32_model(inputs, keras.layers.Reshape(params_shape)(h), "decoder")


def _hidden_layer(h, width, activation):
    """A dense layer [B,F] → [B,width]; "glu": (Wh + b) sigmoid(Vh + c) (Dauphin et al. 2017, arXiv:1612.08083)."""
    if activation == "glu":
        return keras.layers.Multiply()([keras.layers.Dense(width)(h), keras.layers.Dense(width, "sigmoid")(h)])
    return keras.layers.Dense(width, activation)(h)

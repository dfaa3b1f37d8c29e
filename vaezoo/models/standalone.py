"""The encoder and the decoder as Keras models of their own, in float32, for apps that have Keras and not vaezoo."""

import keras

from vaezoo.networks.made import MaskedDense


def standalone_decoder(vae):
    """z [B,D] → image [B,H,W,C] in [0, 1]; {"z", "label"} → image for a conditional model.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    twin = _copy(vae.decoder, _in_float32)
    image = vae.likelihood.image(twin.output)
    return keras.Model(twin.input, keras.layers.Identity(name="image", dtype="float32")(image), name="decoder")


def standalone_encoder(vae):
    """image [B,H,W,C] → the posterior's parameters, {"loc" [B,D], "scale" [B,D]} for a diagonal normal.

    `loc` is the code of the image under every posterior; of a flow there is nothing but it.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    twin = _copy(vae.encoder, _in_float32)
    parameters = vae.posterior.parameters(twin.output)
    outputs = {name: keras.layers.Identity(name=name, dtype="float32")(value) for name, value in parameters.items()}
    return _copy(keras.Model(twin.input, outputs, name="encoder"), _of_keras)  # a flow has brought its own layers


def _in_float32(layer):
    return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})


def _of_keras(layer):
    return layer.plain() if isinstance(layer, MaskedDense) else layer.__class__.from_config(layer.get_config())


def _copy(model, remake):
    """The model with every layer made anew, and a copy of the weights."""
    copy = keras.models.clone_model(model, clone_function=remake, recursive=True)
    copy.set_weights(model.get_weights())
    return copy

"""The encoder and the decoder as Keras models of their own, in float32, for apps that have Keras and not vaezoo."""

import keras


def standalone_decoder(vae):
    """z [B,D] → image [B,H,W,C] in [0, 1]; {"z", "label"} → image for a conditional model.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    twin = _float32_copy(vae.decoder)
    image = vae.likelihood.image(twin.output)
    return keras.Model(twin.input, keras.layers.Identity(name="image", dtype="float32")(image), name="decoder")


def standalone_encoder(vae):
    """image [B,H,W,C] → the posterior's parameters, {"loc" [B,D], "scale" [B,D]} for a diagonal normal.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    twin = _float32_copy(vae.encoder)
    parameters = vae.posterior.parameters(twin.output)
    outputs = {name: keras.layers.Identity(name=name, dtype="float32")(value) for name, value in parameters.items()}
    return keras.Model(twin.input, outputs, name="encoder")


def _float32_copy(model):
    def in_float32(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=in_float32)
    copy.set_weights(model.get_weights())
    return copy

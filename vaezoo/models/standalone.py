"""The encoder and the decoder as separate float32 Keras models, for apps that have Keras and not vaezoo."""

import keras
import tensorflow as tf

from vaezoo import decoding, passes  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.networks.made import MaskedDense


def standalone_decoder(vae):
    """z [B,D] → the mean of p(x|z); {"z", "label"} → the mean for a conditional model.

    Of an image that is an image [B,H,W,C] in [0, 1], of a sequence the probability of each token [B,T,V]. Under an
    autoregressive likelihood it is the most likely tokens [B,T], int32, with the loop over the steps inside.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    inputs = vae.decoder.input
    # The decoder is nested: of a loaded model, its layers may have the names that new operations get.
    decoded = vae.likelihood.decoded(vae.decoder(inputs), vae.spec)
    output = keras.layers.Identity(name=vae.spec.kind, dtype="float32")(decoded)
    return _copy(keras.Model(inputs, output, name="decoder"), _in_float32)


def standalone_encoder(vae):
    """Example [B,...] → the parameters of q(z|x), {"loc" [B,D], "scale" [B,D]} for a diagonal normal.

    `loc` is the code of the example under every posterior; a flow has no other.

    Args:
        vae: a `VAE`.

    Returns:
        A functional Keras model of Keras's own layers and operations alone, float32, with a copy of the weights.
    """
    twin = _copy(vae.encoder, _in_float32)
    label = twin.input["label"] if vae.spec.conditional else None
    parameters = vae.posterior.parameters(twin(twin.input), decoding.Decoder(_copy(vae.decoder, _in_float32), label))
    outputs = {name: keras.layers.Identity(name=name, dtype="float32")(value) for name, value in parameters.items()}
    return _copy(keras.Model(twin.input, outputs, name="encoder"), _of_keras)  # replaces the masked layers of a flow


def standalone_pass(vae):
    """A function of a batch {"x", "label"} and noise [B,D], one draw for each example, → a `Pass` in float32.

    The networks are copies, as those of the standalone models. Their codes are [B,D], a shape that every converter
    takes.

    Args:
        vae: a `VAE`.
    """
    encoder, decoder = _copy(vae.encoder, _in_float32), _copy(vae.decoder, _in_float32)
    prior = vae.prior_distribution()

    def run(batch, noise):
        label = batch.get("label")
        params = encoder(batch["x"] if label is None else {vae.spec.kind: batch["x"], "label": label})
        decoding_of = decoding.Decoder(decoder, label)
        q, z, decoded = vae.posterior.draw(params, noise[tf.newaxis], decoding_of)
        decoded = decoding_of(z[0])[tf.newaxis] if decoded is None else decoded
        return passes.Pass(batch["x"], q, z, prior, vae, decoding_of, decoded)

    return run


def _in_float32(layer):
    dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}  # an operation may take none
    return layer.__class__.from_config({**layer.get_config(), **dtype})


def _of_keras(layer):
    return layer.plain() if isinstance(layer, MaskedDense) else layer.__class__.from_config(layer.get_config())


def _copy(model, remake):
    """The model with every layer made anew, and a copy of the weights."""
    copy = keras.models.clone_model(model, clone_function=remake, recursive=True)
    copy.set_weights(model.get_weights())
    return copy

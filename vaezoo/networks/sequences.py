"""Networks for sequences: an encoder that reads in both directions, and a decoder in two levels, bars and steps."""

import keras

from vaezoo import decoding, part_schema  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.errors import VaezooError
from vaezoo.networks.ends import example_features, example_inputs, flat_features, float32_model, latent_inputs
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register(part_schema.RecurrentEncoder)
def recurrent_encoder(spec, params_size, *, units):
    """A recurrent encoder: tokens [B,T] → params [B,P].

    Args:
        spec: the `Spec` of sequences; where it has classes, the label joins the two last states.
        params_size: P, the number of parameters of q(z|x).

    Returns:
        A functional Keras model named "encoder".

    Source: Roberts et al. 2018, "A Hierarchical Latent Vector Model", arXiv:1803.05428, section 3.1 (there an LSTM).
    """
    inputs = example_inputs(spec)
    tokens = example_features(inputs, spec)
    ends = [keras.layers.GRU(units, go_backwards=backwards)(tokens) for backwards in (False, True)]
    h = flat_features(inputs, keras.layers.Concatenate()(ends), spec.classes)  # [B,2U(+Y)]
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


@ENCODERS.register(part_schema.BarsEncoder)
def bars_encoder(spec, params_size, *, span, hidden, dense, activation):
    """An encoder in two levels: tokens [B,T] → features of each bar, by one network → params [B,P].

    Args:
        spec: the `Spec` of sequences; where it has classes, the label joins the features of the bars.
        params_size: P, the number of parameters of q(z|x).

    Returns:
        A functional Keras model named "encoder".

    Raises:
        VaezooError: if T is not a number of complete bars.
    """
    bars = _bars(spec, span, "encoder", "bars")
    inputs = example_inputs(spec)
    h = keras.layers.Reshape((bars, span * spec.levels))(example_features(inputs, spec))  # [B,T/S,S*V]
    for width in hidden:
        h = keras.layers.Dense(width, activation)(h)
    h = flat_features(inputs, h, spec.classes)
    h = keras.layers.Dense(dense, activation)(h)
    return float32_model(inputs, keras.layers.Dense(params_size)(h), "encoder")


def _bars(spec, span, part, name):
    """The number of bars in a sequence."""
    steps = spec.shape[0]
    if steps % span:
        raise VaezooError(
            f"the {part} '{name}' divides {spec} into bars of {span}; set model.{part}.span to a divisor of {steps}"
        )
    return steps // span


@DECODERS.register(part_schema.ConductorDecoder)
def conductor_decoder(latent_dim, spec, params_shape, *, span, units, hidden, activation):
    """A decoder in two levels: z [B,D] → an embedding of each bar → params [B,T,P].

    The conductor, a GRU, takes the code at every bar. One network, shared by all bars, makes the parameters of a bar's
    steps from its embedding. So a bar knows of the others only through the code.

    Args:
        latent_dim: D.
        spec: the `Spec` of sequences; where it has classes, the label joins the code.
        params_shape: (T, P), P parameters of p(x|z) for each step.

    Returns:
        A functional Keras model named "decoder".

    Raises:
        VaezooError: if T is not a number of complete bars.

    Source: Roberts et al. 2018, "A Hierarchical Latent Vector Model", arXiv:1803.05428, section 3.2.
    """
    bars = _bars(spec, span, "decoder", "conductor")
    inputs = latent_inputs(latent_dim, spec.classes)
    h = flat_features(inputs, decoding.codes_of(inputs), spec.classes)  # [B,D(+Y)]
    h = keras.layers.Dense(units, activation)(h)
    conductor, states = keras.layers.GRUCell(units, name="conductor"), [keras.ops.zeros_like(h)]
    for _ in range(bars):  # written out, since a loop inside of Keras's GRU has no form in LiteRT
        states.append(conductor(h, [states[-1]])[0])
    h = keras.ops.stack(states[1:], axis=1)  # [B,T/S,U]
    for width in hidden:
        h = keras.layers.Dense(width, activation)(h)
    h = keras.layers.Dense(span * params_shape[1])(h)  # [B,T/S,S*P]
    return float32_model(inputs, keras.layers.Reshape(params_shape)(h), "decoder")

"""The activations of training, against their formulas and Keras's own."""

import contextlib
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import vaezoo
from vaezoo.evaluation import nll
from vaezoo.internals import layers_within
from vaezoo.networks.activations import fused, gelu

X = np.linspace(-12, 12, 4801)


def truth(x):
    """x Φ(x) and its derivative, in float64."""
    phi = 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x * phi, phi + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def value_and_slope(activation, x, shape):
    """What the activation and its gradient make of x, as a graph for that shape does it."""

    def both(x):
        y = activation(x)
        return y, tf.gradients(y, x)[0]

    results = tf.function(both, input_signature=[tf.TensorSpec(shape, x.dtype)])(x)
    return [result.numpy().astype("float64") for result in results]


@pytest.mark.parametrize("shape", [X.shape, [None]], ids=["compiled", "of any length"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gelu_errs_by_rounding_alone(dtype, shape):
    x = tf.cast(X, dtype)
    digits = {"float32": 23, "bfloat16": 7, "float16": 10}[dtype]  # of the significand
    for found, expected in zip(value_and_slope(gelu, x, shape), truth(x.numpy().astype("float64")), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2.0**-digits, atol=2e-6)


@pytest.mark.parametrize("name", ["conv_vae", "ladder_vae"])
def test_a_step_is_the_same_and_the_layers_stay_keras_own(name):
    vae = vaezoo.create_model(name, (8, 8, 1))
    x = np.random.default_rng(0).random((16, 8, 8, 1)).astype("float32")
    config = vae.get_config()

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(vae.terms(tf.constant(x), tf.constant([1, 2]), 0)["loss"])
        return tape.gradient(loss, vae.trainable_variables)

    def erfcs(function):
        """The operations of Keras's gelu in its graph; ours, compiled by XLA, is a function of its own."""
        return sum(operation.type == "Erfc" for operation in function.get_concrete_function().graph.get_operations())

    fast = tf.function(fused(vae)(gradients.python_function), autograph=False)
    plain, ours = gradients(), fast()
    assert erfcs(gradients) > 0
    assert erfcs(fast) == 0  # also in the posterior of a hierarchy
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(tf.reduce_max(tf.abs(b))) + 1e-7)
    assert vae.get_config() == config
    assert all(getattr(layer, "activation", None) is not gelu for layer in layers_within(vae))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_importance_sampling_decodes_with_it(precision, monkeypatch):
    keras.config.set_dtype_policy(precision)
    try:
        vae = vaezoo.create_model("conv_vae", (8, 8, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).random((16, 8, 8, 1)).round()
    functions = []

    def kept(*arguments):
        functions.append(compiled(*arguments))
        return functions[-1]

    compiled = nll._compiled
    monkeypatch.setattr(nll, "_compiled", kept)
    ours = nll.estimate_nll(vae, x, samples=100)
    assert "Erfc" not in str(functions[0].graph.as_graph_def())
    monkeypatch.setattr(nll, "fused", contextlib.nullcontext)
    plain = nll.estimate_nll(vae, x, samples=100)
    assert "Erfc" in str(functions[1].graph.as_graph_def())
    np.testing.assert_allclose(ours.nll, plain.nll, atol={"float32": 1e-4, "mixed_bfloat16": 0.05}[precision])


def test_the_layers_are_given_back_after_an_error():
    decoder = vaezoo.create_model("conv_vae", (8, 8, 1)).decoder
    layers = [layer for layer in decoder.layers if getattr(layer, "activation", None) is keras.activations.gelu]
    assert len(layers) == 5

    @tf.function(autograph=False)
    @fused(decoder)
    def break_down():
        assert [layer.activation for layer in layers] == [gelu] * 5
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_down()
    assert [layer.activation for layer in layers] == [keras.activations.gelu] * 5


def test_outside_a_graph_the_layers_are_left_alone():
    # Training that runs eagerly may be the first to encode: the graph that is kept for inference would be made of ours.
    decoder = vaezoo.create_model("conv_vae", (8, 8, 1)).decoder
    with fused(decoder):
        assert all(getattr(layer, "activation", None) is not gelu for layer in decoder.layers)

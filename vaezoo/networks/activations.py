"""Activations that train faster than Keras's, and give the same."""

import contextlib
import math

import keras
import tensorflow as tf


@contextlib.contextmanager
def fused(*networks):
    """Let the networks' layers that have Keras's `gelu` compute `gelu` below, in the graph that is traced meanwhile.

    The layers stay Keras's own: their files load where only Keras is installed. Outside a graph nothing is changed:
    there a network's own graphs (`models.graph`) may be traced meanwhile, and those are kept for inference.

    Args:
        networks: functional Keras models.
    """
    layers = [
        layer
        for network in networks
        for layer in network.layers
        if getattr(layer, "activation", None) is keras.activations.gelu and not tf.executing_eagerly()
    ]
    for layer in layers:
        layer.activation = gelu
    try:
        yield
    finally:
        for layer in layers:
            layer.activation = keras.activations.gelu


@tf.custom_gradient
def gelu(x):
    """x Φ(x), Φ the distribution function of N(0, 1): one pass over memory, and one for the gradient.

    TensorFlow makes several passes of it, and in bfloat16 they take twice as long as in float32: on a CPU as much as a
    seventh of a step of `conv_vae`, and a third of it in bfloat16. Here it is float32 within, whatever x is.

    Args:
        x: a tensor.

    Returns:
        A tensor of the same shape and type.

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    # One program serves every call only where the shape is known; XLA compiles anew for each.
    compiled = x.shape.is_fully_defined()
    forward, backward = (tf.function(part, jit_compile=True) if compiled else part for part in (_gelu, _gelu_gradient))
    return forward(x), lambda upstream: backward(x, upstream)


def _gelu(x):
    h = tf.cast(x, tf.float32)
    return tf.cast(h * _phi(h), x.dtype)


def _gelu_gradient(x, upstream):
    h = tf.cast(x, tf.float32)
    density = tf.exp(-0.5 * h * h) / math.sqrt(2 * math.pi)
    return tf.cast(tf.cast(upstream, tf.float32) * (_phi(h) + h * density), x.dtype)


def _phi(h):
    return 0.5 * (1 + tf.math.erf(h * math.sqrt(0.5)))

"""Adam against the paper's algorithm, written out in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vaezoo.optimizer import Adam


def adam_of_the_paper(weights, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Kingma & Ba (2015), its last lines in the order of their section 2."""
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        weights = weights - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
    return weights


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_weights_are_those_of_the_paper(jit_compile, amsgrad):
    numbers = np.random.default_rng(0)
    start = numbers.normal(size=(7, 3))
    # Ever larger gradients: then the largest v so far is v itself, and amsgrad changes nothing.
    gradients = numbers.normal(size=(5, 7, 3)) * 10.0 ** np.arange(-3, 2)[:, None, None]
    gradients[:, 0] = [[1e-9], [1e-8], [1e-7], [1e-6], [1e-5]]  # where epsilon matters
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 5)
    weights, unused = keras.Variable(start, dtype="float32"), keras.Variable([1.0])
    optimizer = Adam(schedule, amsgrad=amsgrad)
    optimizer.build([weights, unused])

    @tf.function(jit_compile=jit_compile)
    def apply(gradient):
        optimizer.apply([gradient, tf.zeros([1])], [weights, unused])

    for gradient in gradients.astype("float32"):
        apply(gradient)
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(5) / 5))
    np.testing.assert_allclose(weights, adam_of_the_paper(start, gradients, rates), rtol=0, atol=2e-6)
    assert unused.numpy() == 1
    assert int(optimizer.iterations) == 5


def test_clipping_shortens_the_whole_gradient():
    weights = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    optimizer = Adam(1.0, global_clipnorm=1.0)
    optimizer.apply([tf.constant([6.0, 0.0]), tf.constant([8.0])], weights)  # of length 10
    moments = {variable.path: variable.numpy() for variable in optimizer.variables if "momentum" in variable.path}
    np.testing.assert_allclose(np.concatenate(list(moments.values())), [0.06, 0, 0.08], rtol=1e-6)

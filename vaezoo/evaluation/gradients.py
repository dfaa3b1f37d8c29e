"""How noisy the estimators of a gradient are, on the same model and the same examples."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vaezoo.errors import VaezooError
from vaezoo.seeds import EVALUATION, fold_seed


class GradientNoise(NamedTuple):
    """The gradient of a mean loss over the examples by the weights of the encoder and the posterior, over many draws.

    Attributes:
        variance: the trace of its covariance, in squared nats: the noise of one draw.
        squared_mean: the squared norm of its mean, without the part that is noise; it can be below 0.
    """

    variance: float
    squared_mean: float


def gradient_noise(model, x, objectives, labels=None, draws=100, seed=0, step=0):
    """Measure the noise of the encoder's gradient for several objectives.

    Args:
        model: a `VAE`.
        x: examples [B,...]: the minibatch of the gradient.
        objectives: name → objective, such as ELBO(samples=5, gradient="score_function").
        labels: classes [B], for a conditional model.
        draws: how many gradients are computed for each, at least 2.
        seed: of the noise of the draws; every objective has the same.
        step: the number of optimizer steps taken, for an objective with a warm-up.

    Returns:
        name → `GradientNoise`.

    Raises:
        VaezooError: for fewer than two draws, or a model whose encoder has no weights to train.
    """
    if draws < 2:
        raise VaezooError(f"{draws} draws of a gradient; its variance takes at least 2")
    weights = [*model.encoder.trainable_variables, *model.posterior.trainable_variables]
    if not weights:
        raise VaezooError("the encoder and the posterior of this model have no weights that are trained")
    batch = model.batch(x, labels)
    return {name: _noise(model, batch, objective, weights, draws, seed, step) for name, objective in objectives.items()}


def _noise(model, batch, objective, weights, draws, seed, step):
    objective.build((None, model.latent_dim))
    term = next((term for term, own in objective.players(model).items() if own and own[0] is weights[0]), "loss")

    @tf.function(autograph=False)
    def gradient(number):
        with tf.GradientTape() as tape:
            passed = model.forward(batch, objective.draws, fold_seed(seed, EVALUATION, number))
            loss = tf.reduce_mean(objective.compute(passed, step)[term])
        return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, weights)], axis=0)

    mean, squares = 0.0, 0.0  # Welford's updates, in float64: the gradients of large networks do not fit into memory
    for count in range(1, draws + 1):
        found = np.asarray(gradient(tf.constant(count)), "float64")
        away = found - mean
        mean = mean + away / count
        squares = squares + away * (found - mean)
    variance = float(np.sum(squares) / (draws - 1))
    return GradientNoise(variance, float(mean @ mean) - variance / draws)

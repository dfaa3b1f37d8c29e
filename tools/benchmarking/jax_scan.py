"""A JAX script: an epoch is one compiled `lax.scan` over the steps, images gathered by index, Adam written out."""

import math
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax import lax

from benchmarking.clock import main

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": partial(jax.nn.gelu, approximate=False)}
LAYOUT = ("NHWC", "HWIO", "NHWC")


def initial_weights(key, shapes):
    """Glorot's uniform kernels and zero biases: a list of pairs."""
    weights = []
    for own, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True):
        fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
        kernel = jax.random.uniform(own, shape, minval=-1, maxval=1) * math.sqrt(6 / fans)
        weights.append((kernel, jnp.zeros(shape[-1])))
    return weights


def mlp(model, image_shape):
    """The shapes of the kernels, the encoder and the decoder: functions of weights and inputs."""
    widths = [math.prod(image_shape), *model["encoder"]["hidden"], 2 * model["latent_dim"]]
    back = [model["latent_dim"], *model["decoder"]["hidden"], math.prod(image_shape)]
    shapes = [*pairwise(widths), *pairwise(back)]
    first = len(widths) - 1

    def encode(weights, x):
        return dense(weights[:first], x.reshape(len(x), -1), ACTIVATIONS[model["encoder"]["activation"]])

    def decode(weights, z):
        return dense(weights[first:], z, ACTIVATIONS[model["decoder"]["activation"]]).reshape(-1, *image_shape)

    return shapes, encode, decode


def conv(model, image_shape):
    """The same for the convolutional network."""
    height, width, channels = image_shape
    encoder, decoder = model["encoder"], model["decoder"]
    down, up = [channels, *encoder["filters"]], decoder["filters"]
    flat = height * width // 4 ** len(encoder["filters"]) * down[-1]
    small = (height // 2 ** len(up), width // 2 ** len(up), up[0])
    shapes = [(encoder["kernel_size"],) * 2 + pair for pair in pairwise(down)]
    shapes += [(flat, encoder["dense"]), (encoder["dense"], 2 * model["latent_dim"])]
    shapes += [(model["latent_dim"], decoder["dense"]), (decoder["dense"], math.prod(small))]
    shapes += [(decoder["kernel_size"],) * 2 + pair for pair in pairwise(up)]
    shapes += [(decoder["kernel_size"],) * 2 + (up[-1], 4 * channels)]
    first = len(down) - 1
    activate = ACTIVATIONS[encoder["activation"]], ACTIVATIONS[decoder["activation"]]

    def encode(weights, x):
        for kernel, bias in weights[:first]:
            x = activate[0](lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT) + bias)
        return dense(weights[first : first + 2], x.reshape(len(x), -1), activate[0])

    def decode(weights, z):
        *middle, (kernel, bias) = weights[first + 4 :]
        h = activate[1](dense(weights[first + 2 : first + 4], z, activate[1])).reshape(-1, *small)
        for transposed, offset in middle:
            h = activate[1](lax.conv_transpose(h, transposed, (2, 2), "SAME", dimension_numbers=LAYOUT) + offset)
        h = lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT) + bias
        h = h.reshape(-1, height // 2, width // 2, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)  # depth to space
        return h.reshape(-1, *image_shape)

    return shapes, encode, decode


def dense(weights, x, activation):
    for kernel, bias in weights[:-1]:
        x = activation(x @ kernel + bias)
    kernel, bias = weights[-1]
    return x @ kernel + bias


def adam(weights, gradients, moments, step, learning_rate):
    """One step of Adam (Kingma & Ba 2015, algorithm 1) with its usual constants."""
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradients)
    rate = learning_rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second)
    return weights, (first, second)


def train(case, clock):
    images = jnp.asarray(case.images())
    shapes, encode, decode = {"mlp": mlp, "conv": conv}[case.model["encoder"]["name"]](case.model, images.shape[1:])
    steps = len(images) // case.batch

    def loss_of(weights, x, key):
        mean, log_var = jnp.split(encode(weights, x), 2, axis=1)
        z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
        logits = decode(weights, z)
        reconstruction = jnp.sum(jax.nn.softplus(logits) - x * logits)
        kl = -0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var))
        return (reconstruction + kl) / len(x)

    @partial(jax.jit, donate_argnums=0)
    def epoch(state, images, number):
        def step(state, indices):
            weights, moments, count = state
            key = jax.random.fold_in(jax.random.key(2), count)
            loss, gradients = jax.value_and_grad(loss_of)(weights, images[indices], key)
            weights, moments = adam(weights, gradients, moments, count + 1, case.learning_rate)
            return (weights, moments, count + 1), loss

        order = jax.random.permutation(jax.random.fold_in(jax.random.key(1), number), len(images))
        state, losses = lax.scan(step, state, order[: steps * case.batch].reshape(steps, case.batch))
        return state, losses.mean()

    weights = initial_weights(jax.random.key(0), shapes)
    zeros = jax.tree.map(jnp.zeros_like, (weights, weights))
    state = weights, zeros, jnp.zeros((), jnp.int32)
    epoch = epoch.lower(state, images, 0).compile()
    clock.step()  # a step takes milliseconds; what takes time is to compile an epoch
    for number in range(case.epochs):
        with clock.epoch(steps * case.batch):
            state, loss = jax.block_until_ready(epoch(state, images, number))
    return sum(leaf.size for leaf in jax.tree.leaves(state[0])), loss


if __name__ == "__main__":
    main(train)

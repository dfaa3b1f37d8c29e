"""The networks that every program builds, and their floating-point operations, counted from the layers."""

import math
from itertools import pairwise
from typing import NamedTuple

from vaezoo.config import load_recipe
from vaezoo.recipe_schema import Model

# What differs from the recipes, so that every program can build the network: conv_vae has no residual convolutions.
PLAIN_DECODER = {"name": "conv", "filters": (64, 64), "kernel_size": 3, "dense": 512, "activation": "gelu"}
NETWORKS = {"mlp_vae": {}, "conv_vae": {"model.encoder.dense": 512, "model.decoder": PLAIN_DECODER}}


class Layer(NamedTuple):
    """A dense layer or a convolution.

    Attributes:
        kernel: the shape of its weights, without the biases.
        outputs: how many biases it has.
        positions: how often the kernel is applied to an image: once if dense; at each output of a convolution; at
            each input of a transposed convolution. Borders count as the interior does.
    """

    kernel: tuple[int, ...]
    outputs: int
    positions: int = 1

    @property
    def flops(self):
        """Two for each multiplication and addition, of the forward pass of one image."""
        return 2 * math.prod(self.kernel) * self.positions


def load_network(name, width=1) -> Model:
    """The `model` section of a recipe, as every program can build it, with hidden layers `width` times as wide."""
    model = load_recipe(name, NETWORKS.get(name)).model
    return model.model_copy(update={"encoder": _widen(model.encoder, width), "decoder": _widen(model.decoder, width)})


def _widen(part, width):
    sizes = {key: value for key, value in part if key in ("hidden", "filters", "dense")}
    wider = {key: width * v if isinstance(v, int) else tuple(width * n for n in v) for key, v in sizes.items()}
    return part.model_copy(update=wider)


def layers(model: Model, image_shape) -> list[Layer]:
    """Every layer with weights, from the image to the code and back, for images of (H, W, C)."""
    build = {"mlp": _mlp, "conv": _conv}[model.encoder.name]
    return build(model, *image_shape)


def _dense(*widths):
    return [Layer((inputs, outputs), outputs) for inputs, outputs in pairwise(widths)]


def _mlp(model, H, W, C):
    encoder = _dense(H * W * C, *model.encoder.hidden, 2 * model.latent_dim)  # loc and scale of q(z|x)
    return encoder + _dense(model.latent_dim, *model.decoder.hidden, H * W * C)


def _conv(model, H, W, C):
    encoder, decoder, size = [], [], H * W
    inputs, side = C, model.encoder.kernel_size
    for outputs in model.encoder.filters:
        size //= 4
        encoder.append(Layer((side, side, inputs, outputs), outputs, size))
        inputs = outputs
    encoder += _dense(size * inputs, model.encoder.dense, 2 * model.latent_dim)
    side, (inputs, *rest) = model.decoder.kernel_size, model.decoder.filters
    size = H * W // 4 ** len(model.decoder.filters)
    decoder += _dense(model.latent_dim, model.decoder.dense, size * inputs)
    for outputs in rest:
        decoder.append(Layer((side, side, inputs, outputs), outputs, size))
        inputs, size = outputs, 4 * size
    return [*encoder, *decoder, Layer((side, side, inputs, 4 * C), 4 * C, size)]  # then depth to space


def parameters(network: list[Layer]) -> int:
    """The number of trained parameters."""
    return sum(math.prod(layer.kernel) + layer.outputs for layer in network)


def training_flops(network: list[Layer]) -> int:
    """The operations of a training step for one image.

    Three times those of the forward pass: the gradients of the inputs of a layer and of its kernel cost as much as its
    output each. The gradient of the image is not needed and not counted; activations, biases, the sampling, the loss
    and the optimizer are not counted either.
    """
    return 3 * sum(layer.flops for layer in network) - network[0].flops

"""The encoder and the decoder in PyTorch, for `torch_script` and `pythae_trainer`."""

import math
from itertools import pairwise

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


def images_first(images):
    """[N,H,W,C] → [N,C,H,W], in PyTorch's own layout."""
    return images.transpose(0, 3, 1, 2).copy()


def build(model, image_shape):
    """The networks of a recipe's `model` section.

    Args:
        model: as plain JSON.
        image_shape: (C, H, W).

    Returns:
        The encoder, x [B,C,H,W] → mean and log variance [B,2D], and the decoder, z [B,D] → logits [B,C,H,W].
    """
    ends = {"mlp": (mlp_encoder, mlp_decoder), "conv": (conv_encoder, conv_decoder)}[model["encoder"]["name"]]
    encoder = ends[0](model["encoder"], image_shape, 2 * model["latent_dim"])
    decoder = ends[1](model["decoder"], image_shape, model["latent_dim"])
    return encoder.apply(as_keras_begins), decoder.apply(as_keras_begins)


def as_keras_begins(layer):
    """Glorot's uniform kernels and zero biases, so that the loss of every program begins and falls alike."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def dense(activation, *widths):
    """Linear layers with the activation between them."""
    stack = [part for inputs, outputs in pairwise(widths) for part in (nn.Linear(inputs, outputs), activation())]
    return stack[:-1]


def mlp_encoder(part, image_shape, outputs):
    activation = ACTIVATIONS[part["activation"]]
    return nn.Sequential(nn.Flatten(), *dense(activation, math.prod(image_shape), *part["hidden"], outputs))


def mlp_decoder(part, image_shape, inputs):
    activation = ACTIVATIONS[part["activation"]]
    stack = dense(activation, inputs, *part["hidden"], math.prod(image_shape))
    return nn.Sequential(*stack, nn.Unflatten(1, image_shape))


def conv_encoder(part, image_shape, outputs):
    activation, side = ACTIVATIONS[part["activation"]], part["kernel_size"]
    channels, height, width = image_shape
    stack = []
    for filters in part["filters"]:  # padding as Keras's "same" for an even kernel
        stack += [nn.Conv2d(channels, filters, side, stride=2, padding=side // 2 - 1), activation()]
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(*stack, nn.Flatten(), *dense(activation, channels * height * width, part["dense"], outputs))


def conv_decoder(part, image_shape, inputs):
    activation, side = ACTIVATIONS[part["activation"]], part["kernel_size"]
    filters, *rest = part["filters"]
    small = (filters, *(length // 2 ** len(part["filters"]) for length in image_shape[1:]))
    stack = [*dense(activation, inputs, part["dense"], math.prod(small)), activation(), nn.Unflatten(1, small)]
    for wider in rest:  # doubles the image, for an odd kernel
        transposed = nn.ConvTranspose2d(filters, wider, side, stride=2, padding=side // 2, output_padding=1)
        stack += [transposed, activation()]
        filters = wider
    return nn.Sequential(*stack, nn.Conv2d(filters, 4 * image_shape[0], side, padding=side // 2), nn.PixelShuffle(2))

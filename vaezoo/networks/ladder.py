"""A hierarchy for images: an encoder with features of every resolution, a decoder that is a chain of blocks."""

import functools
import itertools

import keras
from keras import ops

from vaezoo import decoding, part_schema  # import modules, not names: the Keras import hook can re-enter here
from vaezoo.networks.ends import example_features, example_inputs, flat_features, latent_inputs, padded, padded_size
from vaezoo.networks.pyramid import NARROWEST, levels_of, pixels, refined, residual
from vaezoo.registry import DECODERS, ENCODERS


@ENCODERS.register(part_schema.LadderEncoder)
def ladder_encoder(spec, params_size, *, width, blocks, dense, activation):
    """A convolutional pyramid that gives the features of every resolution: image [B,H,W,C] → [[B,F], [B,h,w,F], ...].

    Args:
        spec: the `Spec` of images; where it has classes, the label joins the features of the top group.
        params_size: not used: the posterior of a hierarchy has weights of its own.

    Returns:
        A functional Keras model named "encoder". Its outputs are the features for the top group, then those of each
        resolution, the smallest first.
    """
    widths = _widths(spec, width)
    inputs = example_inputs(spec)
    h = padded(example_features(inputs, spec), spec, len(widths))
    features = []
    for level in widths[::-1]:
        h = keras.layers.Conv2D(level, 4, strides=2, padding="same")(h)
        h = refined(h, level, blocks, activation)
        features.append(h)
    top = keras.layers.Dense(dense, activation)(flat_features(inputs, h, spec.classes))
    return keras.Model(inputs, [top, *features[::-1]], name="encoder")


@DECODERS.register(part_schema.LadderDecoder)
def ladder_decoder(latent_dim, spec, params_shape, *, width, channels, groups, blocks, dense, activation):
    """A hierarchy of latents as one network: eps [B,D] → params [B,H,W,P].

    The network is a chain of blocks, each a functional Keras model [state, eps] → next state. The top group is a
    vector; below it every resolution up to the half one has groups of its own. A group enters in units of its own
    prior, as state + conv(eps scale(state)), so that the prior over all groups together is N(0, I): a location that
    depends on the state is in the state already.

    Args:
        latent_dim: the latents of the top group. D is more: those of all groups together.
        spec: the `Spec` of images; where it has classes, the label joins the top group.
        params_shape: (H, W, P), P parameters of p(x|z) for each pixel.

    Returns:
        A functional Keras model named "decoder".

    Source: Vahdat & Kautz 2020, "NVAE", arXiv:2007.03898, for the top-down network and the residual posterior.
    """
    widths = _widths(spec, width)
    rows, columns = (padded >> len(widths) for padded in padded_size(spec, len(widths)))
    chain = [_top(latent_dim, spec, (rows, columns, widths[0]), dense, activation)]
    for level, own in enumerate(widths):
        shape, count = (rows << level, columns << level, own), max(1, channels >> 2 * level)
        if level + 1 < len(widths):
            last = functools.partial(_doubled, width=widths[level + 1], activation=activation)
        else:
            last = functools.partial(_pixels, params_shape=params_shape, spec=spec, activation=activation)
        for after in [None] * (groups - 1) + [last]:
            chain.append(_group(shape, count, blocks, after, activation, f"group_{len(chain)}"))
    sizes = [latent_dim, *(block.input_shape[1][1] for block in chain[1:])]
    inputs = latent_inputs(sum(sizes), spec.classes)
    top, *others = ops.split(decoding.codes_of(inputs), list(itertools.accumulate(sizes))[:-1], axis=-1)
    h = chain[0]({"z": top, "label": inputs["label"]} if spec.conditional else top)
    for block, eps in zip(chain[1:], others, strict=True):
        h = block([h, eps])
    return keras.Model(inputs, h, name="decoder")


def _top(latent_dim, spec, shape, dense, activation):
    """eps [B,n], the top group and the label → the first state [B,h,w,F]."""
    inputs = latent_inputs(latent_dim, spec.classes)
    h = flat_features(inputs, decoding.codes_of(inputs), spec.classes)
    h = keras.layers.Dense(dense, activation)(h)
    h = keras.layers.Dense(shape[0] * shape[1] * shape[2], activation)(h)
    return keras.Model(inputs, keras.layers.Reshape(shape)(h), name="group_0")


def _group(shape, count, blocks, after, activation, name):
    """state [B,h,w,F], eps [B,h*w*count] → `after` of the next state, such as the parameters of p(x|z)."""
    state = keras.Input(shape, name="state")
    eps = keras.Input((shape[0] * shape[1] * count,), name="eps")
    scale = keras.layers.Conv2D(count, 1, activation="softplus")(keras.layers.Activation(activation)(state))
    z = keras.layers.Multiply()([keras.layers.Reshape((*shape[:2], count))(eps), scale])
    h = keras.layers.Add()([state, keras.layers.Conv2D(shape[2], 1)(z)])
    for _ in range(blocks):
        h = residual(h, shape[2], activation)
    return keras.Model([state, eps], after(h) if after else h, name=name)


def _doubled(h, width, activation):
    """[B,h,w,F] → [B,2h,2w,width]."""
    h = keras.layers.Activation(activation)(h)
    return keras.layers.Conv2DTranspose(width, 4, strides=2, padding="same")(h)


def _pixels(h, params_shape, spec, activation):
    """[B,H/2,W/2,F] → the parameters of p(x|z), in float32 under every precision."""
    params = pixels(keras.layers.Activation(activation)(h), params_shape, spec)
    return keras.layers.Activation("linear", dtype="float32", name="params")(params)


def _widths(spec, width):
    """The channels of each resolution, from the smallest outwards: halved with every doubling."""
    return [max(min(NARROWEST, width), width >> level) for level in range(levels_of(spec))]

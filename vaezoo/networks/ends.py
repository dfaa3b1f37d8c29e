"""The two ends that every network shares: its inputs, with or without a label, and its float32 outputs."""

import keras
import numpy as np
from keras import ops

from vaezoo.columns import places_of, units_of


def example_inputs(spec):
    """The inputs of an encoder: the example [B,...] by its kind, and the label [B] where there are classes."""
    example = keras.Input(spec.shape, dtype=spec.dtype, name=spec.kind)
    return _with_label(example, spec.classes)


def example_features(inputs, spec):
    """The example among the inputs, as float32 [B,...].

    Tokens become one-hot vectors [B,T,V]. A row of columns becomes a vector that is the same in every unit of these.
    """
    example = inputs[spec.kind] if spec.conditional else inputs
    if spec.columns is not None:
        row = keras.Input(spec.shape)
        # Nested: of a loaded encoder, its operations may have the names that new operations get.
        return keras.Model(row, _row_features(row, spec.columns), name="columns")(example)
    return example if spec.levels is None else ops.one_hot(example, spec.levels)


def _row_features(row, columns):
    """A row [B,F] as features [B,P], without NaN.

    A number becomes u = (x - loc) / scale, a count that of log(1 + x); then sign(u) log(1 + |u|), so that an outlier is
    not so far away that it rules the network. A binary or categorical value becomes one-hot. A missing cell is 0, and
    where training has missing cells, a 1 in a feature of its own says so.
    """
    parts = []
    loc, scale = units_of(columns)
    for kind in ("continuous", "count"):
        if len(own := places_of(columns, kind)):
            x = ops.take(row, own, axis=-1)
            missing = ops.not_equal(x, x)
            x = ops.where(missing, 0.0, x)
            x = ops.log(1.0 + ops.relu(x)) if kind == "count" else x
            u = ops.where(missing, 0.0, (x - loc[own]) / scale[own])
            parts.append(ops.log(1.0 + ops.relu(u)) - ops.log(1.0 + ops.relu(-u)))
    if len(own := places_of(columns, "binary", "categorical")):
        sizes = [len(columns[place].values) for place in own]
        indices = np.concatenate([np.arange(size) for size in sizes]).astype("float32")
        repeated = ops.take(row, np.repeat(own, sizes), axis=-1)
        parts.append(ops.where(ops.equal(repeated, indices), 1.0, 0.0))  # not for a NaN
    own = np.array([place for place, column in enumerate(columns) if column.missing], "int32")
    if len(own):
        x = ops.take(row, own, axis=-1)
        parts.append(ops.where(ops.not_equal(x, x), 1.0, 0.0))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def latent_inputs(latent_dim, classes):
    """The inputs of a decoder: z [B,D], and for a conditional model (`classes` > 0) the label [B] beside it."""
    z = keras.Input((latent_dim,), name="z")
    return _with_label(z, classes)


def _with_label(tensor, classes):
    return {tensor.name: tensor, "label": keras.Input((), dtype="int32", name="label")} if classes else tensor


def flat_features(inputs, features, classes):
    """Features [B,...] as a vector [B,F], joined by the one-hot label of a conditional model: [B,F+Y]."""
    flat = features if len(features.shape) == 2 else keras.layers.Flatten()(features)
    if not classes:
        return flat
    return keras.layers.Concatenate(name="join_label")([flat, ops.one_hot(inputs["label"], classes)])


def depth_to_space(h):
    """[B,H,W,4C] → [B,2H,2W,C]: the channels are laid out as 2×2 pixels, by layers that need no custom class."""
    rows, columns, channels = h.shape[1], h.shape[2], h.shape[3] // 4
    h = keras.layers.Reshape((rows, columns, 2, 2, channels))(h)
    h = keras.layers.Permute((1, 3, 2, 4, 5))(h)  # [B,H,2,W,2,C]
    return keras.layers.Reshape((2 * rows, 2 * columns, channels))(h)


def padded_size(spec, levels):
    """H and W of images, rounded up to multiples of 2 to the power of the levels."""
    step = 2**levels
    return tuple(-(-side // step) * step for side in spec.shape[:2])


def padded(image, spec, levels):
    """The image, with zeros below and to the right up to its padded size."""
    below, right = (padded - side for padded, side in zip(padded_size(spec, levels), spec.shape[:2], strict=True))
    return keras.layers.ZeroPadding2D(((0, below), (0, right)))(image) if below or right else image


def cropped(h, spec):
    """Of [B,h,w,P] of the padded size, the part of the image's size."""
    below, right = (padded - side for padded, side in zip(h.shape[1:3], spec.shape[:2], strict=True))
    return keras.layers.Cropping2D(((0, below), (0, right)))(h) if below or right else h


def float32_model(inputs, params, name):
    """The functional model from `inputs` to the parameters of a distribution, in float32 under every precision."""
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="params")(params), name=name)

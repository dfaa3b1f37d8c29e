"""The two ends that every network shares: its inputs, with or without a label, and its float32 outputs."""

import keras


def example_inputs(spec):
    """The inputs of an encoder: the example [B,...] by its kind, and the label [B] where there are classes."""
    example = keras.Input(spec.shape, dtype=spec.dtype, name=spec.kind)
    return _with_label(example, spec.classes)


def example_features(inputs, spec):
    """The example among the inputs, as float32 [B,...]; tokens become one-hot vectors [B,T,V]."""
    example = inputs[spec.kind] if spec.conditional else inputs
    return example if spec.levels is None else keras.ops.one_hot(example, spec.levels)


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
    return keras.layers.Concatenate(name="join_label")([flat, keras.ops.one_hot(inputs["label"], classes)])


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

"""The two ends that every body shares: its inputs, with or without a label, and its float32 outputs."""

import keras


def image_inputs(image_shape, classes):
    """The inputs of an encoder: image [B,H,W,C], and for a conditional model (`classes` > 0) label [B] beside it."""
    image = keras.Input(image_shape, name="image")
    return _with_label(image, classes)


def latent_inputs(latent_dim, classes):
    """The inputs of a decoder: z [B,D], and for a conditional model (`classes` > 0) label [B] beside it."""
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


def float32_model(inputs, params, name):
    """The functional model from `inputs` to the parameters of a distribution, in float32 under every precision."""
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32", name="params")(params), name=name)

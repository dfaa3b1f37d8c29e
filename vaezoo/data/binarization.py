"""Grey levels to zeros and ones, for the Bernoulli likelihood."""

import numpy as np

from vaezoo.errors import unknown

BINARIZATIONS = ("none", "threshold", "dynamic")


def check_binarization(mode):
    """Raise a VaezooError unless `mode` is one of BINARIZATIONS."""
    if mode not in BINARIZATIONS:
        raise unknown("binarization", mode, BINARIZATIONS)


def fitting(images):
    """How images become zeros and ones without losing what they show.

    Grey drawings in black and white, as MNIST, are "dynamic": at least 80 % of their values are within 0.1 of 0 or 1,
    and there is black and white, not the darkness of a night sky alone. MNIST has 83 % of black, 9 % of white and 9 %
    between them.

    Args:
        images: float [N,H,W,C] in [0, 1].

    Returns:
        "none" for images that are zeros and ones already, "dynamic" for such drawings, None for all others.
    """
    images = np.asarray(images)
    if np.isin(images, (0, 1)).all():
        return "none"
    black, white = np.mean(images <= 0.1), np.mean(images >= 0.9)
    between = 1 - black - white
    return "dynamic" if images.shape[-1] == 1 and between <= 0.2 and min(black, white) > between / 4 else None


def binarize(images, mode, seed=None):
    """Turn grey levels into zeros and ones.

    "dynamic" draws every pixel from a Bernoulli with the grey level as its probability: a pixel at 0 is always 0, and
    one at 1 always 1 (Salakhutdinov & Murray 2008).

    Args:
        images: float32 tensor of any shape, in [0, 1].
        mode: "none" (unchanged), "threshold" (1 where the grey level is at least 0.5) or "dynamic".
        seed: integer tensor [2], which determines the draw; only for "dynamic".

    Returns:
        A float32 tensor of the same shape.

    Raises:
        VaezooError: for a mode that is not one of BINARIZATIONS.
    """
    import tensorflow as tf

    check_binarization(mode)
    if mode == "none":
        return images
    if mode == "threshold":
        return tf.cast(images >= 0.5, tf.float32)
    return ink_above(pixel_noise(tf.shape(images), seed), images)


def pixel_noise(shape, seed):
    """Uniform float32 numbers in [0, 1), the same on every device and under XLA."""
    import tensorflow as tf

    return tf.random.stateless_uniform(shape, seed, alg="philox")


def ink_above(noise, images):
    """1 where the grey level exceeds the noise in [0, 1): never at grey level 0, always at 1."""
    import tensorflow as tf

    return tf.cast(noise < images, tf.float32)

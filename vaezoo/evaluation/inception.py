"""Keras's InceptionV3 with the weights of ImageNet, the feature space of the FID and the KID."""

import keras

from vaezoo.errors import VaezooError

SIDE, FEATURES = 299, 2048


def inception(image_shape, weights="imagenet"):
    """Images [B,H,W,C] in [0, 1] → {"features" [B,2048]}, a Keras model.

    Images are resized to 299 pixels (antialiased), and grey ones repeated in three channels.

    Args:
        image_shape: (H, W, C), C = 1 or 3.
        weights: "imagenet"; None for new ones.

    Raises:
        VaezooError: for other channels, or if the weights are not there and cannot be downloaded.

    Source: Szegedy et al. 2016, arXiv:1512.00567. The FIDs of most papers are computed with another set of weights.
    """
    if image_shape[-1] not in (1, 3):
        raise VaezooError(f"InceptionV3 takes grey or colour images, not those of {image_shape[-1]} channels")
    try:
        network = keras.applications.InceptionV3(
            include_top=False, weights=weights, input_shape=(SIDE, SIDE, 3), pooling="avg"
        )
    except Exception as error:  # `get_file` raises an Exception for any failure of the network
        reason = " ".join(str(error).split())
        raise VaezooError(
            f"the weights of InceptionV3 cannot be downloaded ({reason}); put the file of that address into "
            "~/.keras/models (or $KERAS_HOME/models), or leave out features="
        ) from error
    image = keras.Input(image_shape, name="image")
    h = keras.layers.Concatenate()([image] * 3) if image_shape[-1] == 1 else image
    h = keras.ops.image.resize(h, (SIDE, SIDE), antialias=True)
    return keras.Model(image, {"features": network(h * 2 - 1)}, name="inception")

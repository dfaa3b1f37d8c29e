"""Features of images by which samples are compared with real ones: a small classifier, trained here.

It is trained on all training images of a data set with their classes, once: it is kept in the user's cache folder
($XDG_CACHE_HOME, or ~/.cache), so that every run on that data is measured in the same space.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

import vaezoo
from vaezoo.atomic import plain_errors, write_file
from vaezoo.data import load_data
from vaezoo.errors import VaezooError
from vaezoo.hardware import on_gpu
from vaezoo.keras_files import load_keras_file

SIZE = 64  # F: few enough that 1,000 images estimate a covariance
BATCH, STEPS, EPOCHS = 128, 1000, 20  # whichever ends first; on MNIST 1,000 steps are 2.1 epochs
EVALUATION_BATCH = 1000


class FeatureSpace(NamedTuple):
    """A trained classifier and the layer whose outputs are the features.

    Attributes:
        network: images [B,H,W,C] in [0, 1] → {"features" [B,F], "logits" [B,Y]}, a Keras model.
        accuracy: the share of test images whose class it tells.
    """

    network: keras.Model
    accuracy: float

    def features(self, images):
        """Images [N,H,W,C] in [0, 1] → features [N,F]."""
        return self.network.predict(np.asarray(images), batch_size=EVALUATION_BATCH, verbose=0)["features"]


def binarization_of_pictures(binarize):
    """How real images are shown to the classifier: those made black and white by a draw are left grey.

    The mean of p(x|z), which is what a sample shows, is then grey as well: a grey level is the mean of its draws.
    """
    return "none" if binarize == "dynamic" else binarize


def feature_space(data_settings):
    """The feature space of a data set: from the cache, or trained now.

    Args:
        data_settings: the `data` section of a recipe.

    Returns:
        A `FeatureSpace`, the same for every run on that data, whatever its seed.

    Raises:
        VaezooError: if the images have no labels, or only one class.
    """
    data = load_data(data_settings.name, image_size=data_settings.image_size, validation=0)
    if data.classes < 2:
        raise VaezooError(f"'{Path(data.name).name}' has no labels of two classes or more to train a classifier with")
    binarize = binarization_of_pictures(data_settings.binarize)
    path = _cache_folder() / f"{_fingerprint(data, binarize)}.keras"
    network = _cached(path) or _trained(data, binarize)
    if not path.exists():
        with contextlib.suppress(VaezooError), plain_errors(path):  # without a cache the next run only takes longer
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, network.save)
    correct = [
        np.argmax(network(batch["image"])["logits"], axis=-1) == batch["label"]
        for batch in data.test.batches(EVALUATION_BATCH, binarize=binarize, labels=True)
    ]
    return FeatureSpace(network, float(np.concatenate(correct).mean()))


def classifier(image_shape, classes):
    """A small convolutional network, the same every time: image [B,H,W,C] → {"features" [B,F], "logits" [B,Y]}."""

    def settings():
        return {"kernel_initializer": keras.initializers.GlorotUniform(seed=0), "dtype": "float32"}

    image = h = keras.Input(image_shape, name="image")
    for filters in (32, 64):
        h = keras.layers.Conv2D(filters, 5, strides=2, padding="same", activation="gelu", **settings())(h)
    h = keras.layers.Flatten()(h)
    features = keras.layers.Dense(SIZE, activation="gelu", name="features", **settings())(h)
    logits = keras.layers.Dense(classes, name="logits", **settings())(features)
    return keras.Model(image, {"features": features, "logits": logits}, name="classifier")


def _trained(data, binarize):
    size = min(BATCH, len(data.train))
    steps_per_epoch = len(data.train) // size
    steps = min(STEPS, EPOCHS * steps_per_epoch)
    batches = data.train.training_batches(size, steps_per_epoch, binarize=binarize, labels=True)
    network = classifier(data.image_shape, data.classes)
    network.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        jit_compile=on_gpu(),  # see `training.compilation`: convolutions
    )
    network.fit(
        batches.map(lambda batch: (batch["image"], {"logits": batch["label"]})),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    )
    return keras.Model(network.input, network.output, name=network.name)  # without the optimizer


def _cached(path):
    """The classifier in a file, or None if there is none that can be read."""
    if not path.is_file():
        return None
    with contextlib.suppress(VaezooError):
        return load_keras_file(path)
    path.unlink(missing_ok=True)
    return None


def _cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaezoo" / "features"


def _fingerprint(data, binarize):
    """A name for these images: what is counted and shown of them, and the first thousand of either split.

    The version stands for the classifier: another one may have another.
    """
    counted = (data.image_shape, data.classes, len(data.train), len(data.test), binarize)
    known = hashlib.sha256(repr((vaezoo.__version__, *counted)).encode())
    for split in (data.train, data.test):
        known.update(split.head(1000).tobytes())
        known.update(split.labels_head(1000).tobytes())
    return f"{Path(data.name).name.split('.')[0]}-{known.hexdigest()[:16]}"

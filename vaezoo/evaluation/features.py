"""Features of images, in which samples are compared with real images: those of a small classifier, trained here.

It is trained once on all training images of a data set and their classes, and kept in the user's cache folder, so that
every run on that data is measured in the same space.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vaezoo.atomic import plain_errors, write_file
from vaezoo.cache import cache_folder
from vaezoo.data import load_data
from vaezoo.errors import VaezooError
from vaezoo.evaluation.sample_quality import UndefinedMetricError
from vaezoo.hardware import on_gpu
from vaezoo.keras_files import load_keras_file

SIZE = 64  # F: few enough that 1,000 images estimate a covariance
BATCH, STEPS, EPOCHS = 128, 1000, 20  # whichever ends first; on MNIST 1,000 steps are 2.1 epochs
EVALUATION_BATCH = 1000
BALANCED = 0.2  # classes whose sizes are within 20 % of the mean have equal weights; those of MNIST are within 13 %
LARGEST_WEIGHT = 10.0  # of a class in the loss: a class of a few images must not dominate single steps
ERRORS, SHARE = 3, 0.1  # see `_check_better_than_chance`
VERSION = 2  # of the classifier and its training; a change makes a new file in the cache


class FeatureSpace(NamedTuple):
    """A trained classifier and the layer whose outputs are the features.

    Attributes:
        network: images [B,H,W,C] in [0, 1] → {"features" [B,F], "logits" [B,Y]}, a Keras model.
        binarize: how real images are shown to it, "none" or "threshold".
        accuracy: the share of test images that it classifies correctly.
        balanced_accuracy: the mean over the classes of that share.
        largest_class: the share of the test images that are in the largest class.
    """

    network: keras.Model
    binarize: str
    accuracy: float
    balanced_accuracy: float
    largest_class: float

    def features(self, images):
        """Images [N,H,W,C] in [0, 1] → features [N,F]."""
        return self.network.predict(np.asarray(images), batch_size=EVALUATION_BATCH, verbose=0)["features"]

    def features_of(self, split, count=None):
        """The features of the first `count` real images of a split, or of all [N,F]; they are read batch by batch."""
        batches = split.batches(EVALUATION_BATCH, binarize=self.binarize, count=count)
        return np.concatenate([self.network(batch["x"])["features"] for batch in batches])


def feature_space(data_settings):
    """The feature space of a data set: from the cache, or trained now.

    Args:
        data_settings: the `data` section of a recipe.

    Returns:
        A `FeatureSpace`, the same for every run on that data, whatever its seed.

    Raises:
        UndefinedMetricError: if the images have fewer than two classes, or if the classifier is no better than chance.
    """
    data = load_data(data_settings.name, image_size=data_settings.image_size, validation=0)
    if data.classes < 2:
        raise UndefinedMetricError(
            f"'{Path(data.name).name}' has no labels of two classes or more to train a classifier with"
        )
    # Images that are drawn black or white are shown grey: the mean of p(x|z), which is what a sample shows, is grey.
    binarize = "none" if data_settings.binarize == "dynamic" else data_settings.binarize
    path = cache_folder() / "features" / f"{_fingerprint(data, binarize)}.keras"
    network = _cached(path) or _trained(data, binarize)
    if not path.exists():
        with contextlib.suppress(VaezooError), plain_errors(path):  # without a cache the next run only takes longer
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, network.save)
    predicted, labels = [], []
    for batch in data.test.batches(EVALUATION_BATCH, binarize=binarize, labels=True):
        predicted.append(np.argmax(network(batch["x"])["logits"], axis=-1))
        labels.append(batch["label"])
    predicted, labels = np.concatenate(predicted), np.concatenate(labels)
    return FeatureSpace(network, binarize, *_accuracies(predicted, labels, data.classes))


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


def class_weights(counts):
    """The weight of each class in the loss [Y], given the number of its training images.

    A class of 1/r of the mean size has the weight r, up to LARGEST_WEIGHT. Classes of about the same size have weights
    of 1.
    """
    relative = np.asarray(counts) / np.mean(counts)
    if np.abs(relative - 1).max() <= BALANCED:
        return np.ones(len(relative))
    return 1 / np.maximum(relative, 1 / LARGEST_WEIGHT)


def _trained(data, binarize):
    size = min(BATCH, len(data.train))
    steps_per_epoch = len(data.train) // size
    steps = min(STEPS, EPOCHS * steps_per_epoch)
    batches = data.train.training_batches(size, steps_per_epoch, binarize=binarize, labels=True)
    weights = tf.constant(class_weights(_class_counts(data.train)), tf.float32)
    network = classifier(data.spec.shape, data.classes)
    network.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        jit_compile=on_gpu(),  # see `training.compilation`: convolutions
    )

    def weighted(batch):
        return batch["x"], {"logits": batch["label"]}, {"logits": tf.gather(weights, batch["label"])}

    network.fit(batches.map(weighted), steps_per_epoch=steps, shuffle=False, verbose=0)
    return keras.Model(network.input, network.output, name=network.name)  # without the optimizer


def _class_counts(split):
    """The number of examples of each class [Y]."""
    batches = split.batches(EVALUATION_BATCH, labels=True) if split.labels is None else [{"label": split.labels}]
    return sum(np.bincount(batch["label"], minlength=split.spec.classes) for batch in batches)


def _accuracies(predicted, labels, classes):
    """The accuracy, the balanced accuracy, and the share of the largest class, for predictions and labels [N]."""
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    correct, counts = np.bincount(labels[predicted == labels], minlength=classes)[present], counts[present]
    balanced = float((correct / counts).mean())
    _check_better_than_chance(balanced, counts, np.bincount(predicted, minlength=classes)[present] / len(predicted))
    return float((predicted == labels).mean()), balanced, float(counts.max() / counts.sum())


def _check_better_than_chance(balanced, counts, predicted):
    """Refuse a classifier whose features say nothing about the classes.

    One that ignores the image and predicts class y with the probability q_y has a recall of q_y, in expectation: the
    balanced accuracy is 1/Y. From n_y test images its variance is sum_y q_y (1 - q_y) / n_y / Y^2 (binomial). It has to
    be exceeded by three standard errors, which chance does once in 700 times, and for a large test set, where these are
    small, by a tenth of the way from chance to certainty.

    Args:
        balanced: the balanced accuracy.
        counts: n_y, the number of test images of each class [Y]; at least 1.
        predicted: q_y, the share of the test images for which each class is predicted [Y].
    """
    if len(counts) < 2:
        raise UndefinedMetricError("all test images are of one class, so the features cannot be checked")
    chance = 1 / len(counts)
    error = np.sqrt((predicted * (1 - predicted) / counts).sum()) / len(counts)
    needed = chance + max(ERRORS * error, SHARE * (1 - chance))
    if balanced <= needed:
        raise UndefinedMetricError(
            "the classifier whose features would be compared does not tell the classes apart: its balanced accuracy on "
            f"the test images is {balanced:.1%}, chance is {chance:.1%}, and more than {needed:.1%} is required"
        )


def _cached(path):
    """The classifier in a file, or None if there is none that can be read."""
    if not path.is_file():
        return None
    with contextlib.suppress(VaezooError):
        return load_keras_file(path)
    path.unlink(missing_ok=True)
    return None


def _fingerprint(data, binarize):
    """A file name for these images: from the sizes, how they are shown, and the first thousand of either split."""
    counted = (VERSION, data.spec.shape, data.classes, len(data.train), len(data.test), binarize)
    known = hashlib.sha256(repr(counted).encode())
    for split in (data.train, data.test):
        for array in split.first(1000):
            known.update(array.tobytes())
    return f"{Path(data.name).name.split('.')[0]}-{known.hexdigest()[:16]}"

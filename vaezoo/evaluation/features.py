"""Features of images, in which samples are compared with real images.

By default they are those of a small classifier that is trained here, once on all training images of a data set, and
kept in the user's cache folder, so that every run on that data is measured in the same space.
"""

import contextlib
import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from vaezoo.atomic import plain_errors, write_file
from vaezoo.cache import cache_folder
from vaezoo.data import load_data
from vaezoo.errors import VaezooError
from vaezoo.evaluation import classifier
from vaezoo.evaluation.inception import inception
from vaezoo.evaluation.sample_quality import UndefinedMetricError
from vaezoo.keras_files import load_keras_file

FEATURES = ("auto", "inception")
LARGEST = 2**26  # numbers in a batch of images, 256 MB
VERSION = 3  # of the classifier and its training; a change makes a new file in the cache


class FeatureSpace(NamedTuple):
    """A network whose outputs are the features.

    Attributes:
        kind: "labels" for a classifier of the data set's own classes, "changes" for one of changes to its images, or
            "inception".
        network: images [B,H,W,C] in [0, 1] → {"features" [B,F]}, a Keras model.
        binarize: how real images are shown to it, "none" or "threshold".
        accuracies: of a classifier on test images: "accuracy"; "balanced_accuracy", the mean over the classes of the
            share that is told correctly; "largest_class", the share of the images that are in the largest class.
        instead: why the labels of the data are not used, or None.
    """

    kind: str
    network: keras.Model
    binarize: str
    accuracies: dict[str, float] | None = None
    instead: str | None = None

    @property
    def size(self):
        """F, the number of features."""
        return self.network.output["features"].shape[-1]

    @property
    def batch(self):
        """How many images the network takes at once."""
        # The layers of Inception take 64 MB for an image.
        return 50 if self.kind == "inception" else max(1, min(1000, LARGEST // math.prod(self.network.input_shape[1:])))

    def features(self, images):
        """Images [N,H,W,C] in [0, 1] → features [N,F]."""
        return self.network.predict(np.asarray(images), batch_size=self.batch, verbose=0)["features"]

    def features_of(self, split, count=None):
        """The features of at most `count` real images of a split, equally spaced [N,F]; they are read in batches."""
        batches = split.spaced(count).batches(self.batch, binarize=self.binarize)
        return np.concatenate([self.network(batch["x"])["features"] for batch in batches])


def feature_space(data_settings, cache=None):
    """The feature space of a data set: from the cache, or trained now.

    It is that of a classifier of the labels. Where there are none, or the images do not show them, it is that of a
    classifier of changes to the images: see `classifier.Changes`.

    Args:
        data_settings: the `data` section of a recipe.
        cache: a folder for decoded images, as in `load_data`.

    Returns:
        A `FeatureSpace`, the same for every run on that data, whatever its seed.

    Raises:
        UndefinedMetricError: if neither classifier is better than chance.
    """
    data = load_data(data_settings.name, **data_settings.preparation, validation=0, cache=cache)
    binarize, instead = shown(data_settings.binarize), None
    if data.classes >= 2:
        try:
            return _of_task("labels", classifier.Labels(data, binarize))
        except UndefinedMetricError as error:
            instead = str(error)
    return _of_task("changes", classifier.Changes(data, binarize), instead)


def inception_space(spec, data_settings):
    """The feature space of the FID and the KID; arguments and errors as of `inception`."""
    return FeatureSpace("inception", inception(spec.shape), shown(data_settings.binarize))


def shown(binarize):
    """How real images are shown to a network that compares them with samples of a model."""
    # Images that are drawn black or white are shown grey: the mean of p(x|z), which is what a sample shows, is grey.
    return "none" if binarize == "dynamic" else binarize


def _of_task(kind, task, instead=None):
    path = cache_folder() / "features" / f"{_fingerprint(kind, task)}.keras"
    network = _cached(path) or task.trained()
    if not path.exists():
        with contextlib.suppress(VaezooError), plain_errors(path):  # without a cache the next run only takes longer
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, network.save)
    return FeatureSpace(kind, network, task.binarize, task.accuracies(network), instead)


def _cached(path):
    """The classifier in a file, or None if there is none that can be read."""
    if not path.is_file():
        return None
    with contextlib.suppress(VaezooError):
        return load_keras_file(path)
    path.unlink(missing_ok=True)
    return None


def _fingerprint(kind, task):
    """A file name for a task: from its images' sizes, how they are shown, and the first thousand of either split."""
    data = task.data
    counted = (VERSION, kind, data.spec.shape, task.classes, len(data.train), len(data.test), task.binarize)
    known = hashlib.sha256(repr(counted).encode())
    for split in (data.train, data.test):
        x, labels = split.first(min(1000, LARGEST // data.spec.size))
        known.update(x.tobytes())
        known.update(labels.tobytes() if kind == "labels" else b"")
    return f"{Path(data.name).name.split('.')[0]}-{known.hexdigest()[:16]}"

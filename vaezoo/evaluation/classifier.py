"""The small classifier whose features images are compared in: its network, its two tasks, and what it must achieve."""

import keras
import numpy as np
import tensorflow as tf

from vaezoo.evaluation.sample_quality import UndefinedMetricError
from vaezoo.hardware import on_gpu

SIZE = 64  # F: few enough that 1,000 images estimate a covariance
LARGEST_SIDE = 64  # pixels; larger images are reduced
BATCH, STEPS, EPOCHS = 128, 1000, 20  # whichever ends first; on MNIST 1,000 steps are 2.1 epochs
BALANCED = 0.2  # classes whose sizes are within 20 % of the mean have equal weights; those of MNIST are within 13 %
LARGEST_WEIGHT = 10.0  # of a class in the loss: a class of a few images must not dominate single steps
ERRORS, SHARE = 3, 0.1  # see `_check_better_than_chance`
CHECKED = 1000  # test images whose changes are told


def classifier(image_shape, classes):
    """A small convolutional network, the same every time: image [B,H,W,C] → {"features" [B,F], "logits" [B,Y]}.

    Its cost has a bound: images of more than 64 pixels are first averaged over squares of pixels, and those of more
    than 32 enter by a wider convolution with twice the stride.
    """

    def settings():
        return {"kernel_initializer": keras.initializers.GlorotUniform(seed=0), "dtype": "float32"}

    image = h = keras.Input(image_shape, name="image")
    reduction = -(-max(image_shape[:2]) // LARGEST_SIDE)
    if reduction > 1:
        h = keras.layers.AveragePooling2D(reduction, padding="same", dtype="float32")(h)
    first = (32, 5, 2) if max(h.shape[1:3]) <= 32 else (32, 8, 4)
    for filters, kernel, stride in (first, (64, 5, 2)):
        h = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", activation="gelu", **settings())(h)
    h = keras.layers.Flatten()(h)
    features = keras.layers.Dense(SIZE, activation="gelu", name="features", **settings())(h)
    logits = keras.layers.Dense(classes, name="logits", **settings())(features)
    return keras.Model(image, {"features": features, "logits": logits}, name="classifier")


class Labels:
    """The task to tell the classes of a data set apart.

    Args:
        data: a `Data` with labels of two classes or more.
        binarize: how images are shown, as in `Split.batches`.
    """

    def __init__(self, data, binarize):
        self.data, self.binarize, self.classes, self.epochs = data, binarize, data.classes, EPOCHS

    def trained(self):
        """A trained classifier."""
        weights = tf.constant(class_weights(_class_counts(self.data.train)), tf.float32)

        def examples(_, batch):
            return batch["x"], batch["label"], tf.gather(weights, batch["label"])

        return _trained(self, examples, labels=True)

    def accuracies(self, network):
        """What it achieves on the test images; see `accuracies`."""
        batches = self.data.test.batches(1000, binarize=self.binarize, labels=True)
        told = [(np.argmax(network(batch["x"])["logits"], axis=-1), batch["label"]) for batch in batches]
        return accuracies(*map(np.concatenate, zip(*told, strict=True)), self.classes)


class Changes:
    """The task to tell what was done to an image: a turn by 0, 90, 180 or 270 degrees, or its quadrants in disorder.

    It needs no labels, and its classes have the same size. No change touches the statistics of neighbouring pixels, so
    features that tell them apart describe what an image shows. Blurred and noisy images must not be among the classes:
    on glyphs, noise with a deviation of 0.03 was then 240 times as far from the test images as training images are,
    against 10 times without and 1.4 times for the features of the labels. Images that are not square are turned by 180
    degrees alone.

    Args:
        data: a `Data` of images.
        binarize: how images are shown, as in `Split.batches`.

    Source: Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
    arXiv:1803.07728. Turns cannot be told of what looks the same from all sides; hence the quadrants.
    """

    def __init__(self, data, binarize):
        height, width, _ = data.spec.shape
        self.turns = range(4) if height == width else (0, 2)
        self.data, self.binarize, self.classes = data, binarize, len(self.turns) + 1
        self.epochs = EPOCHS * self.classes  # in each epoch an image is shown with one of the changes

    def trained(self):
        """A trained classifier."""
        each = BATCH // self.classes
        labels = tf.repeat(tf.range(self.classes), each)

        def examples(number, batch):
            x = tf.gather(batch["x"], tf.range(len(labels)) % tf.shape(batch["x"])[0])  # a small set has small batches
            parts = [self.changed(part, kind, number) for kind, part in enumerate(tf.split(x, self.classes))]
            return tf.concat(parts, axis=0), labels, tf.ones(len(labels))

        return _trained(self, examples)

    def accuracies(self, network):
        """What it achieves on at most CHECKED test images; see `accuracies`."""
        told = []
        for number, batch in enumerate(self.data.test.spaced(CHECKED).batches(BATCH, binarize=self.binarize)):
            for kind in range(self.classes):
                predicted = np.argmax(network(self.changed(batch["x"], kind, number))["logits"], axis=-1)
                told.append((predicted, np.full(len(predicted), kind)))
        return accuracies(*map(np.concatenate, zip(*told, strict=True)), self.classes)

    def changed(self, x, kind, number):
        """Images [B,H,W,C] with the change of that class; the number of the batch determines the disorder."""
        if kind < len(self.turns):
            return tf.image.rot90(x, self.turns[kind])
        (height, width), count = x.shape[1:3], tf.shape(x)[0]
        low, right = (height + 1) // 2, (width + 1) // 2  # where the lower and the right quadrants begin
        h, w = height // 2, width // 2
        quadrants = [x[:, top : top + h, left : left + w] for top in (0, low) for left in (0, right)]
        seed = tf.random.experimental.stateless_fold_in([0, 0], number, alg="philox")
        order = tf.argsort(tf.random.stateless_uniform([count, 4], seed, alg="philox"))  # one in 24 is in order
        q = tf.unstack(tf.gather(tf.stack(quadrants, axis=1), order, batch_dims=1), axis=1)
        upper, lower = (
            tf.concat([q[i], x[:, top : top + h, w:right], q[i + 1]], axis=2) for i, top in ((0, 0), (2, low))
        )
        return tf.concat([upper, x[:, h:low], lower], axis=1)


def _trained(task, examples, **reading):
    """The classifier of a task, trained.

    Args:
        task: a `Labels` or `Changes`.
        examples: the number of a batch, the batch → images [B,H,W,C], classes [B], weights in the loss [B].
        **reading: keywords of `Split.training_batches`.
    """
    split, network = task.data.train, classifier(task.data.spec.shape, task.classes)
    size = min(BATCH, len(split))
    steps_per_epoch = len(split) // size
    steps = min(STEPS, task.epochs * steps_per_epoch)
    network.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        jit_compile=on_gpu(),  # see `training.compilation`: convolutions
    )

    def named(number, batch):
        x, label, weights = examples(number, batch)
        return x, {"logits": label}, {"logits": weights}

    batches = split.training_batches(size, steps_per_epoch, binarize=task.binarize, **reading)
    batches = batches.enumerate().map(named, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
    network.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return keras.Model(network.input, network.output, name=network.name)  # without the optimizer


def class_weights(counts):
    """The weight of each class in the loss [Y], given the number of its training images.

    A class of 1/r of the mean size has the weight r, up to LARGEST_WEIGHT. Classes of about the same size have weights
    of 1.
    """
    relative = np.asarray(counts) / np.mean(counts)
    if np.abs(relative - 1).max() <= BALANCED:
        return np.ones(len(relative))
    return 1 / np.maximum(relative, 1 / LARGEST_WEIGHT)


def _class_counts(split):
    """The number of examples of each class [Y]."""
    batches = split.batches(1000, labels=True) if split.labels is None else [{"label": split.labels}]
    return sum(np.bincount(batch["label"], minlength=split.spec.classes) for batch in batches)


def accuracies(predicted, labels, classes):
    """The accuracy, the balanced accuracy, and the share of the largest class, for predictions and labels [N].

    Raises:
        UndefinedMetricError: if the balanced accuracy is not better than chance, or all labels are of one class.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    correct, counts = np.bincount(labels[predicted == labels], minlength=classes)[present], counts[present]
    balanced = float((correct / counts).mean())
    _check_better_than_chance(balanced, counts, np.bincount(predicted, minlength=classes)[present] / len(predicted))
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": balanced,
        "largest_class": float(counts.max() / counts.sum()),
    }


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

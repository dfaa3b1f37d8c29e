"""A split: images (and labels) as batches, shuffled and endless for training, ordered and finite otherwise."""

import numpy as np

from vaezoo.data import binarization
from vaezoo.data.binarization import check_binarization, ink_above, pixel_noise
from vaezoo.errors import VaezooError, errors_of_readers

# What a random stream is for. Folded into the seed, so that no two purposes ever share their numbers.
ORDER, TRAINING_PIXELS, ORDERED_PIXELS = 0x6F72646572, 0x747261696E, 0x706978656C73
HELD_OUT, FILE_ORDER = 0x68656C64, 0x66696C6573


class Split:
    """Images of one shape, with labels and known factors where there are any.

    The order and the binarization of every batch are a pure function of (seed, epoch, step): a resumed run sees
    exactly what an undisturbed one would have seen. A kind of split says where its images are: it defines
    `take`, `_epoch_keys`, `_ordered_keys` and `_read`.

    Attributes:
        image_shape: (H, W, C).
        labels: int32 [N], or None where there are none or they are not held in memory.
        has_labels: whether batches can carry labels.
        factors: name → array [N], the known generative factors; empty for most sets.
    """

    def __init__(self, size, image_shape, labels=None, factors=None, has_labels=False):
        self.size, self.image_shape = int(size), tuple(int(n) for n in image_shape)
        self.labels = None if labels is None else np.asarray(labels, "int32")
        self.has_labels = has_labels or labels is not None
        self.factors = dict(factors or {})

    def __len__(self):
        return self.size

    def take(self, indices):
        """The part of the split at these sorted indices, as a split of the same kind."""
        raise NotImplementedError

    def _epoch_keys(self, seed, batch_size, steps):
        """One epoch's order: a dataset of `steps` batches of keys; seed is a stateless tensor [2]."""
        raise NotImplementedError

    def _ordered_keys(self, batch_size):
        """A dataset of batches of keys, every image once, in order."""
        raise NotImplementedError

    def _read(self, keys):
        """Keys [B] → images [B, H, W, C], uint8 or float32 in [0, 1], and labels int32 [B] or None."""
        raise NotImplementedError

    def training_batches(
        self, batch_size, steps_per_epoch, *, binarize="none", seed=0, labels=False, first_epoch=0, first_step=0
    ):
        """Endless shuffled batches; every epoch is a new permutation, cut to `steps_per_epoch` full batches.

        Args:
            batch_size: images a batch, B.
            steps_per_epoch: batches an epoch; at most len(split) // batch_size.
            binarize: one of BINARIZATIONS; "dynamic" draws anew every time an image is seen.
            seed: the run's seed, an int >= 0.
            labels: give a dict of "image" and "label" instead of images alone.
            first_epoch: where to start; the batches are those an undisturbed run sees from that epoch on.
            first_step: how many batches of that epoch to pass over; their images are not made.

        Returns:
            A tf.data.Dataset of float32 [B, H, W, C] in [0, 1], or of {"image": that, "label": int32 [B]}.

        Raises:
            VaezooError: if an epoch asks for more images than there are, or for labels that do not exist.
        """
        import tensorflow as tf

        self._check(batch_size, binarize, seed, labels)
        self._check_epoch(batch_size, steps_per_epoch)
        mode = binarize

        def keys_of_epoch(epoch):
            keys = self._epoch_keys(fold([seed, ORDER], epoch), batch_size, steps_per_epoch)
            return keys.enumerate().map(lambda step, key: (epoch, step, key))

        def batch(epoch, step, keys):
            images, classes = self._read(keys)
            images = binarization.binarize(_unit(images), mode, fold([seed, TRAINING_PIXELS], epoch, step))
            return {"image": images, "label": classes} if labels else images

        with tf.device("CPU:0"):
            epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
            keys = epochs.flat_map(keys_of_epoch).skip(first_step)
            return keys.map(batch, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)

    def batches(self, batch_size, *, binarize="none", seed=0, labels=False):
        """One ordered pass over every image; the last batch may be smaller.

        The draw of "dynamic" is a function of the seed and the image's position alone: every pass is identical,
        and the batch size does not matter.

        Args:
            batch_size: images a batch, B.
            binarize: one of BINARIZATIONS.
            seed: an int >= 0.
            labels: give a dict of "image" and "label" instead of images alone.

        Returns:
            A tf.data.Dataset of known cardinality, with the elements of `training_batches`.

        Raises:
            VaezooError: for labels that do not exist, or an unknown binarization.
        """
        import tensorflow as tf

        self._check(batch_size, binarize, seed, labels)
        mode = binarize

        def noise(position):
            return pixel_noise(self.image_shape, fold([seed, ORDERED_PIXELS], position))

        def batch(keys, noise=None):
            images, classes = self._read(keys)
            images = _unit(images)
            images = binarization.binarize(images, mode) if noise is None else ink_above(noise, images)
            return {"image": images, "label": classes} if labels else images

        with tf.device("CPU:0"):
            inputs = self._ordered_keys(batch_size)
            if mode == "dynamic":
                drawn = tf.data.Dataset.range(self.size).map(noise, tf.data.AUTOTUNE, deterministic=True)
                inputs = tf.data.Dataset.zip(inputs, drawn.batch(batch_size))
            result = inputs.map(batch, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
            return result.apply(tf.data.experimental.assert_cardinality(-(-self.size // batch_size)))

    def head(self, count):
        """The first images as float32 [min(count, N), H, W, C] in [0, 1], never binarized."""
        if count < 1:
            return np.zeros((0, *self.image_shape), "float32")
        with errors_of_readers():
            return next(iter(self.batches(min(count, self.size)))).numpy()

    def labels_head(self, count):
        """The labels of `head(count)`, int32, or None where there are none."""
        if self.labels is not None or not self.has_labels or count < 1:
            return None if self.labels is None else self.labels[:count]
        with errors_of_readers():
            return next(iter(self.batches(min(count, self.size), labels=True)))["label"].numpy()

    def _check(self, batch_size, mode, seed, labels):
        check_binarization(mode)
        if batch_size < 1:
            raise VaezooError(f"batch_size {batch_size} is too small: it must be at least 1.")
        if seed < 0:
            raise VaezooError(f"seed {seed} is negative: it must be 0 or more.")
        if labels and not self.has_labels:
            raise VaezooError("these images have no labels: choose a labelled data set, or do without labels.")

    def _check_epoch(self, batch_size, steps):
        if batch_size > self.size:
            raise VaezooError(f"batch_size {batch_size} exceeds the {self.size} images to train on: lower it.")
        if not 1 <= steps <= self.size // batch_size:
            raise VaezooError(
                f"steps_per_epoch {steps} is not in 1..{self.size // batch_size}: "
                f"{self.size} images make {self.size // batch_size} full batches of {batch_size}."
            )


def on_cpu(array):
    """An eager tensor in main memory, even inside a traced function and where there is a GPU."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def fold(seed, *numbers):
    """A stateless seed [2] for this place in the stream: each number is folded in after the one before."""
    import tensorflow as tf

    seed = tf.cast(seed, tf.int64)
    for number in numbers:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64), alg="philox")
    return seed


def _unit(images):
    """uint8 0..255 or float32 in [0, 1] → float32 in [0, 1]."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 255 if images.dtype == tf.uint8 else images

"""A split: examples (and labels) as batches, shuffled and endless for training, ordered and finite otherwise."""

import numpy as np

from vaezoo.data import binarization
from vaezoo.data.binarization import check_binarization, ink_above, pixel_noise
from vaezoo.errors import VaezooError, errors_of_readers, unknown
from vaezoo.music import CLASSES, FIRST

# The purpose of a random stream. It is folded into the seed, so that no two purposes share random numbers.
ORDER, TRAINING_PIXELS, ORDERED_PIXELS = 0x6F72646572, 0x747261696E, 0x706978656C73
HELD_OUT, FILE_ORDER, FLIPS, KEYS = 0x68656C64, 0x66696C6573, 0x666C697073, 0x6B657973
READ_AT_ONCE = 1000  # examples in a batch of `first`


class Split:
    """Examples of one spec, with labels and known factors where there are any.

    The order and the binarization of every batch are a pure function of (seed, epoch, step), so a resumed run sees the
    batches of an uninterrupted one. A subclass defines where the examples come from: `take`, `_epoch_keys`,
    `_ordered_keys` and `_read`.

    Attributes:
        spec: a `Spec`; its `classes` is 0 if the examples have no labels.
        labels: int32 [N], or None if there are none or they are not held in memory.
        factors: name → array [N], the known generative factors; empty for most data sets.
    """

    def __init__(self, size, spec, labels=None, factors=None):
        self.size, self.spec = int(size), spec
        self.labels = None if labels is None else np.asarray(labels, "int32")
        self.factors = dict(factors or {})

    def __len__(self):
        return self.size

    @property
    def has_labels(self):
        """Whether batches can have labels."""
        return self.spec.classes > 0

    def take(self, indices):
        """The part of the split at these indices, as a split of the same type; streamed records keep their order."""
        raise NotImplementedError

    def spaced(self, count=None):
        """At most so many examples, equally spaced, since a file may be sorted; the split itself if it has no more."""
        return self if count is None or count >= self.size else self.take(equally_spaced(self.size, count))

    def with_factors(self, **wanted):
        """The examples with these known factors: those of a traversal if all factors but one are given.

        Args:
            **wanted: the value of each factor, or several values of which any will do. "label" is a factor too, where
                the labels are held in memory.

        Returns:
            A split, in the order of `factors` with the last of them varying fastest.

        Raises:
            VaezooError: if no factors are known, for one that is not among them, or if no example has them all.
        """
        known = self.factors if self.labels is None else {**self.factors, "label": self.labels}
        if not known:
            raise VaezooError(
                "these examples have no known factors: use sprites, shapes or glyphs, or a set of tensorflow-datasets "
                "that has them."
            )
        having = np.ones(self.size, bool)
        for name, values in wanted.items():
            if name not in known:
                raise unknown("factor", name, known)
            having &= np.isin(known[name], values)
        indices = np.flatnonzero(having)
        if not len(indices):
            given = " and ".join(f"{name}={values}" for name, values in wanted.items())
            raise VaezooError(f"none of these {self.size:,} examples has {given}: ask for fewer factors at once.")
        order = np.lexsort([known[name][indices] for name in reversed(known)])
        return self.take(indices[order])

    def _epoch_keys(self, seed, batch_size, steps):
        """The order of one epoch: a dataset of `steps` batches of keys; seed is a stateless tensor [2]."""
        raise NotImplementedError

    def _ordered_keys(self, batch_size, count):
        """A dataset of batches of keys: the first `count` examples, in order."""
        raise NotImplementedError

    def _read(self, keys):
        """Keys [B] → examples [B,...] (an image may be uint8) and labels int32 [B] or None."""
        raise NotImplementedError

    def training_batches(
        self,
        batch_size,
        steps_per_epoch,
        *,
        binarize="none",
        flip=False,
        transpose=False,
        seed=0,
        labels=False,
        first_epoch=0,
        first_step=0,
    ):
        """Endless shuffled batches; every epoch is a new permutation, cut to `steps_per_epoch` full batches.

        Args:
            batch_size: B, the number of examples in a batch.
            steps_per_epoch: batches in an epoch; at most len(split) // batch_size.
            binarize: one of BINARIZATIONS, for images; "dynamic" makes a new draw each time an image is read.
            flip: mirror every second image, drawn anew each time, left to right.
            transpose: move every melody by -5..6 semitones, drawn anew each time, within the range of the tokens.
            seed: the seed of the run, an int >= 0.
            labels: whether batches have labels.
            first_epoch: the epoch to start at; the batches are those of an uninterrupted run from there on.
            first_step: the number of batches of that epoch to skip; their examples are not read.

        Returns:
            A tf.data.Dataset of {"x": [B,...]}, with "label" int32 [B] if `labels`. x is float32 in [0, 1] for images,
            float32 for vectors, int32 for sequences.

        Raises:
            VaezooError: if an epoch needs more examples than there are, if there are no labels, or for a binarization
                or a flip that is unknown or not of images, or a transposition that is not of melodies.
        """
        import tensorflow as tf

        self._check(batch_size, binarize, seed, labels)
        if flip:
            self.spec.require_image("flip=True (instead of False)")
        if transpose:
            self.spec.require_melody("transpose=True (instead of False)")
        self._check_epoch(batch_size, steps_per_epoch)
        mode = binarize

        def keys_of_epoch(epoch):
            keys = self._epoch_keys(fold([seed, ORDER], epoch), batch_size, steps_per_epoch)
            return keys.enumerate().map(lambda step, key: (epoch, step, key))

        def batch(epoch, step, keys):
            x, label = self._read(keys)
            if flip:
                x = _flipped(x, fold([seed, FLIPS], epoch, step))
            if transpose:
                x = _transposed(x, fold([seed, KEYS], epoch, step))
            x = binarization.binarize(self._typed(x), mode, fold([seed, TRAINING_PIXELS], epoch, step))
            return {"x": x, "label": label} if labels else {"x": x}

        with tf.device("CPU:0"):
            epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
            keys = epochs.flat_map(as_written(keys_of_epoch)).skip(first_step)
            batches = keys.map(as_written(batch), tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
            return untuned(batches)

    def batches(self, batch_size, *, binarize="none", seed=0, labels=False, count=None):
        """One ordered pass over the examples; the last batch may be smaller.

        The draw of "dynamic" is a function of the seed and the position of the image alone: it is the same in every
        pass and for every batch size.

        Args:
            batch_size: B, the number of examples in a batch.
            binarize: one of BINARIZATIONS, for images.
            seed: an int >= 0.
            labels: whether batches have labels.
            count: read only the first examples, so many; None for all.

        Returns:
            A tf.data.Dataset of known cardinality, with the elements of `training_batches`.

        Raises:
            VaezooError: if there are no labels, or for a binarization that is unknown or not of images.
        """
        import tensorflow as tf

        self._check(batch_size, binarize, seed, labels)
        mode, count = binarize, self._counted(count)

        def noise(position):
            return pixel_noise(self.spec.shape, fold([seed, ORDERED_PIXELS], position))

        def batch(keys, noise=None):
            x, label = self._read(keys)
            x = self._typed(x)
            x = binarization.binarize(x, mode) if noise is None else ink_above(noise, x)
            return {"x": x, "label": label} if labels else {"x": x}

        with tf.device("CPU:0"):
            inputs = self._ordered_keys(batch_size, count)
            if mode == "dynamic":
                drawn = tf.data.Dataset.range(count).map(as_written(noise), tf.data.AUTOTUNE, deterministic=True)
                inputs = tf.data.Dataset.zip(inputs, drawn.batch(batch_size))
            result = inputs.map(as_written(batch), tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
            return untuned(result.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size))))

    def first(self, count=None, *, binarize="none", seed=0):
        """The first examples as the model is trained on them, in one array. No others are read.

        Args:
            count: N; None, or more than there are, for all.
            binarize: as in `batches`.
            seed: as in `batches`.

        Returns:
            (x [N,...], labels int32 [N] or None): the elements of `batches`.

        Raises:
            VaezooError: as `batches`, or for an example that cannot be read.
        """
        count = self._counted(count)
        x = np.empty((count, *self.spec.shape), self.spec.dtype)
        labels = np.empty(count, "int32") if self.has_labels else None
        batches = self.batches(READ_AT_ONCE, binarize=binarize, seed=seed, labels=self.has_labels, count=count)
        with errors_of_readers():
            for number, batch in enumerate(batches.as_numpy_iterator()):
                rows = slice(number * READ_AT_ONCE, (number + 1) * READ_AT_ONCE)
                x[rows] = batch["x"]
                if labels is not None:
                    labels[rows] = batch["label"]
        return x, labels

    def _counted(self, count):
        if count is not None and count < 0:
            raise VaezooError(f"count {count} is negative: it must be 0 or more.")
        return self.size if count is None else min(count, self.size)

    def _typed(self, x):
        """Examples as they are held → of the type of the spec; uint8 images 0..255 become float32 in [0, 1]."""
        import tensorflow as tf

        if x.dtype != tf.uint8:
            return x
        return tf.cast(x, tf.float32) / 255 if self.spec.is_image else tf.cast(x, self.spec.dtype)

    def _check(self, batch_size, mode, seed, labels):
        check_binarization(mode)
        if mode != "none":
            self.spec.require_image(f"binarize='{mode}' (instead of 'none')")
        if batch_size < 1:
            raise VaezooError(f"batch_size {batch_size} is too small: it must be at least 1.")
        if seed < 0:
            raise VaezooError(f"seed {seed} is negative: it must be 0 or more.")
        if labels and not self.has_labels:
            raise VaezooError("these examples have no labels: use a labelled data set, or labels=False.")

    def _check_epoch(self, batch_size, steps):
        if batch_size > self.size:
            raise VaezooError(f"batch_size {batch_size} exceeds the {self.size} training examples: make it smaller.")
        if not 1 <= steps <= self.size // batch_size:
            raise VaezooError(
                f"steps_per_epoch {steps} is not in 1..{self.size // batch_size}: "
                f"{self.size} examples make {self.size // batch_size} full batches of {batch_size}."
            )


def equally_spaced(count, most):
    """At most so many of the indices 0 .. count - 1, equally spaced, for examples that may be sorted."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def on_cpu(array):
    """An eager tensor in main memory, even inside a traced function or on a machine with a GPU."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def untuned(dataset):
    """A `tf.data.Dataset` whose AUTOTUNE is a map on every core, not what is measured while it is read.

    TensorFlow measures in a thread that sleeps for longer and longer, up to a minute. The end of an iterator wakes it,
    but it may look before the iterator has said that it ends; then the end waits until it wakes by itself: a training
    stood still for up to a minute after its last epoch.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def as_written(function):
    """A function for a `tf.data.Dataset`, traced without a conversion of its `if` and `for`, which takes long."""
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def fold(seed, *numbers):
    """A stateless seed [2]: `seed` with each of the numbers folded in, in turn."""
    import tensorflow as tf

    seed = tf.cast(seed, tf.int64)
    for number in numbers:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64), alg="philox")
    return seed


def _flipped(images, seed):
    """Each image [B,H,W,C] mirrored left to right with a probability of a half."""
    import tensorflow as tf

    drawn = pixel_noise([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(drawn, tf.reverse(images, [2]), images)


def _transposed(melodies, seed):
    """Each melody [B,T] moved by a number of semitones from -5 to 6, or less where a pitch would leave the range."""
    import tensorflow as tf

    tokens = tf.cast(melodies, tf.int32)
    shape = [tf.shape(tokens)[0], 1]
    semitones = tf.random.stateless_uniform(shape, seed, -5, 7, tf.int32, alg="philox")
    pitched = tokens >= FIRST
    room_up = CLASSES - 1 - tf.reduce_max(tokens, 1, keepdims=True)
    room_down = tf.reduce_min(tf.where(pitched, tokens, CLASSES - 1), 1, keepdims=True) - FIRST
    semitones = tf.clip_by_value(semitones, -room_down, tf.maximum(room_up, 0))
    return tf.cast(tf.where(pitched, tokens + semitones, tokens), melodies.dtype)

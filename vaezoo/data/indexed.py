"""Splits whose images can be read at any index: held in memory, or read from files as they are needed."""

import functools

import numpy as np

from vaezoo.data.split import Split, on_cpu


class IndexedSplit(Split):
    """A split whose images can be read at any index: its keys are indices, and an epoch is a true permutation."""

    def _epoch_keys(self, seed, batch_size, steps):
        import tensorflow as tf

        order = tf.random.experimental.stateless_shuffle(tf.range(self.size, dtype=tf.int64), seed, alg="philox")
        order = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        return tf.data.Dataset.from_tensor_slices(order)

    def _ordered_keys(self, batch_size):
        import tensorflow as tf

        return tf.data.Dataset.range(self.size).batch(batch_size)

    def _read(self, keys):
        import tensorflow as tf

        return self._images(keys), tf.gather(self._label_tensor, keys) if self.has_labels else None

    @functools.cached_property
    def _label_tensor(self):
        return on_cpu(self.labels)

    def _images(self, indices):
        raise NotImplementedError


class ArraySplit(IndexedSplit):
    """A split held in memory.

    Args:
        images: [N, H, W, C], uint8 (0..255) or float32 in [0, 1].
        labels: integers [N], or None.
        factors: name → array [N].
    """

    def __init__(self, images, labels=None, factors=None):
        super().__init__(len(images), images.shape[1:], labels, factors)
        self.images = images

    def take(self, indices):
        """The part of the split at these indices; a copy."""
        factors = {name: values[indices] for name, values in self.factors.items()}
        return ArraySplit(self.images[indices], None if self.labels is None else self.labels[indices], factors)

    @functools.cached_property
    def _image_tensor(self):
        tensor = on_cpu(self.images)
        self.images = np.asarray(memoryview(tensor))  # look into the tensor: the images are held once, not twice
        return tensor

    def _images(self, indices):
        import tensorflow as tf

        return tf.gather(self._image_tensor, indices)


class ReaderSplit(IndexedSplit):
    """A split read as it is needed, for sets that do not fit in memory.

    Args:
        read: int64 indices [B] → images [B, H, W, C], uint8 or float32 in [0, 1]; called from several threads.
        indices: which of the reader's images belong to the split, [N].
        image_shape: (H, W, C).
        dtype: of what `read` returns, "uint8" or "float32".
        labels: integers [N], or None.
    """

    def __init__(self, read, indices, image_shape, dtype, labels=None):
        super().__init__(len(indices), image_shape, labels)
        self.reader, self.indices, self.dtype = read, np.asarray(indices), dtype

    def take(self, indices):
        """The part of the split at these indices; nothing is read."""
        labels = None if self.labels is None else self.labels[indices]
        return ReaderSplit(self.reader, self.indices[indices], self.image_shape, self.dtype, labels)

    def _images(self, indices):
        import tensorflow as tf

        images = tf.numpy_function(lambda keys: self.reader(self.indices[keys]), [indices], self.dtype)
        images.set_shape([indices.shape[0], *self.image_shape])
        return images

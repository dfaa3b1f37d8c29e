"""Splits that can be read at any index: held in memory, or read from files when needed."""

import functools

import numpy as np

from vaezoo.data.split import Split, on_cpu


class IndexedSplit(Split):
    """A split that can be read at any index: its keys are indices, and an epoch is an exact permutation."""

    def _epoch_keys(self, seed, batch_size, steps):
        import tensorflow as tf

        order = tf.random.experimental.stateless_shuffle(tf.range(self.size, dtype=tf.int64), seed, alg="philox")
        order = tf.reshape(order[: steps * batch_size], [steps, batch_size])
        return tf.data.Dataset.from_tensor_slices(order)

    def _ordered_keys(self, batch_size, count):
        import tensorflow as tf

        return tf.data.Dataset.range(count).batch(batch_size)

    def _read(self, keys):
        import tensorflow as tf

        return self._examples(keys), tf.gather(self._label_tensor, keys) if self.has_labels else None

    @functools.cached_property
    def _label_tensor(self):
        return on_cpu(self.labels)

    def _examples(self, indices):
        raise NotImplementedError


class ArraySplit(IndexedSplit):
    """A split held in memory.

    Args:
        x: [N,...] of the type of the spec; images may also be uint8 (0..255).
        spec: a `Spec`, with the number of classes if there are labels.
        labels: integers [N], or None.
        factors: name → array [N].
    """

    def __init__(self, x, spec, labels=None, factors=None):
        super().__init__(len(x), spec, labels, factors)
        self.x = x

    def take(self, indices):
        """The part of the split at these indices; a copy."""
        factors = {name: values[indices] for name, values in self.factors.items()}
        return ArraySplit(self.x[indices], self.spec, None if self.labels is None else self.labels[indices], factors)

    @functools.cached_property
    def _tensor(self):
        tensor = on_cpu(self.x)
        self.x = np.asarray(memoryview(tensor))  # a view of the tensor, so that the examples are held only once
        return tensor

    def _examples(self, indices):
        import tensorflow as tf

        return tf.gather(self._tensor, indices)


class ReaderSplit(IndexedSplit):
    """A split read or drawn when needed, for data sets that do not fit in memory.

    Args:
        read: int64 indices [B] → examples [B,...]; called from several threads.
        indices: the examples of the reader that belong to the split, [N].
        spec: a `Spec`, with the number of classes if there are labels.
        dtype: of what `read` returns: that of the spec, or "uint8" for images (0..255).
        labels: integers [N], or None.
        factors: name → array [N].
    """

    def __init__(self, read, indices, spec, dtype, labels=None, factors=None):
        super().__init__(len(indices), spec, labels, factors)
        self.reader, self.indices, self.dtype = read, np.asarray(indices), dtype

    def take(self, indices):
        """The part of the split at these indices; nothing is read."""
        labels = None if self.labels is None else self.labels[indices]
        factors = {name: values[indices] for name, values in self.factors.items()}
        return ReaderSplit(self.reader, self.indices[indices], self.spec, self.dtype, labels, factors)

    def in_memory(self):
        """The same split as an ArraySplit."""
        return ArraySplit(self.reader(self.indices), self.spec, self.labels, self.factors)

    def _examples(self, indices):
        import tensorflow as tf

        x = tf.numpy_function(lambda keys: self.reader(self.indices[keys]), [indices], self.dtype)
        x.set_shape([indices.shape[0], *self.spec.shape])
        return x

"""Splits read from the record files of a tensorflow-datasets set."""

import contextlib
import functools
import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np

from vaezoo.atomic import only_writer, remove_unfinished, write_file
from vaezoo.cache import cache_folder
from vaezoo.data.indexed import ArraySplit
from vaezoo.data.split import Split, as_written, fold, on_cpu, untuned
from vaezoo.errors import VaezooError

FACTOR = "label_"  # begins the name of a feature that is a known factor, and not the name of the factor
VERSION = 1  # of what becomes of a record; another one decodes all sets again
WORTH_KEEPING = 4 * 2**20  # bytes of decoded images; fewer are decoded again in no time
FILES_AT_ONCE = 8  # read side by side, so that neighbours in a file are not neighbours in an epoch


class RecordSplit(Split):
    """A split of images streamed from record files; `in_memory` makes an ArraySplit of it.

    As in every split, each batch is a pure function of (seed, epoch, step), and no image comes twice in an epoch. The
    order is only an approximate permutation: files are permuted and read eight at a time, and the records are shuffled
    in blocks of at most `block_bytes`.

    Args:
        files: the record files of one split of the set.
        lengths: the number of records in each of them.
        features: feature name → tf.io feature, for those to read: "image", "label" (optional) and known factors.
        spec: a `Spec`, with the number of classes if "label" is read.
        preparation: how images are brought to the shape of the spec; None if they have it.
        record_bytes: mean size of a record.
        block_bytes: memory to shuffle in.
        bits: whether the pixels are stored as 0 and 1, which become 0 and 255.
        positions: the records that belong to the split, ascending; None for all of them.
    """

    def __init__(self, files, lengths, features, spec, preparation, record_bytes, block_bytes, bits, positions=None):
        total = sum(lengths)
        self.positions = np.arange(total) if positions is None else positions
        super().__init__(len(self.positions), spec)
        del self.factors  # they are read when they are first asked for
        self.files, self.lengths, self.features = list(map(str, files)), list(lengths), features
        self.preparation, self.bits = preparation, bits
        self.record_bytes, self.block_bytes = record_bytes, block_bytes
        self.block = int(np.clip(block_bytes / max(record_bytes, 1), 1, total))

    def take(self, indices):
        """The part of the split at these indices, in the order of the records; nothing is read."""
        return RecordSplit(
            self.files, self.lengths, self.features, self.spec, self.preparation, self.record_bytes,
            self.block_bytes, self.bits, self.positions[np.sort(indices)],
        )  # fmt: skip

    def spaced(self, count=None):
        """The first examples: tensorflow-datasets shuffles them when it writes the files, which are long to read."""
        return self if count is None or count >= self.size else self.take(np.arange(count))

    @functools.cached_property
    def factors(self):
        """The known factors, name → array [N], from one pass over the records that decodes no image."""
        import tensorflow as tf

        names = [name for name in self.features if name not in ("image", "label")]
        if not names:
            return {}
        wanted = {name: self.features[name] for name in names}
        parts = list(
            self._ordered_keys(4096, self.size)
            .map(as_written(lambda records: tf.io.parse_example(records, wanted)), tf.data.AUTOTUNE, deterministic=True)
            .as_numpy_iterator()
        )
        return {name.removeprefix(FACTOR): np.concatenate([part[name] for part in parts]) for name in names}

    def stored_as_bits(self):
        """Whether the pixels of the first 100 images are 0 and 1, as those of dsprites: nearly black, out of 255."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            records = next(iter(self._ordered_keys(100, 100)))
            files = tf.io.parse_example(records, self.features)["image"]
            return max(int(tf.reduce_max(self._decoded(file))) for file in files) == 1

    def in_memory(self):
        """The same split as an ArraySplit, with labels and factors.

        Decoding takes seconds, so all records of a set are kept decoded in the cache folder for the next time.
        """
        path = self._kept_in()
        columns = path and self._kept(path)
        if not columns:
            columns = self._decoded_columns()
            if path:
                _keep(path, columns)
        images, labels = columns.pop("image"), columns.pop("label", None)
        factors = {name.removeprefix(FACTOR): values for name, values in columns.items()}
        return ArraySplit(images, self.spec, labels, factors)

    def _kept_in(self):
        """The file of the decoded records; None for a part of the records, for few, and for those of a remote disk."""
        if self.size != sum(self.lengths) or self.size * math.prod(self.spec.shape) < WORTH_KEEPING:
            return None
        import tensorflow as tf

        try:
            found = [Path(file).stat() for file in self.files]
        except OSError:  # gs://...
            return None
        stamps = [(file, one.st_size, one.st_mtime_ns) for file, one in zip(self.files, found, strict=True)]
        read = sorted(self.features), self.spec.shape, self.preparation, self.bits
        content = VERSION, tf.__version__, stamps, read
        name, digest = Path(self.files[0]).name.split(".")[0], hashlib.sha256(repr(content).encode()).hexdigest()
        return cache_folder() / "decoded" / f"{name}-{digest[:16]}.npz"

    def _kept(self, path):
        """The columns in a file of decoded records; None if it is not there, or not complete."""
        try:
            with open(path, "rb") as file, np.load(file) as arrays:
                columns = dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        complete = columns.keys() == self.features.keys() and columns["image"].shape == (self.size, *self.spec.shape)
        return columns if complete else None

    def _decoded_columns(self):
        """Every feature by name, decoded: an array [N,...]."""
        import tensorflow as tf

        columns, start = None, 0
        chunks = self._ordered_keys(512, self.size).map(as_written(self._parse), tf.data.AUTOTUNE, deterministic=True)
        for chunk in chunks.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            if columns is None:
                columns = {name: np.empty((self.size, *part.shape[1:]), part.dtype) for name, part in chunk.items()}
            stop = start + len(chunk["image"])
            for name, part in chunk.items():
                columns[name][start:stop] = part
            start = stop
        return columns

    def _epoch_keys(self, seed, batch_size, steps):
        import tensorflow as tf

        order = _shuffled(tf.range(len(self.files)), fold(seed, 0))
        files = tf.data.Dataset.from_tensor_slices(order)
        records = files.interleave(
            self._records_of_file, FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        blocks = records.batch(self.block).enumerate()
        records = blocks.map(lambda number, block: _shuffled(block, fold(seed, 1, number))).unbatch()
        return records.batch(batch_size, drop_remainder=True).take(steps)

    def _ordered_keys(self, batch_size, count):
        import tensorflow as tf

        records = tf.data.Dataset.range(len(self.files)).flat_map(as_written(self._records_of_file))
        return untuned(records.take(count).batch(batch_size))

    def _records_of_file(self, index):
        """The records of one file that belong to the split."""
        import tensorflow as tf

        names, starts, belongs = self._tables
        records = tf.data.TFRecordDataset(tf.gather(names, index))
        if self.size == sum(self.lengths):
            return records
        start = tf.gather(starts, index)
        numbered = records.enumerate().filter(lambda number, _: tf.gather(belongs, start + number))
        return numbered.map(lambda _, record: record)

    @functools.cached_property
    def _tables(self):
        belongs = np.zeros(sum(self.lengths), bool)
        belongs[self.positions] = True
        starts = np.cumsum([0, *self.lengths[:-1]])
        return on_cpu(np.array(self.files)), on_cpu(starts), on_cpu(belongs)

    def _read(self, keys):
        columns = self._parse(keys)
        return columns["image"], columns.get("label")

    def _parse(self, records):
        """Serialized records [B] → image uint8 [B,H,W,C], label int32 [B], and the factors."""
        import tensorflow as tf

        columns = tf.io.parse_example(records, self.features)
        images = tf.map_fn(self._decode, columns["image"], fn_output_signature=tf.uint8)
        columns["image"] = tf.ensure_shape(images, [records.shape[0], *self.spec.shape])
        if self.has_labels:
            columns["label"] = tf.cast(columns["label"], tf.int32)
        return columns

    def _decode(self, file):
        import tensorflow as tf

        image = self._decoded(file)
        if self.bits:
            image = tf.where(image > 0, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))
        return self.preparation.fit(image) if self.preparation else image

    def _decoded(self, file):
        import tensorflow as tf

        return tf.io.decode_image(file, channels=self.spec.shape[-1], expand_animations=False)


def _keep(path, columns):
    """Write the columns, unless the disk does not allow it or another process is writing."""
    with contextlib.suppress(VaezooError), only_writer(path.parent, "another process keeps a set there"):
        remove_unfinished(path.parent)
        write_file(path, lambda temporary: np.savez(temporary, **columns))


def _shuffled(values, seed):
    import tensorflow as tf

    return tf.random.experimental.stateless_shuffle(values, seed, alg="philox")

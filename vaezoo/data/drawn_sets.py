"""Image sets that are drawn on this machine from known factors: once, and then read from disk."""

import io
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from vaezoo.data import tfds_sets

_SEEDS = {"train": 1, "test": 2}
_PIXELS_AT_ONCE = 2**16  # the arrays of so many stay in the processor's cache


class DrawnSet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A tensorflow-datasets builder without a download. A subclass describes one set, by these attributes.

    Attributes:
        SHAPE: (H, W, C) of every image.
        SIZES: split → number of images.
        CLASSES: each factor that is a choice → the names of its values. "label" is the first of them.
        RANGES: each factor that is a number → (lowest, highest).
        SECONDS: about how long drawing takes.
        draw: a static method: the factors by name, each an array [N] → uint8 [N,H,W,C].
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012  the form that tfds asks for

    @classmethod
    def known_factors(cls, split):
        """The factors of each image of a split: a pure function of the split's name.

        Args:
            split: "train" or "test".

        Returns:
            dict of arrays [N]: int64 for each of CLASSES, every label equally often, and float32 for each of RANGES.
            All are uniform, and independent of one another.
        """
        random, size = np.random.default_rng(_SEEDS[split]), cls.SIZES[split]
        factors = {"label": random.permutation(size) % len(cls.CLASSES["label"])}
        for name, names in list(cls.CLASSES.items())[1:]:
            factors[name] = random.integers(len(names), size=size)
        for name, (low, high) in cls.RANGES.items():
            factors[name] = random.uniform(low, high, size).astype("float32")
        return factors

    @classmethod
    def prepared(cls):
        """The builder, with the set on disk; it is drawn if it is not there yet."""
        builder = tfds_sets.place(lambda folder: cls(data_dir=folder))
        if not builder.data_path.exists():
            where = f"the {cls.name} data set (once, about {cls.SECONDS} s) into {builder.data_path}"
            print(f"vaezoo: drawing {where}", file=sys.stderr)
            tfds_sets.prepare(builder)
        return builder

    @classmethod
    def load(cls, *options):
        """The splits of the set, with their factors; see load_data."""
        factors = [name for name in (*cls.CLASSES, *cls.RANGES) if name != "label"]
        return tfds_sets.read(cls.prepared(), cls.name, *options, factors)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=self.SHAPE, encoding_format="png"),
            **{name: tfds.features.ClassLabel(names=names) for name, names in self.CLASSES.items()},
            **{name: tfds.features.Scalar(np.float32) for name in self.RANGES},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # the factors are random already; keeps the order of known_factors
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.SIZES}

    def _generate_examples(self, split):
        factors, many = self.known_factors(split), _PIXELS_AT_ONCE // (self.SHAPE[0] * self.SHAPE[1])
        for start in range(0, self.SIZES[split], many):
            part = {name: values[start : start + many] for name, values in factors.items()}
            for i, image in enumerate(self.draw(**part)):
                row = {name: values[i] for name, values in part.items()}
                yield start + i, {"image": _png(image), **row}


def _png(image):
    file = io.BytesIO()
    grey = image.shape[-1] == 1
    # The encoder of tfds takes twice as long.
    Image.fromarray(image[..., 0] if grey else image).save(file, "png", compress_level=1)
    file.seek(0)
    return file

"""glyphs: 70,000 digits drawn from twelve fonts, 28 by 28, with the known factors of each.

A tensorflow-datasets builder without a download: the images are drawn once and then read from disk.
"""

import io
import sys

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from vaezoo.data import drawing, tfds_sets

# Factors drawn uniformly, independent of the digit and of each other: name → (lowest, highest). They are as wide as
# keeps digits inside the image: a handful of the 70,000 touch the border, faintly.
RANGES = {
    "rotation": (-16.0, 16.0),  # degrees, counter-clockwise
    "slant": (-0.25, 0.25),  # shift of the top to the right, as a fraction of the height
    "thickness": (0.0, 1.7),  # pixels added to the font's stroke width
    "scale": (0.8, 1.1),  # 1 is 17 pixels high
    "shift_x": (-1.8, 1.8),  # pixels, right
    "shift_y": (-1.8, 1.8),  # pixels, down
}
FACTORS = ("font", *RANGES)
SIZES = {"train": 60_000, "test": 10_000}
_SEEDS = {"train": 1, "test": 2}


def known_factors(split):
    """The factors of each image of a split: a pure function of the split's name.

    Args:
        split: "train" or "test".

    Returns:
        dict of arrays [N]: "label" (int64, every digit equally often), "font" (int64, index into drawing.FONTS)
        and one float32 for each of RANGES.
    """
    random, size = np.random.default_rng(_SEEDS[split]), SIZES[split]
    factors = {"label": random.permutation(size) % 10, "font": random.integers(len(drawing.FONTS), size=size)}
    for name, (low, high) in RANGES.items():
        factors[name] = random.uniform(low, high, size).astype("float32")
    return factors


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Digits drawn from fonts, with known factors."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012  the form that tfds asks for

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(drawing.SIZE, drawing.SIZE, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
            "font": tfds.features.ClassLabel(names=drawing.FONTS),
            **{name: tfds.features.Scalar(np.float32) for name in RANGES},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # the factors are random already; keeps the order of known_factors
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split):
        factors = known_factors(split)
        for start in range(0, SIZES[split], 500):  # as many as fit in the processor's cache
            part = {name: values[start : start + 500] for name, values in factors.items()}
            for i, image in enumerate(drawing.draw(**part)):
                row = {name: values[i] for name, values in part.items()}
                yield start + i, {"image": _png(image), **row}


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "png", compress_level=1)  # the encoder of tfds takes twice as long
    file.seek(0)
    return file


def prepared():
    """The builder, with the set on disk; it is drawn if it is not there yet."""
    builder = tfds_sets.place(lambda folder: Glyphs(data_dir=folder))
    if not builder.data_path.exists():
        print(f"vaezoo: drawing the glyphs data set (once, about 15 s) into {builder.data_path}", file=sys.stderr)
        tfds_sets.prepare(builder)
    return builder


def load(image_size, validation, seed, memory_limit):
    """The splits of glyphs; see load_data."""
    return tfds_sets.read(prepared(), "glyphs", image_size, validation, seed, memory_limit, FACTORS)

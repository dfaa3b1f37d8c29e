"""What load_data returns, and how images are divided into training, validation and test."""

import dataclasses

import numpy as np

from vaezoo.data.split import HELD_OUT, Split
from vaezoo.errors import VaezooError

ASK_FOR_SIZE = "choose one for all by `--image-size 64 64` (recipe key data.image_size)."


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: three splits of images of one shape.

    Attributes:
        name: as it was given to load_data.
        image_shape: (H, W, C).
        train: what the model learns from.
        validation: held out of the training images, or None.
        test: never seen in training.
        class_names: one a class, in the order of the labels; None where there are no labels.
    """

    name: str
    image_shape: tuple[int, int, int]
    train: Split
    validation: Split | None
    test: Split
    class_names: tuple[str, ...] | None = None

    @property
    def classes(self) -> int:
        """How many classes there are; 0 without labels."""
        return len(self.class_names or ())


def make_data(name, train, test, class_names, validation, seed):
    """Hold out what has to be held out, and check that enough is left.

    Args:
        name: as it was given to load_data.
        train: a split; the whole set if `test` is None.
        test: a split, or None: then a tenth of the images, the same ones whatever the seed, so that runs compare.
        class_names: a tuple, or None.
        validation: fraction of the training images, in [0, 0.5].
        seed: chooses the validation images.

    Returns:
        A Data.

    Raises:
        VaezooError: if fewer than two images are left to train on.
    """
    given, part = len(train), None
    if test is None and len(train) > 1:
        train, test = _hold_out(train, 0.1, seed=0)
    if validation and len(train) > 1:
        train, part = _hold_out(train, validation, seed)
    if len(train) < 2 or not test:
        raise VaezooError(
            f"'{name}' has too few images: {given} leave {len(train)} to train on once validation and test images "
            "are held out; give at least 10."
        )
    return Data(name, train.image_shape, train, part, test, class_names)


def _hold_out(split, fraction, seed):
    """Divide a split by a seeded permutation into (the rest, that fraction of it, at least one)."""
    count = max(1, round(len(split) * fraction))
    order = np.random.default_rng([seed, HELD_OUT]).permutation(len(split))
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def name_classes(*labels):
    """Number the classes of some splits from 0, in the order of their values.

    Args:
        labels: each an array [N] of values that sort, or None.

    Returns:
        (class names, or None where no split has labels), then the labels of each split, int32 or None.
    """
    given = [part for part in labels if part is not None]
    if not given:
        return None, *labels
    values = np.unique(np.concatenate(given))
    numbered = (None if part is None else np.searchsorted(values, part).astype("int32") for part in labels)
    return tuple(str(value) for value in values), *numbered

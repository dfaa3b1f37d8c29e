"""The result of load_data, and the division of examples into training, validation and test."""

import dataclasses

import numpy as np

from vaezoo.data.split import HELD_OUT, Split
from vaezoo.errors import VaezooError, printable
from vaezoo.spec import Spec

# The sets that are drawn on this machine, without a download; `load` of the module of that name makes one.
DRAWN = ("glyphs", "shapes", "sprites")
MELODIES = "folk_melodies"  # and "folk_melodies/essen"


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: three splits of examples of one spec.

    Attributes:
        name: as given to load_data.
        spec: what one example is: its kind, shape and levels, and the number of classes of the labels.
        train: what the model learns from.
        validation: held out of the training examples, or None.
        test: never used in training.
        class_names: the names of the classes, in the order of the labels; None if there are no labels.
        image_size: (H, W) that every image was brought to, asked for or decided here; None if they keep their size.
        notes: lines about the data that the user should see.
        columns: of a table, name → type of each column, or "drop" if it is left out; None for other data.
        skipped: the files of a folder that are left out, each with the reason.
    """

    name: str
    spec: Spec
    train: Split
    validation: Split | None
    test: Split
    class_names: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    columns: dict[str, str] | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes; 0 without labels."""
        return self.spec.classes


def make_data(name, train, test, class_names, validation, seed, held=None, **more):
    """Hold out examples for validation and test, and check that enough are left.

    Args:
        name: as given to load_data.
        train: a split; the complete set if `test` is None.
        test: a split, or None to hold out a tenth of the examples; it does not depend on the seed, so runs compare.
        class_names: a tuple, or None.
        validation: fraction of the training examples, in [0, 0.5].
        seed: chooses the validation examples.
        held: a split that is the validation split; None, or an empty one, to hold out that fraction.
        **more: further fields of the Data.

    Returns:
        A Data.

    Raises:
        VaezooError: if fewer than two training examples are left.
    """
    given, part = len(train), held or None
    if test is None and len(train) > 1:
        train, test = _hold_out(train, 0.1, seed=0)
    if validation and not held and len(train) > 1:
        train, part = _hold_out(train, validation, seed)
    if len(train) < 2 or not test:
        raise VaezooError(
            f"'{name}' has too few examples: of {given}, {len(train)} are left for training after validation and test "
            "are held out; give at least 10."
        )
    return Data(name, train.spec, train, part, test, class_names, **more)


def _hold_out(split, fraction, seed):
    """Divide a split by a seeded permutation into (the rest, that fraction of it, at least one)."""
    count = max(1, round(len(split) * fraction))
    order = np.random.default_rng([seed, HELD_OUT]).permutation(len(split))
    return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))


def name_classes(*labels):
    """Number the classes of some splits from 0, in the order of their values.

    Args:
        labels: each an array [N] of sortable values, or None.

    Returns:
        (class names, with control characters escaped, or None if no split has labels), then the labels of each split,
        int32 or None.
    """
    given = [part for part in labels if part is not None]
    if not given:
        return None, *labels
    values = np.unique(np.concatenate(given))
    numbered = (None if part is None else np.searchsorted(values, part).astype("int32") for part in labels)
    return tuple(printable(str(value)) for value in values), *numbered

"""What one example is: its kind, its shape, the values of its elements, the classes of its label."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

from vaezoo.errors import VaezooError, unknown

AXES = {"image": "HWC", "vector": "F", "sequence": "T"}  # kind → the names of the axes of an example
NOTATIONS = ("melody",)  # what the tokens of a sequence can mean
COLUMN_TYPES = ("continuous", "count", "binary", "categorical")
CELL_TYPES = ("int64", "float64", "bool", "str")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    An example holds a number of the column as it is, and of a binary or categorical column the index of the value. NaN
    is a missing cell.

    Attributes:
        name: as in the table.
        type: "continuous"; "count" for whole numbers of 0 or more; "binary" for two values; or "categorical".
        loc: the middle of the training rows: of a continuous column of x, of a count of log(1 + x); 0 for the others.
        scale: their spread around it, in the same unit, above 0; 1 for the others.
        values: the values of a binary or categorical column, in the order of their indices; empty for the others.
        missing: whether a cell of the training rows is missing.
        dtype: the type of a cell in the table: one of CELL_TYPES.
    """

    name: str
    type: str = "continuous"
    loc: float = 0.0
    scale: float = 1.0
    values: tuple[str | int | float | bool, ...] = ()
    missing: bool = False
    dtype: str = "float64"

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        if self.type not in COLUMN_TYPES:
            raise unknown(f"type of the column '{self.name}'", self.type, COLUMN_TYPES)
        if self.dtype not in CELL_TYPES:
            raise unknown(f"dtype of the column '{self.name}'", self.dtype, CELL_TYPES)
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise VaezooError(
                f"the column '{self.name}' has loc {self.loc} and scale {self.scale}: both must be finite, and the "
                "scale above 0"
            )
        least = {"binary": 2, "categorical": 1}.get(self.type, 0)
        if len(self.values) < least or (len(self.values) > least and self.type != "categorical"):
            raise VaezooError(f"the column '{self.name}' is {self.type}, and has {len(self.values)} values")

    @property
    def is_number(self) -> bool:
        """Whether an example holds the number itself, and not the index of a value."""
        return self.type in ("continuous", "count")


@dataclasses.dataclass(frozen=True)
class Spec:
    """What one example is.

    Attributes:
        kind: "image", "vector" or "sequence". It is also the name of the example in exported files.
        shape: (H, W, C) of an image, float32 in [0, 1]; (F,) of a vector of real numbers, float32; (T,) of a sequence
            of tokens, int32.
        levels: V, the number of values that an element can take, for a sequence; None for real numbers.
        classes: Y, the number of classes of the label; 0 where there is no label.
        notation: "melody" if the tokens of a sequence are those of vaezoo.music; None otherwise.
        columns: the F columns of a table, whose rows are vectors; None where the model knows nothing of the numbers.
    """

    kind: str
    shape: tuple[int, ...]
    levels: int | None = None
    classes: int = 0
    notation: str | None = None
    columns: tuple[Column, ...] | None = None

    def __post_init__(self):
        if self.kind not in AXES:
            raise VaezooError(f"an example of kind '{self.kind}'; allowed: {', '.join(AXES)}")
        axes = AXES[self.kind]
        if not isinstance(self.shape, Sequence) or len(self.shape) != len(axes) or not all(map(_counts, self.shape)):
            raise VaezooError(
                f"the shape {self.shape} of '{self.kind}'; it must be ({', '.join(axes)}), each at least 1"
            )
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))
        if (self.kind == "sequence") != (self.levels is not None):
            raise VaezooError("levels is the number of tokens of a sequence: give it for a sequence, and only there")
        if self.levels is not None and not _counts(self.levels):
            raise VaezooError(f"levels is {self.levels}; it must be a whole number, at least 1")
        if self.classes != 0 and not _counts(self.classes):
            raise VaezooError(f"classes is {self.classes}; it must be a whole number, at least 0")
        if self.notation is not None and (self.kind != "sequence" or self.notation not in NOTATIONS):
            raise VaezooError(
                f"the notation {self.notation!r} of '{self.kind}'; allowed: None, or {', '.join(NOTATIONS)} for a "
                "sequence"
            )
        if self.columns is not None:
            columns = (column if isinstance(column, Column) else Column(**column) for column in self.columns)
            object.__setattr__(self, "columns", tuple(columns))
            names = {column.name for column in self.columns}
            if self.kind != "vector" or not len(names) == len(self.columns) == self.shape[0]:
                raise VaezooError(
                    f"{len(self.columns)} columns of {len(names)} names for {self.kind}s of shape {self.shape}: give "
                    "one of its own name for each element of a vector"
                )

    @classmethod
    def of(cls, given: "Spec | Iterable[int]", classes: int = 0) -> "Spec":
        """The spec of images (H, W, C) or vectors (F,); or a Spec, which gets the classes if it has none."""
        if isinstance(given, cls):
            return given if given.classes else given.with_classes(classes)
        if not isinstance(given, Iterable):
            raise VaezooError(f"the shape of an example is {given}; give (H, W, C) for images, (F,) for vectors")
        shape = tuple(given)
        return cls("image" if len(shape) == 3 else "vector", shape, classes=classes)

    def with_classes(self, classes: int) -> "Spec":
        """The same examples with labels of so many classes; 0 for no label."""
        return dataclasses.replace(self, classes=classes)

    def with_columns(self, columns: "Sequence[Column] | None") -> "Spec":
        """The same vectors as rows of these columns; None for numbers without a meaning."""
        return dataclasses.replace(self, columns=columns)

    def as_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as JSON has them."""
        columns = self.columns and [{**vars(column), "values": list(column.values)} for column in self.columns]
        return {**vars(self), "shape": list(self.shape), "columns": columns}

    @property
    def conditional(self) -> bool:
        """Whether an example has a label that the model takes."""
        return self.classes > 0

    @property
    def dtype(self) -> str:
        """The type of the elements inside a batch."""
        return "float32" if self.levels is None else "int32"

    @property
    def size(self) -> int:
        """The number of elements of an example."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether the example can be drawn as a picture."""
        return self.kind == "image"

    def __str__(self):
        if self.notation == "melody":
            return f"melodies of {self.shape[0]} sixteenths"
        if self.columns is not None:
            return f"rows of {self.shape[0]} columns"
        sizes = "×".join(map(str, self.shape))
        return {
            "image": f"images of {sizes}",
            "vector": f"vectors of {sizes} numbers",
            "sequence": f"sequences of {sizes} tokens out of {self.levels}",
        }[self.kind]

    def require_image(self, what: str) -> None:
        """Raise a VaezooError unless the examples are images; `what` is what needs them, as in "a picture"."""
        if not self.is_image:
            raise VaezooError(f"{what} needs images, and these examples are {self}")

    def require_table(self, what: str) -> None:
        """Raise a VaezooError unless the examples are rows of a table; `what` is what needs them."""
        if self.columns is None:
            raise VaezooError(f"{what} needs the rows of a table, and these examples are {self}")

    def require_melody(self, what: str) -> None:
        """Raise a VaezooError unless the examples are melodies; `what` is what needs them, as in "a piano roll"."""
        if self.notation != "melody":
            raise VaezooError(f"{what} needs melodies, and these examples are {self}")


def _counts(number):
    """Whether it is a whole number, at least 1."""
    return isinstance(number, numbers.Integral) and not isinstance(number, bool) and number >= 1

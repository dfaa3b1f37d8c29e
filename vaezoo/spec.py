"""What one example is: its kind, its shape, the values of its elements, the classes of its label."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Sequence

from vaezoo.errors import VaezooError

AXES = {"image": "HWC", "vector": "F", "sequence": "T"}  # kind → the names of the axes of an example
NOTATIONS = ("melody",)  # what the tokens of a sequence can mean


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
    """

    kind: str
    shape: tuple[int, ...]
    levels: int | None = None
    classes: int = 0
    notation: str | None = None

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

    def require_melody(self, what: str) -> None:
        """Raise a VaezooError unless the examples are melodies; `what` is what needs them, as in "a piano roll"."""
        if self.notation != "melody":
            raise VaezooError(f"{what} needs melodies, and these examples are {self}")


def _counts(number):
    """Whether it is a whole number, at least 1."""
    return isinstance(number, numbers.Integral) and not isinstance(number, bool) and number >= 1

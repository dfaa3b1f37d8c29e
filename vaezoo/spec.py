"""What one example is: its kind, its shape, the values of its elements, the classes of its label."""

import dataclasses
import math
from collections.abc import Sequence

from vaezoo.errors import VaezooError

AXES = {"image": "HWC", "vector": "F", "sequence": "T"}  # kind → the names of the axes of an example


@dataclasses.dataclass(frozen=True)
class Spec:
    """What one example is.

    Attributes:
        kind: "image", "vector" or "sequence". It is also the name of the example in exported files.
        shape: (H, W, C) of an image, float32 in [0, 1]; (F,) of a vector of real numbers, float32; (T,) of a sequence
            of tokens, int32.
        levels: V, the number of values that an element can take, for a sequence; None for real numbers.
        classes: Y, the number of classes of the label; 0 where there is no label.
    """

    kind: str
    shape: tuple[int, ...]
    levels: int | None = None
    classes: int = 0

    def __post_init__(self):
        if self.kind not in AXES:
            raise VaezooError(f"an example of kind '{self.kind}'; allowed: {', '.join(AXES)}")
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if len(self.shape) != len(AXES[self.kind]) or min(self.shape) < 1:
            axes = ", ".join(AXES[self.kind])
            raise VaezooError(f"the shape {self.shape} of '{self.kind}'; it must be ({axes}), each at least 1")
        if (self.kind == "sequence") != (self.levels is not None):
            raise VaezooError("levels is the number of tokens of a sequence: give it for a sequence, and only there")

    @classmethod
    def of(cls, given: "Spec | Sequence[int]", classes: int = 0) -> "Spec":
        """The spec of images (H, W, C) or vectors (F,); a Spec stays as it is, but for the number of classes."""
        if isinstance(given, cls):
            return given
        return cls("image" if len(given) == 3 else "vector", tuple(given), classes=classes)

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

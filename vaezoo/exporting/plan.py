"""The choices of an export: formats, quantizations, batch. Imports nothing heavy."""

import dataclasses
import importlib.util

from vaezoo.errors import VaezooError, unknown

FORMATS = ("savedmodel", "litert", "keras", "onnx")
DEFAULT_FORMATS = ("savedmodel", "litert", "keras")  # onnx is an optional extra
QUANTIZATIONS = ("float32", "float16", "dynamic_range", "int8")
SCORES = ("score", "score_drawn")  # the signatures of a calibrated export

# What each format needs beyond vaezoo's own dependencies: module → how to install it.
NEEDS = {
    "savedmodel": {"tensorflow_serving": "pip install 'vaezoo[export]'"},  # for the warm-up records
    "litert": {"ai_edge_litert": "pip install 'vaezoo[export]'"},  # the runtime that the files are checked in
    "keras": {},
    "onnx": {"tf2onnx": "pip install 'vaezoo[onnx]'", "onnxruntime": "pip install 'vaezoo[onnx]'"},
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The choices of an export, checked when the plan is made.

    Attributes:
        formats: some of FORMATS.
        quantizations: some of QUANTIZATIONS, for "litert".
        with_encoder: write the encoder as LiteRT too.
        batch: the static batch of LiteRT and ONNX files, 1 to 4096; None for a dynamic one.
        fpr: the rate of false alarms of the score for anomalies, in (0, 1); None for no score.

    Raises:
        VaezooError: for an unknown name, a batch out of range, a score that no format holds, or a package that is not
            installed.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    quantizations: tuple[str, ...] = QUANTIZATIONS
    with_encoder: bool = False
    batch: int | None = None
    fpr: float | None = None

    def __post_init__(self):
        for field, kind, allowed in (
            ("formats", "format", FORMATS),
            ("quantizations", "quantization", QUANTIZATIONS),
        ):
            given = getattr(self, field)
            if isinstance(given, str) or not given:
                raise VaezooError(f"{field} must be a list of names, not {given!r}; allowed: {', '.join(allowed)}")
            for name in given:
                if name not in allowed:
                    raise unknown(kind, name, allowed)
            object.__setattr__(self, field, tuple(name for name in allowed if name in given))
        if self.batch is not None and (not isinstance(self.batch, int) or not 1 <= self.batch <= 4096):
            raise VaezooError(f"batch is {self.batch!r}; it must be from 1 to 4096, or left out for a dynamic batch")
        if self.fpr is not None and not {"savedmodel", "litert"} & set(self.formats):
            raise VaezooError(
                f"fpr= asks for a score, which is written as a SavedModel or LiteRT, not as {' or '.join(self.formats)}"
            )
        for name in self.formats:
            for module, remedy in NEEDS[name].items():
                if importlib.util.find_spec(module) is None:
                    raise VaezooError(f"the format '{name}' needs {module}, which is not installed: {remedy}")

    @property
    def flat(self):
        """Whether the export writes files into the target folder itself, beside the SavedModel."""
        return self.formats != ("savedmodel",)

"""LiteRT (TF-Lite) files for phones and small machines, in four precisions.

Inputs and outputs are float32 in every precision; tokens and labels are int32.
"""

import contextlib
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from vaezoo.atomic import plain_errors
from vaezoo.errors import VaezooError
from vaezoo.exporting.signatures import Functions, save

CALIBRATION_BATCH = 50

# Operations that int8 keeps in float32. They take little time, and 8 bits are not enough for them: the mean of a
# continuous Bernoulli takes exponentials and quotients (an error of 0.16), and LiteRT 2.3's own 8-bit one-hot gives
# every image of a conditional model an error of up to 0.1.
KEPT_FLOAT = ("ABS", "ADD", "DIV", "EXP", "LESS", "LOG", "MUL", "NEG", "ONE_HOT", "POW", "SELECT_V2", "SQUARE", "SUB")

# Those of rows of a table, whose columns have units that differ by any factor: one scale of 8 bits cannot hold them.
KEPT_FLOAT_OF_ROWS = (
    "CAST", "CONCATENATION", "EQUAL", "GATHER", "GREATER", "MINIMUM", "NOT_EQUAL", "PACK", "RELU", "RESHAPE", "SPLIT",
    "STRIDED_SLICE", "TOPK_V2",
)  # fmt: skip


def convert(functions: Functions, name: str, quantization: str, batch: int | None = None, calibration=None) -> bytes:
    """Convert one signature to a LiteRT file.

    Args:
        functions: the signatures of the model.
        name: "decode" or "encode"; also the name of the signature in the file.
        quantization: "float32", "float16" (weights), "dynamic_range" (int8 weights), or "int8" (weights and most
            activations, with ranges taken from `calibration`).
        batch: its static batch, or None for any.
        calibration: inputs by name, arrays of equally many rows, for "int8".

    Returns:
        The content of the file.

    Raises:
        VaezooError: if an operation has no LiteRT kernel, or the temporary folder cannot be written.
    """
    kept = KEPT_FLOAT if functions.vae.spec.columns is None else KEPT_FLOAT + KEPT_FLOAT_OF_ROWS
    with plain_errors("the folder for temporary files"), tempfile.TemporaryDirectory(prefix="vaezoo-") as folder:
        save(functions, Path(folder) / "model", [name], batch)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "model"), signature_keys=[name])
        if quantization != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8":
            converter.representative_dataset = lambda: _batches(calibration, batch)
        try:
            with _quiet(), warnings.catch_warnings():
                # TensorFlow calibrates with its own deprecated interpreter, and warns about it.
                warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
                content = _convert_to_int8(converter, kept) if quantization == "int8" else converter.convert()
        except Exception as error:  # the converter's own errors have no common base
            raise VaezooError(f"'{name}' cannot be converted to LiteRT in {quantization}: {_reason(error)}") from error
    _refuse_flex(content, name)
    return content


def _convert_to_int8(converter, kept):
    """Quantize the layers and keep these operations in float32 (TensorFlow's selective quantization)."""
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(kept))
    data = converter.representative_dataset
    selective = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=data, debug_options=options
    )
    return selective.get_nondebug_quantized_model()


def _batches(calibration, batch):
    """The calibration inputs in batches of the file's size; fewer rows than a batch are repeated to fill it."""
    rows = len(next(iter(calibration.values())))
    size = batch or min(CALIBRATION_BATCH, rows)
    filled = {key: np.resize(values, (max(rows, size), *values.shape[1:])) for key, values in calibration.items()}
    for start in range(0, max(rows, size) - size + 1, size):
        yield {key: values[start : start + size] for key, values in filled.items()}


def _refuse_flex(content, name):
    """Refuse ops that only TensorFlow has kernels for: the LiteRT runtime, here or on a phone, cannot run them."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    custom = [model.OperatorCodes(index).CustomCode() for index in range(model.OperatorCodesLength())]
    if foreign := sorted({code.decode() for code in custom if code}):
        raise VaezooError(
            f"'{name}' needs {', '.join(foreign)}, which the LiteRT runtime does not have; build the network from "
            "layers that LiteRT has kernels for"
        )


def _reason(error):
    """The line of the converter's message that gives the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "not supported" in line or "Flex" in line]
    return (telling or lines or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet():
    """Discard what the converter writes to stderr outside Python."""
    saved = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)

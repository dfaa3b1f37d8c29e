"""The decoder as ONNX, through tf2onnx."""

import logging
from pathlib import Path

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.exporting.signatures import Functions

OPSET = 17


def write(functions: Functions, path: Path, batch: int | None = None) -> None:
    """Write decoder.onnx and load it again: tf2onnx can leave an invalid graph without a word.

    Args:
        functions: the signatures of the model.
        path: the file.
        batch: its static batch, or None for any.

    Raises:
        VaezooError: if it cannot be converted, or not loaded.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what matters of it is raised below
    specs = [
        tf.TensorSpec([batch, *shape], dtype, name=key) for key, (shape, dtype) in functions.specs["decode"].items()
    ]

    @tf.function(input_signature=specs)
    def decode(*tensors):
        return functions.decode(dict(zip(functions.specs["decode"], tensors, strict=True)))

    try:
        handlers = {"Erfc": (_erfc, [])}
        model, _ = tf2onnx.convert.from_function(
            decode, input_signature=specs, opset=OPSET, custom_op_handlers=handlers
        )
        onnx.save(model, str(path))
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # three libraries' errors have no common base
        raise VaezooError(f"the decoder cannot be converted to ONNX: {' '.join(str(error).split())[:300]}") from error


def _erfc(context, node, name, _args):
    """Write TensorFlow's Erfc, which its exact GELU uses and tf2onnx does not know, as 1 - Erf."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    outputs = node.output
    context.remove_node(node.name)
    erf = context.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
    one = context.make_const(f"{name}_one", np.float32(1))
    context.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)

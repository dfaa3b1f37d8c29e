"""The decoder as ONNX, through tf2onnx."""

import logging
from pathlib import Path

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.exporting.signatures import Functions

OPSET = 17


def write(functions: Functions, path: Path, batch: int | None = None) -> None:
    """Write decoder.onnx and check it: tf2onnx can write an invalid graph without an error.

    Args:
        functions: the signatures of the model.
        path: the file to write.
        batch: its static batch, or None for any.

    Raises:
        VaezooError: if the decoder cannot be converted, or the file is not valid.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # its errors are raised below
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
    except Exception as error:  # the errors of the three libraries have no common base
        raise VaezooError(f"the decoder cannot be converted to ONNX: {' '.join(str(error).split())[:300]}") from error


def _erfc(context, node, name, _args):
    """Replace TensorFlow's Erfc, which its exact GELU uses and tf2onnx does not support, by 1 - Erf."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    outputs = node.output
    context.remove_node(node.name)
    erf = context.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
    one = context.make_const(f"{name}_one", np.float32(1))
    context.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)

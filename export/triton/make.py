"""Put an exported decoder into a model repository of Triton Inference Server; needs onnxruntime alone.

python export/triton/make.py DIR/decoder.onnx conv_vae --to model_repository

writes model_repository/conv_vae/1/model.onnx and model_repository/conv_vae/config.pbtxt. A second run with the same
name adds version 2, which must have the same inputs and outputs.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

import onnxruntime

TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int32)": "TYPE_INT32"}
MAX_BATCH = 64


def main(argv=None):
    """Write a version of a model, and its configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path, help="decoder.onnx, as `vaezoo export RUN --to DIR --format onnx` writes it")
    parser.add_argument("name", help="of the model on the server")
    parser.add_argument("--to", type=Path, default=Path("model_repository"), metavar="DIR", help="the model repository")
    options = parser.parse_args(argv)
    if not re.fullmatch(r"[\w.-]+", options.name) or options.name.strip(".") == "":
        sys.exit(f"the name '{options.name}' must consist of letters, digits, '_', '-' and '.'")
    try:
        session = onnxruntime.InferenceSession(str(options.onnx), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        sys.exit(f"cannot read '{options.onnx}': {' '.join(str(error).split())[:200]}")
    text = config(options.name, session.get_inputs(), session.get_outputs())
    folder = options.to / options.name
    if (folder / "config.pbtxt").exists() and (folder / "config.pbtxt").read_text() != text:
        sys.exit(f"'{folder / 'config.pbtxt'}' is of other inputs and outputs, or was edited; give another name")
    versions = [int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal()]
    version = folder / str(max(versions, default=0) + 1)
    unfinished = folder / ".writing"  # no version for a server that is polling
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    shutil.copyfile(options.onnx, unfinished / "model.onnx")
    (folder / "config.pbtxt").write_text(text)
    unfinished.rename(version)
    print(version / "model.onnx", folder / "config.pbtxt", sep="\n")


def config(name, inputs, outputs):
    """The text of config.pbtxt; with a batch axis of any size, requests of several clients run in one batch."""
    batched = all(not isinstance(tensor.shape[0], int) for tensor in (*inputs, *outputs))
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {MAX_BATCH if batched else 0}"]
    for kind, tensors in (("input", inputs), ("output", outputs)):
        lines += [f"{kind} [", ",\n".join(described(tensor, batched) for tensor in tensors), "]"]
    lines += ["dynamic_batching { }"] * batched
    return "\n".join(lines) + "\n"


def described(tensor, batched):
    """The entry of a tensor. Triton knows no tensor without axes, so a label [B] is [B, 1] for a client."""
    shape = tensor.shape[1:] if batched else tensor.shape
    dims = ", ".join(str(size) if isinstance(size, int) else "-1" for size in shape)
    size = f"dims: [ {dims} ]" if shape else "dims: [ 1 ]\n    reshape { shape: [ ] }"
    return f'  {{\n    name: "{tensor.name}"\n    data_type: {TYPES[tensor.type]}\n    {size}\n  }}'


if __name__ == "__main__":
    main()

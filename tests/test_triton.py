"""The model repository for Triton Inference Server: its configuration is Triton's, and its model runs."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from vaezoo.exporting import export

KIT = Path(__file__).parent.parent / "export" / "triton"
pytestmark = pytest.mark.slow


def made(onnx, to, name="bars"):
    """Run the script; returns the process."""
    command = [sys.executable, KIT / "make.py", onnx, name, "--to", to]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.mark.parametrize(("run", "batch"), [("tiny_run", None), ("conditional_run", None), ("conditional_run", 4)])
def test_the_configuration_is_that_of_a_model_that_runs(run, batch, request, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    exported = tmp_path / "exported"
    export(request.getfixturevalue(run), exported, formats=("onnx",), batch=batch)
    done = made(exported / "decoder.onnx", tmp_path / "models")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "bars"
    assert done.stdout.split() == [str(folder / "1" / "model.onnx"), str(folder / "config.pbtxt")]

    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())  # refuses others
    assert (config.name, config.backend) == ("bars", "onnxruntime")
    assert config.max_batch_size == (0 if batch else 64)
    assert config.HasField("dynamic_batching") == (batch is None)
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"))
    rows, rng, feed = batch or 5, np.random.default_rng(0), {}
    for tensor in config.input:
        types = {model_config_pb2.TYPE_FP32: "float32", model_config_pb2.TYPE_INT32: "int32"}
        # What a client sends, and what Triton makes of it before the model sees it.
        shape = list(tensor.dims) if batch else [rows, *tensor.dims]
        reshaped = [rows, *tensor.reshape.shape] if tensor.HasField("reshape") else shape
        values = rng.integers(0, 8, shape) if tensor.name == "label" else rng.standard_normal(shape)
        feed[tensor.name] = values.astype(types[tensor.data_type]).reshape(reshaped)
    (output,) = config.output
    (found,) = session.run([output.name], feed)
    assert list(found.shape) == (list(output.dims) if batch else [rows, *output.dims])
    decoder = keras.models.load_model(exported / "decoder.keras")
    np.testing.assert_allclose(found, decoder(feed if "label" in feed else feed["z"]), atol=1e-5)

    again = made(exported / "decoder.onnx", tmp_path / "models")
    assert again.stdout.splitlines()[0] == str(folder / "2" / "model.onnx")
    if not batch:
        curl = re.search(r'-d \'(\{"inputs".*?\})\'', (KIT / "README.md").read_text())[1]
        assert {config.input[0].name, "FP32"} <= set(re.findall(r'"(\w+)"', curl))


def test_what_cannot_be_served_is_refused_and_leaves_nothing(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_bytes(b"no model")
    for name, onnx in (
        ("bars", tmp_path / "x.onnx"),
        ("bars", tmp_path / "none.onnx"),
        ("../bars", tmp_path / "x.onnx"),
    ):
        done = made(onnx, tmp_path / "models", name)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "models").exists()

"""The artefacts in other programs and runtimes, without vaezoo."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from consumers.tiny_exports import newest
from PIL import Image

from vaezoo.exporting import export

HERE = Path(__file__).parent
ROOT = HERE.parent


def inputs_of(exported):
    """Inputs for every signature of an export, with 5 rows."""
    rng = np.random.default_rng(1)
    label = {"label": np.array([0, 1, 2, 6, 7], "int32")} if exported.name == "told" else {}
    z, image = rng.standard_normal((5, 3), "float32"), rng.random((5, 8, 8, 1), "float32")
    seed = np.array([[0, 0], [1, 2], [-5, 2**31 - 1], [7, 7], [7, 8]], "int32")
    named = {"decode": {"z": z}, "encode": {"image": image}, "reconstruct": {"image": image}, "sample": {"seed": seed}}
    return {signature: {**inputs, **label} for signature, inputs in named.items()}


def expected(exported):
    """The outputs of TensorFlow for them, in this process."""
    loaded = tf.saved_model.load(str(newest(exported)))
    return {
        signature: {name: value.numpy() for name, value in loaded.signatures[signature](**tensors(inputs)).items()}
        for signature, inputs in inputs_of(exported).items()
    }


def tensors(inputs):
    return {name: tf.constant(value) for name, value in inputs.items()}


def compare(got, wanted, atol=1e-6):
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=atol, err_msg=name)


@pytest.fixture(scope="module", params=["tiny", "told"])
def exported(request):
    return request.getfixturevalue({"tiny": "tiny_export", "told": "conditional_export"}[request.param])


# (a) A C program, which loads the model as the server does


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    package = Path(tf.__file__).parent
    if not compiler or not (package / "libtensorflow_cc.so.2").is_file():
        pytest.skip("there is no C compiler, or no TensorFlow library to link with")
    program = tmp_path_factory.mktemp("c") / "serve"
    libraries = [package / "libtensorflow_cc.so.2", package / "libtensorflow_framework.so.2"]
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", f"-I{package / 'include'}", f"-Wl,-rpath,{package}"]
    subprocess.run([compiler, HERE / "consumers" / "serve.c", "-o", program, *libraries, *flags], check=True)
    return program


@pytest.mark.slow
def test_a_c_program_serves_every_signature(exported, c_program):
    wanted, request = expected(exported), b""
    for signature, inputs in inputs_of(exported).items():
        request += f"{signature} {len(inputs)}\n".encode()
        for name, value in inputs.items():
            sizes = " ".join(map(str, value.shape))
            request += (
                f"{name} {1 if value.dtype == np.float32 else 3} {value.ndim} {sizes}\n".encode() + value.tobytes()
            )
    # Without any environment: the program needs only the library.
    done = subprocess.run([c_program, newest(exported)], input=request, capture_output=True, env={}, check=True)
    answer = done.stdout
    for signature in wanted:
        got = {}
        while not answer.startswith(b"\n"):
            line, _, answer = answer.partition(b"\n")
            name, rank, *sizes = line.split()
            shape = tuple(map(int, sizes))
            assert len(shape) == int(rank)
            size = 4 * int(np.prod(shape))
            got[name.decode()], answer = np.frombuffer(answer[:size], "float32").reshape(shape), answer[size:]
        answer = answer[1:]
        compare(got, wanted[signature])
    assert answer == b""
    failed = subprocess.run([c_program, newest(exported)], input=b"draw 0\n", capture_output=True, env={}, check=False)
    assert (failed.returncode, failed.stderr.splitlines()[-1]) == (1, b"serve: there is no such signature")


# (b) OpenVINO


@pytest.mark.slow
def test_openvino_reads_the_saved_model(exported):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed (pip install 'vaezoo[test-export]')")
    names = list(inputs_of(exported)["decode"])
    code = (
        "import sys, numpy as np, openvino as ov\n"
        "core = ov.Core()\n"
        "model = core.compile_model(core.read_model(sys.argv[1]), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})\n"
        "given = np.load(sys.argv[2])\n"
        "by_name = {name: key for key in given for port in model.inputs for name in port.names if key in name}\n"
        "result = model({name: given[key] for name, key in by_name.items()})\n"
        "np.save(sys.argv[3], result[0])\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    folder = newest(exported)
    given, result = exported.path.parent / "given.npz", exported.path.parent / "result.npy"
    np.savez(given, **inputs_of(exported)["decode"])
    subprocess.run([sys.executable, "-c", code, folder, given, result], check=True)
    np.testing.assert_allclose(np.load(result), expected(exported)["decode"]["image"], atol=1e-5)
    assert names[0] == "z"


# (c) The loader of TensorFlow 1, by the names of tensors


def test_the_v1_loader_runs_every_signature(exported):
    wanted = expected(exported)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(newest(exported)))
        for signature, inputs in inputs_of(exported).items():
            described = meta_graph.signature_def[signature]
            assert described.method_name == "tensorflow/serving/predict"
            feed = {described.inputs[name].name: value for name, value in inputs.items()}
            got = session.run({name: tensor.name for name, tensor in described.outputs.items()}, feed)
            compare(got, wanted[signature])


# Keras alone, and other backends


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_keras_alone_loads_the_files(exported, backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (pip install 'vaezoo[test-export]')")
    code = (
        "import sys\n"
        "sys.modules['vaezoo'] = sys.modules['tensorflow_probability'] = None  # importing them would fail\n"
        f"if {backend!r} != 'tensorflow': sys.modules['tensorflow'] = None\n"
        "import keras, numpy as np\n"
        f"assert keras.backend.backend() == {backend!r}\n"
        "given, results = np.load(sys.argv[2]), {}\n"
        "for part, entry in (('decoder', 'z'), ('encoder', 'image')):\n"
        "    model = keras.saving.load_model(f'{sys.argv[1]}/{part}.keras')\n"
        "    inputs = {name: given[name] for name in (entry, 'label') if name in given}\n"
        "    outputs = model(inputs if len(inputs) > 1 else given[entry])\n"
        "    outputs = outputs if isinstance(outputs, dict) else {'decoded': outputs}\n"
        "    results |= {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}\n"
        "np.savez(sys.argv[3], **results)\n"
    )
    inputs, wanted = inputs_of(exported), expected(exported)
    np.savez(tmp_path / "given.npz", **inputs["decode"], image=inputs["encode"]["image"])
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", code, exported.path, tmp_path / "given.npz", tmp_path / "results.npz"]
    subprocess.run(command, env=environment, check=True)
    results = np.load(tmp_path / "results.npz")
    compare(results, {"decoded": wanted["decode"]["image"], **wanted["encode"]}, atol=1e-5)


# LiteRT


@pytest.mark.parametrize("label", [None, 3])
def test_the_script_of_the_kit_decodes(label, request, tmp_path):
    exported = request.getfixturevalue("tiny_export" if label is None else "conditional_export")
    picture = tmp_path / "decoded.png"
    script = ROOT / "export" / "litert" / "decode.py"
    block = "import sys; sys.modules['vaezoo'] = sys.modules['tensorflow'] = sys.modules['keras'] = None; "
    code = f"{block}import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    options = ["--count", "6", "--out", picture, *([] if label is None else ["--label", str(label)])]
    command = [sys.executable, "-c", code, script, exported.path / "decoder_int8.tflite", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("6 images of (8, 8, 1), mean 0.")
    with Image.open(picture) as image:
        assert (image.size, image.mode) == ((48, 8), "L")
        assert len(np.unique(np.asarray(image))) > 5


def test_the_listings_of_the_kit_use_the_names_of_the_files(tiny_export):
    from ai_edge_litert.interpreter import Interpreter

    text = (ROOT / "export" / "litert" / "README.md").read_text()
    interpreter = Interpreter(str(tiny_export.path / "decoder_int8.tflite"))
    assert interpreter.get_signature_list() == {"decode": {"inputs": ["z"], "outputs": ["image"]}}
    for used in ('"decode")', 'input_tensor("z")', 'output_tensor("image")', 'mapOf<String, Any>("z" to z)'):
        assert used in text
    for name in ("float32", "float16", "dynamic_range", "int8"):
        assert f"decoder_{name}.tflite" in text


@pytest.mark.slow
def test_static_batches_and_onnx(conditional_run, tmp_path):
    if importlib.util.find_spec("tf2onnx") is None:
        pytest.skip("tf2onnx is not installed (pip install 'vaezoo[onnx]')")
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    for batch in (1, 4):
        path = tmp_path / str(batch)
        done = export(conditional_run, path, formats=("litert", "onnx"), quantizations=("float16", "int8"), batch=batch)
        assert done.version is None
        assert not (path / "savedmodel").exists()
        runner = Interpreter(str(path / "decoder_int8.tflite")).get_signature_runner("decode")
        assert runner.get_input_details()["z"]["shape_signature"].tolist() == [batch, 3]
        session = onnxruntime.InferenceSession(str(path / "decoder.onnx"))
        assert {entry.name: entry.shape for entry in session.get_inputs()} == {"z": [batch, 3], "label": [batch]}
        assert [row["runtime"] for row in done.agreement.report["rows"]][-1] == "ONNX Runtime"
        script = [sys.executable, ROOT / "export" / "litert" / "decode.py", path / "decoder_float16.tflite"]
        subprocess.run([*script, "--label", "1", "--out", tmp_path / "x.png"], check=True, capture_output=True)

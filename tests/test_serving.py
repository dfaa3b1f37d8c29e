"""The client against stub servers with the interfaces of TensorFlow Serving, and the deployment kit."""

import contextlib
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from consumers.stub_servers import Served, grpc_server, rest_server
from consumers.tiny_exports import newest
from hostile import DECODE, METADATA, TENSOR

from vaezoo.errors import VaezooError
from vaezoo.runs import Run
from vaezoo.serving import DecoderClient, ServingError, rest
from vaezoo.serving.client import _checked

KIT = Path(__file__).parent.parent / "export"
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def tiny(tiny_export):
    return Served("tiny", newest(tiny_export))


@pytest.fixture(scope="module")
def told(conditional_export):
    return Served("told", newest(conditional_export))


@pytest.fixture(scope="module")
def addresses(tiny, told):
    """Model and kind of server → its address."""
    with rest_server(tiny) as a, grpc_server(tiny) as b, rest_server(told) as c, grpc_server(told) as d:
        yield {
            ("tiny", "rest"): a,
            ("tiny", "grpc"): f"grpc://{b}",
            ("told", "rest"): c,
            ("told", "grpc"): f"grpc://{d}",
        }


@pytest.fixture(params=["rest", "grpc"])
def kind(request):
    return request.param


@pytest.fixture
def client(addresses, kind, tiny):
    tiny.failures.clear()
    with DecoderClient(addresses["tiny", kind], model="tiny") as client:
        yield client


# Calls


@pytest.mark.slow
def test_every_call_gives_what_the_model_gives(client, tiny_run):
    vae = Run(tiny_run).model
    rng = np.random.default_rng(0)
    z, image = rng.standard_normal((5, 3)), rng.random((5, 8, 8, 1))
    decoded = client.decode(z)
    assert (decoded.shape, decoded.dtype) == ((5, 8, 8, 1), np.float32)
    np.testing.assert_allclose(decoded, vae.examples(z), atol=1e-6)
    np.testing.assert_allclose(client.reconstruct(image), vae(image.astype("float32")), atol=1e-6)
    encoded = client.encode(image)
    np.testing.assert_allclose(encoded["loc"], vae.encode(image).mean(), atol=1e-6)
    np.testing.assert_allclose(encoded["scale"], vae.encode(image).stddev(), atol=1e-6)


def test_samples_are_repeatable_and_their_codes_decode_to_them(client):
    images, codes = client.sample(4, seed=7)
    again, _ = client.sample(2, seed=7)
    np.testing.assert_allclose(again, images[:2], atol=1e-6)
    np.testing.assert_allclose(client.decode(codes), images, atol=1e-6)
    assert np.abs(client.sample(4, seed=8)[1] - codes).max() > 0.1


def test_a_conditional_model_takes_labels(addresses, kind, conditional_run):
    vae = Run(conditional_run).model
    z = np.zeros((3, 3), "float32")
    with DecoderClient(addresses["told", kind], model="told") as client:
        each = client.decode(z, label=[0, 3, 7])
        np.testing.assert_allclose(each, vae.examples(z, label=[0, 3, 7]), atol=1e-6)
        np.testing.assert_allclose(client.decode(z, label=3)[0], each[1], atol=1e-6)  # one for all
        assert client.sample(2, label=[1, 2])[0].shape == (2, 8, 8, 1)
        with pytest.raises(VaezooError, match="'label' is missing: this model takes label, z"):
            client.decode(z)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"), [("vector", "float32"), pytest.param("sequence", "int32", marks=pytest.mark.slow)]
)
def test_examples_of_other_kinds(kind, name, dtype, request):
    exported = request.getfixturevalue(f"{name}_export")
    loaded = tf.saved_model.load(str(newest(exported)))
    examples, label = np.load(exported.path / "verify_inputs.npz")[name][:3], {}
    if name == "sequence":
        label = {"label": [0, 1, 2]}
    tensors = {name: tf.constant(examples), **{key: tf.constant(value) for key, value in label.items()}}
    server, scheme = (rest_server, "") if kind == "rest" else (grpc_server, "grpc://")
    with (
        server(Served(exported.name, newest(exported))) as address,
        DecoderClient(f"{scheme}{address}", model=exported.name) as client,
    ):
        encoded = client.encode(examples, **label)
        np.testing.assert_allclose(encoded["loc"], loaded.signatures["encode"](**tensors)["loc"], atol=1e-6)
        rebuilt = client.reconstruct(examples, **label)
        np.testing.assert_allclose(rebuilt, loaded.signatures["reconstruct"](**tensors)[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(client.decode(encoded["loc"], **label), rebuilt, rtol=1e-5, atol=1e-5)
        drawn, codes = client.sample(3, **label)
        np.testing.assert_allclose(client.decode(codes, **label), drawn, rtol=1e-5, atol=1e-5)
        with pytest.raises(VaezooError, match=f"'{name}' (has the shape|must hold integers)"):
            client.encode(np.zeros((3, 2, 2), dtype) if name == "vector" else examples + 0.5, **label)


def test_a_version_can_be_named(addresses, kind):
    with DecoderClient(addresses["tiny", kind], model="tiny", version=1) as client:
        assert client.decode(np.zeros((1, 3))).shape == (1, 8, 8, 1)
    with (
        DecoderClient(addresses["tiny", kind], model="tiny", version=2) as client,
        pytest.raises(ServingError, match="Servable not found"),
    ):
        client.decode(np.zeros((1, 3)))


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z": np.zeros((2, 4))}, r"'z' has the shape \[2, 4\], and the model takes \[B, 3\] with B >= 1"),
        ({"z": np.zeros(3)}, r"'z' has the shape \[3\]"),
        ({"z": np.zeros((0, 3))}, r"'z' has the shape \[0, 3\]"),
        ({"z": 1.0}, r"'z' has the shape \[\]"),
        ({"z": [["a", "b", "c"]]}, "'z' must hold numbers, and its type is <U1"),
        ({"z": np.zeros((1, 3), bool)}, "'z' must hold numbers, and its type is bool"),
        ({"z": np.zeros((1, 3), complex)}, "'z' must hold numbers"),
        ({"z": [[1.0, 2.0], [3.0]]}, "'z' is not an array"),
        ({"z": [[np.nan, 0, 0]]}, "'z' holds NaN, infinity, or numbers that do not fit float32"),
        ({"z": [[1e39, 0, 0]]}, "'z' holds NaN, infinity, or numbers that do not fit float32"),
        ({"z": np.zeros((1, 3)), "label": 1}, "this model takes no 'label'; it takes z"),
    ],
)
def test_bad_input_is_not_sent(client, tiny, arguments, message):
    assert client.signatures
    tiny.requests.clear()
    with pytest.raises(VaezooError, match=message):
        client.decode(**arguments)
    assert not tiny.requests


def test_bad_labels_are_not_sent(addresses, kind):
    z = np.zeros((2, 3))
    with DecoderClient(addresses["told", kind], model="told") as client:
        for label, message in (
            ([1.0, 2.0], "'label' must hold integers"),
            ([1, 2, 3], "same number of rows, not 3 of 'label', 2 of 'z'"),
            ([1, 2**40], "do not fit 32 bits"),
        ):
            with pytest.raises(VaezooError, match=message):
                client.decode(z, label=label)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:8501",), "must be http://HOST:PORT"),
        (("ftp://localhost",), "must be http://HOST:PORT"),
        (("http://localhost", "m", None, 0), "timeout must be above 0"),
        (("http://localhost", "m", None, 1, -1), "retries an integer of at least 0"),
        (("http://localhost", "m", "latest"), "version is 'latest'; give an integer"),
        (("http://localhost", "m", 1.5), "version is 1.5; give an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(VaezooError, match=message):
        DecoderClient(*arguments)


@pytest.mark.parametrize("proxy", ["localhost:3128", "http://localhost:3128"])
def test_a_proxy_may_be_written_without_its_scheme(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    with DecoderClient("http://decoder.example") as client:
        assert str(client._transport.pool.proxy) == "http://localhost:3128"


def test_a_proxy_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://localhost:1080")
    with pytest.raises(VaezooError, match=r"'socks5://localhost:1080', cannot be used: .*no_proxy"):
        DecoderClient("http://decoder.example")


def test_a_missing_cell_of_a_row_is_sent_and_infinity_is_not():
    signature = {"vector": ("DT_FLOAT", (-1, 3))}
    (sent,) = _checked(signature, {"vector": [[1, np.nan, 2]]}).values()
    np.testing.assert_array_equal(sent, np.array([[1, np.nan, 2]], "float32"))
    for beyond in (np.inf, 1e39):
        with pytest.raises(VaezooError, match="'vector' holds NaN, infinity, or numbers that do not fit float32"):
            _checked(signature, {"vector": [[1, np.nan, beyond]]})


# Errors of the server


def test_an_unknown_signature_or_model_is_one_line(client, addresses, kind):
    with pytest.raises(VaezooError, match="no signature 'draw'; it has decode, encode, reconstruct, sample"):
        client.call("draw", z=np.zeros((1, 3)))
    with DecoderClient(addresses["tiny", kind], model="other") as other, pytest.raises(ServingError) as caught:
        other.decode(np.zeros((1, 3)))
    assert re.search(r"answered (404|NOT_FOUND): Servable not found", str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failure", [UNAVAILABLE, EXHAUSTED])
def test_a_busy_server_is_asked_again(client, tiny, failure):
    client.decode(np.zeros((1, 3)))
    tiny.failures += [failure, failure]
    assert client.decode(np.zeros((1, 3))).shape == (1, 8, 8, 1)
    assert not tiny.failures


def test_it_gives_up_after_the_retries(client, tiny):
    client.decode(np.zeros((1, 3)))
    tiny.failures += [UNAVAILABLE] * 10
    with pytest.raises(ServingError, match=r"(503|UNAVAILABLE): as the test wished \(tried 4 times\)"):
        client.decode(np.zeros((1, 3)))
    assert len(tiny.failures) == 6


@pytest.mark.parametrize("failure", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
def test_other_errors_are_not_asked_again(client, tiny, failure):
    client.decode(np.zeros((1, 3)))
    tiny.failures += [failure, failure]
    with pytest.raises(ServingError, match=r"as the test wished$"):
        client.decode(np.zeros((1, 3)))
    assert len(tiny.failures) == 1


def test_a_slow_server_is_not_waited_for(client, tiny):
    assert client.signatures
    client.timeout = 0.3
    tiny.failures.append(2.0)
    started = time.monotonic()
    with pytest.raises(ServingError, match="did not answer in time; give a longer timeout"):
        client.decode(np.zeros((1, 3)))
    assert time.monotonic() - started < 1.8


def test_a_server_that_is_not_there_is_one_line(kind):
    with socket.socket() as held:  # bound but not listening, so that no other process gets the port
        held.bind(("127.0.0.1", 0))
        scheme = {"rest": "http", "grpc": "grpc"}[kind]
        address = f"{scheme}://127.0.0.1:{held.getsockname()[1]}"
        reason = r"(cannot be reached|UNAVAILABLE): .* \(tried 2 times\)$"
        with (
            DecoderClient(address, timeout=2, retries=1) as client,
            pytest.raises(ServingError, match=reason) as caught,
        ):
            client.decode(np.zeros((1, 3)))
    assert "\n" not in str(caught.value)


def test_something_that_is_no_model_server_is_one_line(tmp_path):
    handler = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=0, bind='127.0.0.1')"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", handler],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        port = re.search(r"port (\d+)", process.stdout.readline())[1]
        with pytest.raises(ServingError, match="answered 404: "):
            DecoderClient(f"http://127.0.0.1:{port}").decode(np.zeros((1, 3)))
        process.terminate()


def test_rest_needs_neither_tensorflow_nor_keras(addresses):
    code = (
        "import sys, numpy as np\n"
        "from vaezoo.serving import DecoderClient\n"
        f"print(DecoderClient({addresses['tiny', 'rest']!r}, model='tiny').decode(np.zeros((1, 3))).shape)\n"
        "heavy = {'tensorflow', 'keras', 'grpc', 'matplotlib', 'vaezoo.models'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 8, 8, 1)\n"


# The cards and the kit


@pytest.mark.parametrize(("name", "fixture"), [("tiny", "tiny_export"), ("told", "conditional_export")])
def test_the_lines_of_the_card_work(name, fixture, addresses, request, tiny):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    card = (newest(request.getfixturevalue(fixture)) / "README.md").read_text()
    lines = [line for line in card.splitlines() if line.startswith("curl")]
    assert len(lines) == 2
    for line in lines:
        line = line.replace("http://localhost:8501", addresses[name, "rest"])
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
        assert done.stdout.startswith('{"outputs": '), done.stdout
    code = re.search("```python\n(.*?)```", card, re.DOTALL)[1]
    names = {}
    exec(code.replace("http://localhost:8501", addresses[name, "rest"]), names)
    assert names["image"].shape == (1, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "label"), [("tiny", []), ("told", ["3"])])
def test_the_examples_run(name, label, addresses):
    examples = KIT / "tf_serving" / "examples"
    rest, over_grpc = addresses[name, "rest"], addresses[name, "grpc"].removeprefix("grpc://")

    def output(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    first = output(sys.executable, examples / "rest.py", rest, name, "3", *label)
    assert first.startswith("4 images of (8, 8, 1), mean 0.")
    if label:  # once: it imports TensorFlow
        assert output(sys.executable, examples / "grpc_client.py", over_grpc, name, "3", *label) == first
    if shutil.which("curl"):
        assert output("sh", examples / "sample.sh", rest, name, *label).startswith('{"outputs": {')


# The server's own flags, from tensorflow_serving/model_servers/main.cc.
FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "file_system_poll_wait_seconds",
    "monitoring_config_file",
    "enable_batching",
    "batching_parameters_file",
    "enable_per_model_batching_parameters",
}


def test_the_compose_file_mounts_what_its_flags_name(tiny_export):
    folder = KIT / "tf_serving"
    text = (folder / "compose.yaml").read_text()
    text = re.sub(r"\$\{VAEZOO_EXPORT:-[^}]*\}", str(tiny_export.path), text)
    service = yaml.safe_load(text)["services"]["tensorflow-serving"]
    mounted = {}
    for volume in service["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro"
        assert (folder / source).exists(), source
        mounted[target] = folder / source
    for argument in service["command"]:
        flag, value = argument.removeprefix("--").split("=")
        assert flag in FLAGS
        if value.startswith("/"):
            place = next(target for target in mounted if value.startswith(target))
            assert Path(str(mounted[place]) + value.removeprefix(place)).is_file(), value
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_readme_of_the_kit_names_what_is_there():
    for readme in KIT.glob("*/README.md"):
        for name in re.findall(
            r"`(?:python |sh )?(?:export/tf_serving/|export/litert/)?(examples/[\w.]+)", readme.read_text()
        ):
            assert (readme.parent / name).is_file(), name


# The real server


def real_server():
    """The command that starts TensorFlow's own server; None if there is none."""
    if binary := os.environ.get("TF_MODEL_SERVER") or shutil.which("tensorflow_model_server"):
        return [binary]
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return ["docker"]
    return None


@pytest.mark.tf_serving
def test_the_real_server_serves_it(tiny_export, tiny_run, tmp_path):
    if (command := real_server()) is None:
        pytest.skip("neither tensorflow_model_server nor a running Docker is here; the stub servers replace it")
    models = tiny_export.path / "savedmodel"
    ports = [free_port(), free_port()]
    flags = ["--model_config_file_poll_wait_seconds=0", "--enable_batching", "--enable_per_model_batching_parameters"]
    if command == ["docker"]:
        published = [f"-p127.0.0.1:{port}:{inside}" for port, inside in zip(ports, (8500, 8501), strict=True)]
        command = ["docker", "run", "--rm", *published, f"-v{models}:/models:ro", "tensorflow/serving"]
        flags.append("--model_config_file=/models/models.config")
    else:
        config = (models / "models.config").read_text().replace("/models/", f"{models}/")
        (tmp_path / "models.config").write_text(config)
        flags += [f"--model_config_file={tmp_path}/models.config", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for url in (f"http://127.0.0.1:{ports[1]}", f"grpc://127.0.0.1:{ports[0]}"):
                with DecoderClient(url, model="tiny", timeout=60, retries=9) as client:
                    test_every_call_gives_what_the_model_gives(client, tiny_run)
                    test_samples_are_repeatable_and_their_codes_decode_to_them(client)
        finally:
            process.terminate()


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


# Servers that misbehave


class Rude(socketserver.StreamRequestHandler):
    """Answers the metadata, then every call as the test says."""

    def handle(self):
        line = self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        if b"/metadata" in line and self.server.metadata is not None:
            self.server.send(self, self.server.metadata)
        else:
            self.server.answer(self)


@pytest.fixture
def rude():
    """Start a server: `rude(answer, metadata=...)` → its address; `answer` is bytes, or a function of the handler."""
    honest = json.dumps(METADATA).encode()
    with contextlib.ExitStack() as stack:

        def start(answer, metadata=honest):
            def send(handler, body, status=b"200 OK", extra=b""):
                with contextlib.suppress(OSError):
                    handler.wfile.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + extra)
                    handler.wfile.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rude))
            server.daemon_threads = True
            server.metadata, server.send = metadata, send
            server.answer = answer if callable(answer) else lambda handler: send(handler, answer)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start


@pytest.mark.parametrize("headers", [b"Content-Length: 1000\r\n\r\n", b"X: "], ids=["body", "header"])
def test_a_server_that_drips_meets_the_deadline(headers, rude):
    def drip(handler):
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + headers)
            for _ in range(100):
                handler.wfile.write(b" ")
                time.sleep(0.2)

    started = time.monotonic()
    with pytest.raises(ServingError, match="did not answer in time"):
        DecoderClient(rude(drip), timeout=1).decode(np.zeros((1, 3)))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
def test_an_endless_body_is_bounded(status, rude):
    sent = []

    def endless(handler):
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000000000000000\r\n\r\n")
            while len(sent) < 500:
                handler.wfile.write(b" " * 2**20)
                sent.append(1)

    with pytest.raises(ServingError, match=r"more than [\d,]+ bytes"):
        DecoderClient(rude(endless)).decode(np.zeros((1, 3)))
    assert len(sent) < 100  # megabytes, most of them in the sockets


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "answer",
    [b"{}", b"[]", b"null", b'"text"', b"text", DEEP, b'{"outputs": null}', b'{"outputs": [[1, 2], [3]]}',
     b'{"outputs": {"other": [[1, 2, 3]]}}', b'{"outputs": [["a", "b", "c"]]}'],
)  # fmt: skip
def test_a_malformed_answer_is_one_line(answer, rude):
    with pytest.raises(ServingError, match="answered") as caught:
        DecoderClient(rude(answer)).decode(np.zeros((1, 3)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ServingError, match="answered"):
        DecoderClient(rude(b"{}", metadata=answer)).decode(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"outputs": [[1, 2]]}', r"of shape \[1, 2\], not \[1, 3\]"),
        (b'{"outputs": [[1, 2, 3], [1, 2, 3]]}', r"of shape \[2, 3\], not \[1, 3\]"),
        (b'{"outputs": [[1, NaN, 3]]}', "NaN or infinity; pass finite=False"),
        (b'{"outputs": [[1, 1e999, 3]]}', "NaN or infinity"),
        (b'{"outputs": [[1, 3.5e38, 3]]}', "NaN or infinity"),  # finite, yet beyond float32
    ],
)
def test_a_wrong_answer_is_not_returned(answer, message, rude):
    address = rude(answer)
    with pytest.raises(ServingError, match=message):
        DecoderClient(address).decode(np.zeros((1, 3)))
    if "finite" in message:
        assert np.isnan(DecoderClient(address, finite=False).decode(np.zeros((1, 3)))[0, 1])


def test_a_redirect_is_not_followed(rude):
    reached = []
    other = rude(lambda handler: reached.append(1))
    extra = f"Location: {other}/v1/models/conv_vae/metadata\r\n".encode()
    address = rude(lambda handler: handler.server.send(handler, b"", b"302 Found", extra), metadata=None)
    with pytest.raises(ServingError, match="a redirect, which is not followed"):
        DecoderClient(address).decode(np.zeros((1, 3)))
    assert not reached


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://[::1"},
        {"url": "http://h:abc"},
        {"url": "http://h:99999"},
        {"url": "http://name:secret@h"},
        {"url": None},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"retries": 2.5},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(VaezooError) as caught:
        DecoderClient(**{"url": "http://localhost", **arguments})
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"inputs": {"z": {**TENSOR, "dtype": []}}}, {"outputs": {"image": {**TENSOR, "dtype": {}}}}, {"outputs": {}}],
)
def test_metadata_of_other_types_are_one_line(change, rude):
    described = {"metadata": {"signature_def": {"signature_def": {"decode": {**DECODE, **change}}}}}
    with pytest.raises(VaezooError, match=r"metadata that describe no model|has no signature 'decode'"):
        DecoderClient(rude(b"{}", metadata=json.dumps(described).encode())).decode(np.zeros((1, 3)))


def test_an_answer_as_large_as_the_metadata_claim_is_bounded_too(rude, monkeypatch):
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": str(10**15)}]}}
    described = {"metadata": {"signature_def": {"signature_def": {"decode": {**DECODE, "outputs": {"image": tensor}}}}}}
    monkeypatch.setattr(rest, "LARGEST_ANSWER", 10_000)
    with pytest.raises(ServingError, match="more than 10,000 bytes"):
        DecoderClient(rude(b" " * 20_000, metadata=json.dumps(described).encode())).decode(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": [10**6, 10**6]}, "more than 1,073,741,824 bytes"),
        ({"dim": [1, 4]}, r"of shape \[1, 4\], not \[1, 3\]"),
        ({"dim": [1, -3]}, "no array"),
        ({"dtype": 777}, "no array"),
        ({"dtype": 7}, "no array"),
        ({"name": "other"}, "no array"),
    ],
)
def test_a_hostile_answer_of_grpc_is_one_line(changes, message):
    from tensorflow_serving.apis import predict_pb2

    tensor = {"dtype": 1, "dim": [1, 3], "name": "image", **changes}
    answer = predict_pb2.PredictResponse()
    output = answer.outputs[tensor["name"]]
    output.dtype = tensor["dtype"]
    output.float_val.append(1.0)
    for size in tensor["dim"]:
        output.tensor_shape.dim.add(size=size)
    with DecoderClient("grpc://localhost:1") as client:
        client._signatures = {
            "decode": {"inputs": {"z": ("DT_FLOAT", (-1, 3))}, "outputs": {"image": ("DT_FLOAT", (-1, 3))}}
        }
        client._transport.stub.Predict = lambda *_, **__: answer
        with pytest.raises(ServingError, match=message):
            client.decode(np.zeros((1, 3)))


@pytest.mark.parametrize("dtype", [777, 1])
def test_hostile_metadata_of_grpc_are_one_line(dtype):
    from tensorflow_serving.apis import get_model_metadata_pb2 as messages

    described = messages.SignatureDefMap()
    described.signature_def["decode"].outputs["image"].dtype = dtype
    if dtype == 777:
        described.signature_def["decode"].inputs["z"].dtype = dtype
    answer = messages.GetModelMetadataResponse()
    answer.metadata["signature_def"].Pack(described)
    with DecoderClient("grpc://localhost:1") as client:
        client._transport.stub.GetModelMetadata = lambda *_, **__: answer
        with pytest.raises(VaezooError, match=r"metadata that describe no model|no signature 'decode'"):
            client.decode(np.zeros((1, 3)))

"""Two stub servers on the loopback with TensorFlow Serving's interfaces, gRPC and REST, over a SavedModel.

Their inputs, outputs and errors follow tensorflow_serving/apis/*.proto and
https://www.tensorflow.org/tfx/serving/api_rest. A test can make the next requests fail.
"""

import concurrent.futures
import contextlib
import http.server
import json
import re
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc


class RefusedError(Exception):
    """The server's answer to a bad request: a gRPC status code and a text."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Served:
    """A version of a model, as the server runs it.

    Attributes:
        failures: for the next requests, one each: a gRPC status code to fail with, or seconds to wait before it.
        requests: the names of the signatures that were called.
    """

    def __init__(self, name, folder):
        self.name, self.version = name, int(folder.name)
        self.loaded = tf.saved_model.load(str(folder))
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signatures = saved.meta_graphs[0].signature_def
        self.failures, self.requests = [], []

    def check(self, name, version):
        """Apply the next failure, and refuse a model or version that the server does not have."""
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, float):
                time.sleep(failure)
            else:
                raise RefusedError(failure, "as the test\nwished")
        if name != self.name or version not in (None, self.version):
            raise RefusedError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})"
            )

    def predict(self, signature, inputs):
        """Run a signature on tensors by name."""
        signature = signature or "serving_default"
        self.requests.append(signature)
        if signature not in self.signatures:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f'Serving signature name: "{signature}" not found')
        spec = self.signatures[signature].inputs
        if set(inputs) != set(spec):
            raise RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT, f"input keys {sorted(inputs)}, expected {sorted(spec)}"
            )
        try:
            return self.loaded.signatures[signature](**inputs)
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """gRPC: Predict and GetModelMetadata."""

    def __init__(self, served):
        self.served = served

    def Predict(self, request, context):  # noqa: N802 (the stubs' name)
        """Run a signature."""
        with self._refusing(request, context):
            inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            response.model_spec.CopyFrom(request.model_spec)
            for name, value in self.served.predict(request.model_spec.signature_name, inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    def GetModelMetadata(self, request, context):  # noqa: N802 (the stubs' name)
        """Describe the signatures."""
        with self._refusing(request, context):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            described = get_model_metadata_pb2.SignatureDefMap(signature_def=dict(self.served.signatures))
            response.metadata["signature_def"].Pack(described)
            return response

    @contextlib.contextmanager
    def _refusing(self, request, context):
        try:
            spec = request.model_spec
            self.served.check(spec.name, spec.version.value if spec.HasField("version") else None)
            yield
        except RefusedError as refused:
            context.abort(refused.code, refused.text)


@contextlib.contextmanager
def grpc_server(served):
    """Serve over gRPC; yields HOST:PORT."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(served), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class RestHandler(http.server.BaseHTTPRequestHandler):
    """REST: :predict in the columnar and the row format, and metadata."""

    served = None

    def do_POST(self):
        """`:predict`."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", lambda: self._predict(json.loads(body)))

    def do_GET(self):
        """Metadata, or the state of the model."""
        if self.path.endswith("/metadata"):
            self._answer(r"/v1/models/([^/:]+)(?:/versions/(\d+))?/metadata", self._metadata)
        else:
            state = {"version": str(self.served.version), "state": "AVAILABLE", "status": {"error_code": "OK"}}
            self._answer(r"/v1/models/([^/:]+)(?:/versions/(\d+))?", lambda: {"model_version_status": [state]})

    def log_message(self, *_):
        """Keep the test's output clean."""

    def _answer(self, pattern, make):
        try:
            found = re.fullmatch(pattern, self.path)
            if not found:
                raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"Malformed request: {self.command} {self.path}")
            self.served.check(found[1], int(found[2]) if found[2] else None)
            code, content = 200, make()
        except RefusedError as refused:
            code, content = HTTP_CODES[refused.code], {"error": refused.text}
        payload = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # a client that has given up
            self.wfile.write(payload)

    def _predict(self, request):
        signature = request.get("signature_name", "serving_default")
        if signature not in self.served.signatures:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f'Serving signature name: "{signature}" not found')
        spec = self.served.signatures[signature].inputs
        rows = "instances" in request
        given = request["instances"] if rows else request["inputs"]
        if rows and isinstance(given[0], dict):
            given = {name: [row[name] for row in given] for name in given[0]}
        if not isinstance(given, dict):
            given = {next(iter(spec)): given}
        inputs = {name: self._tensor(values, name, spec) for name, values in given.items()}
        outputs = {name: value.numpy().tolist() for name, value in self.served.predict(signature, inputs).items()}
        if not rows:
            return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}

    @staticmethod
    def _tensor(values, name, spec):
        if name not in spec:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"JSON object: does not have named input: {name}")
        dtype = tf.dtypes.as_dtype(spec[name].dtype).as_numpy_dtype
        array = np.asarray(values)
        if array.dtype == object or (dtype == np.int32 and array.dtype.kind != "i"):
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"JSON Value: is not of expected type for '{name}'")
        return tf.constant(array.astype(dtype))

    def _metadata(self):
        described = get_model_metadata_pb2.SignatureDefMap(signature_def=dict(self.served.signatures))
        text = json_format.MessageToDict(
            described, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        spec = {"name": self.served.name, "signature_name": "", "version": str(self.served.version)}
        return {"model_spec": spec, "metadata": {"signature_def": text}}


@contextlib.contextmanager
def rest_server(served):
    """Serve over REST; yields http://HOST:PORT."""
    handler = type("Handler", (RestHandler,), {"served": served})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()

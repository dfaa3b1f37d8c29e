"""The server's gRPC interface. Its packages are imported when a client is made."""

import math

from vaezoo.errors import VaezooError
from vaezoo.serving.failures import LARGEST_ANSWER, BusyError, ServingError, one_line


class Grpc:
    """The server's gRPC interface, through the stubs of tensorflow-serving-api."""

    def __init__(self, url, model, version):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc as service
        except ImportError as error:
            raise VaezooError(
                f"grpc:// needs {error.name}, which is not installed: pip install 'vaezoo[serving]'"
            ) from None
        self.server, self.model, self.version = url, model, version
        limits = [("grpc.max_receive_message_length", LARGEST_ANSWER), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(url.removeprefix("grpc://"), limits)
        self.stub = service.PredictionServiceStub(self.channel)

    def signatures(self, timeout):
        """Signature → "inputs" or "outputs" → name → (type, shape)."""
        from google.protobuf.message import DecodeError
        from tensorflow.core.framework import types_pb2
        from tensorflow_serving.apis import get_model_metadata_pb2 as messages

        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        found, described = self._call(self.stub.GetModelMetadata, request, timeout), messages.SignatureDefMap()

        def tensors(named):
            def shape(tensor):
                return tuple(dim.size for dim in tensor.tensor_shape.dim)

            return {name: (types_pb2.DataType.Name(tensor.dtype), shape(tensor)) for name, tensor in named.items()}

        try:
            found.metadata["signature_def"].Unpack(described)
            return {
                name: {"inputs": tensors(signature.inputs), "outputs": tensors(signature.outputs)}
                for name, signature in described.signature_def.items()
                if signature.inputs and signature.outputs  # no initializer of the server's own
            }
        except (ValueError, DecodeError):
            raise ServingError(f"{self.server} answered with metadata that describe no model") from None

    def predict(self, signature, arrays, outputs, timeout):
        """Arrays by name → the arrays named in `outputs`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, array in arrays.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        found = self._call(self.stub.Predict, request, timeout).outputs
        for name in outputs:  # a few bytes can stand for terabytes of equal numbers
            if name in found and math.prod(dim.size for dim in found[name].tensor_shape.dim) > LARGEST_ANSWER // 4:
                raise ServingError(f"{self.server} answered with more than {LARGEST_ANSWER:,} bytes")
        try:
            return {name: tf.make_ndarray(found[name]) for name in outputs if name in found}
        except (TypeError, ValueError):
            raise ServingError(f"{self.server} answered with something that is no array") from None

    def _address(self, spec):
        spec.name = self.model
        if self.version is not None:
            spec.version.value = int(self.version)

    def _call(self, method, request, timeout):
        import grpc

        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ServingError(f"{self.server} did not answer in time; give a longer timeout") from None
            busy = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
            raise (BusyError if busy else ServingError)(
                f"{self.server} answered {code.name}: {one_line(error.details())}"
            ) from None

    def close(self):
        """Close the channel."""
        self.channel.close()

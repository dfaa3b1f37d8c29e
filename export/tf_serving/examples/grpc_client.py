"""Decode codes over gRPC with tensorflow-serving-api, which brings TensorFlow's message types.

python grpc_client.py localhost:8500 conv_vae 32
"""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def decode(channel, model, z, label=None):
    """Codes z [B,D] → images [B,H,W,C] in [0, 1]."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "decode"
    request.inputs["z"].CopyFrom(tf.make_tensor_proto(z))
    if label is not None:  # a conditional model
        request.inputs["label"].CopyFrom(tf.make_tensor_proto(np.full(len(z), int(label), "int32")))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return tf.make_ndarray(stub.Predict(request, timeout=10).outputs["image"])


if __name__ == "__main__":
    server, model, latent_dim, *label = sys.argv[1:]
    z = np.random.default_rng(0).standard_normal((4, int(latent_dim)), "float32")
    with grpc.insecure_channel(server) as channel:
        images = decode(channel, model, z, *label)
    print(f"{len(images)} images of {images.shape[1:]}, mean {images.mean():.4f}")

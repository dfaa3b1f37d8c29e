"""The client side of an exported model: checks what it sends, retries what is safe, and says errors in one line.

Over REST it needs NumPy alone. Over gRPC it needs `tensorflow-serving-api`, which brings TensorFlow's message types.
"""

from vaezoo.serving.client import DecoderClient
from vaezoo.serving.failures import ServingError

__all__ = ["DecoderClient", "ServingError"]

"""A client of an exported model: it checks its inputs, retries where that is safe, and reports errors in one line.

REST needs NumPy and urllib3. gRPC needs `tensorflow-serving-api`, which brings TensorFlow's message types.
"""

from vaezoo.serving.client import DecoderClient
from vaezoo.serving.failures import ServingError

__all__ = ["DecoderClient", "ServingError"]

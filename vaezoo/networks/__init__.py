"""Encoder and decoder bodies: functional Keras models, so that each loads where only Keras is installed."""

from vaezoo.networks.conv import conv_decoder, conv_encoder
from vaezoo.networks.mlp import mlp_decoder, mlp_encoder

__all__ = ["conv_decoder", "conv_encoder", "mlp_decoder", "mlp_encoder"]

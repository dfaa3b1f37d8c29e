"""Encoder and decoder bodies: functional Keras models, so that each loads where only Keras is installed."""

from vaezoo.networks.conv import conv_decoder, conv_encoder
from vaezoo.networks.ladder import ladder_decoder, ladder_encoder
from vaezoo.networks.mlp import mlp_decoder, mlp_encoder
from vaezoo.networks.pyramid import pyramid_decoder, pyramid_encoder
from vaezoo.networks.sequences import bars_encoder, conductor_decoder, recurrent_encoder

__all__ = [
    "bars_encoder",
    "conductor_decoder",
    "conv_decoder",
    "conv_encoder",
    "ladder_decoder",
    "ladder_encoder",
    "mlp_decoder",
    "mlp_encoder",
    "pyramid_decoder",
    "pyramid_encoder",
    "recurrent_encoder",
]

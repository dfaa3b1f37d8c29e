"""Decode codes over REST with the standard library and NumPy.

python rest.py http://localhost:8501 conv_vae 32
"""

import json
import sys
import urllib.request

import numpy as np


def decode(server, model, z, label=None):
    """Codes z [B,D] → images [B,H,W,C] in [0, 1]."""
    inputs = {"z": z.tolist()}
    if label is not None:  # a conditional model
        inputs["label"] = [int(label)] * len(z)
    request = urllib.request.Request(
        f"{server}/v1/models/{model}:predict",
        json.dumps({"signature_name": "decode", "inputs": inputs}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return np.asarray(json.load(response)["outputs"], "float32")


if __name__ == "__main__":
    server, model, latent_dim, *label = sys.argv[1:]
    z = np.random.default_rng(0).standard_normal((4, int(latent_dim)), "float32")
    images = decode(server, model, z, *label)
    print(f"{len(images)} images of {images.shape[1:]}, mean {images.mean():.4f}")

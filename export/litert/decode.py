"""Decode random codes to images with an exported LiteRT file; needs only ai-edge-litert and NumPy.

python decode.py decoder_int8.tflite                  # eight images, side by side, in decoded.png
python decode.py decoder_int8.tflite --label 3        # for a conditional model
"""

import argparse
import pathlib
import struct
import zlib

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def load(path):
    """A function from codes z [B,D] (and labels [B]) to images [B,H,W,C] in [0, 1], and D."""
    runner = Interpreter(str(path)).get_signature_runner("decode")
    batch, latent_dim = runner.get_input_details()["z"]["shape_signature"]

    def decode(z, label=None):
        inputs = {"z": np.asarray(z, "float32")}
        if label is not None:
            inputs["label"] = np.broadcast_to(np.int32(label), len(z)).copy()
        size = batch if batch > 0 else len(z)  # a file with a static batch takes exactly that many rows
        if len(z) % size:
            raise SystemExit(f"this file takes batches of {size}; --count must be a multiple of it")
        parts = [{k: v[i : i + size] for k, v in inputs.items()} for i in range(0, len(z), size)]
        return np.concatenate([runner(**part)["image"] for part in parts])

    return decode, int(latent_dim)


def write_png(path, image):
    """Write an image [H,W,C], C = 1 or 3, with values in [0, 1]."""
    height, width, channels = image.shape
    rows = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # each line starts with its filter, 0

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines.tobytes())), chunk(b"IEND", b"")]
    pathlib.Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Decode random codes with an exported LiteRT file.")
    parser.add_argument("model", help="a decoder_*.tflite")
    parser.add_argument("--count", type=int, default=8, help="how many images (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the codes (default: 0)")
    parser.add_argument("--label", type=int, help="a class, for a conditional model")
    parser.add_argument("--out", default="decoded.png", help="the picture to write (default: decoded.png)")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error(f"--count is {arguments.count}; it must be at least 1")
    decode, latent_dim = load(arguments.model)
    z = np.random.default_rng(arguments.seed).standard_normal((arguments.count, latent_dim))
    images = decode(z, arguments.label)
    write_png(arguments.out, np.concatenate(list(images), axis=1))
    print(f"{arguments.count} images of {images.shape[1:]}, mean {images.mean():.4f}, in {arguments.out}")


if __name__ == "__main__":
    main()

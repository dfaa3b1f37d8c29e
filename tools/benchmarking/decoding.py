"""The latency of decoding one code: `python -m benchmarking.decoding RUNTIME EXPORT`, on one thread."""

import sys
import time
from pathlib import Path

import numpy as np

from benchmarking.clock import answer
from vaezoo.exporting.artefacts import find, load
from vaezoo.keras_files import load_keras_file

CALLS = 1000


def keras_call(folder):
    decoder = load_keras_file(folder / "decoder.keras")
    return lambda z: decoder(z).numpy()


def keras_predict(folder):
    decoder = load_keras_file(folder / "decoder.keras")
    return decoder.predict_on_batch


def keras_function(folder):
    import tensorflow as tf

    decoder = load_keras_file(folder / "decoder.keras")
    compiled = tf.function(decoder, jit_compile=True)
    return lambda z: compiled(tf.constant(z)).numpy()


def saved_model(folder):
    return _artefact(folder, "TensorFlow")


def litert(folder):
    return _artefact(folder, "LiteRT")


def _artefact(folder, runtime):
    rows = (row for group in find(folder).values() for row in group)
    run = load(next(row for row in rows if (row.runtime, row.signature) == (runtime, "decode")), threads=1)
    return lambda z: run({"z": z})


RUNTIMES = {
    function.__name__: function for function in (keras_call, keras_predict, keras_function, saved_model, litert)
}


def latency(decode, latent_dim):
    """The median and the 95th percentile of a call, in seconds."""
    codes = np.random.default_rng(0).standard_normal((CALLS, 1, latent_dim)).astype("float32")
    for z in codes[:20]:
        decode(z)
    seconds = []
    for z in codes:
        began = time.perf_counter()
        decode(z)
        seconds.append(time.perf_counter() - began)
    return {"median_seconds": float(np.median(seconds)), "p95_seconds": float(np.quantile(seconds, 0.95))}


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name != "litert":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    decode = RUNTIMES[name](folder)
    with np.load(folder / "verify_inputs.npz") as stored:
        latent_dim = stored["z"].shape[1]
    answer(**latency(decode, latent_dim))

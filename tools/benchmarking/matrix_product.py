"""The float32 matrix product of a library, in operations a second: `python -m benchmarking.matrix_product LIBRARY`."""

import sys
import time

import numpy as np

from benchmarking.clock import answer

SIZES = (1024, 2048, 3072)
SECONDS = 0.5  # for each size


def with_numpy(a):
    return lambda: a @ a


def with_tensorflow(a):
    import tensorflow as tf

    a = tf.constant(a)
    return lambda: tf.linalg.matmul(a, a).numpy()


def with_torch(a):
    import torch

    a = torch.from_numpy(a)
    return lambda: a @ a


LIBRARIES = {"numpy": with_numpy, "tensorflow": with_tensorflow, "torch": with_torch}


def best_rate(product, operations):
    """The operations a second of the fastest call: what the machine can do when nothing disturbs it."""
    product()
    end, best = time.perf_counter() + SECONDS, 0.0
    while (began := time.perf_counter()) < end:
        product()
        best = max(best, operations / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    matrices = {n: np.random.default_rng(0).standard_normal((n, n), "float32") for n in SIZES}
    rates = [best_rate(LIBRARIES[sys.argv[1]](a), 2 * n**3) for n, a in matrices.items()]
    answer(flops_per_second=max(rates))

"""How much of the machine's matrix product the training of a recipe reaches.

    python tools/product_share.py           # a CSV; each recipe trains in a process of its own for some seconds

Counted are the convolutions and matrix products of a training step, as its graph has them. What is left to 100 % is the
time of everything else, and that of products which are slower than one of large matrices.
"""

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow as tf
from benchmarking.matrix_product import SIZES, best_rate, with_tensorflow
from benchmarking.step_clock import Enough, StepClock
from measured import run, write_csv

from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.training import train

RECIPES = ("mlp_vae", "conv_vae", "image_vae", "ladder_vae", "factor_vae")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of training, after the first call")
    parser.add_argument("--precision", default="float32", metavar="P", help="as of vaezoo train (float32)")
    parser.add_argument("--out", type=Path, default=Path("runs/product_share.csv"), metavar="FILE")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # what a process of one recipe is given
    options = parser.parse_args(argv)
    if options.case:
        return print(json.dumps(measure(options.case, options.precision, options.seconds)), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.recipes:
        command = [sys.executable, __file__, "--case", name, "--precision", options.precision]
        done = subprocess.run([*command, "--seconds", str(options.seconds)], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise VaezooError(f"'{name}' failed, as it says above")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        write_csv(options.out, rows)
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)


def measure(name, precision, seconds):
    """Train a recipe on its own data for some seconds: its rate, in images and in operations of products."""
    recipe = load_recipe(name, {"training.epochs": 1000, "training.precision": precision, "data.validation": 0})
    clock, seen = StepClock(seconds), {}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        clock.on_train_begin = lambda logs=None: seen.update(model=clock.model)
        train(recipe, Path(folder) / "run", quiet=True, callbacks=[clock])
    batch = recipe.training.batch_size
    flops = product_flops(graph_of_a_step(seen["model"], batch)) / batch
    rate = clock.steps * batch / clock.seconds
    peak = max(best_rate(with_tensorflow(tf.random.normal([n, n]).numpy()), 2 * n**3) for n in SIZES)
    return {
        "recipe": name,
        "precision": precision,
        "batch_size": batch,
        "images_per_second": round(rate, 1),
        "megaflops_per_image": round(flops / 1e6, 1),
        "gigaflops": round(rate * flops / 1e9, 1),
        "matrix_product_gigaflops": round(peak / 1e9, 1),
        "share": round(rate * flops / peak, 3),
    }


def graph_of_a_step(model, batch_size):
    """The graph of `train_step` on a batch of that size."""
    spec = model.spec
    batch = {"x": tf.TensorSpec((batch_size, *spec.shape), spec.dtype)}
    if spec.conditional:
        batch["label"] = tf.TensorSpec((batch_size,), tf.int32)
    return tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph


def product_flops(graph):
    """The operations of all convolutions and matrix products in a graph with known shapes, two for a multiplication."""
    return sum(_flops(operation) for operation in graph.get_operations())


def _flops(operation):
    shapes = [tensor.shape for tensor in operation.inputs]
    match operation.type:
        case "MatMul":
            inner = shapes[0][0 if operation.get_attr("transpose_a") else 1]
            return 2 * inner * math.prod(operation.outputs[0].shape)
        case "Conv2D":
            return 2 * math.prod(shapes[1][:3]) * math.prod(operation.outputs[0].shape)
        case "Conv2DBackpropInput":  # filter [h,w,in,out], and the gradient of the output
            return 2 * math.prod(shapes[1][:3]) * math.prod(shapes[2])
        case "Conv2DBackpropFilter":  # its output is the gradient of the filter [h,w,in,out]
            return 2 * math.prod(operation.outputs[0].shape[:3]) * math.prod(shapes[2])
    return 0


if __name__ == "__main__":
    run(main)

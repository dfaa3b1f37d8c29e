"""The programs of the benchmark, vaezoo and its peers, and how each is run: in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import VaezooError


class Program(NamedTuple):
    """A script that trains.

    Attributes:
        title: as the table calls it.
        module: of this package.
        mode: the script's second argument, if it has one.
        requires: what must be installed beside vaezoo.
    """

    title: str
    module: str
    mode: str | None = None
    requires: str | None = None


PROGRAMS = {
    "vaezoo": Program("vaezoo", "vaezoo_train"),
    "jax": Program("JAX, one scan an epoch", "jax_scan", requires="jax"),
    "keras": Program("Keras script, defaults", "keras_script"),
    "torch_compiled": Program("torch, compiled", "torch_script", "compiled", "torch"),
    "torch_eager": Program("torch, eager", "torch_script", "eager", "torch"),
    "pythae": Program("pythae", "pythae_trainer", requires="pythae"),
    "vaezoo_bfloat16": Program("vaezoo, bfloat16", "vaezoo_train", "mixed_bfloat16"),
    "torch_bfloat16": Program("torch, compiled, bfloat16", "torch_script", "bfloat16", "torch"),
}
HALF_PRECISION = ("vaezoo_bfloat16", "torch_bfloat16")
PRODUCTS = ("numpy", "tensorflow", "torch")  # the fastest matrix product of these sets the rate of the machine
RUNTIMES = {
    "keras_call": "Keras, model(z)",
    "keras_predict": "Keras, predict_on_batch",
    "keras_function": "Keras, tf.function with XLA",
    "saved_model": "SavedModel",
    "litert": "LiteRT",
}


def train(program: Program, case: dict) -> dict:
    """Run a program that trains.

    Args:
        program: one of PROGRAMS.
        case: the fields of a `clock.Case`, without `started`.

    Returns:
        {images_per_second, first_step_seconds, loss, parameters, peak_bytes}, or {"failed": why}.
    """
    if program.requires and not importlib.util.find_spec(program.requires):
        return {"failed": f"not installed: pip install {program.requires}"}
    mode = [program.mode] if program.mode else []
    return _run(program.module, json.dumps({**case, "started": time.time()}), *mode)


def product(library: str) -> dict:
    """{flops_per_second, peak_bytes} of a library's float32 matrix product, or {"failed": why}."""
    if not importlib.util.find_spec(library):
        return {"failed": f"not installed: pip install {library}"}
    return _run("matrix_product", library)


def decode(runtime: str, export: str) -> dict:
    """{median_seconds, p95_seconds, peak_bytes} of decoding one code by a runtime, or {"failed": why}."""
    if runtime == "litert" and not importlib.util.find_spec("ai_edge_litert"):
        return {"failed": "not installed: pip install ai-edge-litert"}
    return _run("decoding", runtime, export)


def prepare(what: str, *arguments: str) -> dict:
    """Run `prepare`; its error ends the benchmark."""
    answer = _run("prepare", what, *arguments)
    if "failed" in answer:
        raise VaezooError(answer["failed"].removeprefix("vaezoo.errors.VaezooError: "))
    return answer


def _run(module, *arguments):
    """Run a script of this package; what it prints on its last line, or {"failed": why}."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarking.{module}", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])

"""Exports of every kind of model in every precision, of a second version, and exports that are killed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import bars
from consumers.tiny_exports import CONV, train_tiny

from vaezoo.cli import main
from vaezoo.exporting import export, verify
from vaezoo.runs import Run

pytestmark = pytest.mark.slow

GREY = {"data__binarize": "none"}
MODELS = {
    "mlp": {},
    "conv with float16 inside": {**CONV, "training__precision": "mixed_float16"},
    "conditional conv with bfloat16 inside": {
        **CONV,
        "training__precision": "mixed_bfloat16",
        "model__conditional": True,
    },
    "full covariance": {"model__posterior": "full_normal"},
    "point": {"model__posterior": "point", "model__objective": "reconstruction"},
    "continuous bernoulli": {**GREY, "model__likelihood": "continuous_bernoulli"},
    "normal": {**GREY, "model__likelihood": {"name": "normal", "learned": True}},
    "discretized logistic": {**GREY, **CONV, "model__likelihood": "discretized_logistic"},
    "hierarchy": {
        "model__encoder": {"name": "ladder", "width": 8, "dense": 8},
        "model__posterior": "residual_normal",
        "model__decoder": {"name": "ladder", "width": 8, "dense": 8},
    },
}


@pytest.fixture(scope="module")
def more_bars(tmp_path_factory):
    """Enough bars for the ranges of an 8-bit encoder: each of the 64 images occurs many times."""
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    images, labels = bars(2500)
    np.savez(path, x_train=images[:2000], y_train=labels[:2000], x_test=images[2000:], y_test=labels[2000:])
    return path


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_exports(kind, tiny_recipe, more_bars, tmp_path):
    overrides = {"name": "any", "training__epochs": 1, **MODELS[kind]}
    path = train_tiny(tiny_recipe, more_bars, tmp_path / "run", **overrides)
    done = export(path, tmp_path / "out", with_encoder=True)
    assert done.agreement.passed
    assert len(done.agreement.report["rows"]) == 14
    encode = tf.saved_model.load(str(tmp_path / "out/savedmodel/any/1")).signatures["encode"]
    posterior = {"full covariance": {"loc", "scale_tril"}, "point": {"loc"}, "hierarchy": {"loc"}}.get(
        kind, {"loc", "scale"}
    )
    assert set(encode.structured_outputs) == posterior
    card = (tmp_path / "out" / "savedmodel" / "any" / "1" / "README.md").read_text()
    assert ("images differ from those of the mixed" in card) is ("inside" in kind)


def test_a_second_export_becomes_the_next_version(tiny_run, tiny_recipe, bars_file, tmp_path, capsys):
    target = tmp_path / "out"
    assert main(["export", str(tiny_run), "--to", str(target), "--format", "savedmodel", "keras"]) == 0
    assert "the export is in" in capsys.readouterr().err
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    other = train_tiny(tiny_recipe, bars_file, tmp_path / "other", name="tiny", training__seed=1)
    assert main(["export", str(other), "--to", str(target)]) == 2
    assert "--format savedmodel to add a version" in capsys.readouterr().err
    done = export(other, target, formats=["savedmodel"])
    assert done.version == 2
    assert done.card == target / "savedmodel" / "tiny" / "2" / "README.md"
    for path, content in before.items():  # the reports too, which the first card describes
        assert path.read_bytes() == content, path
    # The files are measured against their own Keras files, the newest version against its own.
    rows = verify(target).report["rows"]
    names = [row["artefact"] for row in rows]
    assert names[:2] == ["decoder.keras", "encoder.keras"]
    assert names[2:4] == ["savedmodel/tiny/2: decoder.keras", "savedmodel/tiny/2: encoder.keras"]
    assert names[4:] == [f"savedmodel/tiny/2: {name}" for name in ("decode", "encode", "reconstruct", "sample")]
    assert all(row["largest"] <= 1e-5 for row in rows)


def complete(target):
    """Check that every file in a target is complete; returns the names in it."""
    shown = {path.name for path in target.glob("[!.]*")}  # without .writing and .lock
    for version in target.glob("savedmodel/*/*"):
        loaded = tf.saved_model.load(str(version))
        assert np.isfinite(loaded.signatures["decode"](z=tf.zeros([1, 3]))["image"]).all()
        for name in ("README.md", "batching_params.pbtxt", "assets.extra/tf_serving_warmup_requests"):
            assert (version / name).stat().st_size > 0
        records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
        assert len(list(records)) == 10
    for name in shown - {"savedmodel"}:
        path = target / name
        if name.endswith(".tflite"):
            from ai_edge_litert.interpreter import Interpreter

            Interpreter(str(path)).allocate_tensors()
        elif name.endswith(".npz"):
            assert len(np.load(path)["z"]) == 1000
        assert path.stat().st_size > 0
    return shown


# Kills the process after a given number of renames; they take too little time to be hit at random.
STOPPING = """
import os, pathlib, signal, sys
moves, last = 0, int(sys.argv[1])
def counted(original):
    def move(*args):
        global moves
        result = original(*args)
        if '.writing/' in str(args[0]) and '.writing.' not in str(args[0]):
            moves += 1
            if moves > last:
                os.kill(os.getpid(), signal.SIGKILL)
        return result
    return move
pathlib.Path.rename, pathlib.Path.replace = counted(pathlib.Path.rename), counted(pathlib.Path.replace)
from vaezoo.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_an_export_that_is_killed_leaves_only_what_is_complete(tiny_run, tmp_path):
    arguments = ["export", str(tiny_run), "--quantize", "float32", "--to"]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "vaezoo", *arguments, tmp_path / "complete"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seconds, everything = time.monotonic() - started, complete(tmp_path / "complete")
    target, rng = tmp_path / "killed", random.Random(0)
    for _ in range(4):  # at random moments, into the same folder
        with subprocess.Popen(
            [sys.executable, "-m", "vaezoo", *arguments, target], start_new_session=True, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            os.killpg(process.pid, signal.SIGKILL)
        if complete(target):  # it had finished, or nearly
            shutil.rmtree(target)
    for last in (0, 2):  # and between the moves that publish it
        shutil.rmtree(target, ignore_errors=True)
        command = [sys.executable, "-c", STOPPING, str(last), *arguments, target]
        done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == -signal.SIGKILL
        shown = complete(target)
        assert shown < everything
        assert "savedmodel" in shown
        assert not {"verify.json", "verify.txt"} & shown
        assert (target / ".writing").is_dir()
    # The next export removes what was left, adds a complete version, and does not change the other files.
    done = export(tiny_run, target, formats=["savedmodel"])
    assert done.version == 2
    assert not (target / ".writing").exists()
    assert complete(target)
    assert Run(tiny_run).recipe.name == done.name


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="reads the processes from /proc, as on Linux")
def test_the_measuring_process_ends_with_a_killed_export(tiny_run, tmp_path):
    command = [sys.executable, "-m", "vaezoo", "export", tiny_run, "--to", tmp_path / "out", "--format", "keras"]

    def measuring():
        """The command lines of the processes that measure in this test's folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes().decode(errors="replace"))
        return [line for line in found if "vaezoo.exporting.measuring" in line and str(tmp_path) in line]

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not measuring() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert measuring()
        process.kill()
    deadline = time.monotonic() + 60  # it may still import TensorFlow
    while measuring() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not measuring()
    assert not (tmp_path / "out/.writing/verify.json").exists()  # it did not go on to its end

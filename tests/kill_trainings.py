"""A script: kill trainings with SIGKILL, resume them, and compare the results with those of undisturbed trainings.

    python tests/kill_trainings.py FOLDER BARS_FILE KILLS RECIPE:PRECISION:COMPILATION...

RECIPE is a name that `conftest.small_recipe` takes. Every training is a process of its own, forked from this one, which
has imported TensorFlow but has run nothing with it. Every second kill happens while a checkpoint is written. Prints one
line of JSON.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from conftest import small_recipe

from vaezoo.training import resume, train
from vaezoo.training.run_directory import RunDirectory

RunDirectory.picture = lambda *_: None  # they take a good part of the time, and other tests look at them
PATIENCE = 600  # seconds for one training


def start(path, result, recipe=None):
    """Fork a process that trains the recipe, or resumes `path`, and writes its results to `result`."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        if recipe:
            trained = train(recipe, path, quiet=True, checkpoint_every=1e-3)
        else:
            trained = resume(path, quiet=True, checkpoint_every=1e-3)
        variables = [*trained.model.weights, *trained.model.optimizer.variables]
        digest = hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in variables)).hexdigest()
        result.write_text(json.dumps({"variables": digest, "test": trained.test}))
        code = 0
    finally:
        os._exit(code)


def wait(pid):
    """Wait for the process, which must succeed."""
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"a training ended with status {status}"


def kill(pid, path, while_writing, delay):
    """Kill it while it writes a checkpoint, or `delay` seconds after one; False if it ended before."""
    folder, begun = path / "checkpoints", time.monotonic()
    before = set(folder.glob("*.json"))
    while time.monotonic() - begun < PATIENCE:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        written = set(folder.glob("*.json")) - before
        if written and (not while_writing or any(folder.glob(".writing.*"))):
            time.sleep(0 if while_writing else delay)
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            return os.WIFSIGNALED(status)
        time.sleep(1e-4)
    raise TimeoutError(path)


def main(folder, bars_file, kills, *cases):
    """Train, kill, resume and compare every case."""
    random.seed(0)
    report = {"kills": 0, "while_writing": 0, "different": []}
    for case in cases:
        name, precision, compilation = case.split(":")
        settings = {"epochs": 12, "precision": precision, "compilation": compilation}
        recipe = small_recipe(name, bars_file, **{f"training.{key}": value for key, value in settings.items()})
        whole, run = Path(folder) / f"{name}-whole", Path(folder) / name
        results = [path.with_suffix(".json") for path in (whole, run)]
        wait(start(whole, results[0], recipe))
        for number in range(int(kills)):
            pid = start(run, results[1], recipe if number == 0 else None)
            report["kills"] += kill(pid, run, number % 2 == 1, random.uniform(0, 0.3))
            report["while_writing"] += any(run.glob("checkpoints/.writing.*"))
        wait(start(run, results[1]))
        if results[0].read_text() != results[1].read_text():
            report["different"].append(case)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A script: kill trainings with SIGKILL, resume them, and compare the results with those of undisturbed trainings.

    python tests/kill_trainings.py FOLDER BARS_FILE KILLS RECIPE:PRECISION:COMPILATION...

RECIPE is a name that `conftest.small_recipe` takes. Every training is a process of its own, forked from this one, which
has imported TensorFlow but has run nothing with it. Every second kill happens while a checkpoint is written.

With KILLS 0 no training is killed: the undisturbed one is stopped for a moment, and its folder copied. The copy is what
SIGKILL would leave at that moment. It takes half of the trainings. Prints one line of JSON.
"""

import hashlib
import json
import os
import random
import shutil
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


def reaches(pid, path, while_writing):
    """Let it go on until it writes a checkpoint, or for a random moment after one; False if it ended before."""
    folder, begun, delay = path / "checkpoints", time.monotonic(), random.uniform(0, 0.3)
    before = set(folder.glob("*.json"))
    while time.monotonic() - begun < PATIENCE:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        written = set(folder.glob("*.json")) - before
        if written and (not while_writing or any(folder.glob(".writing.*"))):
            time.sleep(0 if while_writing else delay)
            return True
        time.sleep(1e-4)
    raise TimeoutError(path)


def kill(pid, path, while_writing):
    """Kill it; False if it ended before."""
    if not reaches(pid, path, while_writing):
        return False
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def copy_at_kill(pid, path, copy, while_writing):
    """Copy what SIGKILL would leave, and let it train to its end; False if it ended before."""
    stopped = reaches(pid, path, while_writing)
    if stopped:
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)  # returns once it has stopped
        stopped = os.WIFSTOPPED(status)
    shutil.copytree(path, copy)
    if stopped:
        os.kill(pid, signal.SIGCONT)
        wait(pid)
    return stopped


def main(folder, bars_file, kills, *cases):
    """Train, kill, resume and compare every case."""
    random.seed(0)
    report = {"kills": 0, "while_writing": 0, "different": []}
    for place, case in enumerate(cases):
        name, precision, compilation = case.split(":")
        settings = {"epochs": 12, "precision": precision, "compilation": compilation}
        recipe = small_recipe(name, bars_file, **{f"training.{key}": value for key, value in settings.items()})
        whole, run = Path(folder) / f"{name}-whole", Path(folder) / name
        results = [path.with_suffix(".json") for path in (whole, run)]
        undisturbed = start(whole, results[0], recipe)
        if kills == "0":
            report["kills"] += copy_at_kill(undisturbed, whole, run, place % 2 == 1)
            report["while_writing"] += any(run.glob("checkpoints/.writing.*"))
        else:
            wait(undisturbed)
        for number in range(int(kills)):
            pid = start(run, results[1], recipe if number == 0 else None)
            report["kills"] += kill(pid, run, number % 2 == 1)
            report["while_writing"] += any(run.glob("checkpoints/.writing.*"))
        wait(start(run, results[1]))
        if results[0].read_text() != results[1].read_text():
            report["different"].append(case)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Several devices and several machines train to the figures of one, and end together."""

import contextlib
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import vaezoo
from vaezoo.training import inspect, train
from vaezoo.training.strategies import Devices, read_cluster

WORKERS = {"worker": ["a:1", "b:2"]}


# With more than one epoch, the two devices train the last one in a training that goes on.
HARDER = {
    "training.epochs": 3,
    "model.conditional": True,
    "model.encoder": {"name": "conv", "filters": [3, 4], "dense": 8},
    "model.decoder": {"name": "conv", "filters": [3, 4], "dense": 8},
    "model.posterior": {"name": "flow", "blocks": 2, "hidden": [8], "context": 4},
    "model.objective": {"name": "iwae", "samples": 3},
    "training.optimizer": "muon_all",
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"training.epochs": 1}, pytest.param(HARDER, marks=pytest.mark.slow)])
def test_two_devices_make_the_steps_of_one(settings, tiny_recipe, bars_file, tmp_path):
    script = Path(__file__).parent / "on_two_devices.py"
    command = [sys.executable, script, tiny_recipe, bars_file, tmp_path, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["skipped"] == [1, 0, 0][: settings["training.epochs"]]
    for name in ("weights", "moments"):
        assert report[name] < 1e-5, name
    for name in ("metrics", "test"):
        assert report[name] < 1e-4, name  # of figures near 40 nats, so 3e-6 of them
    assert "cannot share equally; set a multiple of 2, such as 38 or 40" in report["training.batch_size"]
    assert "with a strategy leave it at auto" in report["training.compilation"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "needs TF_CONFIG in the environment of each machine, as in"),
        ("", "needs TF_CONFIG"),
        ("{", "TF_CONFIG cannot be read: it is not JSON"),
        ("[]", "needs a 'cluster' and a 'task'"),
        (json.dumps({"cluster": WORKERS}), "needs a 'cluster' and a 'task'"),
        (json.dumps({"task": {"type": "worker", "index": 0}}), "needs a 'cluster' and a 'task'"),
        (json.dumps({"cluster": {"ps": ["a:1"]}, "task": {}}), "cluster has 'ps'"),
        (json.dumps({"cluster": {"chief": ["a:1", "b:1"]}, "task": {}}), "cluster has 'chief'"),
        (json.dumps({"cluster": {"worker": "a:1"}, "task": {}}), 'needs a list of "HOST:PORT"'),
        (json.dumps({"cluster": {"worker": ["a"]}, "task": {}}), 'needs a list of "HOST:PORT"'),
        (json.dumps({"cluster": WORKERS, "task": {}}), "task is None None, and its cluster has worker 0"),
        *(
            (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": index}}), f"task is worker {index!r}")
            for index in (2, -1, True, "0", [])
        ),
        (json.dumps({"cluster": WORKERS, "task": {"type": "chief", "index": 0}}), "task is chief 0"),
        (json.dumps({"cluster": {}, "task": {"type": "worker", "index": 0}}), "its cluster has no workers"),
        (json.dumps({"cluster": WORKERS, "task": {"type": "worker", "index": "0"}}), "and its index to a number"),
        (json.dumps({"cluster": {"chief": 5}, "task": {}}), "needs a list of \"HOST:PORT\" as its 'chief'"),
        (json.dumps({"cluster": {"worker": [5]}, "task": {}}), 'needs a list of "HOST:PORT"'),
        (json.dumps({"cluster": {"worker": ["a:99999"]}, "task": {}}), "with ports from 1 to 65535"),
        (json.dumps({"cluster": {"worker": ["a:0"]}, "task": {}}), "with ports from 1 to 65535"),
        (json.dumps({"cluster": {"worker": ["a:1", "a:1"]}, "task": {}}), "the same address twice"),
        ('{"cluster": ' + "[" * 100_000 + "]" * 100_000 + "}", "TF_CONFIG cannot be read: it is not JSON"),
    ],
)
def test_a_wrong_cluster_is_one_line(text, message, monkeypatch):
    with pytest.raises(vaezoo.VaezooError, match=re.escape(message)) as caught:
        read_cluster(text)
    assert "\n" not in str(caught.value)


def test_the_chief_comes_first():
    cluster = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
    tasks = [("chief", 0), ("worker", 0), ("worker", 1)]
    found = [read_cluster(json.dumps({"cluster": cluster, "task": {"type": t, "index": i}})) for t, i in tasks]
    assert found == [(0, 3), (1, 3), (2, 3)]


def test_machines_are_alike_or_say_in_what_they_differ(monkeypatch):
    devices, values = Devices(), {"the versions": ["1", "2"], "model.latent_dim": 3, "the data": None}
    devices.require_equal(values)  # alone
    devices.worker, devices.workers, rows = 1, 3, []
    monkeypatch.setattr(devices, "_total", lambda own: rows.append(own) or np.array(own))
    with pytest.raises(vaezoo.VaezooError, match=r"differ in the versions, model.latent_dim, the data;"):
        devices.require_equal(values)
    assert rows[0][0] == rows[0][2] == [0, 0, 0]
    monkeypatch.setattr(devices, "_total", lambda own: np.array([own[1]] * 3))
    devices.require_equal(values)
    monkeypatch.setattr(devices, "_total", lambda own: np.array([[own[1][0], 7, own[1][2]], own[1], own[1]]))
    with pytest.raises(vaezoo.VaezooError, match=r"differ in model.latent_dim; start all"):
        devices.require_equal(values)


def test_a_strategy_is_named(tiny_recipe, tmp_path):
    with pytest.raises(vaezoo.VaezooError, match=r"unknown strategy 'mirored'. Did you mean 'mirrored'"):
        Devices("mirored")
    with pytest.raises(vaezoo.VaezooError, match="needs TF_CONFIG"):
        train(str(tiny_recipe), tmp_path / "run", quiet=True, strategy="multi_worker")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="needs sh")
def test_the_job_for_kubernetes_names_its_pods(tmp_path):
    _, job = yaml.safe_load_all((Path(__file__).parent.parent / "docs/kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = tmp_path / "vaezoo"
    command.write_text('#!/bin/sh\necho "$@"\necho "$TF_CONFIG"\n')
    command.chmod(0o755)
    environment = {each["name"]: each["value"] for each in container["env"]}
    environment |= {"JOB_COMPLETION_INDEX": "1", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([*container["command"], *container["args"]], env=environment, capture_output=True, text=True)
    arguments, config = done.stdout.splitlines()
    assert arguments == "train conv_vae --data mnist --out /runs/conv_vae --strategy multi_worker"
    assert json.loads(config)["cluster"] == {"worker": ["vaezoo-0.vaezoo:2222", "vaezoo-1.vaezoo:2222"]}
    assert read_cluster(config) == (1, 2)
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(environment["WORKERS"])


# Two worker processes on loopback


@pytest.fixture
def workers():
    """Start two workers with the arguments of `vaezoo train`; what is left of them ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, of_the_second=()):
            with contextlib.ExitStack() as ports:
                held = [ports.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
                addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in held]
            processes = []
            for index in range(2):
                config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
                given = [*arguments, *of_the_second * index]
                command = [sys.executable, "-m", "vaezoo", "train", *map(str, given), "--strategy", "multi_worker"]
                process = subprocess.Popen(
                    command, env={**os.environ, "TF_CONFIG": json.dumps(config)}, stderr=subprocess.PIPE, text=True
                )
                processes.append(stack.enter_context(process))
                stack.callback(process.kill)
            return processes

        yield start


def wait_for(path, process):
    deadline = time.monotonic() + 240
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.exists()


def rows_of(path):
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    return np.array([[float(row[key]) for key in row if key not in ("seconds", "images_per_second")] for row in rows])


@pytest.fixture
def recipe(tiny_recipe, bars_file, tmp_path):
    text = tiny_recipe.read_text().replace("{binarize: threshold}", f"{{name: {bars_file}, binarize: dynamic}}")
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_two_workers_reach_the_figures_of_one_and_one_signal_ends_both(recipe, workers, tmp_path):
    settings = ("--epochs", "30")
    chief, other = workers(recipe, *settings, "--out", tmp_path / "run")
    wait_for(tmp_path / "run/metrics.csv", chief)
    other.send_signal(signal.SIGTERM)
    lines = [process.communicate(timeout=240)[1] for process in (chief, other)]
    assert [chief.returncode, other.returncode] == [143, 143], lines
    assert "resume it with `vaezoo train --resume" in lines[0]
    assert inspect(tmp_path / "run").status == "interrupted"
    assert 1 <= inspect(tmp_path / "run").state.epoch < 30

    chief, other = workers("--resume", tmp_path / "run")
    lines = [process.communicate(timeout=480)[1] for process in (chief, other)]
    assert [chief.returncode, other.returncode] == [0, 0], lines
    assert lines[1] == "worker 1 of 2: waiting for all of them\n"
    assert inspect(tmp_path / "run").status == "finished"
    assert not inspect(tmp_path / "run").broken
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["strategy"] == "2 workers with 2 devices, mirrored"

    whole = train(vaezoo.config.load_recipe(recipe, {"training.epochs": 30}), tmp_path / "one", quiet=True)
    np.testing.assert_allclose(rows_of(tmp_path / "run"), rows_of(tmp_path / "one"), rtol=1e-5, atol=1e-4)
    trained = keras.models.load_model(tmp_path / "run/model.keras")
    for a, b in zip(trained.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_worker_that_dies_ends_the_others_with_a_line(killed, recipe, workers, tmp_path):
    processes = workers(recipe, "--epochs", "100000", "--out", tmp_path / "run")
    wait_for(tmp_path / "run/metrics.csv", processes[0])
    processes[killed].kill()
    survivor = processes[1 - killed]
    line = survivor.communicate(timeout=120)[1].strip().splitlines()[-1]
    assert survivor.returncode == 2
    assert re.match(r"vaezoo: training ended because .* is gone or cannot be reached", line), line
    assert "vaezoo train --resume" in line
    found = inspect(tmp_path / "run")
    assert not found.broken
    done = found.state.epoch
    assert done >= 1
    command = [sys.executable, "-m", "vaezoo", "train", "--resume", tmp_path / "run", "--epochs", str(done + 1)]
    subprocess.run(command, check=True, capture_output=True)
    assert len(rows_of(tmp_path / "run")) == done + 1


@pytest.mark.slow
def test_workers_that_differ_say_in_what_before_the_first_step(recipe, workers, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (500, 8, 8), "uint8")
    np.save(tmp_path / "other.npy", images)
    other = ("--seed", 5, "--epochs", 3, "--checkpoint-every", "1s", "--data", tmp_path / "other.npy")
    for process in workers(recipe, "--out", tmp_path / "run", of_the_second=other):
        line = process.communicate(timeout=240)[1].strip().splitlines()[-1]
        assert process.returncode == 2
        what = "--checkpoint-every, training.epochs, training.seed, the data"
        assert f"they differ in {what}; start all of them with the same" in line, line
    assert not (tmp_path / "run").exists()

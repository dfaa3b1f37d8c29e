"""A training that was broken off and resumed ends with the very weights of one that never was."""

import csv
import errno
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import VARIANTS, small_recipe
from hostile import KerasFile, refusal, sign

import vaezoo
from vaezoo import atomic
from vaezoo.checkpoints import Checkpoints, TrainingState
from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.errors import Terminated
from vaezoo.objectives.bounds import at_step
from vaezoo.recipe_files import recipe_names
from vaezoo.runs import Run
from vaezoo.training import inspect, results, resume, setup, train
from vaezoo.training.callbacks import Recorder
from vaezoo.training.run_directory import RunDirectory


class Axe(Exception):  # noqa: N818 (no error, and nothing in vaezoo expects it: it ends a training as SIGKILL would)
    """Falls between two calls of the step."""


@pytest.fixture
def after_calls(monkeypatch):
    """Do something after so many calls of the step, once: `after_calls(3, raise_axe)`."""
    planned = {}
    real = Recorder.on_train_batch_end

    def end(self, batch, logs=None):
        real(self, batch, logs)
        planned["left"] = planned.get("left", 0) - 1
        if planned["left"] == 0:
            planned["act"]()

    monkeypatch.setattr(Recorder, "on_train_batch_end", end)
    return lambda calls, act: planned.update(left=calls, act=act)


@pytest.fixture(autouse=True, scope="module")
def no_pictures():
    """They take most of the time of these small trainings, and other tests look at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "picture", lambda *_: None)
        patch.setattr(results, "leave_film", lambda *_: None)
        yield


def axe():
    raise Axe


def rows_of(path):
    """The metrics by epoch, but for the columns of time."""
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in rows]


def assert_same(disturbed, whole):
    """Every variable of the model and of its optimizer, every row of metrics and every test figure is the same."""
    for a, b in zip(disturbed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(disturbed.model.optimizer.variables, whole.model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows_of(disturbed.path) == rows_of(whole.path)
    assert disturbed.test == whole.test


def plain(bars_file):
    return small_recipe("mlp_vae", bars_file, **{"training.compilation": "graph"})


@pytest.fixture(scope="module")
def whole(bars_file, tmp_path_factory):
    """A training that nothing disturbs."""
    return train(plain(bars_file), tmp_path_factory.mktemp("whole") / "run", quiet=True)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it to do harm to, as if it had been killed after its last epoch but one."""
    path = shutil.copytree(whole.path, tmp_path / "run")
    for name in ("epoch-3-step-0.keras", "epoch-3-step-0.json"):
        (path / "checkpoints" / name).unlink()
    return path


# `test_every_recipe_resumes_from_what_sigkill_would_leave` takes every recipe and variant, also within an epoch.
MODES = [
    ("conditional_vae", "mixed_float16", "graph"),
    ("factor", "float32", "graph"),
    ("averaged", "float32", "xla"),
    pytest.param("conv_vae", "mixed_bfloat16", "xla", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "precision", "compilation"), MODES)
@pytest.mark.slow
def test_killed_within_an_epoch(name, precision, compilation, bars_file, tmp_path, after_calls):
    recipe = small_recipe(name, bars_file, **{"training.precision": precision, "training.compilation": compilation})
    whole = train(recipe, tmp_path / "whole", quiet=True, animate=True)
    after_calls(1, axe)
    with pytest.raises(Axe):
        train(recipe, tmp_path / "run", quiet=True, animate=True, checkpoint_every=1e-9)
    after_calls(2, axe)  # the second epoch's first call: the rest of the first one is a call
    with pytest.raises(Axe):
        resume(tmp_path / "run", quiet=True, checkpoint_every=1e-9)
    places = [checkpoint.place for checkpoint in Checkpoints(tmp_path / "run").all()]
    assert places == [(1, 19), (1, 0)]
    assert_same(resume(tmp_path / "run", quiet=True), whole)
    with np.load(tmp_path / "run/latent.npz") as film, np.load(tmp_path / "whole/latent.npz") as expected:
        np.testing.assert_array_equal(film["codes"], expected["codes"])


@pytest.mark.slow
def test_the_best_weights_are_kept(bars_file, tmp_path, after_calls, monkeypatch):
    def best(**more):
        return small_recipe("averaged", bars_file, **{"training.keep": "best", "training.schedule": "constant", **more})

    monkeypatch.setattr(TrainingState, "best_epoch", property(lambda state: min(len(state.rows), 2)))
    kept = train(best(), tmp_path / "kept", quiet=True)
    two = train(best(**{"training.keep": "last", "training.epochs": 2}), tmp_path / "two", quiet=True)
    for weight, wanted in zip(kept.model.weights, two.model.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)
    assert kept.test == two.test
    assert len(rows_of(kept.path)) == 3
    for weight, wanted in zip(vaezoo.load(kept.path).weights, two.model.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)
    # Killed after the third epoch, whose checkpoint is not the best: the second one is still there.
    after_calls(5, axe)
    with pytest.raises(Axe):
        train(best(), tmp_path / "run", quiet=True, checkpoint_every=1e-9)
    assert_same(resume(tmp_path / "run", quiet=True), kept)
    with pytest.raises(vaezoo.VaezooError, match=r"compares the epochs on a validation split.*training.keep=last"):
        train(best(**{"data.validation": 0}), tmp_path / "none", quiet=True)


@pytest.mark.slow
def test_the_best_weights_are_those_of_an_epoch_after_the_warm_up(bars_file, tmp_path):
    beta = {"model.objective": {"name": "beta", "beta": {"start": 0.0, "end": 100.0, "steps": 70}}}
    best = {**beta, "training.keep": "best", "training.compilation": "graph"}
    kept = train(small_recipe("mlp_vae", bars_file, **best), tmp_path / "kept", quiet=True)
    losses = [float(row["val_loss"]) for row in rows_of(kept.path)]
    assert min(losses) == losses[0]  # at a small weight of the KL
    assert inspect(kept.path).state.warm_up == 1
    assert inspect(kept.path).state.best_epoch == inspect(kept.path).best["epoch"] > 1
    assert int(vaezoo.load(kept.path).optimizer.iterations) == 38 * inspect(kept.path).state.best_epoch


@pytest.mark.parametrize("steps", [1, 7, 38, 50, 100, 101])
def test_the_warm_up_is_over_at_the_end_of_the_epoch_after_it(steps):
    recipe = load_recipe("mlp_vae", {"model.objective": {"name": "beta", "beta": {"end": 2.0, "steps": 100}}})
    objective = recipe.model.objective
    moving = [epoch for epoch in range(1, 200) if float(at_step(objective.beta, epoch * steps)) < 2]
    assert setup._warm_up(objective, steps) == len(moving)
    assert setup._warm_up(load_recipe("mlp_vae").model.objective, steps) == 0


def test_which_epoch_is_the_best():
    losses = [3.0, 2.0, float("nan"), 2.0, 5.0]
    state = TrainingState(rows=[{"val_loss": loss} for loss in losses])
    assert state.best_epoch == 2
    assert TrainingState(rows=[{"val_loss": float("inf")}] * 3).best_epoch == 3
    assert TrainingState().best_epoch == 0
    rows = [{"val_loss": loss} for loss in (1.0, 2.0, 4.0, 3.0, 5.0)]
    assert [TrainingState(rows=rows, warm_up=number).best_epoch for number in (0, 1, 2, 4, 5, 9)] == [1, 2, 4, 5, 5, 5]
    rows = [{"loss": loss} for loss in (2.0, 1.0, 4.0, 3.0)]  # without validation
    assert [TrainingState(rows=rows, warm_up=number).best_epoch for number in (0, 1, 2, 3)] == [2, 4, 4, 4]


@pytest.mark.slow
def test_an_epoch_of_other_calls_is_gone_on_with(whole, bars_file, tmp_path, after_calls, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(setup, "epoch_shape", lambda *_: (38, 1))  # as on several devices
        after_calls(8, axe)
        with pytest.raises(Axe):
            train(plain(bars_file), tmp_path / "run", quiet=True, checkpoint_every=1e-9)
    assert Checkpoints(tmp_path / "run").all()[0].place == (0, 8)
    assert_same(resume(tmp_path / "run", quiet=True), whole)


@pytest.mark.slow
def test_a_changed_learning_rate_and_schedule_are_those_of_the_recipe(bars_file, tmp_path):
    settings = {"training.compilation": "graph", "training.schedule": "constant", "training.epochs": 1}
    train(small_recipe("averaged", bars_file, **settings), tmp_path / "run", quiet=True)
    slower = resume(tmp_path / "run", 2, {"training.learning_rate": 1e-5}, quiet=True)
    assert float(slower.model.optimizer.learning_rate) == pytest.approx(1e-5)
    assert Run(tmp_path / "run").recipe.training.learning_rate == 1e-5
    assert int(slower.model.optimizer.iterations) == 76
    for epochs, schedule in ((3, "cosine"), (4, "linear")):
        ended = resume(tmp_path / "run", epochs, {"training.schedule": schedule}, quiet=True)
        optimizers = ended.model.optimizer, vaezoo.load(tmp_path / "run").optimizer
        assert [int(each.iterations) for each in optimizers] == [38 * epochs] * 2
        assert [float(each.learning_rate) for each in optimizers] == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_keeps_the_step(number, kind, whole, bars_file, tmp_path, after_calls):
    after_calls(1, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(kind, match=r"no epoch was finished, 19 of 38 steps of epoch 1 .*--resume") as caught:
        train(plain(bars_file), tmp_path / "run", quiet=True)
    assert caught.type is kind
    assert signal.getsignal(number) is before
    assert inspect(tmp_path / "run").status == "interrupted"
    with pytest.raises(vaezoo.VaezooError, match=r"no model: there is no model.keras in it; .*--resume"):
        Run(tmp_path / "run")
    assert_same(resume(tmp_path / "run", quiet=True), whole)
    assert inspect(tmp_path / "run").status == "finished"


@pytest.mark.parametrize("there_before", ["nothing", "the folder", "a file"])
def test_a_training_without_results_leaves_no_folder(there_before, bars_file, tmp_path, after_calls):
    def fail():
        raise vaezoo.VaezooError("broken")

    out = tmp_path / "runs" / "run"
    if there_before != "nothing":
        out.mkdir(parents=True)
    if there_before == "a file":
        (out / "notes.txt").touch()
    after_calls(1, fail)
    with pytest.raises(vaezoo.VaezooError, match=r"broken \(no epoch was finished, so nothing was kept\)"):
        train(plain(bars_file), out, quiet=True)
    left = {"nothing": [], "the folder": ["runs"], "a file": ["notes.txt", "run", "runs"]}
    assert sorted(path.name for path in tmp_path.rglob("*")) == left[there_before]


@pytest.mark.slow
def test_further_than_planned(run, whole):
    more = resume(run, epochs=4, quiet=True)
    assert rows_of(run)[:2] == rows_of(whole.path)[:2]
    assert len(rows_of(run)) == 4
    assert int(more.model.optimizer.iterations) == 152
    assert Run(run).recipe.training.epochs == 4
    with pytest.raises(vaezoo.VaezooError, match=r"has 4 epochs already, more than the 3 asked for"):
        resume(run, epochs=3)


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if how == "truncated" else content)


@pytest.mark.parametrize("how", ["flipped", "truncated"])
@pytest.mark.parametrize("ending", ["keras", "json"])
def test_a_broken_checkpoint_is_noticed(how, ending, whole, tmp_path, capsys):
    path = shutil.copytree(whole.path, tmp_path / "run")
    broken = path / f"checkpoints/epoch-3-step-0.{ending}"
    damage(broken, how)
    assert any(str(broken) in line for line in inspect(path).broken)
    warned = []
    checkpoint, state = Checkpoints(path).newest(warned.append)
    assert checkpoint.place == (2, 0)
    assert state.epoch == len(state.rows) == 2
    assert len(warned) == 1
    assert f"'{broken}' is broken" in warned[0]
    damage(path / f"checkpoints/epoch-2-step-0.{ending}", how)
    with pytest.raises(vaezoo.VaezooError, match=r"every checkpoint in .* is broken"):
        resume(path, quiet=True)


@pytest.mark.slow
def test_the_checkpoint_before_a_broken_one_is_gone_on_from(whole, tmp_path, capsys):
    path = shutil.copytree(whole.path, tmp_path / "run")
    damage(path / "checkpoints/epoch-3-step-0.keras", "truncated")
    assert_same(resume(path), whole)
    assert "warning: '" in capsys.readouterr().err
    assert not inspect(path).broken


def link_weights(file):
    """An array that HDF5 would read from another file."""

    def edit(weights):
        del weights["encoder/layers/dense/vars"]["0"]
        weights["encoder/layers/dense/vars"]["0"] = h5py.ExternalLink("/etc/passwd", "/x")

    file.edit_weights(edit)


def add_member(file):
    file.members["../evil.py"] = b""


def swap_class(file):
    file.config["config"]["encoder"]["config"]["layers"][1] |= {"module": "os", "class_name": "system"}


def first_array(make):
    """An edit of the weights that puts another array in the place of the first."""

    def edit(weights):
        del weights["encoder/layers/dense/vars"]["0"]
        make(weights["encoder/layers/dense/vars"])

    return lambda file: file.edit_weights(edit)


def without(name):
    """An edit of the weights that takes a part of the training state away."""
    return lambda file: file.edit_weights(lambda weights: weights.pop(name))


def deflated(file):
    content = io.BytesIO()
    file.write(content, zipfile.ZIP_DEFLATED)
    return content.getvalue()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (link_weights, "hold the link '0'"),
        (add_member, "it holds ../evil.py"),
        (swap_class, "the class 'os.system'"),
        (lambda file: b"this is no checkpoint\n" * 100, "not a Keras file"),
        (lambda file: random.Random(0).randbytes(20_000), "not a Keras file"),
        (deflated, "is compressed"),
        (first_array(lambda group: group.create_dataset("0", data=np.zeros((64, 3), "f4"))), ""),
        (first_array(lambda group: group.create_dataset("0", data=np.full((64, 8), np.nan, "f4"))), "are not finite"),
        (
            first_array(lambda group: group.create_dataset("0", (10**6, 10**6), "f4", chunks=(64, 4))),
            "are not numbers that",
        ),
        (without("optimizer"), ""),
        (without("encoder/layers/dense"), ""),
    ],
)
def test_a_hostile_checkpoint_with_valid_checksums_is_refused(spoil, reason, run, capsys):
    (checkpoint,) = Checkpoints(run).all()
    file = KerasFile(checkpoint.model)
    content = spoil(file)
    if content is None:
        file.write(checkpoint.model)
    else:
        checkpoint.model.write_bytes(content)
    sign(checkpoint)
    assert checkpoint.read().epoch == 2
    line = refusal(capsys, "train", "--resume", run)
    assert f"'{checkpoint.model}' cannot be loaded: " in line
    assert reason in line
    assert rows_of(run)[1:]  # the run is as it was
    assert checkpoint.read().epoch == 2


def test_inspect_prints_what_is_there(run, capsys):
    assert main(["inspect", str(run)]) == 0
    lines = capsys.readouterr().out
    assert re.search(r"^recipe +mlp_vae, [\d,]+ parameters; .*bars.npz$", lines, re.MULTILINE)
    assert re.search(r"^training +finished\n +2 finished epochs, of 3 epochs$", lines, re.MULTILINE)
    assert re.search(r"^checkpoints +epoch-2-step-0 +\d+\.\d\d MB  complete$", lines, re.MULTILINE)
    damage(run / "decoder.keras", "flipped")
    (run / "model.keras").unlink()
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, "status": "training"}))
    assert main(["inspect", str(run)]) == 2
    out, err = capsys.readouterr()
    assert re.search(r"^training +killed: .*\n.*\n +resume it with `vaezoo train --resume", out, re.MULTILINE)
    assert "model.keras' is missing; " in err
    assert "decoder.keras' is broken" in err
    assert err.count("\n") == 1


def test_inspect_of_a_run_without_a_training(run, capsys):
    shutil.rmtree(run / "checkpoints")  # as `vaezoo refit` leaves none
    assert main(["inspect", str(run)]) == 0
    assert re.search(r"^training +finished\n +no checkpoints, so it cannot be resumed$", capsys.readouterr().out, re.M)


def test_other_data_of_the_same_size_are_noticed(run, bars_file, tmp_path):
    with np.load(bars_file) as arrays:
        other = {name: array[::-1] for name, array in arrays.items()}
    np.savez(tmp_path / "other.npz", **other)
    recipe = (run / "recipe.yaml").read_text().replace(str(bars_file), str(tmp_path / "other.npz"))
    (run / "recipe.yaml").write_text(recipe)
    with pytest.raises(vaezoo.VaezooError, match="have changed since the run began: their first examples or labels"):
        resume(run, quiet=True)


def test_the_number_of_epochs_cannot_be_left_to_the_data_in_the_middle_of_a_training(run, capsys):
    line = refusal(capsys, "train", "--resume", run, "--set", "training.epochs=null")
    assert "training.epochs=null lets the data decide once, before a training; give a number" in line


def test_what_cannot_be_resumed(run, bars_file, tmp_path):
    with pytest.raises(vaezoo.VaezooError, match="holds no run"):
        resume(tmp_path / "nothing")
    with RunDirectory(run, resumed=True), pytest.raises(vaezoo.VaezooError, match="another process is training into"):
        resume(run)
    assert inspect(run).running is False
    environment = run / "environment.json"
    environment.write_text(environment.read_text().replace('"finished"', '"training"'))
    with RunDirectory(run, resumed=True):
        assert inspect(run).status == "running"
        assert set(os.listdir(run)) - inspect(run).files.keys() == {".lock", "checkpoints"}
    assert inspect(run).status.startswith("killed")
    assert ".lock" not in os.listdir(run)
    (run / ".lock").mkdir()  # cannot be opened, as a lock that somebody else owns
    assert inspect(run).status.startswith("running or killed")
    (run / ".lock").rmdir()
    with np.load(bars_file) as arrays:
        fewer = {name: array[:-10] for name, array in arrays.items()}
    np.savez(tmp_path / "fewer.npz", **fewer)
    recipe = (run / "recipe.yaml").read_text().replace(str(bars_file), str(tmp_path / "fewer.npz"))
    (run / "recipe.yaml").write_text(recipe)
    with pytest.raises(vaezoo.VaezooError, match="have changed since the run began: its images were"):
        resume(run, quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "failing",
    [
        "fsync",
        pytest.param("replace", marks=pytest.mark.slow),
        pytest.param("mkdir", marks=pytest.mark.slow),
        "vanished",
    ],
)
def test_what_a_disk_can_do(failing, run, monkeypatch, tmp_path):
    """Every kind of failure, in the third epoch: one line, the second epoch's checkpoint whole, and a way on."""

    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def vanish(*_arguments, **_keywords):
        shutil.move(run, tmp_path / "elsewhere")
        monkeypatch.setattr(Checkpoints, "write", real)
        return real(*_arguments, **_keywords)

    real = Checkpoints.write
    place = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "mkdir": (Path, "mkdir")}

    def write(self, model, state):
        if failing == "vanished":
            return vanish(self, model, state)
        with monkeypatch.context() as patch:
            patch.setattr(*place[failing], full)
            return real(self, model, state)

    monkeypatch.setattr(Checkpoints, "write", write)
    with pytest.raises(
        vaezoo.VaezooError, match=r"^cannot write '[^\n]*: (No space left on device|No such file)[^\n]*$"
    ):
        resume(run, quiet=True)
    monkeypatch.undo()
    path = tmp_path / "elsewhere" if failing == "vanished" else run
    assert not list(path.rglob(".writing*"))
    found = inspect(path)
    assert not found.broken
    assert (found.state.epoch, found.state.step) == (2, 0)


def test_a_link_is_a_copy_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("content")
    atomic.link_file(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "b").read_text() == "content"


def kill_trainings(folder, bars_file, kills, *cases):
    script = Path(__file__).parent / "kill_trainings.py"
    done = subprocess.run(
        [sys.executable, script, folder, bars_file, str(kills), *(":".join(case) for case in cases)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_sigkill(bars_file, tmp_path):
    cases = ("mlp_vae", "float32", "xla"), ("conv_vae", "mixed_bfloat16", "graph")
    report = kill_trainings(tmp_path, bars_file, 2, *cases)
    assert report["different"] == []
    assert report["kills"] >= 2
    assert report["while_writing"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])  # so that two processes share the longest of all tests
def test_every_recipe_resumes_from_what_sigkill_would_leave(half, bars_file, tmp_path):
    precisions, compilations = ("float32", "mixed_float16", "mixed_bfloat16"), ("graph", "xla")
    # These differ from beta_vae in their objectives alone, which have no weights: there is no other state to restore.
    same_state = {"capacity_vae", "dip_vae", "info_vae", "tc_vae"}
    cases = []
    for i, name in enumerate([name for name in [*recipe_names(), *VARIANTS] if name not in same_state]):
        # On a CPU, XLA is for dense networks alone: "auto" takes it for no others, and it compiles them for minutes.
        dense = load_recipe(VARIANTS.get(name, (name,))[0]).model.encoder.name == "mlp"
        cases.append((name, precisions[i % 3], compilations[i % 2] if dense else "graph"))
    report = kill_trainings(tmp_path, bars_file, 0, *cases[half::2])
    assert report["different"] == []
    assert report["kills"] >= 8  # of ten to twelve; the others ended too early
    assert report["while_writing"] >= 2


@pytest.mark.slow
def test_memory_does_not_grow(bars_file, tmp_path):
    """Resident memory over 200 epochs of a small set: after the first 50 it stays within 30 MB."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vaezoo.config import load_recipe\n"
        "from vaezoo.training.callbacks import Recorder\n"
        "real = Recorder.on_epoch_end\n"
        "def end(self, epoch, logs=None):\n"
        "    real(self, epoch, logs)\n"
        "    print(int(Path('/proc/self/statm').read_text().split()[1]) * 4096)\n"
        "Recorder.on_epoch_end = end\n"
        "from vaezoo.training import train\n"
        "train(load_recipe('mlp_vae', {'data.name': sys.argv[1], 'training.epochs': 200}), sys.argv[2], quiet=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, bars_file, tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    resident = np.array(done.stdout.split(), float) / 1e6
    assert len(resident) == 200
    slope = np.polyfit(np.arange(150), resident[50:], 1)[0]
    print(f"largest {resident.max():.0f} MB, {1000 * slope:.0f} kB an epoch after the first 50")
    assert resident[50:].max() - resident[50] < 30

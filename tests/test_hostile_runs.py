"""The small files of a run directory, as a stranger or a broken disk may leave them: one line each, at once."""

import contextlib
import json
import os
import re
import shutil
import time

import numpy as np
import pytest
from hostile import refusal, sign

import vaezoo
from vaezoo.checkpoints import Checkpoint, Checkpoints
from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.latent_space import of_run
from vaezoo.reading import read_arrays, read_table
from vaezoo.regular_files import read_text
from vaezoo.runs import Run, read_environment
from vaezoo.training import animation, inspect, resume

MANIFEST = "checkpoints/epoch-2-step-0.json"


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of a finished run of two epochs."""
    return shutil.copytree(tiny_run, tmp_path / "run")


# What each file is read by.
READERS = {
    "environment.json": lambda path: read_environment(path.parent),
    "test.json": lambda path: Run(path.parent).test,
    "metrics.csv": lambda path: read_table(path, ("epoch", "loss")),
    "recipe.yaml": load_recipe,
    "latent.npz": animation._read,
    MANIFEST: lambda path: Checkpoint(path.with_suffix(".keras")).read(),
}


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def terabytes(path):
    with open(path, "wb") as file:
        file.truncate(2**42)


SPOILT = {
    "a pipe": pipe,
    "a device": endless,
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "4 TB": terabytes,
    "nested deep": lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
    "nested keys": lambda path: path.write_text('{"a": ' * 100_000 + "1" + "}" * 100_000),
    "no text": lambda path: path.write_bytes(bytes(range(256))),
    "a list": lambda path: path.write_text("[1, 2]"),
    "null": lambda path: path.write_text("null"),
    "another file": lambda path: path.write_text('{"a": [{"b": "\\u001b[2J"}]}'),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_such_file_is_one_line_at_once(name, spoil, run):
    path = run / name
    path.unlink(missing_ok=True)
    spoil(path)
    if name == "environment.json" and spoil is SPOILT["another file"]:
        assert read_environment(run) == {}  # its entries may be those of another version
        return
    started = time.monotonic()
    with pytest.raises(VaezooError) as caught:
        READERS[name](path)
    assert time.monotonic() - started < 10
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 900


def printed(capsys, *argv):
    """The line on standard error with which a command exits 2."""
    capsys.readouterr()
    assert main(list(map(str, argv))) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize("spoil", [pipe, endless])
def test_inspect_waits_for_nothing(spoil, run, capsys):
    for name in ("environment.json", "model.keras", MANIFEST, "checkpoints/epoch-1-step-0.keras"):
        (run / name).unlink()
        spoil(run / name)
    line = printed(capsys, "inspect", run)
    for name in ("environment.json", "model.keras", MANIFEST, "checkpoints/epoch-1-step-0.keras"):
        assert f"{run / name}' is broken: " in line
        assert "it is not a regular file" in line


ENVIRONMENTS = {
    "status": (5, "unknown status '5'. Allowed: failed, finished, interrupted, training."),
    "reason": ([], "'reason' should be a valid string, not []"),
    "images": ({"train": "many", "validation": 1, "test": 1}, "'images.train' should be a valid integer, not 'many'"),
    "shape": ([8, -8, 1], "'shape[1]' should be greater than or equal to 0, not -8"),
    "class_names": ("ab", "'class_names' should be a valid"),
    "vaezoo": (1.0, "'vaezoo' should be a valid string, not 1.0"),
    "numpy": ("2" * 5000, "'numpy' String should have at most 4096 characters"),
}


@pytest.mark.parametrize("key", ENVIRONMENTS)
def test_an_entry_of_another_type_is_named(key, run, tmp_path, capsys):
    value, message = ENVIRONMENTS[key]
    path = run / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert message in printed(capsys, "inspect", run)
    for command in (["export", run, "--to", tmp_path / "out"], ["refit", run, "--prior", "mixture"]):
        line = refusal(capsys, *command)
        assert f"'{path}' is broken: " in line
        assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_millions_of_wrong_entries_are_one_error(run):
    started = time.process_time()
    (run / "environment.json").write_text('{"class_names": [' + ",".join(["1"] * 2_000_000) + "]}")
    with pytest.raises(VaezooError, match=r"'class_names.*\[0\]' should be a valid string, not 1"):
        read_environment(run)
    (run / "test.json").write_text(json.dumps(dict.fromkeys(map(str, range(10**5)), "")))
    with pytest.raises(VaezooError, match=r"it is larger than 65,536 bytes"):
        _ = Run(run).test
    checkpoint, _ = Checkpoints(run).all()
    state = json.loads(checkpoint.manifest.read_text())["state"]
    many = dict.fromkeys(map(str, range(200_000)), "")
    for hostile in ({**state, **many}, {**state, "rows": [{**state["rows"][0], **many}]}, {**state, "sums": many}):
        sign(checkpoint, hostile)
        with pytest.raises(VaezooError):
            checkpoint.read()
    assert time.process_time() - started < 10


def test_foreign_entries_and_codes_for_the_terminal(run, capsys):
    path = run / "environment.json"
    (run / "\x1b[2J\u202e").touch()
    recipe = load_recipe(run / "recipe.yaml", {"summary": "\x1b[2J ±", "data.name": "\u202egpj.x"})
    (run / "recipe.yaml").write_text(to_yaml(recipe))
    assert load_recipe(run / "recipe.yaml") == recipe
    assert main(["show", str(run / "recipe.yaml")]) == 0
    assert capsys.readouterr().out.replace("\n", "").isprintable()
    environment = {**json.loads(path.read_text()), "device": "\x1b[2J\nCPU", "foreign": [[["\x1b[2J"]]]}
    path.write_text(json.dumps(environment))
    assert main(["inspect", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "device \\x1b[2J\\nCPU" in out
    assert Run(run).environment["class_names"] == environment["class_names"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no column 'epoch'"),
        ("epoch,val_loss\n1,2\n", "it has no column 'loss'"),
        ("epoch,loss\n1,2\n2\n", "line 3 has 1 cells of 2"),
        ("epoch,loss\n1,2,3\n", "line 2 has 3 cells of 2"),
        ("epoch,loss\n1,\x1b[2J\n", "'loss' in line 2 is '\\x1b[2J', which is no number"),
        ("epoch,loss\n1," + "9" * 200_000, "field larger than field limit"),
    ],
)
def test_a_table_that_is_broken(content, message, tmp_path):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(VaezooError, match=re.escape(f"metrics.csv' is broken: {message}")):
        read_table(tmp_path / "metrics.csv", ("epoch", "loss"))


def test_test_metrics_are_numbers(run, tmp_path, capsys):
    (run / "test.json").write_text('{"loss": "12"}')
    line = refusal(capsys, "export", run, "--to", tmp_path / "out")
    assert f"'{run / 'test.json'}' is broken: 'loss' should be a valid number, not '12'" in line
    (run / "test.json").unlink()
    assert Run(run).test == {}


# Manifests whose checksum is right


def edit_row(**entries):
    return lambda state: {**state, "rows": [state["rows"][0], {**state["rows"][1], **entries}]}


STATES = {
    "a step as text": lambda state: {**state, "step": "0"},
    "a negative step": lambda state: {**state, "step": -1},
    "a huge step": lambda state: {**state, "step": 10**9},
    "a step of thousands of digits": lambda state: {**state, "step": 10**4000},
    "another epoch than its name": lambda state: {**state, "epoch": 1, "rows": state["rows"][:1]},
    "a huge epoch": lambda state: {**state, "epoch": 10**12},
    "half an epoch": lambda state: {**state, "epoch": 2.0},
    "no rows": lambda state: {**state, "rows": []},
    "a row less": lambda state: {**state, "rows": state["rows"][1:]},
    "a row more": lambda state: {**state, "rows": [*state["rows"], state["rows"][1]]},
    "rows of numbers": lambda state: {**state, "rows": [1, 2]},
    "a row of another epoch": edit_row(epoch=7),
    "a row with text": edit_row(loss="low"),
    "a row with a foreign key": edit_row(foreign=1),
    "nested rows": edit_row(loss=[[[1]]]),
    "rows without a term": lambda state: {
        **state,
        "rows": [{key: value for key, value in row.items() if key != "kl"} for row in state["rows"]],
    },
    "a foreign key": lambda state: {**state, "foreign": 1},
    "sums of text": lambda state: {**state, "sums": {"loss": "12"}},
    "negative seconds": lambda state: {**state, "seconds": -1.0},
    "seconds that are no number": lambda state: {**state, "seconds": float("nan")},
    "no state": lambda state: [],
}


@pytest.mark.parametrize("edit", STATES.values(), ids=STATES)
def test_a_hostile_state_is_passed_over_for_the_checkpoint_before_it(edit, run):
    checkpoint, before = Checkpoints(run).all()
    sign(checkpoint, edit(json.loads(checkpoint.manifest.read_text())["state"]))
    warned = []
    found, state = Checkpoints(run).newest(warned.append, load_recipe(run / "recipe.yaml").model.objective.shown)
    assert found == before
    assert (state.epoch, len(state.rows)) == (1, 1)
    (line,) = warned
    assert line.startswith(f"'{checkpoint.manifest}' is broken: ")
    assert line.endswith("; using the checkpoint before it")
    assert line.isprintable()
    assert line.split(";")[0][2:] in inspect(run).broken[0]


@pytest.mark.parametrize("claim", [{"bytes": 2**42}, {"bytes": -1}, {"bytes": "1"}, {"sha256": 5}, {"foreign": 1}])
def test_a_hostile_claim_about_the_model_is_passed_over(claim, run):
    checkpoint, before = Checkpoints(run).all()
    sign(checkpoint, file=claim)
    warned = []
    assert Checkpoints(run).newest(warned.append)[0] == before
    assert len(warned) == 1


def test_names_that_are_no_checkpoints(run):
    for name in ("epoch-x-step-y", "epoch-1", "epoch-1-step-2-step-3", "epoch-١-step-٢", "other"):
        (run / f"checkpoints/{name}.json").write_text("{}")
    assert len(Checkpoints(run).all()) == 2


@pytest.mark.parametrize(
    ("step", "sums"), [(10**9, {}), (10, {}), (5, {}), (5, {"foreign": [1.0, 1.0]}), (5, {"loss": [1.0]})]
)
def test_a_state_that_the_training_cannot_have_is_one_line(step, sums, run, capsys):
    checkpoint, _ = Checkpoints(run).all()
    state = json.loads(checkpoint.manifest.read_text())["state"]
    other = Checkpoint(run / f"checkpoints/epoch-2-step-{step}.keras")
    shutil.copy(checkpoint.model, other.model)
    shutil.copy(checkpoint.manifest, other.manifest)
    sign(other, {**state, "step": step, "sums": sums})
    line = printed(capsys, "train", "--resume", run, "--epochs", "3")
    assert f"'{other.manifest}' is broken: its step is {step:,} of 10 in an epoch" in line


def test_a_training_goes_on_without_its_environment(run, capsys):
    (run / "environment.json").write_text('{"status": 5}')
    resumed = resume(run)
    assert "it is written anew, and nobody can tell whether the data have changed" in capsys.readouterr().err
    assert Run(run).environment["status"] == "finished"
    assert resumed.test


@pytest.mark.slow
def test_rows_have_equal_keys_when_a_resumed_training_begins_to_skip_steps(run):
    resume(run, epochs=3, changes={"training.on_nonfinite": "skip"}, quiet=True)
    assert [row["skipped"] for row in read_table(run / "metrics.csv")] == [0, 0, 0]
    resume(run, epochs=4, changes={"training.on_nonfinite": "stop"}, quiet=True)
    assert [row["skipped"] for row in read_table(run / "metrics.csv")] == [0, 0, 0, 0]
    assert not inspect(run).broken


# The arrays that are kept beside a run


@pytest.mark.parametrize(
    "arrays",
    [
        {"codes": np.zeros((2, 5, 3), "f4")},
        {"codes": np.zeros((2, 5), "f4"), "epochs": np.arange(2)},
        {"codes": np.zeros((2, 5, 3), "f4"), "epochs": np.arange(3)},
        {"codes": np.zeros((0, 5, 3), "f4"), "epochs": np.arange(0)},
        {"codes": np.full((2, 5, 3), "a"), "epochs": np.arange(2)},
        {"codes": np.zeros((2, 5, 3), "f4"), "epochs": np.arange(2), "labels": np.zeros(4, int)},
        {"codes": np.array([{}]), "epochs": np.arange(2)},
    ],
)
def test_an_animation_of_other_arrays(arrays, run):
    np.savez(run / "latent.npz", **arrays)
    with pytest.raises(VaezooError, match=r"latent.npz' is broken: "):
        animation._read(run / "latent.npz")


@pytest.mark.parametrize("arrays", [{}, {"codes": np.zeros((2, 5, 3), "f4"), "epochs": np.arange(2)}])
def test_a_broken_animation_ends_a_resumed_training_before_it_changes_anything(arrays, run, capsys):
    np.savez(run / "latent.npz", **arrays)
    assert main(["train", "--resume", str(run), "--epochs", "3"]) == 2
    assert f"vaezoo: '{run / 'latent.npz'}' " in capsys.readouterr().err.splitlines()[-1]
    assert not inspect(run).broken
    assert inspect(run).status == "finished"


def test_arrays_that_unpack_to_more_than_is_held(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", zeros=np.zeros(10**7))
    with pytest.raises(VaezooError, match=r"zeros\.npz' is broken: it unpacks to more than 1,000,000 bytes"):
        read_arrays(tmp_path / "zeros.npz", 10**6)


@pytest.mark.parametrize("spoil", [pipe, endless, SPOILT["nested deep"], SPOILT["a folder"]])
def test_a_broken_cache_is_made_again(spoil, run):
    spoil(run / of_run.CACHE)
    assert of_run._read_cache(Run(run)) == {}


def test_a_file_that_is_larger_is_not_read(tmp_path):
    (tmp_path / "text").write_text("a" * 101)
    with pytest.raises(VaezooError, match="it is larger than 100 bytes"):
        read_text(tmp_path / "text", 100)
    (tmp_path / "link").symlink_to("text")
    assert read_text(tmp_path / "link", 101) == "a" * 101
    with contextlib.suppress(OSError):
        (tmp_path / "text").chmod(0)
        if not os.access(tmp_path / "text", os.R_OK):
            with pytest.raises(VaezooError, match="is broken: Permission denied"):
                read_text(tmp_path / "text")


def test_a_pipe_is_no_model(run):
    (run / "model.keras").unlink()
    pipe(run / "model.keras")
    with pytest.raises(VaezooError, match=r"there is no model.keras in it"):
        vaezoo.load(run)

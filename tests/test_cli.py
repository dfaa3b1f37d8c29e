"""The command line, as a person types it."""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from vaezoo import recipe_files
from vaezoo.cli import main
from vaezoo.cli.main import with_flags
from vaezoo.config import load_recipe, to_yaml
from vaezoo.runs import Run
from vaezoo.sections import Part
from vaezoo.tables import aligned


def refused(capsys, *arguments):
    """Run a command that must be refused: exit code 2 and one line, which is returned."""
    assert main([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("vaezoo: ")
    return lines[0]


def test_list_shows_every_recipe_with_its_size(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert any(re.match(r"conv_vae +2,252,404  Convolutional VAE", line) for line in lines)


def test_list_by_pattern(capsys):
    assert main(["list", "conv*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["conv_vae"]
    assert "no recipe matches 'gan*'" in refused(capsys, "list", "gan*")


def test_list_takes_a_recipe_that_does_not_state_its_size(capsys, monkeypatch, tmp_path):
    recipe = load_recipe("mlp_vae")
    (tmp_path / "new.yaml").write_text(to_yaml(recipe.model_copy(update={"name": "new", "parameters": None})))
    monkeypatch.setattr(recipe_files, "recipe_folder", lambda: tmp_path)
    assert main(["list"]) == 0
    assert capsys.readouterr().out.startswith("new ")


def test_list_shows_every_part_with_its_keywords(capsys):
    assert main(["list", "--parts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for kind in Part.__subclasses__():
        shown = lines[lines.index(kind.kind) :]
        for name, section in kind.parts.items():
            start = next(number for number, line in enumerate(shown) if line.split()[:1] == [name])
            for offset, keyword in enumerate(section.keyword_names(), start=1):
                assert shown[start + offset].split()[0] == keyword
    assert re.search(r"components = 500 +K, how many pseudo-inputs; from 1 to 65,536", "\n".join(lines))


def test_show_prints_a_recipe_that_can_be_trained(capsys, tmp_path):
    assert main(["show", "beta_vae", "--set", "model.latent_dim=3"]) == 0
    text = capsys.readouterr().out
    assert "Higgins" in text
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["show", str(tmp_path / "mine.yaml")]) == 0
    assert capsys.readouterr().out == text


def test_train_and_its_output(tiny_recipe, bars_file, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", str(tiny_recipe), "--data", str(bars_file), "--epochs", "3", "--out", str(out)]) == 0
    error = capsys.readouterr().err
    assert re.search(r"epoch 3/3  elbo -\d+\.\d+  reconstruction \d+\.\d+  kl \d+\.\d+   validation elbo -", error)
    assert "test metrics" in error
    assert keras.models.load_model(out / "model.keras").latent_dim == 3


@pytest.mark.slow
def test_vectors_leave_curves_but_no_pictures_of_images(tiny_recipe, tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(200, 8)).astype("float32"))
    command = ["train", tiny_recipe, "--data", tmp_path / "vectors.npy", "--epochs", "1", "--out", tmp_path / "run"]
    assert main([*map(str, command), "--set", "model.likelihood=normal", "--set", "data.binarize=none"]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model.keras", "encoder.keras", "decoder.keras", "curves.png"} < names
    assert not names & {"reconstructions.png", "samples.png"}


def test_a_path_is_literal(tiny_recipe, bars_file, tmp_path):
    odd = tmp_path / "a: [b] #c"  # YAML would read something else
    odd.mkdir()
    shutil.copy(bars_file, odd / "bars.npz")
    command = ["train", tiny_recipe, "--data", odd / "bars.npz", "--epochs", "1", "--out", tmp_path / "run"]
    assert main([str(argument) for argument in command]) == 0
    assert Run(tmp_path / "run").data.name == str(odd / "bars.npz")


@pytest.mark.slow
def test_a_run_is_never_overwritten(tiny_recipe, bars_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", tiny_recipe, "--data", bars_file, "--epochs", "1"]
    for _ in range(2):  # without --out, a free name is found
        assert main([str(argument) for argument in command]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tiny", "tiny-2"]
    before = (tmp_path / "runs/tiny/model.keras").read_bytes()
    capsys.readouterr()
    assert "already holds a run" in refused(capsys, *command, "--out", "runs/tiny")
    assert (tmp_path / "runs/tiny/model.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "convvae"], ["unknown model 'convvae'", "'conv_vae'"]),
        (["train", "conv_vae", "--precision", "float61"], ["unknown training.precision 'float61'", "'float32'"]),
        (["train", "conv_vae", "--epochs", "lots"], ["'training.epochs'", "'lots'"]),
        (["train", "conv_vae", "--set", "model.likelihood=bernouli"], ["'bernouli'", "'bernoulli'"]),
        (["train", "conv_vae", "--set", "latent_dim"], ["cannot set 'latent_dim'"]),
        (["show", "nowhere.yaml"], ["no recipe file"]),
        (["train"], ["give a model to train", "--resume DIR"]),
        (["train", "mlp_vae", "--resume", "runs/a"], ["continues with the recipe of the run", "leave out a model"]),
        (["train", "--resume", "runs/a", "--image-size", "8", "8"], ["leave out --image-size"]),
        (["train", "mlp_vae", "--checkpoint-every", "10"], ["not a duration", "10min"]),
        (["train", "--resume", "nowhere"], ["'nowhere' holds no run"]),
        (["train", "--resume", "nowhere", "--set", "model.latent_dim=3"], ["'model.latent_dim' cannot change"]),
        (["inspect", "nowhere"], ["'nowhere' holds no run"]),
    ],
)
def test_bad_words_on_the_command_line(arguments, words, capsys):
    line = refused(capsys, *arguments)
    for word in words:
        assert word in line


def test_data_and_recipe_that_do_not_fit(tiny_recipe, bars_file, tmp_path, capsys):
    out = tmp_path / "run"
    train = ["train", tiny_recipe, "--data", bars_file, "--out", out, "--set"]
    assert "'categorical' is for sequences, not for images" in refused(capsys, *train, "model.likelihood=categorical")
    assert not out.exists()


def test_grey_levels_under_bernoulli_are_refused(tiny_recipe, tmp_path, capsys):
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(0, 256, (200, 8, 8)).astype("uint8"))
    command = ["train", tiny_recipe, "--data", tmp_path / "grey.npy", "--out", tmp_path / "run"]
    assert "data.binarize=dynamic" in refused(capsys, *command, "--set", "data.binarize=none")
    assert not (tmp_path / "run").exists()


def test_a_message_of_the_library_names_the_flags_of_the_command():
    arguments = argparse.Namespace(image_label=None, span=3.0, n=None)
    message = "image_label=, span= and n= are flags; other= is none, nor are label=7 and data.n=3"
    expected = "--image-label, --range and -n are flags; other= is none, nor are label=7 and data.n=3"
    assert with_flags(message, arguments) == expected


def test_columns_are_aligned():
    rows = [("name", "size", "text"), ("a", "1,000", "longer than the heading"), ("longer", "1", "")]
    assert aligned(rows, right=[1]).splitlines() == [
        "name     size  text",
        "a       1,000  longer than the heading",
        "longer      1",
    ]


def test_a_conditional_model_needs_labels(tiny_recipe, tmp_path, capsys):
    np.save(tmp_path / "plain.npy", np.zeros((200, 8, 8), "uint8"))
    command = ["train", tiny_recipe, "--data", tmp_path / "plain.npy", "--out", tmp_path / "run"]
    assert "have no labels" in refused(capsys, *command, "--set", "model.conditional=true")


@pytest.mark.slow
def test_a_density_on_binarized_images_is_warned_of(tiny_recipe, bars_file, tmp_path, capsys):
    command = ["train", tiny_recipe, "--data", bars_file, "--epochs", "1", "--out", tmp_path / "run"]
    assert main([*map(str, command), "--set", "model.likelihood=normal"]) == 0
    assert "warning: the likelihood 'normal' describes grey levels" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tiny_recipe, bars_file, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    line = refused(capsys, "train", tiny_recipe, "--data", bars_file, "--out", tmp_path / "file" / "run")
    assert "cannot write" in line
    assert (tmp_path / "file").read_text() == "in the way"


COMMAND = [sys.executable, "-m", "vaezoo", "train"]


@pytest.mark.slow
def test_a_full_disk(tiny_recipe, bars_file, tmp_path):
    def small_files():  # no file may pass 20 kB: writing the model fails as it does on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "run"
    done = subprocess.run(
        [*COMMAND, tiny_recipe, "--data", bars_file, "--out", out],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"vaezoo: cannot write '{out / 'checkpoints/epoch-1-step-0.keras'}': File too large")
    assert not out.exists()


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_finished_epoch(tiny_recipe, bars_file, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, tiny_recipe, "--data", bars_file, "--epochs", "100000", "--out", out],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        for line in process.stderr:
            if line.startswith("epoch") and "3/100000" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    kept = re.search(
        r"interrupted; epoch (\d+) of 100000 is kept in (\S+); resume it with `vaezoo train --resume", rest
    )
    assert kept[2] == str(out / "model.keras")
    model = keras.models.load_model(out / "model.keras")
    assert int(model.optimizer.iterations) == int(kept[1]) * 10
    assert "Traceback" not in rest
    assert (out / "decoder.keras").exists()
    assert not list(out.glob(".writing*"))

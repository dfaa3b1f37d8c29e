"""The README is true: its commands parse, its Python runs, its pictures exist."""

import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest

from vaezoo.cli.main import build_parser
from vaezoo.config import load_recipe
from vaezoo.training import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^(?: {4}.*)?\n)+", README, re.MULTILINE) if block.strip()]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("vaezoo ")]
PYTHON = [block for block in BLOCKS if re.match(r"(import|from) ", block.strip()) and "http" not in block]


def test_there_are_examples_to_check():
    assert len(COMMANDS) > 10
    assert len(PYTHON) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_parses(command):
    build_parser().parse_args(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_a_picture_of_the_readme_exists(picture):
    assert (ROOT / picture).is_file()


@pytest.mark.parametrize("link", re.findall(r"(?<!!)\[.*?\]\((?!http)(.*?)\)", README))
def test_a_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tiny_recipe, bars_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(load_recipe(tiny_recipe, {"data.name": str(bars_file)}), tmp_path / "runs" / "a", quiet=True)
    (tmp_path / "runs" / "conv_vae").symlink_to(run.path)
    with np.load(bars_file) as bars:
        images, labels = (bars["x_test"] > 127).astype("float32"), bars["y_test"]
    x_train = np.zeros((256, 28, 28, 1), "float32")
    z = np.zeros((2, 3), "float32")
    for block in PYTHON:
        names = {"x": images, "images": images, "labels": labels, "x_train": x_train, "z": z}
        exec(compile(block, "README.md", "exec"), names)

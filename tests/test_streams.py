"""Standard output and error that are full, closed, or of an encoding with few characters."""

import os
import subprocess
import sys

import pytest

from vaezoo.training import inspect

VAEZOO = [sys.executable, "-m", "vaezoo"]
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@needs_full
def test_a_full_standard_output_is_one_line_and_no_success():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*VAEZOO, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "vaezoo: cannot write to standard output: No space left on device\n")


def test_a_closed_standard_output_is_no_success():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*VAEZOO, "list"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("gone", ["closed", pytest.param("full", marks=needs_full)])
@pytest.mark.slow
def test_a_training_ends_without_a_reader_of_what_it_says(gone, tiny_recipe, bars_file, tmp_path):
    command = [*VAEZOO, "train", tiny_recipe, "--data", bars_file, "--out", tmp_path / "run"]
    if gone == "full":
        with open("/dev/full", "w") as full:
            assert subprocess.run(command, stdout=full, stderr=full).returncode == 0
    else:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            process.stdout.readline()
            process.stdout.close()  # as `| head -1`
            assert process.wait() == 0
    assert inspect(tmp_path / "run").status == "finished"


@pytest.mark.slow
def test_an_encoding_of_few_characters_is_no_error(tiny_run, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*VAEZOO, "evaluate", tiny_run, "--importance-samples", "2", "--out", tmp_path / "evaluation"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout.decode("ascii")  # for the sign ± of a standard error

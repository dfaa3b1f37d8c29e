"""Folders with one writer at a time: locks between processes, on every operating system."""

import os
import subprocess
import sys

import filelock
import pytest

from vaezoo.atomic import LOCK, has_writer, only_writer
from vaezoo.errors import VaezooError

WRITER = """
import sys
from pathlib import Path
from vaezoo.atomic import only_writer
with only_writer(Path(sys.argv[1]), "taken"):
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that writes in the folder "run" until it reads a line."""
    command = [sys.executable, "-c", WRITER, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def enter(folder):
    with only_writer(folder, "taken"):
        pass


def test_another_process_is_refused_until_the_first_one_ends(writer, tmp_path):
    folder = tmp_path / "run"
    assert has_writer(folder) is True
    with pytest.raises(VaezooError, match=r"^taken$"):
        enter(folder)
    (folder / "result").write_text("")
    writer.communicate("end\n")
    assert writer.returncode == 0
    assert has_writer(folder) is False
    assert os.listdir(folder) == ["result"]
    enter(folder)
    assert os.listdir(folder) == ["result"]


def test_a_killed_process_leaves_no_lock(writer, tmp_path):
    folder = tmp_path / "run"
    writer.kill()
    writer.wait()
    assert os.listdir(folder) == [LOCK]  # a file, and nobody holds the lock on it
    assert has_writer(folder) is False
    enter(folder)
    assert os.listdir(folder) == []


def test_asking_makes_no_file(tmp_path):
    assert has_writer(tmp_path) is False
    assert has_writer(tmp_path / "missing") is False
    assert os.listdir(tmp_path) == []


def test_a_lock_that_cannot_be_opened_is_unknown(tmp_path, monkeypatch):
    (tmp_path / LOCK).touch()

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert has_writer(tmp_path) is None
    with pytest.raises(VaezooError, match=r"cannot write '.*': read-only"):
        enter(tmp_path)


def test_folders_that_were_made_and_stay_empty_are_removed(tmp_path):
    (tmp_path / "kept").mkdir()
    enter(tmp_path / "kept" / "a" / "b")
    assert os.listdir(tmp_path / "kept") == []
    enter(tmp_path / "kept")
    assert os.listdir(tmp_path) == ["kept"]
    with pytest.raises(KeyboardInterrupt), only_writer(tmp_path / "kept" / "a", "taken"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "kept") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for rights to make links")
def test_no_file_is_made_or_locked_through_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaezooError, match="cannot write"):
        enter(tmp_path / "run")
    assert not (tmp_path / "elsewhere").exists()

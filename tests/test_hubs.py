"""Presets on Hugging Face and Kaggle: a stand-in of the first, a false package in place of the second's."""

import importlib.machinery
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hostile import refusal
from hub_stand_in import stand_in

import vaezoo
from vaezoo import hubs
from vaezoo.errors import VaezooError
from vaezoo.presets import FILES, Preset, open_run
from vaezoo.publishing import make_preset


@pytest.fixture(scope="module")
def made(tiny_run, tmp_path_factory):
    return make_preset(tiny_run, tmp_path_factory.mktemp("presets") / "tiny")


# Hugging Face, in processes of their own: the package reads its settings when it is imported


@pytest.fixture
def hub(tmp_path):
    pytest.importorskip("huggingface_hub")
    with stand_in() as server:
        server.environment = {
            **os.environ, "HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_none",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        server.environment.pop("HF_HUB_OFFLINE", None)
        yield server


def command(hub, folder, *arguments):
    """Run `vaezoo` in a folder with that hub; returns the result of the process."""
    return subprocess.run(
        [sys.executable, "-m", "vaezoo", *map(str, arguments)],
        cwd=folder, env=hub.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_that_is_pushed_can_be_used_by_its_address(hub, tiny_run, tmp_path):
    pushed = command(hub, tmp_path, "push", tiny_run, "hf://user/bars")
    assert pushed.returncode == 0, pushed.stderr
    assert sorted(hub.repositories["user/bars"]) == sorted(FILES)
    hub.repositories["user/bars"]["evil.py"] = b"raise SystemExit"
    sampled = command(hub, tmp_path, "sample", "hf://user/bars", "-n", "4")
    assert sampled.returncode == 0, sampled.stderr
    assert (tmp_path / "runs" / "user-bars" / "pictures" / "sample.png").is_file()
    assert not any("evil" in request for request in hub.requests)
    arrays = np.load(tmp_path / "runs" / "user-bars" / "pictures" / "sample.npz")
    ours = np.asarray(vaezoo.load(tiny_run).sample(4))
    assert any(arrays[name].shape == ours.shape and np.allclose(arrays[name], ours, atol=2e-3) for name in arrays)


@pytest.mark.slow
def test_what_was_downloaded_serves_without_the_hub(hub, made, tmp_path):
    hub.repositories["user/bars"] = {name: (made.folder / name).read_bytes() for name in FILES}
    assert command(hub, tmp_path, "sample", "hf://user/bars", "-n", "4").returncode == 0
    del hub.repositories["user/bars"]
    gone = command(hub, tmp_path, "sample", "hf://user/other", "-n", "4")
    assert gone.returncode == 2
    assert gone.stderr.startswith("vaezoo: cannot download 'hf://user/other': there is none, or you may not read it")
    assert gone.stderr.count("\n") == 1
    hub.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # the discard port: nothing listens
    assert command(hub, tmp_path, "sample", "hf://user/bars", "-n", "4").returncode == 0
    refused = command(hub, tmp_path, "sample", "hf://user/other", "-n", "4")
    assert refused.returncode == 2
    assert "cannot be reached" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_repository_of_something_else_is_refused(hub, tmp_path):
    hub.repositories["user/bars"] = {"config.json": b"{}", "model.safetensors": b"x"}
    refused = command(hub, tmp_path, "sample", "hf://user/bars")
    assert refused.returncode == 2
    assert "holds no preset: there is no metadata.json in it" in refused.stderr
    assert not any("safetensors" in request for request in hub.requests)


# Kaggle


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A false kagglehub: handle → the folder that was uploaded."""
    store = tmp_path / "kaggle"

    def model_upload(handle, local_model_dir, ignore_patterns=()):
        shutil.copytree(local_model_dir, store / handle, ignore=shutil.ignore_patterns(*ignore_patterns))

    def model_download(handle):
        if not (store / handle).is_dir():
            raise type("NotFoundError", (Exception,), {})("404 Client Error.\n\nResource not found")
        return str(store / handle)

    false = types.ModuleType("kagglehub")
    false.__spec__ = importlib.machinery.ModuleSpec("kagglehub", None)
    false.model_upload, false.model_download = model_upload, model_download
    monkeypatch.setitem(sys.modules, "kagglehub", false)
    return store


@pytest.mark.slow
def test_a_preset_goes_to_kaggle_and_comes_back(kaggle, made, tmp_path):
    address = "kaggle://user/bars/keras/tiny"
    more = Path(shutil.copytree(made.folder, tmp_path / "more"))
    (more / "notes.txt").write_text("mine")
    vaezoo.push(more, address)
    assert sorted(path.name for path in (kaggle / "user/bars/keras/tiny").iterdir()) == sorted(FILES)
    back = open_run(address)
    assert isinstance(back, Preset)
    assert back.path == Path("runs/user-bars-keras-tiny")
    np.testing.assert_array_equal(back.model.sample(2), made.model.sample(2))
    with pytest.raises(VaezooError, match="there is none, or you may not read it"):
        vaezoo.load("kaggle://user/other/keras/tiny")


# Addresses


@pytest.mark.parametrize("address", ["hf://user", "hf://a/b/c", "hf:///b", "kaggle://user/model", "s3://a/b"])
def test_an_address_of_another_form_is_refused(address, made, capsys):
    assert "hf://USER/MODEL" in (line := refusal(capsys, "push", made.folder, address)) or "kaggle://USER" in line


def test_a_missing_package_is_named(made, monkeypatch, capsys):
    monkeypatch.setattr(hubs.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'vaezoo[hub]'" in refusal(capsys, "push", made.folder, "hf://user/model")
    assert "pip install 'vaezoo[hub]'" in refusal(capsys, "sample", "kaggle://user/model/keras/a")

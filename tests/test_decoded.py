"""The cache of decoded images: what is read from it, when it is made again, and what happens without it."""

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from vaezoo.config import load_recipe
from vaezoo.data import decoded, load_data
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.errors import VaezooError
from vaezoo.evaluation import evaluate
from vaezoo.runs import Run
from vaezoo.training import resume, train


@pytest.fixture
def folder(tmp_path):
    """30 images of noise in two classes, and one that is broken below its header."""
    rng = np.random.default_rng(0)
    for n in range(30):
        path = tmp_path / "images" / "ab"[n % 2] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 10, 3), "uint8")).save(path)
    broken = tmp_path / "images" / "a" / "bad.png"
    broken.write_bytes(path.read_bytes()[:150])
    return tmp_path / "images"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def arrays(cache):
    return sorted(path.name for path in cache.glob("*.npy"))


def same(one, other):
    """Whether two sets hold the same examples in the same order."""
    assert (one.spec, one.class_names, one.notes, one.skipped) == (
        other.spec,
        other.class_names,
        other.notes,
        other.skipped,
    )
    for split in ("train", "validation", "test"):
        for mine, theirs in zip(getattr(one, split).first(), getattr(other, split).first(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    return True


def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("an image file was opened")

    monkeypatch.setattr(decoded, "read_header", refuse)
    monkeypatch.setattr(decoded, "read_image", refuse)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2**31, 100], ids=["held", "streamed"])
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_the_second_time_no_image_is_opened(size, limit, folder, cache, monkeypatch):
    options = {"image_size": size, "memory_limit": limit}
    plain = load_data(folder, image_size=size)
    first = load_data(folder, cache=cache, **options)
    assert same(plain, first)
    assert plain.skipped == (("a/bad.png", "unreadable"),)
    no_decoding(monkeypatch)
    second = load_data(folder, cache=cache, **options)
    assert isinstance(second.train, ArraySplit if limit > 100 else ReaderSplit)
    assert same(plain, second)
    passes = [data.train.training_batches(5, 4, labels=True).take(8) for data in (plain, second)]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
        np.testing.assert_array_equal(one["label"], other["label"])


def test_the_cache_is_an_array_of_what_can_be_used(folder, cache):
    load_data(folder, cache=cache)
    (name,) = arrays(cache)
    array = np.load(cache / name)
    assert (array.shape, array.dtype) == ((30, 8, 10, 3), np.uint8)
    about = json.loads((cache / name).with_suffix(".json").read_text())
    assert about["folder"] == str(folder)
    assert about["skipped"] == {"a/bad.png": "unreadable"}


def test_what_the_data_decided_is_remembered(tmp_path, cache, monkeypatch):
    (tmp_path / "mixed").mkdir()
    for n in range(12):
        Image.new("L", (70 + n, 80), 20 * n).save(tmp_path / "mixed" / f"{n}.png")
    first = load_data(tmp_path / "mixed", cache=cache)
    no_decoding(monkeypatch)
    second = load_data(tmp_path / "mixed", cache=cache)
    assert second.image_size == first.image_size == (64, 64)
    assert second.notes == first.notes
    assert "differ in size" in second.notes[0]


def changed_file(folder):
    Image.new("RGB", (10, 8), "red").save(folder / "a" / "00.png")


def touched_file(folder):
    os.utime(folder / "a" / "00.png", ns=(1, 1))


def renamed_file(folder):
    (folder / "a" / "00.png").rename(folder / "a" / "99.png")


def removed_file(folder):
    (folder / "a" / "00.png").unlink()


def added_file(folder):
    shutil.copy(folder / "a" / "00.png", folder / "a" / "98.png")


@pytest.mark.parametrize("change", [changed_file, touched_file, renamed_file, removed_file, added_file])
def test_a_folder_that_has_changed_is_read_again(change, folder, cache):
    load_data(folder, cache=cache)
    before = arrays(cache)
    change(folder)
    assert same(load_data(folder, cache=cache), load_data(folder))
    assert len(arrays(cache)) == 1  # the old one can never be read again
    assert arrays(cache) != before
    assert len(list(cache.glob("*.json"))) == 1


def test_each_preparation_and_folder_has_its_cache(folder, cache, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    for options in ({}, {"image_size": 8}, {"image_size": 8, "crop": "pad"}, {"background": "black"}):
        assert same(load_data(folder, cache=cache, **options), load_data(folder, **options))
    load_data(tmp_path / "copy", cache=cache)
    assert len(arrays(cache)) == 5
    (tmp_path / "link").symlink_to(folder)
    load_data(tmp_path / "link", cache=cache)  # the same folder
    assert len(arrays(cache)) == 5


def test_other_labels_need_no_decoding(folder, cache, monkeypatch):
    load_data(folder, cache=cache)
    files = [f"{path.parent.name}/{path.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "labels.csv").write_text("\n".join(["file,label", *(f"{file},{file[2]}" for file in files)]))
    no_decoding(monkeypatch)
    assert load_data(folder, cache=cache).class_names == ("0", "1", "2")


def cut(path):
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: cut(path),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").unlink(),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text("[]"),
        lambda path: np.save(path, np.zeros((30, 8, 10, 3))),
    ],
    ids=["cut", "no array", "no description", "broken description", "another description", "another type"],
)
def test_a_cache_that_is_not_complete_is_made_again(spoil, folder, cache):
    plain = load_data(folder, cache=cache)
    (name,) = arrays(cache)
    spoil(cache / name)
    assert same(load_data(folder, cache=cache), plain)
    assert np.load(cache / name).shape == (30, 8, 10, 3)


# Without a cache


def full_disk(monkeypatch, cache):
    write_file = decoded.write_file

    def full(path, writer):
        def write(temporary):
            writer(temporary)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return write_file(path, write)

    monkeypatch.setattr(decoded, "write_file", full)


def little_space(monkeypatch, cache):
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 900, 100))


def no_folder(monkeypatch, cache):
    cache.write_text("a file, where the folder would be")


@pytest.mark.parametrize("limit", [2**31, 100], ids=["held", "streamed"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (full_disk, "No space left on device"),
        (little_space, "No space left on device"),
        (no_folder, "File exists"),
    ],
)
def test_a_cache_that_cannot_be_written_is_done_without(spoil, reason, limit, folder, cache, monkeypatch):
    (folder / "a" / "bad.png").unlink()  # a streamed one would be found only when it is read
    plain = load_data(folder)
    spoil(monkeypatch, cache)
    data = load_data(folder, cache=cache, memory_limit=limit)
    assert data.notes == (f"the decoded images are not kept in '{cache}': {reason}",)
    assert isinstance(data.train, ArraySplit if limit > 100 else ReaderSplit)
    np.testing.assert_array_equal(data.train.first()[0], plain.train.first()[0])
    if cache.is_dir():
        assert arrays(cache) == []
        assert not list(cache.glob(".writing*"))


def test_a_cache_that_is_deleted_while_it_is_read(folder, cache):
    (folder / "a" / "bad.png").unlink()
    data = load_data(folder, cache=cache, memory_limit=100)
    batches = iter(data.train.training_batches(5, 4))
    next(batches)
    shutil.rmtree(cache)
    np.testing.assert_array_equal(data.train.first()[0], load_data(folder).train.first()[0])
    next(batches)


def test_two_processes_decode_once(folder, cache):
    code = (
        "import sys; from vaezoo.data import decoded, load_data; real = decoded._decode\n"
        "def spy(*given):\n    print('decoded', flush=True)\n    return real(*given)\n"
        "decoded._decode = spy; print(len(load_data(sys.argv[1], cache=sys.argv[2], validation=0).train))"
    )
    command = [sys.executable, "-c", code, folder, cache]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0].split() for process in processes]
    assert sorted(printed, key=len) == [["27"], ["decoded", "27"]]


def test_a_bar_only_on_a_terminal_and_not_when_quiet(folder, capsys, monkeypatch):
    load_data(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    load_data(folder, quiet=True)
    assert capsys.readouterr().err == ""
    load_data(folder)
    assert "decoding images" in capsys.readouterr().err


# Runs


@pytest.fixture
def recipe(tiny_recipe, folder):
    settings = {"data.name": str(folder), "data.binarize": "auto", "model.likelihood": "normal"}
    return load_recipe(tiny_recipe, settings | {"training.batch_size": 5, "training.epochs": 2})


@pytest.mark.slow
def test_a_run_resumes_and_is_evaluated_after_the_cache_was_deleted(recipe, tmp_path):
    def trained(name, **settings):
        training = recipe.training.model_copy(update={"schedule": "constant", **settings})
        return train(recipe.model_copy(update={"training": training}), tmp_path / "runs" / name, quiet=True).path

    whole, run = trained("whole", epochs=2), trained("half", epochs=1)
    cache = tmp_path / "runs" / ".vaezoo_cache"
    assert len(arrays(cache)) == 1  # two runs, one cache
    shutil.rmtree(cache)
    resume(run, epochs=2, quiet=True)
    assert len(arrays(cache)) == 1
    for one, other in zip(Run(run).model.get_weights(), Run(whole).model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    shutil.rmtree(cache)
    report, _ = evaluate(Run(run), samples=2)
    assert report["examples"] == 3
    assert len(arrays(cache)) == 1


@pytest.mark.slow
def test_what_was_skipped_stands_in_the_run_and_is_said_first(recipe, tmp_path, capsys):
    run = train(recipe, tmp_path / "runs" / "a").path
    assert (run / "skipped.txt").read_text() == "a/bad.png: unreadable\n"
    lines = capsys.readouterr().err.splitlines()
    assert lines[2:5] == [
        "data: binarize=none",
        "1 of 31 images are skipped: 1 unreadable ('a/bad.png')",
        "skipped.txt names them all",
    ]
    written = load_recipe(run / "recipe.yaml").data
    assert (written.binarize, written.image_size, written.crop) == ("none", None, "center")
    os.remove(recipe.data.name + "/a/bad.png")
    assert not (train(recipe, tmp_path / "runs" / "b", quiet=True).path / "skipped.txt").exists()


@pytest.mark.slow
def test_a_folder_that_changed_since_is_refused_at_a_resume(recipe, tmp_path):
    run = train(recipe, tmp_path / "runs" / "a", quiet=True).path
    for n in range(40, 60):
        Image.new("RGB", (10, 8), (n, 0, 0)).save(f"{recipe.data.name}/a/{n}.png")
    with pytest.raises(VaezooError, match="have changed since the run began"):
        resume(run, epochs=3, quiet=True)

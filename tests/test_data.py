"""Splits and the ways to fill them: what is trained on, in which order, and what is refused."""

import itertools
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from vaezoo.data import BINARIZATIONS, binarize, canonical_name, load_data, records
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.items import load_items
from vaezoo.data.preparation import Preparation
from vaezoo.data.records import RecordSplit
from vaezoo.errors import VaezooError
from vaezoo.spec import Spec

SMALL = Spec("image", (4, 4, 1), classes=7)


def images_split(images):
    """A split in memory of images without labels."""
    return ArraySplit(images, Spec("image", images.shape[1:]))


def numbered(count, shape=(4, 4, 1)):
    """Images that can be told apart: each is filled with its number."""
    return np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1) + np.zeros(shape, "uint8")


def numbers(images):
    """The numbers of `numbered` images."""
    return np.rint(np.asarray(images)[:, 0, 0, 0] * 255).astype(int).tolist()


def epochs(split, batch_size, steps, count, first_epoch=0, **options):
    """The numbers seen in each of some epochs: [count][steps][batch_size]."""
    batches = split.training_batches(batch_size, steps, first_epoch=first_epoch, **options)
    seen = [numbers(batch["x"]) for batch in batches.take(count * steps)]
    return [seen[i : i + steps] for i in range(0, len(seen), steps)]


def in_memory(count=60):
    return ArraySplit(numbered(count), SMALL, np.arange(count) % 7)


def on_disk(count=60):
    images = numbered(count)
    return ReaderSplit(lambda i: images[i], np.arange(count), SMALL, "uint8", np.arange(count) % 7)


def flat(nested):
    return list(itertools.chain.from_iterable(nested))


@pytest.fixture(scope="session")
def record_set(tmp_path_factory):
    """A prepared tfds image set of numbered images in several files: (builder, folder)."""
    import tensorflow_datasets as tfds

    class Numbered(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image, label = tfds.features.Image(shape=(4, 4, 1)), tfds.features.ClassLabel(names=["even", "odd"])
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(200), "test": self._generate_examples(40)}

        def _generate_examples(self, count):
            for i, image in enumerate(numbered(count)):
                yield i, {"image": image, "label": i % 2}

    folder = tmp_path_factory.mktemp("records")
    builder = Numbered(data_dir=folder)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=5))
    return builder


def read_records(builder, memory_limit=2**31, image_size=None, validation=0.1):
    from vaezoo.data import tfds_sets

    preparation = Preparation(image_size)
    return tfds_sets.read(builder, "numbered", preparation, validation, seed=0, memory_limit=memory_limit)


# Batches


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_every_image_once_an_epoch(make):
    for epoch in epochs(make(), batch_size=12, steps=5, count=3):
        assert sorted(flat(epoch)) == list(range(60))


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_the_tail_of_the_permutation_is_dropped(make):
    first, second = epochs(make(), batch_size=16, steps=2, count=2)
    assert [len(batch) for batch in first] == [16, 16]
    assert len(set(flat(first))) == 32
    assert set(flat(first)) != set(flat(second))  # another part of the set


def test_order_depends_on_seed_and_epoch_alone():
    once, again = (epochs(in_memory(), 20, 3, 2, seed=5) for _ in range(2))
    assert once == again
    assert once[0] != once[1]
    assert epochs(in_memory(), 20, 3, 1, seed=6)[0] != once[0]
    assert epochs(on_disk(), 20, 3, 2, seed=5) == once


@pytest.mark.parametrize("mode", BINARIZATIONS)
def test_resumed_run_sees_what_an_undisturbed_one_would(mode):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1)).astype("uint8")
    split = ArraySplit(images, SMALL.with_classes(20), np.arange(20))
    options = {"binarize": mode, "seed": 3, "labels": True}
    whole = list(split.training_batches(5, 4, **options).take(16))
    resumed = list(split.training_batches(5, 4, first_epoch=2, **options).take(8))
    for expected, batch in zip(whole[8:], resumed, strict=True):
        np.testing.assert_array_equal(batch["x"], expected["x"])
        np.testing.assert_array_equal(batch["label"], expected["label"])


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_ordered_pass(make):
    batches = make().batches(25, labels=True)
    assert int(batches.cardinality()) == 3
    assert [len(batch["label"]) for batch in batches] == [25, 25, 10]
    assert flat(numbers(batch["x"]) for batch in batches) == list(range(60))
    assert flat(batch["label"].numpy().tolist() for batch in batches) == [i % 7 for i in range(60)]


def test_labels_stay_with_their_images():
    for batch in in_memory().training_batches(20, 3, labels=True).take(6):
        assert [n % 7 for n in numbers(batch["x"])] == batch["label"].numpy().tolist()


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_elements_are_float32_of_static_shape(make):
    spec = make().training_batches(20, 3, labels=True).element_spec
    assert (tuple(spec["x"].shape), spec["x"].dtype.name) == ((20, 4, 4, 1), "float32")
    assert (tuple(spec["label"].shape), spec["label"].dtype.name) == ((20,), "int32")
    without = make().batches(25).element_spec
    assert list(without) == ["x"]  # a mapping all the same
    assert without["x"].shape[1:] == (4, 4, 1)
    assert list(make().training_batches(20, 3).element_spec) == ["x"]


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_nothing_that_is_read_is_tuned(make):
    # What tunes is a thread that sleeps for up to a minute, and the end of an iterator may have to wait for it.
    for batches in (make().training_batches(20, 3), make().batches(25), make().batches(25, binarize="dynamic")):
        for each in (batches, batches.map(lambda batch: batch).prefetch(2)):
            assert each.options().autotune.enabled is False  # None, the default, is tuned


def test_no_pass_over_records_is_tuned(record_set, monkeypatch):
    split, passes = read_records(record_set, memory_limit=1000).test, []
    real = tf.data.Dataset.as_numpy_iterator
    monkeypatch.setattr(tf.data.Dataset, "as_numpy_iterator", lambda self: passes.append(self) or real(self))
    split.in_memory()
    split.first(3)
    assert len(passes) == 2
    assert [each.options().autotune.enabled for each in passes] == [False, False]


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_first(make):
    x, labels = make().first(9)
    assert (x.dtype, x.shape, labels.dtype) == ("float32", (9, 4, 4, 1), "int32")
    assert (numbers(x), labels.tolist()) == (list(range(9)), [0, 1, 2, 3, 4, 5, 6, 0, 1])
    for count in (None, 60, 1000):
        x, labels = make().first(count)
        assert numbers(x) == list(range(60))
        assert labels.tolist() == [n % 7 for n in range(60)]
    x, labels = make().first(0)
    assert (x.shape, labels.shape) == ((0, 4, 4, 1), (0,))
    with pytest.raises(VaezooError, match="count -1 is negative"):
        make().first(-1)


@pytest.mark.parametrize("mode", BINARIZATIONS)
def test_first_is_the_beginning_of_an_ordered_pass(mode, monkeypatch):
    monkeypatch.setattr("vaezoo.data.split.READ_AT_ONCE", 8)
    split = images_split(np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1)).astype("uint8"))
    everything = np.concatenate([batch["x"] for batch in split.batches(50, binarize=mode, seed=3)])
    for count in (1, 8, 19, None):
        x, labels = split.first(count, binarize=mode, seed=3)
        np.testing.assert_array_equal(x, everything[:count])
        assert labels is None


def test_first_reads_no_more_than_it_gives(monkeypatch):
    monkeypatch.setattr("vaezoo.data.split.READ_AT_ONCE", 4)
    images, read = numbered(60), []

    def reader(indices):
        read.extend(indices)
        return images[indices]

    ReaderSplit(reader, np.arange(60), SMALL, "uint8", np.arange(60) % 7).first(10)
    assert sorted(read) == list(range(10))


@pytest.mark.parametrize("make", [in_memory, on_disk])
def test_a_part_that_stands_for_a_split_is_equally_spaced(make):
    split = make()
    assert split.spaced() is split.spaced(60) is split.spaced(61) is split
    assert len(split.spaced(0)) == 0
    for count in (1, 7, 10, 59):
        x, labels = split.spaced(count).first()
        assert numbers(x) == list(np.round(np.linspace(0, 59, count)))
        np.testing.assert_array_equal(labels, np.array(numbers(x)) % 7)


def test_images_are_held_once():
    split = in_memory()
    split.first(1)
    assert np.shares_memory(split.x, np.asarray(memoryview(split._tensor)))
    assert split.x.dtype == "uint8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 61}, "batch_size 61 exceeds the 60 training examples: make it smaller"),
        ({"steps_per_epoch": 7}, "steps_per_epoch 7 is not in 1..6"),
        ({"steps_per_epoch": 0}, "steps_per_epoch 0 is not in 1..6"),
        ({"batch_size": 0}, "batch_size 0 is too small"),
        ({"binarize": "dynamik"}, "unknown binarization 'dynamik'. Did you mean 'dynamic'?"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_bad_batches(arguments, message):
    with pytest.raises(VaezooError) as error:
        in_memory().training_batches(**{"batch_size": 10, "steps_per_epoch": 6, **arguments})
    assert str(error.value).startswith(message)


def test_labels_that_do_not_exist():
    with pytest.raises(VaezooError, match="have no labels"):
        images_split(numbered(4)).batches(2, labels=True)


# Binarization


def test_binarize_modes():
    grey = np.array([0, 0.2, 127 / 255, 0.5, 128 / 255, 1], "float32")
    assert binarize(grey, "none") is grey
    assert binarize(grey, "threshold").numpy().tolist() == [0, 0, 0, 1, 1, 1]
    assert set(binarize(grey, "dynamic", [1, 2]).numpy()) <= {0, 1}
    np.testing.assert_array_equal(binarize(grey, "dynamic", [1, 2]), binarize(grey, "dynamic", [1, 2]))
    with pytest.raises(VaezooError, match="unknown binarization 'soft'"):
        binarize(grey, "soft")


def test_dynamic_binarization_has_the_grey_level_for_a_mean():
    grey = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(50, 0)
    batches = images_split(grey).training_batches(50, 1, binarize="dynamic").take(80)
    draws = np.stack([batch["x"] for batch in batches])
    probability = np.arange(256) / 255
    mean = draws.reshape(-1, 256).mean(0, dtype="float64")
    assert mean[0] == 0
    assert mean[255] == 1
    error = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(mean - probability)[1:-1] < 5 * error[1:-1]).all()


def test_dynamic_binarization_draws_anew_every_time():
    grey = np.full((10, 8, 8, 1), 128, "uint8")
    draws = [batch["x"].numpy() for batch in images_split(grey).training_batches(5, 2, binarize="dynamic").take(4)]
    for one, other in itertools.combinations(draws, 2):
        assert 0.3 < (one != other).mean() < 0.7
    assert 0.3 < (draws[0][0] != draws[0][1]).mean() < 0.7  # nor do two images share their noise


@pytest.mark.parametrize(
    "make",
    [images_split, lambda images: ReaderSplit(lambda i: images[i], range(30), Spec("image", (6, 6, 1)), "uint8")],
)
def test_ordered_passes_are_identical_whatever_the_batch_size(make):
    split = make(np.random.default_rng(0).integers(0, 256, (30, 6, 6, 1)).astype("uint8"))

    def seen(size, seed=1):
        return np.concatenate([batch["x"] for batch in split.batches(size, binarize="dynamic", seed=seed)])

    once, again, other = seen(8), seen(8), seen(13)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(once, other)
    assert set(np.unique(once)) == {0, 1}
    assert (seen(8, seed=2) != once).any()


# Sets of tensorflow-datasets


def test_records_in_memory(record_set):
    data = read_records(record_set)
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 40)
    assert (data.spec, data.class_names) == (Spec("image", (4, 4, 1), classes=2), ("even", "odd"))
    assert data.train.spec == data.validation.spec == data.test.spec == data.spec
    train, validation = (numbers(split.x / 255) for split in (data.train, data.validation))
    assert sorted(train + validation) == list(range(200))  # disjoint, and nothing is lost
    assert data.train.labels.tolist() == [n % 2 for n in train]
    assert numbers(data.test.x / 255) == list(range(40))


def test_records_are_decoded_once(record_set, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(records, "WORTH_KEEPING", 0)
    decoded, real = [], RecordSplit._decoded_columns
    monkeypatch.setattr(RecordSplit, "_decoded_columns", lambda split: decoded.append(len(split)) or real(split))

    def read(**options):
        decoded.clear()
        return read_records(record_set, **options), list(decoded)

    first, counts = read()
    assert counts == [200, 40]
    again, counts = read()
    assert counts == []
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part).x, getattr(first, part).x)
        np.testing.assert_array_equal(getattr(again, part).labels, getattr(first, part).labels)
    assert read(image_size=(2, 6))[1] == [200, 40]
    resized, counts = read(image_size=(2, 6))
    assert counts == []
    assert resized.test.x.shape == (40, 2, 6, 1)
    assert read()[1] == []  # each preparation has a file of its own
    with monkeypatch.context() as patch:
        patch.setattr(records, "VERSION", 0)
        assert read()[1] == [200, 40]
    # A file that is broken, in whatever way, is made again.
    for spoil in (lambda file: file[:-100], lambda file: b"", lambda file: file.replace(b"image", b"other")):
        for path in (tmp_path / "vaezoo" / "decoded").iterdir():
            path.write_bytes(spoil(path.read_bytes()))
        assert read()[1] == [200, 40]
        assert read()[1] == []
    # Nothing can be kept where the folder cannot be made.
    shutil.rmtree(tmp_path / "vaezoo")
    (tmp_path / "vaezoo").touch()
    assert read()[1] == read()[1] == [200, 40]
    (tmp_path / "vaezoo").unlink()
    assert [read()[1], read()[1]] == [[200, 40], []]
    os.utime(record_set.info.splits["test"].filepaths[0], ns=(1, 1))  # its content may have changed
    assert read()[1] == [40]


def test_own_prepared_set_is_read_without_its_code(record_set, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    # Copied under a name that no code is registered for, as where somebody else prepared it.
    shutil.copytree(record_set.data_path, tmp_path / "prepared" / "1.0.0")
    info = tmp_path / "prepared" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"numbered"', '"prepared"'))
    for file in info.parent.glob("numbered-*"):
        file.rename(file.with_name(file.name.replace("numbered", "prepared")))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert "prepared" not in tfds.list_builders()
    assert len(load_data("prepared", validation=0).train) == 200


@pytest.mark.slow
def test_streamed_records_are_those_in_memory(record_set):
    held, streamed = read_records(record_set), read_records(record_set, memory_limit=1000)
    assert isinstance(held.train, ArraySplit)
    assert not isinstance(streamed.train, ArraySplit)
    assert streamed.train.has_labels
    for split in ("train", "validation", "test"):
        mine, theirs = getattr(streamed, split), getattr(held, split)
        assert len(mine) == len(theirs)
        for one, other in zip(mine.first(), theirs.first(), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(mine.first(13)[1], theirs.labels[:13])
        for one, other in zip(mine.batches(7, binarize="dynamic"), theirs.batches(7, binarize="dynamic"), strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])


@pytest.mark.slow
def test_streamed_records_in_training(record_set):
    split = read_records(record_set, memory_limit=3000).train
    whole = epochs(split, 30, 6, 3, seed=2)
    members = sorted(flat(whole[0]))
    assert len(set(members)) == 180
    assert all(sorted(flat(epoch)) == members for epoch in whole)
    assert flat(whole[0]) != flat(whole[1])
    assert flat(whole[0]) != members
    assert epochs(split, 30, 6, 2, seed=2, first_epoch=1) == whole[1:]
    assert split.training_batches(30, 6).element_spec["x"].shape == (30, 4, 4, 1)
    held_out = set(numbers(read_records(record_set).validation.first(99)[0]))
    assert not held_out & set(members)


def test_records_resized(record_set):
    data = read_records(record_set, image_size=(2, 6))
    assert data.train.first(3)[0].shape == (3, 2, 6, 1)
    assert numbers(data.test.first(99)[0]) == list(range(40))  # a constant image stays what it is


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnst", "unknown data set 'mnst'. Did you mean 'mnist'?"),
        ("glyph", "unknown data set 'glyph'. Did you mean 'glyphs'?"),
        ("emnist/lettrs", "unknown configuration of 'emnist' 'lettrs'. Did you mean 'letters'?"),
        ("imdb_reviews", "'imdb_reviews' has no feature 'image', only text, label: choose an image set"),
        ("no/such/folder", "'no/such/folder' does not exist"),
        ("./mnist", "'./mnist' does not exist"),
        ("missing.npy", "'missing.npy' does not exist"),
    ],
)
def test_bad_names(name, message, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VaezooError) as error:
        load_data(name)
    assert str(error.value).startswith(message)
    assert not list(tmp_path.iterdir())  # and nothing was downloaded


def test_no_network(tmp_path, monkeypatch):
    def unreachable(host, port):
        raise OSError("name not known")

    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(VaezooError, match=r"'cifar10' is not on disk and .* cannot be reached .*set TFDS_DATA_DIR"):
        load_data("cifar10")


def test_failed_download_is_one_line(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def failing(*args, **kwargs):
        raise ConnectionError("refused\nwith a long story")

    monkeypatch.setattr("vaezoo.data.tfds_sets._check_network", lambda builder: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", failing)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        VaezooError, match=r"^'cifar10' could not be prepared in .*: refused\. Check the network[^\n]*$"
    ):
        load_data("cifar10")


@pytest.mark.slow
def test_mnist(mnist):
    data = mnist
    assert (len(data.train), len(data.validation), len(data.test)) == (57_000, 3_000, 10_000)
    assert data.spec.shape == (28, 28, 1)
    assert data.classes == 10
    everything = np.concatenate([data.train.x, data.validation.x])
    assert everything.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    counts = np.bincount(np.concatenate([data.train.labels, data.validation.labels]))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    streamed = load_data("mnist", memory_limit=2**20)
    np.testing.assert_array_equal(streamed.test.first(300)[0], data.test.first(300)[0])


# .npy and .npz


def save(path, array, **arrays):
    np.save(path, array) if path.suffix == ".npy" else np.savez(path, images=array, **arrays)
    return path


def test_npz_with_labels(tmp_path):
    path = save(tmp_path / "own.npz", numbered(100), labels=np.arange(100) % 3 * 10)
    data = load_data(path, validation=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (72, 18, 10)
    assert data.class_names == ("0", "10", "20")  # named by value, numbered from 0
    parts = [numbers(split.first(99)[0]) for split in (data.train, data.validation, data.test)]
    assert sorted(flat(parts)) == list(range(100))
    assert data.train.labels.tolist() == [n % 3 for n in parts[0]]
    other_seed = load_data(str(path), validation=0.2, seed=1)
    assert numbers(other_seed.test.first(99)[0]) == parts[2]  # the test images are the same whatever the seed
    assert numbers(other_seed.validation.first(99)[0]) != parts[1]


def test_npz_as_keras_writes_it(tmp_path):
    images = np.arange(50, dtype="uint8").reshape(-1, 1, 1) + np.zeros((4, 4), "uint8")
    np.savez(
        tmp_path / "keras.npz",
        x_train=images[:40],
        y_train=np.arange(40) % 2,
        x_test=images[40:],
        y_test=np.zeros(10, int),
    )
    data = load_data(tmp_path / "keras.npz", validation=0)
    assert data.validation is None
    assert data.spec.shape == (4, 4, 1)
    assert numbers(data.test.first(99)[0]) == list(range(40, 50))
    assert data.test.labels.tolist() == [0] * 10


@pytest.mark.parametrize(
    ("array", "dtype", "values"),
    [
        (numbered(20).astype("int64"), "uint8", list(range(20))),
        (numbered(20) / 255, "float32", list(range(20))),
        ((numbered(20) / 255).astype(">f4"), "float32", list(range(20))),
        (numbered(20) % 2 == 1, "uint8", [0, 255] * 10),
    ],
)
def test_npy_types(tmp_path, array, dtype, values):
    data = load_data(save(tmp_path / "own.npy", array), validation=0)
    assert data.train.x.dtype == dtype
    assert data.class_names is None
    assert data.classes == 0
    seen = numbers(np.concatenate([data.train.first(99)[0], data.test.first(99)[0]]))
    assert sorted(seen) == sorted(values)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("image_size", [None, (3, 5)])
def test_streamed_npy_is_the_one_in_memory(tmp_path, kind, image_size):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3)).astype("uint8")
    path = save(tmp_path / "own.npy", images if kind == "uint8" else (images / 255).astype("float32"))
    held = load_data(path, image_size=image_size)
    streamed = load_data(path, image_size=image_size, memory_limit=100)
    assert isinstance(streamed.train, ReaderSplit)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(held, split).first(99)[0], getattr(streamed, split).first(99)[0])
    passes = [data.train.training_batches(9, 4, binarize="dynamic").take(8) for data in (held, streamed)]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])


nan = np.full((20, 4, 4), 0.5)
nan[3, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (nan, "hold NaN or infinity"),
        (np.full((20, 4, 4), np.inf), "hold NaN or infinity"),
        (np.zeros(20), "have shape (20,): it must be [N, H, W] or [N, H, W, C] for images, or [N, F] for vectors"),
        (np.zeros((20, 1, 2, 3, 4)), "it must be [N, H, W] or [N, H, W, C] for images, or [N, F] for vectors"),
        (np.full((20, 4, 4), -3), "are integers from -3 to -3: they must be in 0..255"),
        (np.full((20, 4, 4), 256), "are integers from 256 to 256: they must be in 0..255"),
        (np.full((20, 4, 4), 255.0), "are floats from 255 to 255: scale them to [0, 1]"),
        (np.full((20, 4, 4), -0.1), "are floats from -0.1 to -0.1: scale them to [0, 1]"),
        (np.full((20, 4, 4), 1, "uint8"), "save them as bool"),
        (np.full((20, 4, 4), None), "holds objects"),
        (np.full((20, 4, 4), "a"), "they must be integers, floats or bool"),
        (np.zeros((20, 4, 4), complex), "they must be integers, floats or bool"),
        (np.zeros((0, 4, 4)), "the array is empty"),
        (np.zeros((20, 0, 4)), "the array is empty"),
        (np.zeros((20, 4, 4, 5)), "has 1 to 4 channels"),
        (np.zeros((20, 3, 8, 8)), "move the channels last"),
        (np.zeros((2, 4, 4)), "too few examples"),
        (np.zeros((1, 4, 4)), "too few examples"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bad_arrays(tmp_path, array, message, suffix):
    path = tmp_path / f"own{suffix}"
    if suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, images=array)
    with pytest.raises(VaezooError) as error:
        load_data(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.arange(19)}, "has 20 examples and labels of shape (19,)"),
        ({"labels": np.zeros((20, 2), int)}, "has 20 examples and labels of shape (20, 2)"),
        ({"labels": np.zeros(20)}, "are float64: they must be integers"),
        ({"labels": np.array(["a"] * 20)}, "they must be integers"),
        ({"labels": np.full(20, -1)}, "they must be 0 or more"),
        ({"test_images": numbered(5, (5, 5, 1))}, "images of different shapes"),
        (
            {"labels": np.zeros(20, int), "test_labels": np.zeros(5, int)},
            "holds 'test_labels' and no 'test_images': add it, or leave out 'test_labels'",
        ),
        ({"labels": np.zeros(20, int), "test_images": numbered(5)}, "labels for only one of its two splits"),
    ],
)
def test_bad_labels(tmp_path, arrays, message):
    with pytest.raises(VaezooError) as error:
        load_data(save(tmp_path / "own.npz", numbered(20), **arrays))
    assert message in str(error.value)


def write_pickle(path):
    path.write_bytes(pickle.dumps(os.getcwd))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    "write",
    [write_pickle, lambda path: path.write_bytes(b""), lambda path: path.write_text("no array"), None],
    ids=["pickle", "empty", "text", "truncated"],
)
def test_files_that_hold_no_array(tmp_path, suffix, write):
    path = tmp_path / f"own{suffix}"
    if write:
        write(path)
    else:
        save(path, numbered(20))
        path.write_bytes(path.read_bytes()[:250])
    with pytest.raises(VaezooError, match="save a plain number array"):
        load_data(path)


@pytest.mark.parametrize("suffix", ["NPY", "Npz"])
def test_a_suffix_in_capitals_is_that_of_an_array(tmp_path, suffix):
    path = tmp_path / f"own.{suffix}"
    with open(path, "wb") as file:
        np.save(file, numbered(20)) if suffix == "NPY" else np.savez(file, images=numbered(20))
    assert len(load_data(path, validation=0).train) == 18
    assert len(load_items(path, Spec.of((4, 4, 1)), Preparation()).split) == 20


def test_a_link_keeps_the_suffix_that_its_target_has_not(tmp_path, monkeypatch):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    np.save(tmp_path / "blob.npy", numbered(20))
    (tmp_path / "blob.npy").rename(tmp_path / "blobs" / "3f2a")
    link = tmp_path / "snapshot" / "own.npy"
    link.symlink_to("../blobs/3f2a")
    (tmp_path / "latest").symlink_to("snapshot")
    monkeypatch.chdir(tmp_path)
    for name in ("latest/own.npy", link):
        assert canonical_name(name) == str(link)
    assert len(load_data(canonical_name("latest/own.npy"), validation=0).train) == 18
    (tmp_path / "other.npy").symlink_to(save(tmp_path / "v1.npy", numbered(20)))
    (tmp_path / "newest").symlink_to(tmp_path / "v1.npy")
    for name in ("other.npy", "./newest"):
        assert canonical_name(name) == str(tmp_path / "v1.npy")  # else it is the file itself
    assert canonical_name("latest/.") == str(tmp_path / "snapshot")


def test_the_home_of_an_unknown_user_does_not_exist():
    for read in (load_data, lambda name: load_items(name, Spec.of((4, 4, 1)), Preparation())):
        with pytest.raises(VaezooError, match=r"'~no such user/a.csv' does not exist"):
            read("~no such user/a.csv")


def test_npz_without_images(tmp_path):
    np.savez(tmp_path / "own.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(VaezooError, match="holds a, b: name images 'images' and vectors 'x'"):
        load_data(tmp_path / "own.npz")


# Vectors and token sequences

VECTORS = np.random.default_rng(0).normal(0, 100, (50, 3))
TOKENS = np.random.default_rng(1).integers(0, 9, (50, 6))
TOKENS[7, 2] = 9


def rows_of(data):
    """The examples of all splits, sorted."""
    return sorted(row for split in (data.train, data.validation, data.test) for row in split.first()[0].tolist())


@pytest.mark.parametrize("limit", [2**31, 100], ids=["held", "streamed"])
@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8", "float16", "int16", "uint8", "bool"])
def test_vectors(tmp_path, dtype, limit):
    array = (VECTORS > 0) if dtype == "bool" else np.abs(VECTORS).astype(dtype) if dtype == "uint8" else VECTORS
    array = array.astype(dtype)
    data = load_data(save(tmp_path / "own.npy", array), memory_limit=limit)
    assert (data.spec, data.classes) == (Spec("vector", (3,)), 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (43, 2, 5)
    assert isinstance(data.train, ArraySplit if limit > 100 else ReaderSplit)
    assert data.train.first(4)[0].dtype == "float32"
    assert rows_of(data) == sorted(array.astype("float32").tolist())  # neither scaled nor clipped


def test_batches_of_vectors(tmp_path):
    np.savez(tmp_path / "own.npz", x=VECTORS[:40], y=np.arange(40) % 4, x_test=VECTORS[40:], y_test=np.arange(10) % 4)
    data = load_data(tmp_path / "own.npz", validation=0)
    assert data.spec == Spec("vector", (3,), classes=4)
    spec = data.train.training_batches(8, 5, labels=True).element_spec
    assert (tuple(spec["x"].shape), spec["x"].dtype.name) == ((8, 3), "float32")
    seen = list(data.train.training_batches(8, 5, labels=True).take(5))
    x, labels = (np.concatenate([batch[key] for batch in seen]) for key in ("x", "label"))
    order = [int(np.abs(VECTORS[:40].astype("float32") - row).sum(1).argmin()) for row in x]
    assert sorted(order) == list(range(40))
    np.testing.assert_array_equal(x, VECTORS.astype("float32")[order])
    assert labels.tolist() == [i % 4 for i in order]
    x, labels = data.test.first()
    np.testing.assert_array_equal(x, VECTORS[40:].astype("float32"))
    assert labels.tolist() == [i % 4 for i in range(10)]


def test_streamed_vectors_are_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.data.arrays.CHUNK", 100)  # checked and converted in several parts
    path = save(tmp_path / "own.npy", VECTORS)
    held, streamed = load_data(path), load_data(path, memory_limit=100)
    assert rows_of(held) == rows_of(streamed)
    passes = [data.train.training_batches(9, 4).take(8) for data in (held, streamed)]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])


@pytest.mark.parametrize("dtype", ["int64", "uint8", ">i2"])
def test_token_sequences(tmp_path, dtype):
    tokens = TOKENS.astype(dtype)
    np.savez(tmp_path / "own.npz", tokens=tokens, labels=np.arange(50) % 2 + 5)
    data = load_data(tmp_path / "own.npz")
    assert data.spec == Spec("sequence", (6,), levels=10, classes=2)
    assert data.class_names == ("5", "6")
    seen = list(data.train.training_batches(43, 1, labels=True).take(1))
    assert (seen[0]["x"].dtype.name, tuple(seen[0]["x"].shape)) == ("int32", (43, 6))
    parts = [split.first() for split in (data.train, data.validation, data.test)]
    assert {x.dtype.name for x, _ in parts} == {"int32"}
    found = {(*x.tolist(), int(label)) for part in parts for x, label in zip(*part, strict=True)}
    assert found == {(*row.tolist(), i % 2) for i, row in enumerate(TOKENS)}


def test_levels_are_those_of_both_splits(tmp_path):
    for train, test in ((TOKENS[:40], TOKENS[40:] + 4), (TOKENS[40:] + 4, TOKENS[:40])):
        np.savez(tmp_path / "own.npz", tokens=train, test_tokens=test)
        data = load_data(tmp_path / "own.npz", validation=0)
        assert data.spec == Spec("sequence", (6,), levels=int(max(train.max(), test.max())) + 1)
        np.testing.assert_array_equal(data.test.first()[0], test)
        assert data.test.first()[1] is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"tokens": TOKENS - 1}, "the tokens of '{path}' go down to -1: they must be 0 or more."),
        ({"tokens": TOKENS * 1.0}, "the tokens of '{path}' are float64: they must be integers."),
        ({"tokens": TOKENS > 3}, "the tokens of '{path}' are bool: they must be integers."),
        ({"tokens": TOKENS[0]}, "the tokens of '{path}' have shape (6,): it must be [N, T]."),
        ({"tokens": TOKENS[..., None]}, "the tokens of '{path}' have shape (50, 6, 1): it must be [N, T]."),
        ({"tokens": TOKENS + 2**31}, "the tokens of '{path}' go up to 2147483657, beyond int32: number them from 0."),
        ({"tokens": TOKENS[:0]}, "the tokens of '{path}' have shape (0, 6): the array is empty."),
        ({"tokens": TOKENS, "test_tokens": TOKENS[:, :5]}, "'{path}' has tokens of different shapes"),
        ({"tokens": TOKENS, "test_tokens": -TOKENS}, "the tokens of '{path}' go down to -9"),
        ({"tokens": TOKENS, "labels": np.arange(9)}, "'{path}' has 50 examples and labels of shape (9,)"),
        ({"x": np.where(VECTORS > 200, np.nan, VECTORS)}, "the vectors of '{path}' hold NaN, infinity or a number"),
        ({"x": VECTORS * 1e40}, "the vectors of '{path}' hold NaN, infinity or a number beyond float32"),
        ({"x": VECTORS, "x_test": VECTORS[:, :2]}, "'{path}' has vectors of different shapes: (50, 3) for training"),
        ({"x": VECTORS, "x_test": numbered(5)}, "the vectors of '{path}' have shape (5, 4, 4, 1): it must be [N, F]."),
        ({"x": VECTORS[:, :0]}, "the vectors of '{path}' have shape (50, 0): the array is empty."),
        ({"x": VECTORS + 1j}, "the vectors of '{path}' are complex128: they must be integers, floats or bool."),
        ({"x": VECTORS[:2]}, "'{path}' has too few examples"),
    ],
)
def test_bad_vectors_and_tokens(tmp_path, arrays, message):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    with pytest.raises(VaezooError) as error:
        load_data(path)
    assert str(error.value).startswith(message.format(path=path))


def test_what_is_for_images_only(tmp_path):
    np.savez(tmp_path / "own.npz", tokens=TOKENS)
    sequences, vectors = load_data(tmp_path / "own.npz"), load_data(save(tmp_path / "own.npy", VECTORS))
    for data, what in ((sequences, "sequences of 6 tokens out of 10"), (vectors, "vectors of 3 numbers")):
        refusal = rf"^binarize='threshold' \(instead of 'none'\) needs images, and these examples are {what}$"
        with pytest.raises(VaezooError, match=refusal):
            data.train.first(3, binarize="threshold")
        with pytest.raises(VaezooError, match=r"^binarize='dynamic' \(instead of 'none'\) needs images"):
            data.train.training_batches(2, 1, binarize="dynamic")
    for name in ("own.npz", "own.npy"):
        with pytest.raises(VaezooError, match=r"^image_size=\(8, 8\) \(instead of None\) needs images"):
            load_data(tmp_path / name, image_size=(8, 8))


# load_data itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.6}, "validation 0.6 is not in"),
        ({"validation": float("nan")}, "validation nan is not in"),
        ({"image_size": (0, 8)}, "image_size (0, 8) is not a size: give (H, W) or one number"),
        ({"image_size": (8, 8, 3)}, "image_size (8, 8, 3) is not a size"),
        ({"image_size": 0}, "image_size 0 is not a size"),
        ({"image_size": "big"}, "image_size big is not a size"),
        ({"crop": "centre"}, "unknown crop 'centre'. Did you mean 'center'?"),
        ({"background": "whitish"}, "background 'whitish' is not a colour: give white, black, grey or '#rrggbb'"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(VaezooError) as error:
        load_data("glyphs", **options)
    assert str(error.value).startswith(message)


def test_importing_is_light():
    code = "import sys, vaezoo.data; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""What the tests share: quiet TensorFlow, and a small set of images that a tiny model can learn."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import numpy as np
import pytest
from consumers.tiny_exports import (  # noqa: F401
    conditional_export,
    conditional_run,
    sequence_export,
    sequence_run,
    tiny_export,
    tiny_run,
    vector_export,
    vector_run,
)

from vaezoo.config import load_recipe
from vaezoo.data import load_data


@pytest.hookimpl(tryfirst=True)  # before pytest picks the tests by their marks
def pytest_collection_modifyitems(items):
    """What needs an export, which takes half a minute, is slow; of the quick tests only one file has an export."""
    exports = {"tiny_export", "conditional_export", "sequence_export", "vector_export", "exported"}
    for item in items:
        if exports & set(item.fixturenames) and item.path.stem != "test_exporting":
            item.add_marker("slow")


def pytest_collection_finish():
    """What is imported stays: collections, of which a conversion to LiteRT asks for one each, need not look at it."""
    gc.collect()
    gc.freeze()


def bars(count, size=8, seed=0):
    """Binary images [count,size,size,1] uint8 of one horizontal and one vertical bar, and the row as a label."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(size, size=(2, count))
    images = np.zeros((count, size, size, 1), "uint8")
    images[np.arange(count), rows] = 255
    images[np.arange(count), :, columns] = 255
    return images, rows


# What no recipe of the zoo has: a name → a recipe and what to change in it.
VARIANTS = {
    "factor": ("mlp_vae", {"model.objective": {"name": "factor", "hidden": [16]}}),
    "averaged": ("mlp_vae", {"training.average": 0.95}),
    "muon_all": ("conv_vae", {"training.optimizer": "muon_all", "training.average": 0.95}),
    "flow_prior": ("mlp_vae", {"model.prior": {"name": "flow", "blocks": 2, "hidden": [8]}}),
}


def small_recipe(name, bars_file, **overrides):
    """A recipe of the zoo or a variant, with narrow networks, on the bars: three epochs of two calls of 19 steps.

    One for tokens trains on `tokens.npz`, the same bars as sequences, and one for tables on `rows.npz`; both are in the
    folder of `bars_file`.
    """
    name, changes = VARIANTS.get(name, (name, {}))
    sizes = {"mlp": {"hidden": [8]}, "conv": {"filters": [3, 4], "dense": 8}, "pyramid": {"width": 4}}
    sizes |= {"ladder": {"width": 4, "dense": 8}, "conductor": {"units": 4, "hidden": [8]}}
    sizes["bars"] = {"hidden": [8], "dense": 8}
    model, data = load_recipe(name).model, bars_file
    if "image" not in model.likelihood.examples:
        data = Path(bars_file).with_name("tokens.npz" if "sequence" in model.likelihood.examples else "rows.npz")
    parts = {
        f"model.{side}.{key}": value
        for side in ("encoder", "decoder")
        for key, value in sizes[getattr(model, side).name].items()
    }
    if "hidden" in model.objective.keywords():  # of a critic
        parts["model.objective.hidden"] = [8]
    settings = {"data.name": str(data), "training.epochs": 3, "training.batch_size": 10}
    return load_recipe(name, {**changes, **parts, **settings, **overrides})


@pytest.fixture(scope="session")
def bars_file(tmp_path_factory):
    """A labelled .npz of bars, 8×8: 400 to train (20 of them to validate, by default) and 100 to test.

    Beside it is tokens.npz, the upper four rows of each as a sequence of 32 zeros and ones; and rows.npz, a table of
    six columns: the share of ones in each of five rows, with missing cells in the first, and a column of 0 and 1.
    """
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    images, labels = bars(500)
    np.savez(path, x_train=images[:400], y_train=labels[:400], x_test=images[400:], y_test=labels[400:])
    tokens = images.reshape(500, 64)[:, :32] // 255
    np.savez(
        path.with_name("tokens.npz"),
        tokens=tokens[:400],
        labels=labels[:400],
        test_tokens=tokens[400:],
        test_labels=labels[400:],
    )
    rows = images.reshape(500, 8, 8)[:, :6].mean(-1) / 255 + np.linspace(0, 0.1, 500)[:, None]
    rows[:, 5] = images.reshape(500, 64)[:, 63] // 255
    rows[::7, 0] = np.nan
    np.savez(
        path.with_name("rows.npz"), x_train=rows[:400], y_train=labels[:400], x_test=rows[400:], y_test=labels[400:]
    )
    return path


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """A recipe that trains in a second: an MLP on the bars."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(
        "model:\n"
        "  latent_dim: 3\n"
        "  encoder: {name: mlp, hidden: [16]}\n"
        "  decoder: {name: mlp, hidden: [16]}\n"
        "  likelihood: bernoulli\n"
        "data: {binarize: threshold}\n"
        # 380 images: 10 steps an epoch. XLA takes longer to compile them than they take.
        "training: {epochs: 2, batch_size: 38, compilation: graph}\n"
    )
    return path


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST, where TFDS_DATA_DIR (or tensorflow-datasets' own folder) holds it; nothing is downloaded."""
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no mnist in {folder}")
    return load_data("mnist")

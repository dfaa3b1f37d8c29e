"""Sets larger than memory: what training on one takes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from vaezoo.data import load_data
from vaezoo.data.npy import NpyFile
from vaezoo.errors import VaezooError, errors_of_readers

GIB = 2**30


def test_a_file_is_read_where_it_is_asked(tmp_path):
    array = np.arange(60, dtype=">u2").reshape(10, 2, 3)
    np.save(tmp_path / "images.npy", array)
    file = NpyFile(tmp_path / "images.npy")
    assert (len(file), file.shape, file.dtype) == (10, (10, 2, 3), array.dtype)
    np.testing.assert_array_equal(file[2:5], array[2:5])
    np.testing.assert_array_equal(file[8:99], array[8:])
    assert file[10:].shape == (0, 2, 3)
    np.testing.assert_array_equal(file[np.array([7, 0, 7])], array[[7, 0, 7]])
    np.testing.assert_array_equal(file.reshape(10, 2, 3, 1)[1:3], array[1:3, ..., None])


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error_not_a_crash(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.full((100, 8, 8), 7, "uint8"))
    data = load_data(path, validation=0, memory_limit=100)
    os.truncate(path, 3000)
    with pytest.raises(VaezooError, match=r"images.npy' became shorter while it was read"), errors_of_readers():
        list(data.train.batches(10))


TRAINING = """
import json, sys
from vaezoo.config import load_recipe
from vaezoo.training.setup import prepare

def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))

recipe = load_recipe("conv_vae", {
    "data.name": sys.argv[1], "data.binarize": "none", "data.validation": 0.005, "model.likelihood": "normal",
    "model.encoder.filters": [8, 16], "model.encoder.dense": 32, "model.latent_dim": 8,
    "model.decoder.filters": [16, 8], "model.decoder.dense": 32, "training.batch_size": 128,
})
setup = prepare(recipe, print)
model, call = setup.model, int(setup.model.steps_per_execution)
# From the end of one epoch into the next.
images = setup.data.train.training_batches(128, setup.steps, first_step=setup.steps - call, **setup.batches)
validation = setup.data.validation.batches(1000, **setup.batches)
history = model.fit(images, steps_per_epoch=2 * call, epochs=2, validation_data=validation, shuffle=False, verbose=0)
test = model.evaluate(setup.data.test.batches(1000, **setup.batches).take(2), verbose=0, return_dict=True)
read = next(int(line.split()[1]) for line in open("/proc/self/io") if line.startswith("rchar"))
print(json.dumps({"images": len(setup.data.train), "peak": status("VmHWM"), "anonymous": status("RssAnon"),
                  "read": read, "loss": history.history["loss"]}))
"""


@pytest.mark.slow
def test_half_a_million_images_train_in_less_than_three_gigabytes(tmp_path):
    path = tmp_path / "images.npy"
    # A file with holes, which takes no room on the disk; every 20,000th image and its neighbours are there.
    images = np.lib.format.open_memmap(path, mode="w+", dtype="uint8", shape=(500_000, 64, 64, 3))
    noise = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), "uint8")
    for start in range(0, len(images), 20_000):
        images[start : start + 100] = noise
    images.flush()
    del images
    done = subprocess.run([sys.executable, "-c", TRAINING, path], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["images"] == 447_750
    assert np.isfinite(found["loss"]).all()
    # The peak of all resident memory, which counts mapped files too: 1.4 GB (7.5 GB while the images were mapped).
    assert found["peak"] < 3 * GIB, found
    # Nor was the file's 6.1 GB read: only its beginning, and what was trained and evaluated on.
    assert found["read"] < GIB, found

"""What a training says about the machine, on machines that are only said to be there."""

import io
import types

import pytest
import tensorflow as tf

from vaezoo.config import load_recipe
from vaezoo.training import setup
from vaezoo.training.callbacks import Progress
from vaezoo.training.hardware import describe_devices, let_memory_grow


@pytest.fixture
def gpus(monkeypatch):
    """Let TensorFlow find GPUs of these names; gives the list of those whose memory was told to grow."""

    def found(*names):
        told = []
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: list(names))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": gpu})
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grow: told.append((gpu, grow)))
        return told

    return found


@pytest.mark.parametrize(
    ("names", "described"),
    [
        (["NVIDIA H200"], "NVIDIA H200"),
        (["NVIDIA H200"] * 2, "2 × NVIDIA H200"),
        (["NVIDIA A100", "NVIDIA T4"], "NVIDIA A100 and NVIDIA T4"),
    ],
)
def test_gpus_are_counted_by_name(names, described, gpus):
    gpus(*names)
    assert describe_devices() == described


def test_without_a_gpu_the_cores_are_counted(gpus, monkeypatch):
    gpus()
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert describe_devices() == "CPU, 5 cores"


def test_memory_grows_before_the_data_are_read_and_the_headline_names_the_gpu(
    gpus, tiny_recipe, bars_file, monkeypatch
):
    told, told_before_reading, read = gpus("NVIDIA H200"), [], setup.load_recipe_data

    def spy(recipe):
        told_before_reading.extend(told)
        return read(recipe)

    monkeypatch.setattr(setup, "load_recipe_data", spy)
    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "training.precision": "mixed_bfloat16"})
    prepared = setup.prepare(recipe, print)
    assert told_before_reading == [("NVIDIA H200", True)]
    assert f"; NVIDIA H200, mixed_bfloat16, {prepared.environment['compilation']}\n" in prepared.headline
    assert prepared.environment["device"] == "NVIDIA H200"


@pytest.mark.parametrize("error", [RuntimeError("Physical devices cannot be modified"), ValueError("divided")])
def test_a_gpu_that_is_in_use_already_stays_as_it_is(error, gpus, monkeypatch):
    gpus("NVIDIA H200")

    def refuse(gpu, grow):
        raise error

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    let_memory_grow()


def test_the_line_on_a_terminal_tells_images_a_second(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    state = types.SimpleNamespace(step=40, rows=[{"images_per_second": 1234}])
    recorder = types.SimpleNamespace(state=state, steps=160, images_per_epoch=16_000, started=100.0)
    monkeypatch.setattr("time.perf_counter", lambda: 102.0)
    progress = Progress(recorder, 3, screen)
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(40, {"elbo": -100.0, "reconstruction": 80.0, "kl": 20.0})
    assert "epoch 1/3  ━━━━············  elbo -100.00" in screen.getvalue()
    assert "   2,000 images/s" in screen.getvalue()  # a quarter of 16,000 in 2 s
    progress.on_epoch_end(0, {"loss": 100.0, "reconstruction": 80.0})
    assert screen.getvalue().endswith("reconstruction 80.00   1,234 images/s\x1b[K\n")

"""What a training says about the machine, on machines that are only said to be there."""

import io
import re
import types

import pytest
import tensorflow as tf

from vaezoo.config import load_recipe
from vaezoo.hardware import describe_devices, let_memory_grow
from vaezoo.training import setup
from vaezoo.training.callbacks import Progress


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

    def spy(recipe, *options):
        told_before_reading.extend(told)
        return read(recipe, *options)

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


def test_the_bar_on_a_terminal_shows_the_terms_and_the_speed(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    state = types.SimpleNamespace(step=40, rows=[{"images_per_second": 1234}])
    recorder = types.SimpleNamespace(state=state, steps=160, images_per_epoch=16_000, started=100.0)
    monkeypatch.setattr("time.perf_counter", lambda: 102.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    objective = types.SimpleNamespace(shown=("reconstruction", "critic"))
    with Progress(recorder, 3, stream=screen) as progress:
        progress.set_model(types.SimpleNamespace(objective=objective))
        progress.on_epoch_begin(0)
        progress.on_train_batch_end(40, {"loss": 1.0, "reconstruction": 80.0, "critic": 0.5})
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
        assert re.search(r"epoch 1/3 ━{4}╺━{11} reconstruction 80.00  critic 0.50   2,000 examples/s", shown)
        progress.on_epoch_end(0, {"loss": 1.0, "reconstruction": 80.0, "critic": 0.5, "val_loss": 2.0})
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "epoch 1/3  reconstruction 80.00  critic 0.50   validation loss 2.00   1,234 examples/s\n" in shown
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")  # the cursor is back


def test_without_a_terminal_there_is_one_plain_line_for_each_epoch():
    screen = io.StringIO()
    state = types.SimpleNamespace(step=40, rows=[{"images_per_second": 1234, "skipped": 2}])
    recorder = types.SimpleNamespace(state=state, steps=160, images_per_epoch=16_000, started=100.0)
    terms = ("elbo", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
    with Progress(recorder, 10, stream=screen) as progress:
        progress.set_model(types.SimpleNamespace(objective=types.SimpleNamespace(shown=terms)))
        progress.on_epoch_begin(0)
        progress.on_train_batch_end(40, dict.fromkeys(terms, 1.0))
        progress.on_epoch_end(0, {**dict.fromkeys(terms, 1.0), "val_elbo": -3.0})
    (line,) = screen.getvalue().splitlines()  # long, and not wrapped
    assert line.startswith("epoch  1/10  elbo 1.00  a 1.00  b 1.00")
    assert line.endswith("j 1.00   validation elbo -3.00   1,234 examples/s   2 broken steps skipped")

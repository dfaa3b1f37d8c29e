"""Keras files from strangers: each is refused in one line before anything in it is run, or loads as what it is."""

import inspect
import os
import shutil
import struct
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hostile import KerasFile, refusal

import vaezoo
from vaezoo import keras_files
from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.models.standalone import standalone_decoder, standalone_encoder

MARK = "vaezoo_was_here"  # what the hostile code would make in the current folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A run directory with the files that later commands read."""
    folder = tmp_path_factory.mktemp("good")
    network = {"encoder": {"name": "mlp", "hidden": [4]}, "decoder": {"name": "mlp", "hidden": [4]}}
    model = vaezoo.create_model("mlp_vae", (8, 8, 1), latent_dim=2, **network)
    model.compile(keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "model.keras")
    standalone_decoder(model).save(folder / "decoder.keras")
    standalone_encoder(model).save(folder / "encoder.keras")
    (folder / "recipe.yaml").write_text(to_yaml(load_recipe("mlp_vae")))
    return folder


@pytest.fixture
def run(good, tmp_path, monkeypatch):
    """A copy of it to spoil, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(good, tmp_path / "run")


def spoil(run, edit):
    """Let `edit` change the KerasFile of the model."""
    file = KerasFile(run / "model.keras")
    edit(file)
    file.write(run / "model.keras")


def first_layer(file):
    """The first hidden layer of the encoder, in the configuration."""
    return next(
        layer for layer in file.config["config"]["encoder"]["config"]["layers"] if layer["class_name"] == "Dense"
    )


def replace_layer(module, name, /, registered_name=None, **config):
    """An edit that puts another class in the place of the first hidden layer."""

    def edit(file):
        layer = first_layer(file)
        layer |= {"module": module, "class_name": name, "registered_name": registered_name}
        layer["config"] = {"name": "hidden", "trainable": True} | config

    return edit


COMMAND = f"open('{MARK}', 'w')"
CODE = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
CLASSES = {
    "lambda": replace_layer("keras.layers", "Lambda", function=CODE),
    "lambda of a name": replace_layer("keras.layers", "Lambda", function="eval", arguments={"source": COMMAND}),
    "lambda as registered": replace_layer("keras.layers", "Dense", registered_name="Lambda", function=CODE),
    "os.system": replace_layer("os", "system", command=f"touch {MARK}"),
    "builtins.eval": replace_layer("builtins", "eval", source=COMMAND),
    "subprocess.Popen": replace_layer("subprocess", "Popen", args=["touch", MARK]),
    "keras's own file reader": replace_layer("keras.src.utils.file_utils", "get_file", origin="file:///etc/passwd"),
    "loader of another model": replace_layer("keras.saving", "load_model", filepath="other.keras"),
    "TFSMLayer": replace_layer("keras.layers", "TFSMLayer", filepath="/tmp/saved_model"),
    "TorchModuleWrapper": replace_layer("keras.layers", "TorchModuleWrapper", module="gASVAA=="),
    "vocabulary from a file": replace_layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "layer of an unknown package": replace_layer("evil", "Dense", registered_name="evil>Dense"),
    "keras_hub": replace_layer("keras_hub.layers", "Dense"),
    "legacy layer without a module": lambda file: first_layer(file).pop("module"),
    "vaezoo's own module, no such class": replace_layer("vaezoo.zoo", "load", registered_name="vaezoo>load", run="."),
    "vaezoo's name, another module": replace_layer("os", "VAE", registered_name="vaezoo>VAE"),
    "function": lambda file: first_layer(file)["config"].update(
        activation={"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"}
    ),
    "text of any length": lambda file: file.config["config"].update(
        seed={"class_name": "__numpy__", "config": {"value": [""], "dtype": "S1000000000"}}
    ),
    "class in the optimizer": lambda file: file.config["compile_config"].update(
        optimizer={"module": "os", "class_name": "system", "config": {}, "registered_name": None}
    ),
    "class whose name is no text": lambda file: file.config.update(class_name=["VAE"]),
    "module that is no text": lambda file: file.config.update(module={"os": 1}),
}


@pytest.mark.parametrize("edit", CLASSES.values(), ids=CLASSES)
def test_a_class_that_no_model_has_is_refused_before_it_is_run(edit, run, capsys, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was asked to load it"))
    spoil(run, edit)
    assert "which no model of vaezoo has" in refusal(capsys, "sample", run, "-n", "1")
    assert not os.path.exists(MARK)


def test_a_layer_that_loading_would_run_is_refused_before_it_is_run(run, capsys, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was asked to load it"))
    full = {"module": "keras.src.ops.numpy", "class_name": "Full", "registered_name": "Full", "name": "full"}
    full |= {"config": {"name": "full", "shape": [10**6, 10**6]}, "inbound_nodes": [{"args": [0.5], "kwargs": {}}]}
    spoil(run, lambda file: file.config["config"]["encoder"]["config"]["layers"].append(full))
    assert "it calls 'full' on constants alone" in refusal(capsys, "sample", run, "-n", "1")


def test_a_lambda_is_refused_even_with_keras_set_to_unsafe(run, capsys):
    with keras.src.saving.serialization_lib.SafeModeScope(safe_mode=False):
        spoil(run, CLASSES["lambda"])
        assert "keras.layers.Lambda" in refusal(capsys, "sample", run, "-n", "1")


@keras.saving.register_keras_serializable("vaezoo")
class OwnDense(keras.layers.Dense):
    """What a user of vaezoo may add to it, in a module of their own."""


@keras.saving.register_keras_serializable("other")
class OtherDense(keras.layers.Dense):
    """Registered, but not with vaezoo."""


@keras.saving.register_keras_serializable("vaezoo")
def own_function(*_, **__):
    raise AssertionError("a file has called a function")


def own(name, module=__name__, registered_name=None):
    return replace_layer(module, name, registered_name=registered_name or f"vaezoo>{name}", units=4)


def test_a_class_that_is_registered_with_vaezoo_is_trusted_whatever_its_module(tmp_path):
    x = keras.Input((3,))
    network = keras.Model(x, OwnDense(4)(x))
    network.save(tmp_path / "own.keras")
    loaded = keras_files.load_keras_file(tmp_path / "own.keras")
    assert type(loaded.layers[1]) is OwnDense
    np.testing.assert_array_equal(loaded.get_weights()[0], network.get_weights()[0])


OTHERS = {
    "a class of another package": own("OtherDense", registered_name="other>OtherDense"),
    "another package, as if it were vaezoo's": own("OtherDense"),
    "another module than the registered one": own("OwnDense", "elsewhere"),
    "a class that is not registered here": own("NotImported"),
    "the name without the package": own("OwnDense", registered_name="OwnDense"),
    "a function": own("own_function"),
}


@pytest.mark.parametrize("edit", OTHERS.values(), ids=OTHERS)
def test_any_other_class_of_the_same_module_is_refused(edit, run, capsys):
    spoil(run, edit)
    line = refusal(capsys, "sample", run, "-n", "1")
    assert "which no model of vaezoo has; if it is your own, register it with Keras under the package 'vaezoo'" in line


def members(edit):
    return lambda file: edit(file.members)


CONTENTS = {
    "no weights": (members(lambda m: m.pop("model.weights.h5")), "it holds config.json, metadata.json"),
    "a member beside": (members(lambda m: m.update({"assets/words.txt": b""})), "assets/words.txt"),
    "a member above": (members(lambda m: m.update({"../evil.py": b""})), "../evil.py"),
    "an absolute member": (members(lambda m: m.update({"/tmp/evil.py": b""})), "/tmp/evil.py"),
    "terminal codes in a name": (members(lambda m: m.update({"\x1b[2J\nvaezoo: ok": b""})), "it holds"),
    "configuration is a list": (lambda file: setattr(file, "config", [1, 2]), "cannot be loaded"),
    "configuration is empty": (lambda file: setattr(file, "config", {}), "cannot be loaded"),
    "too large a configuration": (lambda file: file.config.update(x="x" * 3_000_000), "larger than 2,097,152 bytes"),
    "weights that are no HDF5": (members(lambda m: m.update({"model.weights.h5": b"junk" * 99})), "cannot be loaded"),
    "weights cut short": (members(lambda m: m.update({"model.weights.h5": m["model.weights.h5"][:5000]})), "cannot be"),
    "more units than stored": (lambda file: first_layer(file)["config"].update(units=5), "cannot be loaded"),
    "negative units": (lambda file: first_layer(file)["config"].update(units=-1), "cannot be loaded"),
    "units as text": (lambda file: first_layer(file)["config"].update(units="many"), "cannot be loaded"),
    "an unknown argument": (lambda file: first_layer(file)["config"].update(evil=1), "cannot be loaded"),
    "an unknown activation": (lambda file: first_layer(file)["config"].update(activation="os.system"), "cannot be"),
}


@pytest.mark.parametrize(("edit", "message"), CONTENTS.values(), ids=CONTENTS)
def test_broken_contents(edit, message, run, capsys):
    spoil(run, edit)
    assert message in refusal(capsys, "sample", run, "-n", "1")


FIRST = "encoder/layers/dense/vars"  # where the first layer's weights lie


def replace(make):
    """An edit of the weights that puts something else in the place of the first array."""

    def edit(file):
        group = file[FIRST]
        del group["0"]
        make(group)

    return edit


def virtual(group):
    layout = h5py.VirtualLayout(shape=(64, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(64, 4))
    group.create_virtual_dataset("0", layout)


WEIGHTS = {
    "external link": replace(lambda group: group.update({"0": h5py.ExternalLink("/etc/passwd", "/x")})),
    "soft link": replace(lambda group: group.update({"0": h5py.SoftLink("/optimizer")})),
    "external storage": replace(
        lambda group: group.create_dataset("0", (64, 4), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    ),
    "virtual": replace(virtual),
    "claimed, not stored": replace(lambda group: group.create_dataset("0", (10**6, 10**6), "f4", chunks=(64, 4))),
    "compressed": replace(lambda group: group.create_dataset("0", data=np.zeros((10**4, 100)), compression="gzip")),
    "text": replace(lambda group: group.create_dataset("0", data=["a"] * 3)),
    "references": replace(lambda group: group.create_dataset("0", (3,), h5py.ref_dtype)),
    "structures": replace(lambda group: group.create_dataset("0", (3,), np.dtype([("a", "f4")]))),
    "a type": replace(lambda group: group.update({"0": np.dtype("f4")})),
    "missing": replace(lambda group: None),
    "another shape": replace(lambda group: group.create_dataset("0", data=np.zeros((64, 3), "f4"))),
    "a group that holds itself": lambda file: file[FIRST].update({"0x": file["encoder"]}) or file[FIRST].pop("0"),
}


@pytest.mark.parametrize("edit", WEIGHTS.values(), ids=WEIGHTS)
def test_hostile_weights(edit, run, capsys):
    spoil(run, lambda file: file.edit_weights(edit))
    assert "cannot be loaded" in refusal(capsys, "sample", run, "-n", "1")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def compress(path):
    KerasFile(path).write(path, zipfile.ZIP_DEFLATED)


def lie_about_sizes(path):
    """The directory says that the weights take 1 TB."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")
    content[entry + 20 : entry + 28] = struct.pack("<LL", 2**32 - 2, 2**32 - 2)
    path.write_bytes(content)


def flip(path):
    """A bit of a weight, which the checksum of the zip notices."""
    content = bytearray(path.read_bytes())
    content[content.index(b"model.weights.h5") + 3000] ^= 1
    path.write_bytes(content)


def no_configuration(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")


def many_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3000):
            archive.writestr(str(number), b"")


def a_folder(path):
    path.unlink()
    path.mkdir()


def legacy(path):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"


FILES = {
    "empty": lambda path: path.write_bytes(b""),
    "junk": lambda path: path.write_bytes(b"\x80\x04\x95junk" * 100),
    "pickle": lambda path: path.write_bytes(b"cos\nsystem\n(S'touch vaezoo_was_here'\ntR."),
    "cut short": cut,
    "compressed": compress,
    "false sizes": lie_about_sizes,
    "flipped bit": flip,
    "no configuration": no_configuration,
    "many members": many_members,
    "HDF5 of Keras 2": legacy,
    "a folder": a_folder,
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_what_is_no_keras_file(make, run, capsys):
    make(run / "model.keras")
    assert "model.keras" in refusal(capsys, "sample", run, "-n", "1")
    assert not os.path.exists(MARK)


def test_a_decoder_is_no_run(run, capsys):
    shutil.copy(run / "decoder.keras", run / "model.keras")
    assert "holds no VAE but a Functional" in refusal(capsys, "sample", run, "-n", "1")


@pytest.mark.parametrize("name", ["decoder.keras", "encoder.keras"])
def test_standalone_files_go_through_the_same_reader(name, run):
    assert keras_files.load_keras_file(run / name).input_shape
    file = KerasFile(run / name)
    file.config["config"]["layers"][1] |= {"class_name": "Lambda", "config": {"function": CODE}}
    file.write(run / name)
    with pytest.raises(VaezooError, match="Lambda', which no model"):
        keras_files.load_keras_file(run / name)


def test_weights_that_are_written_anew_load(run):
    # So what refuses the hostile ones is what is wrong with them, not that they were edited.
    file = KerasFile(run / "model.keras")
    file.edit_weights(replace(lambda group: group.create_dataset("0", data=np.full((64, 4), 0.5, "f4"))))
    file.write(run / "model.keras")
    assert (vaezoo.load(run).encoder.get_weights()[0] == 0.5).all()


def test_nothing_is_written_through_a_link_in_a_strangers_run(run, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    (run / "pictures").symlink_to(tmp_path / "elsewhere")
    assert "pictures' is a link to" in refusal(capsys, "sample", run, "-n", "1")
    assert not list((tmp_path / "elsewhere").iterdir())
    (run / "pictures").unlink()
    (run / "pictures").mkdir()
    for name in (".writing.sample.png", ".writing.sample.npz", "sample.png", "sample.npz"):
        (run / "pictures" / name).symlink_to(tmp_path / "mine.txt")
    assert main(["sample", str(run), "-n", "1"]) == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_only_arithmetic_is_let_in():
    # Each layer by its own account: its constructor takes no function, and names no file.
    for name in keras_files.LAYERS:
        parameters = set(inspect.signature(getattr(keras.layers, name).__init__).parameters)
        assert not parameters & {"function", "fn", "module", "filepath", "vocabulary", "path", "layer", "cell"}, name
    assert sys.modules.keys() >= keras_files.FAMILIES.keys()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value, run, capsys):
    kernel = np.full((64, 4), 0.5, "f4")
    kernel[3, 2] = value
    spoil(run, lambda file: file.edit_weights(replace(lambda group: group.create_dataset("0", data=kernel))))
    for command in (("sample", run, "-n", "1"), ("evaluate", run)):
        assert "are not finite" in refusal(capsys, *command)

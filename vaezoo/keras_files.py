"""Keras files from anybody: looked through before Keras opens them, so that nothing in them is run.

A `.keras` file is a zip of three members: metadata.json, config.json, which names classes and their arguments, and
model.weights.h5, an HDF5 file. Keras makes whatever classes the configuration names, and its own safe mode has been
got round before (CVE-2025-1550, -8747, -9905, -9906). vaezoo's models are made of few classes: those alone are let in.
"""

import io
import json
import struct
import sys
import zipfile

import h5py
import keras

from vaezoo.errors import VaezooError
from vaezoo.weight_limit import weights_within

MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
LARGEST_CONFIG = 2**21  # bytes; that of conv_vae is 20 KiB
LARGEST_DIRECTORY = 2**12  # bytes; of three members it is 200
UNSTORED = 2**16  # bytes of variables that a model has and a file need not hold, as the means of its metrics

NUMBERS = ("bool", "int32", "int64", "float32", "float64")

# Layers that do arithmetic alone: none takes a function, opens a file or looks anything up.
LAYERS = {
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Conv2DTranspose", "Dense", "DepthwiseConv2D", "Dropout", "ELU", "Embedding", "Flatten",
    "GlobalAveragePooling2D", "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LeakyReLU",
    "MaxPooling2D", "Multiply", "Permute", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax", "Subtract",
    "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
}  # fmt: skip
# Other modules of Keras, and what of each is let in: every subclass of this one.
FAMILIES = {
    "keras": keras.DTypePolicy,
    "keras.initializers": keras.initializers.Initializer,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.src.models.functional": keras.Model,
    "keras.src.ops.nn": keras.Operation,
    "keras.src.ops.numpy": keras.Operation,
}


def load_keras_file(path):
    """The model in a `.keras` file that vaezoo wrote: a `VAE`, or a standalone encoder or decoder.

    It takes no more memory than a few times the size of the file.

    Args:
        path: of the file.

    Returns:
        A Keras model.

    Raises:
        VaezooError: for a file that is broken, or holds anything that no model of vaezoo's has: a `Lambda`, an
            unknown class, a member that does not belong, weights that lie in another file. Nothing of it was run.
    """
    try:
        size = check_keras_file(path)
        with weights_within(size + UNSTORED, "its configuration asks for more weights than it holds"):
            return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras's and HDF5's readers raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VaezooError(f"'{path}' cannot be loaded: {reason}") from error


def check_keras_file(path):
    """Look through a file without loading it.

    Args:
        path: of the file.

    Returns:
        The bytes of its weights.

    Raises:
        ValueError: saying what is wrong with it. (The readers of zip, JSON and HDF5 may raise other kinds.)
    """
    with open(path, "rb") as file:
        if _directory_size(file) > LARGEST_DIRECTORY:
            raise ValueError("it has more members than a Keras file has")
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist())
            _check_config(json.loads(archive.read("config.json")))
            weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights), "r") as opened:
        _check_weights(opened)
    return len(weights)


def _directory_size(file):
    """The size of the zip's list of members, which stands at its very end; `zipfile` would read one of any size."""
    file.seek(0, io.SEEK_END)
    file.seek(-min(98, file.tell()), io.SEEK_END)
    tail = file.read()
    if tail[-22:-18] != b"PK\5\6":
        raise ValueError("it is no Keras file, or has lost its end")
    (size,) = struct.unpack("<L", tail[-10:-6])
    if tail[-42:-38] == b"PK\6\7":  # above 2 GiB a wider record stands before it
        (wide,) = struct.unpack("<Q", tail[-58:-50])
        size = max(size, wide)
    return size


def _check_members(members):
    names = sorted(member.filename for member in members)
    if names != sorted(MEMBERS):
        raise ValueError(f"it holds {', '.join(names) or 'nothing'}, and a Keras file {', '.join(MEMBERS)}")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"its {member.filename} is compressed, which Keras never does")
        if member.filename.endswith(".json") and member.file_size > LARGEST_CONFIG:
            raise ValueError(f"its {member.filename} is larger than {LARGEST_CONFIG:,} bytes")


def _check_config(config):
    """Raise unless every class that the configuration names, at any depth, is one that vaezoo's models have."""
    if not isinstance(config, dict):
        raise ValueError("its config.json describes no model")
    rest = [config]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            if "class_name" in part and not _is_ours(part):
                name = ".".join(str(part[key]) for key in ("module", "class_name") if part.get(key))
                raise ValueError(f"it holds the class '{name}', which no model of vaezoo's has")
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)


def _is_ours(part):
    name, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
    if name in (
        "__keras_tensor__",
        "__slice__",
        "__ellipsis__",
    ):  # how the configuration of a network writes x[..., 1:]
        return True
    if name == "__numpy__":  # a constant; as text its items could be of any length
        return part["config"]["dtype"] in NUMBERS
    if not (isinstance(name, str) and isinstance(module, str)):
        return False
    if module.startswith("vaezoo."):
        known = keras.saving.get_custom_objects().get(f"vaezoo>{name}")
        return registered == f"vaezoo>{name}" and getattr(known, "__module__", None) == module
    if registered not in (None, name):  # Keras would take the class of this name instead
        return False
    if module == "keras.layers":
        return name in LAYERS
    found = getattr(sys.modules[module], name, None) if module in FAMILIES else None
    return isinstance(found, type) and issubclass(found, FAMILIES[module])


def _check_weights(file):
    """Raise unless every array lies in this very file, in full."""
    groups, seen = [file], set()
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its weights hold the link '{name}'; those of a Keras file hold none")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif not (isinstance(item, h5py.Dataset) and _is_plain(item)):
                raise ValueError(f"its weights '{item.name}' are not numbers that are stored in the file itself")


def _is_plain(dataset):
    stored = dataset.id.get_storage_size()  # none of a dataset that is virtual or lies in an external file
    return dataset.dtype.kind in "iuf" and not dataset.external and stored == dataset.nbytes

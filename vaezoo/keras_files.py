"""Keras files from untrusted sources: checked before Keras opens them, so that nothing in them is run.

A `.keras` file is a zip archive of three members: metadata.json; config.json, which names classes and their arguments;
and model.weights.h5, an HDF5 file. Keras makes any class that the configuration names, and its safe mode has been
bypassed before (CVE-2025-1550, -8747, -9905, -9906). Here, only the few classes that vaezoo's models need are allowed.
"""

import contextlib
import io
import json
import sys

import h5py
import keras
import numpy as np

from vaezoo import internals
from vaezoo.errors import VaezooError
from vaezoo.keras_archives import open_keras_archive
from vaezoo.regular_files import reason
from vaezoo.weight_limit import weights_within

PACKAGE = "vaezoo"  # classes that are registered with Keras under this name are trusted
UNSTORED = 2**16  # bytes of variables of a model that a file may lack, such as the means of its metrics

NUMBERS = ("bool", "int32", "int64", "float32", "float64")
SLICES = ("__keras_tensor__", "__slice__", "__ellipsis__")  # the parts of x[..., 1:] in the configuration of a network

# Layers that only do arithmetic: none takes a function, opens a file or looks anything up.
LAYERS = {
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "ELU", "Embedding", "Flatten", "GRU",
    "GRUCell", "GlobalAveragePooling2D", "GroupNormalization", "Identity", "InputLayer", "LayerNormalization",
    "LeakyReLU", "MaxPooling2D", "Multiply", "Permute", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax",
    "Subtract", "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
}  # fmt: skip
# Other modules of Keras; all subclasses of the given class are allowed.
FAMILIES = {
    "keras": keras.DTypePolicy,
    "keras.initializers": keras.initializers.Initializer,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    internals.FUNCTIONAL: keras.Model,
    **dict.fromkeys(internals.OPERATIONS, keras.Operation),
}


def load_keras_file(path):
    """The model in a `.keras` file that vaezoo wrote: a `VAE`, or a standalone encoder or decoder.

    Loading takes at most a few times as much memory as the size of the file.

    Args:
        path: of the file.

    Returns:
        A Keras model.

    Raises:
        VaezooError: if the file is broken, or holds anything that no model of vaezoo has: a `Lambda`, an unknown class,
            an additional member, weights in another file. Nothing in it was run.
    """
    with _plain_errors(path):
        size = check_keras_file(path)
        with weights_within(size + UNSTORED, "its configuration asks for more weights than it holds"):
            return keras.saving.load_model(path, safe_mode=True)


def load_weights(model, path):
    """Load the weights of a `.keras` file, and the variables of its optimizer, into the same model.

    The learning rate is left as it is, and the schedule may be another one than that of the file.

    Raises:
        VaezooError: as `load_keras_file`, or if the weights or the variables do not fit the model.
    """
    with _plain_errors(path):
        check_keras_file(path)
        optimizer, model.optimizer = model.optimizer, None  # Keras would load the rate, or leave out all variables
        try:
            model.load_weights(path)
        finally:
            model.optimizer = optimizer
        with open_keras_archive(path) as archive:
            weights = archive.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as opened:
            _load_optimizer(optimizer, opened["optimizer/vars"])


def _load_optimizer(optimizer, stored):
    """Give an optimizer its variables but the learning rate, which is one of them under a constant schedule alone."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # under mixed_float16 it is wrapped
    variables, values = optimizer.variables, [stored[str(number)][()] for number in range(len(stored))]
    place = 1 + next(number for number, variable in enumerate(variables) if variable is inner.iterations)
    if variables[place].name == "learning_rate":
        del variables[place]
    if len(values) == len(variables) + 1:
        del values[place]
    if len(values) != len(variables):
        raise ValueError(f"it holds {len(values)} variables of an optimizer that has {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_keras_file(path):
    """Check a file without loading it.

    Args:
        path: of the file.

    Returns:
        The size of its weights in bytes.

    Raises:
        ValueError: if it must not be loaded; the message says why. The readers of zip, JSON and HDF5 raise others.
    """
    with open_keras_archive(path) as archive:
        _check_config(json.loads(archive.read("config.json")))
        weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights), "r") as opened:
        check_weights(opened)
    return len(weights)


@contextlib.contextmanager
def _plain_errors(path):
    try:
        yield
    except Exception as error:  # the readers of Keras and HDF5 raise many types
        raise VaezooError(f"'{path}' cannot be loaded: {reason(error)}") from error


def _check_config(config):
    """Raise unless every class in the configuration, at any depth, is allowed, and no layer is run by loading it."""
    if not isinstance(config, dict):
        raise ValueError("its config.json describes no model")
    for part in _sections(config):
        if "class_name" in part and not _is_allowed(part):
            name = ".".join(str(part[key]) for key in ("module", "class_name") if part.get(key))
            hint = f"; if it is your own, register it with Keras under the package '{PACKAGE}', and import it first"
            hint = "" if str(part.get("module")).startswith("keras") else hint
            raise ValueError(f"it holds the class '{name}', which no model of vaezoo has{hint}")
        # Keras runs a layer whose arguments are all constants at once; its result could have any size.
        for call in part.get("inbound_nodes") or []:
            if not any(section.get("class_name") == "__keras_tensor__" for section in _sections(call)):
                raise ValueError(f"it calls '{part.get('name')}' on constants alone, which no model of vaezoo does")


def _sections(config):
    """Every dictionary in a configuration, at any depth."""
    rest = [config]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            yield part
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)


def _is_allowed(part):
    name, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
    if name in SLICES:
        return True
    if name == "__numpy__":  # a constant; items of text could have any length
        return part["config"]["dtype"] in NUMBERS
    if not isinstance(name, str):
        return False
    if registered == f"{PACKAGE}>{name}":  # code of this process has registered it, in whatever module
        known = keras.saving.get_custom_objects().get(registered)
        return isinstance(known, type) and known.__module__ == ("__main__" if module is None else module)  # as in Keras
    if not isinstance(module, str):
        return False
    if registered not in (None, name):  # Keras would make the class of this name instead
        return False
    if module == "keras.layers":  # an unrolled one takes time for each step of a sequence, of any length
        return name in LAYERS and not part["config"].get("unroll")
    found = getattr(sys.modules[module], name, None) if module in FAMILIES else None
    return isinstance(found, type) and issubclass(found, FAMILIES[module])


def check_weights(file):
    """Raise a ValueError unless every array of an open HDF5 file lies completely in it, and is finite."""
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
            elif not np.isfinite(item[()]).all():
                raise ValueError(f"its weights '{item.name}' are not finite: they hold NaN or infinity")


def _is_plain(dataset):
    stored = dataset.id.get_storage_size()  # 0 for a dataset that is virtual or lies in another file
    return dataset.dtype.kind in "iuf" and not dataset.external and stored == dataset.nbytes

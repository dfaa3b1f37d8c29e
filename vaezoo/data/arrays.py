"""Images, vectors and token sequences in .npy and .npz files, checked before training."""

import dataclasses
import math

import numpy as np

from vaezoo.data.dataset import make_data, name_classes
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.npy import NpyFile
from vaezoo.data.tabular import DROP, check_names, make_table, rows_of_cells
from vaezoo.errors import VaezooError, unknown
from vaezoo.spec import Spec

# How an .npz names its arrays: examples and labels, then those of the test split.
KEYS = (
    ("images", "labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),  # Keras
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
    ("x", "y", "x_test", "y_test"),
    ("tokens", "labels", "test_tokens", "test_labels"),  # sequences
)
NAMES = {"image": "images", "vector": "vectors", "sequence": "tokens"}
TYPES = {"image": "uifb", "vector": "uifb", "sequence": "ui"}  # `kind` of the dtype
SHAPES = {
    "image": "[N, H, W] or [N, H, W, C] for images, or [N, F] for vectors",
    "vector": "[N, F]",
    "sequence": "[N, T]",
}
NPZ_LIMIT = 2**32  # bytes: an .npz is held in memory, and one of a few kilobytes can unpack to terabytes
CHUNK = 2**26  # bytes converted at a time, so that checking a large file takes little memory


def load(name, path, preparation, columns, validation, seed, memory_limit):
    """The data set in an .npy or .npz file.

    Images are [N, H, W] or [N, H, W, C] with C from 1 to 4: uint8 or other integers in 0..255, floats in [0, 1], or
    bool. Vectors are [N, F]: finite floats, integers or bool, used as float32. With `columns` they are the rows of a
    table, where NaN is a missing cell; an .npz may name the columns in "feature_names" [F]. Token sequences are
    integers >= 0 [N, T], under the key "tokens" of an .npz. An .npz names its arrays as in KEYS; labels are integers
    [N], and they and the test arrays are optional.

    Args:
        name: as given to load_data.
        path: of the file.
        preparation: a `Preparation`; without image_size, images keep their size.
        columns: name → type, as in load_data; None for vectors that are plain numbers.
        validation: fraction of the training examples to hold out.
        seed: chooses the validation examples.
        memory_limit: bytes; an .npy that needs more is read from disk when needed.

    Raises:
        VaezooError: for a file that cannot be used; the message names the reason.
    """
    arrays = _open(name, path, max(NPZ_LIMIT, memory_limit))
    key, x, labels, test_x, test_labels = _pick(name, arrays) if isinstance(arrays, dict) else ("", arrays, *[None] * 3)
    kind = "sequence" if key == "tokens" else "vector" if len(x.shape) == 2 else "image"
    x = _shaped(name, kind, x)
    if columns and kind != "vector":
        raise VaezooError(f"columns= is for vectors, and '{name}' holds {NAMES[kind]}: leave it out")
    if columns is not None and kind == "vector":
        return _table(name, arrays, x, labels, test_x, test_labels, columns, validation, seed, memory_limit)
    levels = _check_values(name, kind, x)
    if test_x is not None:
        test_x = _shaped(name, kind, test_x)
        test_levels = _check_values(name, kind, test_x)
        levels = levels and max(levels, test_levels)
        compared = slice(1 if preparation.image_size is None else 3, None)
        if test_x.shape[compared] != x.shape[compared]:
            shapes = f"{x.shape} for training, {test_x.shape} for test"
            raise VaezooError(f"'{name}' has {NAMES[kind]} of different shapes: {shapes}; make them equal.")
        if (labels is None) != (test_labels is None):
            raise VaezooError(f"'{name}' has labels for only one of its two splits: give both or neither.")
    given = [_checked_labels(name, *pair) for pair in ((x, labels), (test_x, test_labels))]
    class_names, labels, test_labels = name_classes(*given)
    spec = Spec(kind, x.shape[1:], levels, len(class_names or ()))
    if preparation.image_size is not None:
        spec.require_image(f"image_size={preparation.image_size} (instead of None)")
        spec = dataclasses.replace(spec, shape=(*preparation.image_size, spec.shape[2]))
    stream = isinstance(arrays, NpyFile) and len(x) * spec.size * np.dtype(_held_type(x, spec)).itemsize > memory_limit
    train = _split(x, spec, labels, stream, preparation)
    test = None if test_x is None else _split(test_x, spec, test_labels, stream, preparation)
    return make_data(name, train, test, class_names, validation, seed, image_size=preparation.image_size)


def _table(name, arrays, x, labels, test_x, test_labels, asked, validation, seed, memory_limit):
    """The vectors of a file as the rows of a table."""
    parts = [x] if test_x is None else [x, _shaped(name, "vector", test_x)]
    if len({part.shape[1] for part in parts}) > 1 or (test_x is not None and (labels is None) != (test_labels is None)):
        raise VaezooError(f"'{name}' has splits that differ in their columns or labels: make them equal")
    needed = sum(len(part) for part in parts) * x.shape[1] * 8
    if needed > memory_limit:
        raise VaezooError(
            f"'{name}' needs {needed / 2**30:,.1f} GiB as a table, and the limit is {memory_limit / 2**30:,.1f} GiB: "
            "give fewer rows, or set model.likelihood=normal, which takes plain numbers"
        )
    names = _feature_names(name, arrays, x) or [f"x{place}" for place in range(x.shape[1])]
    for each in asked:
        if each not in names:
            raise unknown(f"column in '{name}'", each, names)
    rows = np.concatenate([part[:] for part in parts])
    dtype = {"b": "bool", "f": "float64"}.get(rows.dtype.kind, "int64")
    given = {
        each: (rows[:, place].astype("float64"), dtype) for place, each in enumerate(names) if asked.get(each) != DROP
    }
    own = [_checked_labels(name, *pair) for pair in zip(parts, (labels, test_labels), strict=False)]
    labels = None if labels is None else np.concatenate(own)
    return make_table(name, given, labels, asked, validation, seed, None if test_x is None else len(test_x))


def _feature_names(name, arrays, x):
    """The names of the columns of the vectors x [N,F]; None where the file has none."""
    names = arrays.get("feature_names") if isinstance(arrays, dict) else None
    if names is None:
        return None
    names = [str(each) for each in np.ravel(names)]
    if not len(set(names)) == len(names) == x.shape[1] or not all(each.isprintable() for each in names):
        raise VaezooError(
            f"'{name}' has {len(set(names))} different feature_names for {x.shape[1]} columns: name each once"
        )
    return names


def load_all(name, path, spec, preparation, further=()):
    """Every example of an .npy or .npz file as one split, prepared for a model of such examples, and their labels.

    The columns of a table are matched by "feature_names" [F]. A file without them has the columns x0, x1, ..., as in
    training; or else those of the model, in its order.

    Args:
        name: as the user gave it.
        path: of the file. Of an .npz the first array of an entry of KEYS is taken, with its labels.
        spec: the `Spec` of the model's examples.
        preparation: the `Preparation` of the model's data; without image_size, images must have the size of the spec.
        further: names of columns that a table may have and the model has not.

    Returns:
        (a split of the spec without classes, labels [N] or None).

    Raises:
        VaezooError: for a file that cannot be used, or examples of another kind, size or number of channels.
    """
    found = _open(name, path, NPZ_LIMIT)
    _, x, labels, *_ = _pick(name, found) if isinstance(found, dict) else ("", found, None)
    x = _shaped(name, spec.kind, x)
    if spec.columns:
        return _rows(name, found, x, spec, further), _checked_labels(name, x, labels)
    _check_values(name, spec.kind, x)
    free = 2 if spec.is_image and preparation.image_size is not None else 0  # axes that become those of the spec
    if x.shape[1 + free :] != spec.shape[free:]:
        sizes = "×".join(map(str, x.shape[1:]))
        raise VaezooError(
            f"'{name}' holds {NAMES[spec.kind]} of {sizes}, and this model takes {spec}: bring them to it."
        )
    labels = _checked_labels(name, x, labels)
    return _split(x, spec.with_classes(0), None, isinstance(found, NpyFile), preparation), labels


def _rows(name, arrays, x, spec, further):
    """The vectors x of a file as rows of the columns of a model."""
    own, width = [column.name for column in spec.columns], x.shape[1]
    names = _feature_names(name, arrays, x)
    if names is None:
        names = [f"x{place}" for place in range(width)]
        if not {*own} <= {*names}:
            if width != len(own):
                raise VaezooError(
                    f"'{name}' holds vectors of {width}, and this model takes {spec}: bring them to it, or name the "
                    "columns in 'feature_names' of an .npz"
                )
            names = own
    check_names(names, spec.columns, name, further)
    cells = np.asarray(x[:], "float64")[:, [names.index(each) for each in own]]
    return ArraySplit(rows_of_cells(cells.T, spec.columns, name), spec.with_classes(0))


def _open(name, path, npz_limit):
    """The `NpyFile` of an .npy, or the dict of arrays in an .npz; never unpickles."""
    try:
        if path.suffix.lower() == ".npy":
            return NpyFile(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            wanted = [key for key in file.files if any(key in keys for keys in KEYS) or key == "feature_names"]
            unpacked = sum(m.file_size for m in file.zip.infolist() if m.filename.removesuffix(".npy") in wanted)
            if unpacked > npz_limit:
                raise VaezooError(
                    f"'{name}' unpacks to {unpacked / 2**30:,.1f} GiB, and the limit is {npz_limit / 2**30:,.1f} GiB: "
                    "save images or vectors as an .npy file, which is read when needed, or images as a folder."
                )
            # (a member that is not an array is read as bytes)
            return {**dict.fromkeys(file.files), **{key: np.asarray(file[key]) for key in wanted}}
    except VaezooError:
        raise
    except Exception as error:  # the readers of NumPy, zip and its compressions raise many types
        what = "objects" if "object" in str(error).lower() else "no readable array"
        raise VaezooError(
            f"'{name}' holds {what} ({str(error).splitlines()[0] if str(error) else type(error).__name__}): save a "
            "plain number array with np.save or np.savez."
        ) from error


def _pick(name, arrays):
    """(key of the examples, then the four arrays of that entry of KEYS; None for those that are absent)."""
    for keys in KEYS:
        if arrays.get(keys[0]) is not None:
            x, labels, test_x, test_labels = map(arrays.get, keys)
            if test_labels is not None and test_x is None:
                raise VaezooError(f"'{name}' holds '{keys[3]}' and no '{keys[2]}': add it, or leave out '{keys[3]}'.")
            return keys[0], x, labels, test_x, test_labels
    raise VaezooError(
        f"'{name}' holds {', '.join(arrays) or 'nothing'}: name images 'images' and vectors 'x' (their labels 'labels' "
        "and 'y'), and token sequences 'tokens' (labels 'labels')."
    )


def _shaped(name, kind, x):
    """The examples, with their type and shape checked; images [N,H,W] become [N,H,W,1]."""
    what, shape = f"the {NAMES[kind]} of '{name}'", tuple(x.shape)
    if x.dtype.kind not in TYPES[kind]:
        allowed = "integers" if kind == "sequence" else "integers, floats or bool"
        raise VaezooError(f"{what} are {x.dtype}: they must be {allowed}.")
    if len(shape) not in ((3, 4) if kind == "image" else (2,)):
        raise VaezooError(f"{what} have shape {shape}: it must be {SHAPES[kind]}.")
    if 0 in shape:
        raise VaezooError(f"{what} have shape {shape}: the array is empty.")
    if len(shape) == 4 and shape[-1] > 4:
        hint = ": move the channels last" if shape[1] <= 4 else ""
        raise VaezooError(f"{what} have shape {shape}: [N, H, W, C] has 1 to 4 channels, C{hint}.")
    return x.reshape(*shape, 1) if len(shape) == 3 else x


def _check_values(name, kind, x):
    """Raise unless the values suit the kind of example; returns the levels of token sequences, None for others."""
    return {"image": _check_images, "vector": _check_vectors, "sequence": _token_levels}[kind](name, x)


def _check_images(name, images):
    """Raise unless floats are finite and in [0, 1] and integers in 0..255."""
    if images.dtype.kind == "b":
        return
    low, high = math.inf, -math.inf
    for part in _parts(images):
        chunk = images[part]
        low, high = min(low, chunk.min()), max(high, chunk.max())
        if images.dtype == "uint8" and high > 1:
            return  # any other value is valid too: the rest need not be read
        if images.dtype.kind == "f" and not np.isfinite(chunk).all():
            raise VaezooError(f"the images of '{name}' hold NaN or infinity: remove them.")
    if images.dtype.kind == "f" and not -1e-6 <= low <= high <= 1 + 1e-6:
        raise VaezooError(f"the images of '{name}' are floats from {low:.4g} to {high:.4g}: scale them to [0, 1].")
    if images.dtype.kind in "ui" and not 0 <= low <= high <= 255:
        raise VaezooError(f"the images of '{name}' are integers from {low} to {high}: they must be in 0..255.")
    if images.dtype.kind in "ui" and high == 1:
        raise VaezooError(f"the images of '{name}' are integers from 0 to 1, nearly black: save them as bool.")


def _check_vectors(name, vectors):
    """Raise unless all values are finite as float32."""
    if vectors.dtype.kind != "f":
        return
    for part in _parts(vectors):
        with np.errstate(over="ignore"):
            chunk = vectors[part].astype("float32")
        if not np.isfinite(chunk).all():
            raise VaezooError(
                f"the vectors of '{name}' hold NaN, infinity or a number beyond float32: remove them, or set "
                "model.likelihood=mixed for NaN as missing."
            )


def _token_levels(name, tokens):
    """The number of levels of tokens: the largest token + 1."""
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0:
        raise VaezooError(f"the tokens of '{name}' go down to {low}: they must be 0 or more.")
    if high >= 2**31 - 1:
        raise VaezooError(f"the tokens of '{name}' go up to {high}, beyond int32: number them from 0.")
    return high + 1


def _checked_labels(name, x, labels):
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(x),):
        raise VaezooError(
            f"'{name}' has {len(x)} examples and labels of shape {labels.shape}: give one label for each."
        )
    if labels.dtype.kind not in "ui":
        raise VaezooError(f"the labels of '{name}' are {labels.dtype}: they must be integers.")
    if labels.min() < 0:
        raise VaezooError(f"the labels of '{name}' go down to {labels.min()}: they must be 0 or more.")
    return labels


def _held_type(x, spec):
    """The type that examples are held in: uint8 for images of integers or bool, else that of the spec."""
    return "uint8" if spec.is_image and x.dtype.kind != "f" else spec.dtype


def _split(x, spec, labels, stream, preparation):
    dtype = _held_type(x, spec)
    resize = spec.is_image and spec.shape[:2] != x.shape[1:3]

    def read(part):
        part = np.asarray(x[part]).astype(dtype)
        if x.dtype.kind == "b" and spec.is_image:
            part *= 255
        if x.dtype.kind == "f" and spec.is_image:
            part = np.clip(part, 0, 1)
        return preparation.fit_array(part) if resize else part

    if stream:
        return ReaderSplit(read, np.arange(len(x)), spec, dtype, labels)
    held = np.empty((len(x), *spec.shape), dtype)
    for part in _parts(x):
        held[part] = read(part)
    return ArraySplit(held, spec, labels)


def _parts(x):
    """Slices that divide the rows into parts of about CHUNK bytes."""
    step = max(1, CHUNK // (math.prod(x.shape[1:]) * x.dtype.itemsize))
    return [slice(start, start + step) for start in range(0, len(x), step)]

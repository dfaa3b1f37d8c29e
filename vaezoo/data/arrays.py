"""Images in .npy and .npz files, checked before anything is trained on them."""

import math

import numpy as np

from vaezoo.data.dataset import make_data, name_classes
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.npy import NpyFile
from vaezoo.data.records import resized
from vaezoo.errors import VaezooError

# The ways an .npz names its arrays: images and labels, then those of the test split.
KEYS = (
    ("images", "labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),  # keras
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
    ("x", "y", "x_test", "y_test"),
)
NPZ_LIMIT = 2**32  # bytes: an .npz is held whole, and one of a few kilobytes can unpack to terabytes
CHUNK = 2**26  # bytes converted at a time, so that checking a large file takes little memory


def load(name, path, image_size, validation, seed, memory_limit):
    """The data set in an .npy or .npz file.

    Images are [N, H, W] or [N, H, W, C] with C from 1 to 4: uint8 or other integers in 0..255, floats in [0, 1], or
    bool. An .npz holds them under one of KEYS, with integer labels [N] and test arrays where there are any.

    Args:
        name: as it was given to load_data.
        path: of the file.
        image_size: (H, W) or None.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: bytes; an .npy that needs more is read from disk as it is needed.

    Raises:
        VaezooError: naming what is wrong with the file.
    """
    arrays = _open(name, path, max(NPZ_LIMIT, memory_limit))
    images, labels, test_images, test_labels = _pick(name, arrays) if path.suffix == ".npz" else (arrays, *[None] * 3)
    images = _shaped(name, images)
    _check_values(name, images)
    if test_images is not None:
        test_images = _shaped(name, test_images)
        _check_values(name, test_images)
        compared = slice(1 if image_size is None else 3, 4)
        if test_images.shape[compared] != images.shape[compared]:
            shapes = f"{images.shape} to train on, {test_images.shape} to test on"
            raise VaezooError(f"'{name}' has images of different shapes: {shapes}; make them alike.")
        if (labels is None) != (test_labels is None):
            raise VaezooError(f"'{name}' has labels for only one of its two splits: give both or neither.")
    given = [_checked_labels(name, *pair) for pair in ((images, labels), (test_images, test_labels))]
    class_names, labels, test_labels = name_classes(*given)
    stream = _converted_bytes(images, image_size) > memory_limit and path.suffix == ".npy"
    train = _split(images, labels, image_size, stream)
    test = None if test_images is None else _split(test_images, test_labels, image_size, stream=False)
    return make_data(name, train, test, class_names, validation, seed)


def _open(name, path, npz_limit):
    """The `NpyFile` of an .npy, or the dict of arrays in an .npz; never unpickles."""
    try:
        if path.suffix == ".npy":
            return NpyFile(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            wanted = [key for key in file.files if any(key in keys for keys in KEYS)]
            unpacked = sum(m.file_size for m in file.zip.infolist() if m.filename.removesuffix(".npy") in wanted)
            if unpacked > npz_limit:
                raise VaezooError(
                    f"'{name}' unpacks to {unpacked / 2**30:,.1f} GiB, and at most {npz_limit / 2**30:,.1f} are held: "
                    "save the images as an .npy, which is read as it is needed, or as a folder."
                )
            # (a member that is no array comes as bytes)
            return {key: np.asarray(file[key]) for key in wanted} or dict.fromkeys(file.files)
    except VaezooError:
        raise
    except Exception as error:  # NumPy's reader, and those of zip and of its compressions, raise many kinds
        kind = "objects" if "object" in str(error).lower() else "no array that can be read"
        raise VaezooError(
            f"'{name}' holds {kind} ({str(error).splitlines()[0] if str(error) else type(error).__name__}): save a "
            "plain number array with np.save or np.savez."
        ) from error


def _pick(name, arrays):
    for keys in KEYS:
        if arrays.get(keys[0]) is not None:
            return [arrays.get(key) for key in keys]
    raise VaezooError(
        f"'{name}' holds {', '.join(arrays) or 'nothing'}: name the images 'images', the labels 'labels'."
    )


def _shaped(name, images):
    """[N, H, W] or [N, H, W, C] → [N, H, W, C]."""
    shape = tuple(images.shape)
    if images.dtype.kind not in "uifb":
        raise VaezooError(f"the images of '{name}' are {images.dtype}: they must be integers, floats or bool.")
    if len(shape) not in (3, 4):
        raise VaezooError(f"the images of '{name}' have shape {shape}: it must be [N, H, W] or [N, H, W, C].")
    if 0 in shape:
        raise VaezooError(f"the images of '{name}' have shape {shape}: there is nothing in them.")
    if len(shape) == 4 and shape[-1] > 4:
        hint = ": move the channels last" if shape[1] <= 4 else ""
        raise VaezooError(f"the images of '{name}' have shape {shape}: [N, H, W, C] has 1 to 4 channels, C{hint}.")
    return images if len(shape) == 4 else images.reshape(*shape, 1)


def _check_values(name, images):
    """Raise unless floats are finite and in [0, 1] and integers in 0..255."""
    if images.dtype.kind == "b":
        return
    low, high = math.inf, -math.inf
    for part in _parts(images):
        chunk = images[part]
        low, high = min(low, chunk.min()), max(high, chunk.max())
        if images.dtype == "uint8" and high > 1:
            return  # whatever else they hold is right, and need not be read
        if images.dtype.kind == "f" and not np.isfinite(chunk).all():
            raise VaezooError(f"the images of '{name}' hold NaN or infinity: remove them.")
    if images.dtype.kind == "f" and not -1e-6 <= low <= high <= 1 + 1e-6:
        raise VaezooError(f"the images of '{name}' are floats from {low:.4g} to {high:.4g}: scale them to [0, 1].")
    if images.dtype.kind in "ui" and not 0 <= low <= high <= 255:
        raise VaezooError(f"the images of '{name}' are integers from {low} to {high}: they must be in 0..255.")
    if images.dtype.kind in "ui" and high == 1:
        raise VaezooError(f"the images of '{name}' are integers from 0 to 1, all but black: save them as bool.")


def _checked_labels(name, images, labels):
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise VaezooError(f"'{name}' has {len(images)} images and labels of shape {labels.shape}: give one an image.")
    if labels.dtype.kind not in "ui":
        raise VaezooError(f"the labels of '{name}' are {labels.dtype}: they must be integers.")
    if labels.min() < 0:
        raise VaezooError(f"the labels of '{name}' go down to {labels.min()}: they must be 0 or more.")
    return labels


def _converted_bytes(images, image_size):
    height, width = image_size or images.shape[1:3]
    return len(images) * height * width * images.shape[3] * (4 if images.dtype.kind == "f" else 1)


def _split(images, labels, image_size, stream):
    resize = image_size is not None and image_size != images.shape[1:3]
    shape = (*(image_size or images.shape[1:3]), images.shape[3])
    dtype = "float32" if images.dtype.kind == "f" else "uint8"

    def read(part):
        part = np.asarray(images[part])
        if images.dtype.kind == "f":
            part = np.clip(part.astype("float32"), 0, 1)
        else:
            part = part.astype("uint8") * (255 if images.dtype.kind == "b" else 1)
        return _resized(part, image_size) if resize else part

    if stream:
        return ReaderSplit(read, np.arange(len(images)), shape, dtype, labels)
    held = np.empty((len(images), *shape), dtype)
    for part in _parts(images):
        held[part] = read(part)
    return ArraySplit(held, labels)


def _parts(images):
    """Slices that divide the images into parts of about CHUNK bytes."""
    step = max(1, CHUNK // (math.prod(images.shape[1:]) * images.dtype.itemsize))
    return [slice(start, start + step) for start in range(0, len(images), step)]


def _resized(images, size):
    import tensorflow as tf

    with tf.device("CPU:0"):
        return resized(images, size).numpy()

"""A folder of image files; its sub-folders are the classes."""

import concurrent.futures
import math
import os

import numpy as np

from vaezoo.data.dataset import ASK_FOR_SIZE, make_data, name_classes
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.pictures import guarded, read_header, read_image
from vaezoo.data.split import FILE_ORDER
from vaezoo.errors import VaezooError
from vaezoo.spec import Spec

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
AT_ONCE = 10_000  # files given to the threads at a time


def load(name, root, image_size, validation, seed, memory_limit):
    """The data set in a folder.

    Sub-folders are the classes, in the order of their names; images directly in the folder have no labels. If there
    are both `train` and `test`, they are the splits, each of them such a folder. Hidden files, and files without the
    extension of an image, are skipped. Images are grey if all of them are, else RGB; transparency is composited on
    white, EXIF orientation is applied, and an animation gives its first frame.

    Args:
        name: as given to load_data.
        root: path of the folder.
        image_size: (H, W) or None.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: bytes of decoded images above which they are read when needed.

    Raises:
        VaezooError: for a file that cannot be read, which it names, or a folder that cannot be used.
    """
    parts = [root / "train", root / "test"]
    has_splits = all(part.is_dir() for part in parts)
    found = [_find(name, part, root) for part in (parts if has_splits else [root])]
    class_names, *labels = name_classes(*(classes for _, classes in found))
    if class_names and any(part is None for part in labels):
        raise VaezooError(f"'{name}' has classes in only one of 'train' and 'test': give both sub-folders, or neither.")
    files = [file for part, _ in found for file in part]
    with guarded():
        headers = list(_in_threads(read_header, files))
    channels = 1 if all(grey for _, grey in headers) else 3
    sizes = {size for size, _ in headers}
    if image_size is None and len(sizes) > 1:
        other = next(i for i, (size, _) in enumerate(headers) if size != headers[0][0])
        two = " and ".join(f"'{os.path.basename(files[i])}' {headers[i][0]}" for i in (0, other))
        raise VaezooError(f"the images of '{name}' differ in size, as {two}: {ASK_FOR_SIZE}")
    spec = Spec("image", (*(image_size or headers[0][0]), channels), classes=len(class_names or ()))
    hold = len(files) * math.prod(spec.shape) <= memory_limit
    splits = [_split(part, spec, classes, hold) for (part, _), classes in zip(found, labels, strict=True)]
    return make_data(name, splits[0], splits[1] if has_splits else None, class_names, validation, seed)


def _find(name, folder, root):
    """The image files of a folder, in a fixed shuffled order, and the class of each; None without classes."""
    _refuse_escape(folder, root)
    files, classes = [], []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(sub for sub in folders if not sub.startswith("."))
        images = sorted(file for file in names if not file.startswith(".") and file.lower().endswith(EXTENSIONS))
        for link in filter(os.path.islink, (os.path.join(place, sub) for sub in folders + images)):
            _refuse_escape(link, root)
        files += [os.path.join(place, file) for file in images]
        classes += [os.path.relpath(place, folder).split(os.sep)[0]] * len(images)  # "." in the folder itself
    if not files:
        raise VaezooError(f"there are no images in '{folder}': give files with extension {', '.join(EXTENSIONS)}.")
    if "." in classes and len(set(classes)) > 1:
        raise VaezooError(f"'{folder}' has images both beside and in sub-folders: move all into one or the other.")
    shuffled = np.random.default_rng([0, FILE_ORDER]).permutation(len(files))  # so that the first are of many classes
    return [files[i] for i in shuffled], None if "." in classes else np.array(classes)[shuffled]


def _refuse_escape(link, root):
    target, inside = os.path.realpath(link), os.path.realpath(root)
    if os.path.commonpath([target, inside]) != inside:
        raise VaezooError(f"'{link}' is a link to {target}, outside the folder: copy the images in, or remove it.")


def _split(files, spec, labels, hold):
    def read(indices):
        return np.stack([read_image(files[i], spec.shape) for i in indices])

    if not hold:
        return ReaderSplit(read, np.arange(len(files)), spec, "uint8", labels)
    images = np.empty((len(files), *spec.shape), "uint8")
    with guarded():
        for i, image in enumerate(_in_threads(lambda file: read_image(file, spec.shape), files)):
            images[i] = image
    return ArraySplit(images, spec, labels)


def _in_threads(function, items):
    """The function's results in order; Pillow releases the interpreter lock while it decodes."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), AT_ONCE):  # half a million waiting tasks take 850 MB
            yield from pool.map(function, items[start : start + AT_ONCE])

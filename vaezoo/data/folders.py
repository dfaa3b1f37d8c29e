"""A folder of image files; its sub-folders are the classes."""

import concurrent.futures
import contextlib
import math
import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from vaezoo.data.dataset import ASK_FOR_SIZE, make_data, name_classes
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.split import FILE_ORDER
from vaezoo.errors import VaezooError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # what a file may really be, whatever it is called
AT_ONCE = 10_000  # files given to the threads before the next are
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")


def load(name, root, image_size, validation, seed, memory_limit):
    """The data set in a folder.

    Sub-folders are the classes, in the order of their names; images directly in the folder have no labels. Where
    there are both `train` and `test`, they are the splits, each of them such a folder. Hidden files, and files without
    an image's extension, are passed over. Images are grey where all of them are, else RGB; transparency is laid
    on white; a photograph is turned the way its EXIF says; of an animation the first frame is taken.

    Args:
        name: as it was given to load_data.
        root: path of the folder.
        image_size: (H, W) or None.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: bytes of decoded images above which they are read as they are needed.

    Raises:
        VaezooError: naming the file that cannot be read, or what is wrong with the folder.
    """
    parts = [root / "train", root / "test"]
    has_splits = all(part.is_dir() for part in parts)
    found = [_find(name, part, root) for part in (parts if has_splits else [root])]
    class_names, *labels = name_classes(*(classes for _, classes in found))
    if class_names and any(part is None for part in labels):
        raise VaezooError(f"'{name}' has classes in only one of 'train' and 'test': give both sub-folders, or neither.")
    files = [file for part, _ in found for file in part]
    with _guarded():
        headers = list(_in_threads(_header, files))
    channels = 1 if all(grey for _, grey in headers) else 3
    sizes = {size for size, _ in headers}
    if image_size is None and len(sizes) > 1:
        other = next(i for i, (size, _) in enumerate(headers) if size != headers[0][0])
        two = " and ".join(f"'{os.path.basename(files[i])}' {headers[i][0]}" for i in (0, other))
        raise VaezooError(f"the images of '{name}' differ in size, as {two}: {ASK_FOR_SIZE}")
    shape = (*(image_size or headers[0][0]), channels)
    hold = len(files) * math.prod(shape) <= memory_limit
    splits = [_split(part, shape, classes, hold) for (part, _), classes in zip(found, labels, strict=True)]
    return make_data(name, splits[0], splits[1] if has_splits else None, class_names, validation, seed)


def _find(name, folder, root):
    """The image files of a folder, in a fixed mixed order, and the class of each; None where there are no classes."""
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
        raise VaezooError(f"there are no images in '{folder}': vaezoo reads {', '.join(EXTENSIONS)}.")
    if "." in classes and len(set(classes)) > 1:
        raise VaezooError(
            f"'{folder}' has images both beside and in sub-folders: move all of them into one or the other."
        )
    mixed = np.random.default_rng([0, FILE_ORDER]).permutation(len(files))  # else the first would be of one class
    return [files[i] for i in mixed], None if "." in classes else np.array(classes)[mixed]


def _refuse_escape(link, root):
    target, inside = os.path.realpath(link), os.path.realpath(root)
    if os.path.commonpath([target, inside]) != inside:
        raise VaezooError(f"'{link}' is a link to {target}, outside the folder: copy the images in, or remove it.")


def _split(files, shape, labels, hold):
    def read(indices):
        return np.stack([_decode(files[i], shape) for i in indices])

    if not hold:
        return ReaderSplit(read, np.arange(len(files)), shape, "uint8", labels)
    images = np.empty((len(files), *shape), "uint8")
    with _guarded():
        for i, image in enumerate(_in_threads(lambda file: _decode(file, shape), files)):
            images[i] = image
    return ArraySplit(images, labels)


def _header(file):
    """((height, width), whether it is grey), without decoding the image."""
    with _opened(file) as image:
        width, height = image.size
        turned = _has_orientation(image) and image.getexif().get(0x0112, 1) >= 5
        return ((width, height) if turned else (height, width)), image.mode in GREY


def _decode(file, shape):
    """The image as uint8 of that shape (H, W, C)."""
    height, width, channels = shape
    with _opened(file) as image:
        if _has_orientation(image):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits
            image = Image.fromarray(np.round(np.asarray(image, "float32").clip(0, 65535) / 257).astype("uint8"))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)  # Pillow's is antialiased
        return np.asarray(image).reshape(shape)


def _has_orientation(image):
    return image.format in ("JPEG", "WEBP")  # asking a PNG would decode it


@contextlib.contextmanager
def _opened(file):
    if not os.path.isfile(file):  # a named pipe, which would be waited for, or a link to nothing
        raise VaezooError(f"'{file}' is no file: replace or remove it.")
    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VaezooError(f"'{file}' has more than {Image.MAX_IMAGE_PIXELS:,} pixels: shrink or remove it.") from error
    except Exception as error:  # Pillow's readers raise many kinds
        raise VaezooError(f"'{file}' cannot be read as an image: replace or remove it.") from error


@contextlib.contextmanager
def _guarded():
    """Make Pillow refuse images that are suspiciously large, and keep it quiet about all else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _in_threads(function, items):
    """The function's results in order; Pillow releases the interpreter while it decodes."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), AT_ONCE):  # half a million that wait for their turn took 850 MB
            yield from pool.map(function, items[start : start + AT_ONCE])

"""Image files as arrays: one reader, for the images of a folder and for a single picture of the user.

How a file is opened and checked, EXIF orientation, 16-bit images, colour modes and errors are the same for both.
`strict` is for a single picture: it refuses what only the user can decide, where the images of a folder are adapted.
"""

import contextlib
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaezoo.errors import VaezooError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # of the content, whatever the file's extension
STRICT_FORMATS = (*FORMATS, "TIFF", "PPM")  # not all formats of Pillow: for EPS it starts Ghostscript
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # channels → mode
SAME_PROPORTIONS = 0.02  # largest relative difference between two ratios of height to width


def read_header(path):
    """The ((height, width), whether it is grey) of an image file, without decoding it.

    Raises:
        VaezooError: for a file that is not an image.
    """
    with _opened(path, FORMATS) as image:
        width, height = image.size
        turned = _has_orientation(image) and image.getexif().get(0x0112, 1) >= 5
        return ((width, height) if turned else (height, width)), image.mode in GREY


def read_image(path, shape, *, strict=False):
    """An image file as an array of that shape.

    Colour becomes grey or grey becomes colour, 16 bits become 8, and EXIF orientation is applied. By default the image
    is resized whatever its proportions, transparency is composited on white, and an animation gives its first frame.

    Args:
        path: of a file in one of FORMATS; with `strict`, in one of STRICT_FORMATS.
        shape: (H, W, C), with 1, 3 or 4 channels.
        strict: refuse other proportions, transparency (unless C is 4) and several frames.

    Returns:
        uint8 [H,W,C].

    Raises:
        VaezooError: for a file that is not an image, or that `strict` refuses.
    """
    height, width, channels = shape
    if channels not in MODES:
        raise VaezooError(f"an image file cannot become an image of {channels} channels; allowed: 1, 3 or 4")
    with _opened(path, STRICT_FORMATS if strict else FORMATS) as image:
        if strict and getattr(image, "n_frames", 1) > 1:
            raise VaezooError(f"'{path}' holds {image.n_frames} frames: save the one to use as a PNG.")
        if strict or _has_orientation(image):
            image = ImageOps.exif_transpose(image)
        image = _eight_bits(image, path)
        if channels != 4 and image.has_transparency_data:
            image = image.convert("RGBA")
            if strict and image.getextrema()[3][0] < 255:
                raise VaezooError(f"'{path}' is partly transparent: save it on a background, white or black.")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert(MODES[channels])
        if image.size != (width, height):
            if strict:
                _check_proportions(image, path, width, height)
            # Pillow's filters are antialiased.
            image = image.resize((width, height), Image.Resampling.LANCZOS if strict else Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


@contextlib.contextmanager
def guarded():
    """Make Pillow refuse suspiciously large images, and ignore its other warnings.

    Warning filters belong to the process: enter this outside of threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _opened(path, formats):
    """The open image; every error inside becomes a VaezooError that names the file."""
    if not os.path.isfile(path):  # a named pipe, which would block, or a link to nothing
        raise VaezooError(f"'{path}' is not a file: an image file is needed ({', '.join(formats)}).")
    try:
        with Image.open(path, formats=formats) as image:
            yield image
    except VaezooError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VaezooError(f"'{path}' has more than {Image.MAX_IMAGE_PIXELS:,} pixels: shrink or remove it.") from error
    except Exception as error:  # Pillow's readers raise many types
        text = "" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        reason = f" ({text})" if text else ""
        raise VaezooError(f"'{path}' cannot be read as an image{reason}: replace or remove it.") from error


def _has_orientation(image):
    return image.format in ("JPEG", "WEBP")  # a PNG would have to be decoded to know


def _eight_bits(image, path):
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
        return Image.fromarray(np.round(np.asarray(image, "float32").clip(0, 65535) / 257).astype("uint8"))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise VaezooError(f"'{path}' holds floating-point values outside [0, 1]: save it as a PNG of 8 bits.")
        return Image.fromarray(np.round(values * 255).astype("uint8"))
    return image


def _check_proportions(image, path, width, height):
    ratio = (image.height / image.width) / (height / width)
    if not 1 - SAME_PROPORTIONS < ratio < 1 + SAME_PROPORTIONS:
        raise VaezooError(
            f"'{path}' is {image.width}×{image.height} and the model takes {width}×{height}: crop or pad it to those "
            "proportions."
        )

"""Image files as arrays: one reader, for the images of a folder and for a single picture of the user.

How a file is opened and checked, EXIF orientation, 16-bit images, colour modes and errors are the same for both.
`strict` is for a single picture: it refuses what only the user can decide, where the images of a folder are adapted.
"""

import contextlib
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaezoo.data.preparation import MODES, Preparation
from vaezoo.errors import VaezooError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")  # of the content, whatever the file's extension
STRICT_FORMATS = (*FORMATS, "TIFF", "PPM")  # not all formats of Pillow: for EPS it starts Ghostscript
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
SMALLEST_SIDE = 8  # pixels of an image of a folder
SAME_PROPORTIONS = 0.02  # largest relative difference between two ratios of height to width


class UnusableImageError(VaezooError):
    """An image file that cannot be used.

    Args:
        message: as of every VaezooError.
        reason: why, in the words for a count of such files, as in "3 unreadable".
    """

    def __init__(self, message, reason):
        super().__init__(message)
        self.reason = reason


def read_header(path):
    """The ((height, width), whether it is grey) of an image file of a folder, without decoding it.

    Raises:
        UnusableImageError: for a file that is not an image, or one that is too small or too large.
    """
    with _opened(path, FORMATS) as image:
        width, height = image.size
        if min(width, height) < SMALLEST_SIDE:
            message = f"'{path}' is {width}×{height} and needs at least {SMALLEST_SIDE} pixels a side."
            raise UnusableImageError(message, f"with a side below {SMALLEST_SIDE} pixels")
        turned = _has_orientation(image) and image.getexif().get(0x0112, 1) >= 5
        return ((width, height) if turned else (height, width)), image.mode in GREY


def read_image(path, shape, preparation=None, *, strict=False):
    """An image file as an array of that shape.

    Colour becomes grey or grey becomes colour, 16 bits become 8, and EXIF orientation is applied. Transparency lies on
    the background, and an animation gives its first frame.

    Args:
        path: of a file in one of FORMATS; with `strict`, in one of STRICT_FORMATS.
        shape: (H, W, C), with 1, 3 or 4 channels.
        preparation: a `Preparation` with image_size (H, W); None for the default one.
        strict: refuse other proportions, transparency (unless C is 4) and several frames.

    Returns:
        uint8 [H,W,C].

    Raises:
        UnusableImageError: for a file that is not an image.
        VaezooError: for one that `strict` refuses.
    """
    height, width, channels = shape
    if channels not in (1, 3, 4):
        raise VaezooError(f"an image file cannot become an image of {channels} channels; allowed: 1, 3 or 4")
    preparation = preparation or Preparation((height, width))
    with _opened(path, STRICT_FORMATS if strict else FORMATS) as image:
        if not strict:
            # A large JPEG is decoded at a half, a quarter or an eighth, to at least twice the size either way up.
            image.draft(None, (2 * max(height, width),) * 2)
        if strict and getattr(image, "n_frames", 1) > 1:
            raise VaezooError(f"'{path}' holds {image.n_frames} frames: save the one to use as a PNG.")
        if strict or _has_orientation(image):
            image = ImageOps.exif_transpose(image)
        image = _eight_bits(image, path)
        if channels != 4 and image.has_transparency_data:
            image = image.convert("RGBA")
            if strict and image.getextrema()[3][0] < 255:
                raise VaezooError(f"'{path}' is partly transparent: save it on a background, white or black.")
            image = Image.alpha_composite(Image.new("RGBA", image.size, preparation.background), image)
        image = image.convert(MODES[channels])
        if strict and image.size != (width, height):
            _check_proportions(image, path, width, height)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(preparation.fit_picture(image)).reshape(shape)


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
    """The open image; every error inside becomes an UnusableImageError that names the file."""
    if not os.path.isfile(path):  # a named pipe, which would block, or a link to nothing
        raise UnusableImageError(
            f"'{path}' is not a file: an image file is needed ({', '.join(formats)}).", "not a file"
        )
    try:
        with Image.open(path, formats=formats) as image:
            yield image
    except VaezooError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"of more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        raise UnusableImageError(f"'{path}' is {reason}: shrink or remove it.", reason) from error
    except Exception as error:  # Pillow's readers raise many types
        text = "" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        details = f" ({text})" if text else ""
        message = f"'{path}' cannot be read as an image{details}: replace or remove it."
        raise UnusableImageError(message, "unreadable") from error


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

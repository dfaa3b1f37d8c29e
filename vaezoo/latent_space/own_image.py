"""The user's own picture as an image that a model takes."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaezoo.data.folders import FORMATS
from vaezoo.errors import VaezooError

READ = (*FORMATS, "TIFF", "PPM")  # not all that Pillow knows: for EPS it starts Ghostscript
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SAME_SHAPE = 0.02  # by how much the ratio of height to width may differ


def read_image(path, image_shape, invert=False):
    """Read a picture and make it one that the model takes, where it is plain how.

    Colour becomes grey and grey becomes colour, 16 bits become 8, the camera's note of which way is up is followed, and
    a picture of the same proportions is scaled. Other proportions and transparency are refused: only the user knows
    what to cut away, or what lies behind.

    Args:
        path: the picture: PNG, JPEG, BMP, GIF, WebP, TIFF or PPM.
        image_shape: (H, W, C) of the model.
        invert: turn light and dark round, for ink on paper where the model knows light on dark.

    Returns:
        float32 [H,W,C] in [0, 1].

    Raises:
        VaezooError: for a file that is no picture, or one that needs a decision.
    """
    height, width, channels = image_shape
    if channels not in MODES:
        raise VaezooError(f"a picture cannot become an image of {channels} channels; this model takes arrays alone")
    picture = _open(path)
    picture = ImageOps.exif_transpose(picture)
    if channels != 4:
        picture = _opaque(picture, path)
    picture = _eight_bits(picture).convert(MODES[channels])
    if picture.size != (width, height):
        ratio = (picture.height / picture.width) / (height / width)
        if not 1 - SAME_SHAPE < ratio < 1 + SAME_SHAPE:
            raise VaezooError(
                f"'{path}' is {picture.width}×{picture.height} and the model takes {width}×{height}, which is of other "
                "proportions; crop or pad it first"
            )
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    image = np.asarray(picture, "float32").reshape(height, width, channels) / 255
    return 1 - image if invert else image


def _open(path):
    path = Path(path)
    if not path.is_file():
        raise VaezooError(f"there is no picture '{path}'; give the path of a PNG, JPEG or the like")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=READ) as picture:
                frames = getattr(picture, "n_frames", 1)
                picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise VaezooError(f"'{path}' is far larger than any picture a model takes; scale it down first") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = "it is no picture, or a broken one" if isinstance(error, UnidentifiedImageError) else error
        raise VaezooError(f"cannot read '{path}': {' '.join(str(reason).split())}; save it as a PNG") from None
    if frames > 1:
        raise VaezooError(f"'{path}' holds {frames} frames; save the one that is meant as a PNG")
    return picture


def _opaque(picture, path):
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    if picture.getextrema()[3][0] < 255:
        raise VaezooError(f"'{path}' is partly transparent; save it on a background, white or black as is meant")
    return picture.convert("RGB")


def _eight_bits(picture):
    if picture.mode.startswith("I"):  # 16 bits, which `convert` would cut off at 255
        return Image.fromarray(np.round(np.asarray(picture, "float64") / 257).clip(0, 255).astype("uint8"))
    if picture.mode == "F":
        values = np.asarray(picture)
        if not (values.min() >= 0 and values.max() <= 1):
            raise VaezooError("the picture holds floating-point values outside [0, 1]; save it as a PNG of 8 bits")
        return Image.fromarray(np.round(values * 255).astype("uint8"))
    return picture

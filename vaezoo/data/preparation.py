"""Images of any size and proportions become examples of one size: what is cut off, and what fills the rest."""

import dataclasses

import numpy as np
from PIL import Image, ImageColor

from vaezoo.errors import VaezooError, unknown

CROPS = ("center", "pad", "stretch")
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # channels → mode of Pillow
LARGEST_KEPT = 256  # pixels: the longest side of images whose size is kept if none is asked for


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How every image is brought to one size. Every resizing is antialiased.

    Attributes:
        image_size: (H, W), or one number for both; None to keep the size that the images have, or to let the data
            decide where they differ.
        crop: "center" keeps the largest part of the proportions of image_size around the centre; "pad" fits the whole
            image in, on a background; "stretch" changes its proportions.
        background: a colour such as "white" or "#ff8000": what transparency lies on, and what padding is filled with.

    Raises:
        VaezooError: for a value that is not allowed.
    """

    image_size: tuple[int, int] | None = None
    crop: str = "center"
    background: str = "white"

    def __post_init__(self):
        if self.image_size is not None:
            object.__setattr__(self, "image_size", _checked_size(self.image_size))
        if self.crop not in CROPS:
            raise unknown("crop", self.crop, CROPS)
        try:
            ImageColor.getrgb(self.background)
        except (ValueError, AttributeError):
            raise VaezooError(
                f"background {self.background!r} is not a colour: give white, black, grey or '#rrggbb'."
            ) from None

    def of_size(self, size):
        """The same preparation with another image_size."""
        return dataclasses.replace(self, image_size=size)

    def fit_picture(self, image):
        """An image of Pillow, of one of MODES, as one of image_size."""
        height, width = self.image_size
        if image.size == (width, height):
            return image
        if self.crop == "pad":
            top, left, inner_height, inner_width = centred(self.image_size, (image.height, image.width))
            canvas = Image.new(image.mode, (width, height), self.background)
            canvas.paste(image.resize((inner_width, inner_height), Image.Resampling.BILINEAR), (left, top))
            return canvas
        if self.crop == "center":
            top, left, inner_height, inner_width = centred((image.height, image.width), self.image_size)
            image = image.crop((left, top, left + inner_width, top + inner_height))
        return image.resize((width, height), Image.Resampling.BILINEAR)  # Pillow's filters are antialiased

    def fit(self, images):
        """A tensor of images [...,h,w,C], uint8 or float32 in [0, 1], as [...,H,W,C] of the same type."""
        import tensorflow as tf

        dtype, rank = images.dtype, images.shape.rank
        given = tuple(tf.unstack(tf.shape(images)[-3:-1]))
        inner = self.image_size
        if self.crop == "center":
            top, left, height, width = centred(given, self.image_size, least=tf.minimum)
            images = images[..., top : top + height, left : left + width, :]
        elif self.crop == "pad":
            top, left, *inner = centred(self.image_size, given, least=tf.minimum)
        images = tf.image.resize(images, inner, antialias=True)
        images = tf.round(tf.clip_by_value(images, 0, 255)) if dtype == tf.uint8 else tf.clip_by_value(images, 0, 1)
        if self.crop == "pad":
            after = (self.image_size[0] - top - inner[0], self.image_size[1] - left - inner[1])
            around = [*[(0, 0)] * (rank - 3), (top, after[0]), (left, after[1]), (0, 0)]
            inside = tf.pad(tf.ones_like(images, tf.bool), around)
            colour = self._background(images.shape[-1]) / (1 if dtype == tf.uint8 else 255)
            images = tf.where(inside, tf.pad(images, around), colour.astype("float32"))
        return tf.cast(images, dtype)

    def fit_array(self, images):
        """`fit` for an array of images, on the CPU."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            return self.fit(tf.constant(images)).numpy()

    def _background(self, channels):
        """The background as an array [C], 0..255."""
        return np.asarray(Image.new(MODES[channels], (1, 1), self.background)).reshape(channels)


def centred(outer, proportions, least=min):
    """The largest part of `outer` that has those proportions, around its centre.

    Args:
        outer: (height, width), in pixels.
        proportions: (height, width), in any unit; integers.
        least: the minimum of two numbers; `tf.minimum` for tensors.

    Returns:
        (top, left, height, width) in whole pixels: the proportions hold to within a pixel.
    """
    height = least(outer[0], -(-outer[1] * proportions[0] // proportions[1]))
    width = least(outer[1], -(-outer[0] * proportions[1] // proportions[0]))
    return (outer[0] - height) // 2, (outer[1] - width) // 2, height, width


def decided_size(sizes):
    """The size for images of several sizes, or of a large one, where nobody asked for any.

    Args:
        sizes: (height, width) of each image [N,2].

    Returns:
        ((H, W), a line that says so), or (None, None) for images that keep the one size they have.
    """
    sizes = np.asarray(sizes)
    equal = (sizes == sizes[0]).all()
    if equal and sizes[0].max() <= LARGEST_KEPT:
        return None, None
    # 64 pixels show a face or a flower, and train in minutes; smaller images are not made larger than they are.
    side = 64 if np.median(sizes.min(axis=1)) >= 64 else 32
    smallest, largest = (sizes[which(sizes.prod(axis=1))] for which in (np.argmin, np.argmax))
    found = f"are {_times(largest)}" if equal else f"differ in size, from {_times(smallest)} to {_times(largest)}"
    return (side, side), f"the images {found} (height×width); each becomes {side}×{side}: data.image_size sets another"


def _times(size):
    return f"{size[0]}×{size[1]}"


def _checked_size(size):
    try:
        height, width = (int(n) for n in (size if np.ndim(size) else (size, size)))
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise VaezooError(f"image_size {size} is not a size: give (H, W) or one number, as in (64, 64) or 64.")
    return height, width

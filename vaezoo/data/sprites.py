"""sprites: all 737,280 binary images of one shape, 64 by 64, over a grid of five factors, as in dSprites."""

import functools
import math

import numpy as np

from vaezoo.data.dataset import make_data
from vaezoo.data.indexed import ReaderSplit
from vaezoo.errors import VaezooError
from vaezoo.spec import Spec

SHAPES = ("square", "ellipse", "heart")
# What the values of each factor mean. The last factor varies fastest in the grid, as in dSprites.
VALUES = {
    "shape": np.arange(3),  # index into SHAPES
    "scale": np.linspace(0.5, 1, 6),  # of every length
    "orientation": np.linspace(0, 2 * np.pi, 40, endpoint=False),  # radians, counter-clockwise
    "x": np.linspace(0, 1, 32),  # from left to right
    "y": np.linspace(0, 1, 32),  # from top to bottom
}
SIZES = tuple(len(values) for values in VALUES.values())
COUNT = math.prod(SIZES)
TEST = 10_000  # examples: as many as of glyphs and MNIST, so that an evaluation takes no longer

PIXELS = 64  # a side of an image
STEPS = SIZES[-1]  # positions along x and along y, each a pixel from the next
PATCH = PIXELS - STEPS + 1  # a side of what a shape is drawn in; it is in the image at every position
SIDE = 21.0  # pixels: the square root of the area of every shape at scale 1; the largest fills a patch but its border
FINE = 8  # points across a pixel that decide whether the shape covers half of it
QUARTER = SIZES[2] // 4  # orientations in a quarter of a turn
LONG = 1.7  # the length of an ellipse over its width
SEED = 0x7370726974657321  # of the order of the examples


def load(preparation, validation, seed, memory_limit):
    """The splits of the set; see load_data.

    The factors are those of dSprites (Matthey et al. 2017, github.com/google-deepmind/dsprites-dataset), with one
    difference: the 40 orientations are 9° apart, while those of dSprites run from 0 to 2π with both ends, so that the
    first and the last are the same. As in dSprites, orientation is not always visible: a square looks the same every
    90°, and an ellipse every 180°. The outlines are of this module, so the pixels are not those of dSprites.

    An image is drawn when it is read. Its index in the grid is its key, and `indices` of a split holds those.

    Args:
        preparation: a `Preparation`; with an image_size other than 64×64, images become grey where they are resized.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: has no effect: a set takes 20 MB.

    Returns:
        A Data. The label is the shape. `factors` of a split are indices into VALUES, uint8 [N]. The test split is
        10,000 random images of the grid, the same for every seed. The examples of every split are in random order: the
        grid begins with the same square at a thousand places.
    """
    order = np.random.default_rng(SEED).permutation(COUNT).astype("int32")
    spec = Spec("image", (*(preparation.image_size or (PIXELS, PIXELS)), 1), classes=len(SHAPES))
    resize = spec.shape != (PIXELS, PIXELS, 1)

    def read(indices):
        images = _drawn(indices)
        return preparation.fit_array(images) if resize else images

    def split(indices):
        factors = {name: part.astype("uint8") for name, part in factors_at(indices).items()}
        return ReaderSplit(read, indices, spec, "uint8", factors["shape"], factors)

    train, test = split(order[TEST:]), split(order[:TEST])
    return make_data("sprites", train, test, SHAPES, validation, seed, image_size=preparation.image_size)


def draw(shape, scale, orientation, x, y):
    """Draw images with these factors, whichever split they are in.

    Args:
        shape: index into SHAPES, [N].
        scale: index into VALUES["scale"], [N].
        orientation: index into VALUES["orientation"], [N].
        x: pixels to the right of the leftmost position, in 0..31, [N].
        y: pixels below the highest position, in 0..31, [N].

    Returns:
        uint8 [N,64,64,1], 0 or 255.

    Raises:
        VaezooError: for an index that is out of range.
    """
    return _drawn(index_of(shape, scale, orientation, x, y))


def index_of(shape, scale, orientation, x, y):
    """The examples with these factors, each an index [N] or one for all, as indices of the grid; see `draw`.

    Returns:
        int64 [N].

    Raises:
        VaezooError: for an index that is out of range.
    """
    factors = np.broadcast_arrays(*map(np.atleast_1d, (shape, scale, orientation, x, y)))
    for (name, values), given in zip(VALUES.items(), factors, strict=True):
        if given.size and not 0 <= given.min() <= given.max() < len(values):
            wrong = given.min() if given.min() < 0 else given.max()
            raise VaezooError(f"{name}={wrong} is out of range: it is an index in 0..{len(values) - 1}.")
    return np.ravel_multi_index(tuple(factors), SIZES)


def factors_at(indices):
    """The reverse of index_of: indices of the grid [N] → a dict of name → index into VALUES, int64 [N]."""
    return dict(zip(VALUES, np.unravel_index(indices, SIZES), strict=True))


def _drawn(indices):
    """The images at these indices of the grid: uint8 [N,64,64,1]."""
    shape, scale, orientation, x, y = factors_at(indices).values()
    # A window that begins further left has the shape further right.
    return _windows()[shape, scale, orientation, STEPS - 1 - y, STEPS - 1 - x][..., None]


@functools.cache
def _windows():
    """Every image: a view [3,6,40,32,32,64,64] of 6.5 MB, the patches with STEPS - 1 empty pixels on each side."""
    around = [(0, 0)] * 3 + [(STEPS - 1, STEPS - 1)] * 2
    return np.lib.stride_tricks.sliding_window_view(np.pad(patches(), around), (PIXELS, PIXELS), axis=(3, 4))


def patches():
    """Each shape at each scale and orientation, with its centroid in the centre: uint8 [3,6,40,33,33], 0 or 255.

    A pixel is 255 if the shape covers at least half of it.
    """
    place = ((np.arange(PATCH * FINE) + 0.5) / FINE - PATCH / 2).astype("float32")  # of points, from the centre
    first = np.empty((*SIZES[:2], QUARTER, PATCH, PATCH), "uint8")
    for k, angle in enumerate(VALUES["orientation"][:QUARTER]):
        cos, sin = math.cos(angle), math.sin(angle)
        right, up = place * cos - place[:, None] * sin, -place * sin - place[:, None] * cos
        for j, scale in enumerate(VALUES["scale"]):
            for i, shape in enumerate(SHAPES):
                inside = _inside(shape, right / float(SIDE * scale), up / float(SIDE * scale))
                cover = inside.reshape(PATCH, FINE, PATCH, FINE).mean((1, 3))
                first[i, j, k] = np.where(cover >= 0.5, 255, 0)
    # Turns of 90° need no drawing, and so the symmetries of the shapes hold exactly.
    return np.concatenate([np.rot90(first, turns, axes=(-2, -1)) for turns in range(4)], axis=2)


def _inside(shape, right, up):
    """Whether points are inside an outline of area 1 with its centroid at 0."""
    match shape:
        case "square":
            return np.maximum(abs(right), abs(up)) < 0.5
        case "ellipse":
            return right**2 / LONG + up**2 * LONG < 1 / np.pi
        case "heart":
            # x = 16 sin³ t and y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, of area 180π and with its centroid at
            # (0, 5/6). Each x has two points of it, at t and π - t.
            unit = math.sqrt(180 * math.pi)
            x, y = unit * right, unit * up + 5 / 6
            t = np.arcsin(np.cbrt(np.clip(x / 16, -1, 1)))
            even, odd = -5 * np.cos(2 * t) - np.cos(4 * t), 13 * np.cos(t) - 2 * np.cos(3 * t)
            return abs(y - even) < odd  # 0 at the two ends, where it is clipped

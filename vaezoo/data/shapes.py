"""shapes: 22,000 pictures of a coloured shape above a coloured ground, 64 by 64, with the known factors of each."""

import functools
from typing import ClassVar

import numpy as np

from vaezoo.data.drawing import field, sample
from vaezoo.data.drawn_sets import DrawnSet

# None has a symmetry by which two rotations within the range look the same, as those of a disc would.
SHAPES = ("crescent", "cross", "drop", "heart", "horseshoe", "square", "star", "triangle")
PIXELS = 64  # a side
UNIT = 0.6  # the square root of the area of an outline, so that all of it and of its shadow lie in a field
HEIGHT, BLUR = 4.0, 9.0  # pixels: how far the shadow lies from the shape, and how wide its edge is
BEVEL = 7.0  # pixels: how wide the rounded edge of a shape is


def draw(label, hue, ground_hue, size, rotation, x, y, light):
    """Draw shapes, each with its shadow on a ground, lit from one side.

    Args:
        label: index into SHAPES, [N].
        hue: of the shape, in degrees of OKLCh: 30 is red, 100 yellow, 145 green, 260 blue, 330 magenta; [N].
        ground_hue: of the ground, likewise, [N].
        size: the square root of the area of the shape in pixels, [N].
        rotation: degrees, counter-clockwise, [N].
        x: pixels of the centroid of the shape to the right of the centre, [N].
        y: pixels of it below the centre, [N].
        light: where the light comes from, in degrees counter-clockwise from the top, [N].

    Returns:
        uint8 [N,64,64,3].
    """
    column = lambda values: np.asarray(values, "float32")[:, None, None]  # noqa: E731  [N] → [N,1,1]
    angle, unit = np.deg2rad(column(rotation)), column(size) / UNIT  # unit: pixels in a unit of the field
    cos, sin = np.cos(angle) / unit, np.sin(angle) / unit
    to_light_x, to_light_y = -np.sin(np.deg2rad(column(light))), -np.cos(np.deg2rad(column(light)))
    pixel = np.arange(PIXELS, dtype="float32") - (PIXELS - 1) / 2
    right, down = pixel - column(x), pixel[:, None] - column(y)

    def distance(step):
        """From the outline to the places `step` pixels nearer to the light."""
        x, y = right + step * to_light_x, down + step * to_light_y
        return unit * sample(_fields(), label, x * cos - y * sin, x * sin + y * cos)

    here, nearer = distance(0), distance(HEIGHT)
    cover = np.clip(0.5 + here, 0, 1)
    shadow = _smooth(np.clip(0.5 + nearer / BLUR, 0, 1))
    # Both are brighter towards the light. A shape is also bright where its surface rises away from the light.
    on_ground = (0.93 + 0.0016 * (pixel * to_light_x + pixel[:, None] * to_light_y)) * (1 - 0.42 * shadow)
    on_shape = 1 + 0.012 * (right * to_light_x + down * to_light_y) + 0.3 * (_surface(here) - _surface(nearer))
    # Grounds are pale and shapes darker, so that every pair of hues is legible. A hue is purest at its own lightness,
    # which is high for yellow and low for blue.
    ground = _colours(np.asarray(ground_hue), 0.93, 0.06)
    shape = _colours(np.asarray(hue), 0.64 + 0.09 * np.cos(np.deg2rad(np.asarray(hue) - 100)), 0.22)
    images = ground * (on_ground * (1 - cover))[:, None] + shape * (on_shape * cover)[:, None]
    return np.round(255 * np.clip(images, 0, 1)).astype("uint8").transpose(0, 2, 3, 1)


def _smooth(ramp):
    return ramp * ramp * (3 - 2 * ramp)


def _surface(distance):
    """The height of a shape at a distance from its outline: it rises steeply at first, and is flat from BEVEL on."""
    ramp = np.clip(distance / BEVEL, 0, 1)
    return ramp * (2 - ramp)


def _colours(hue, lightness, most):
    """sRGB of OKLCh (Ottosson 2020) with the highest chroma up to `most` that sRGB has; float32 [N,3,1,1] in [0, 1]."""
    chroma = np.linspace(0, most, 64)  # of the candidates, [N,64] below
    turn, lightness = np.deg2rad(hue)[:, None], np.broadcast_to(lightness, hue.shape)[:, None]
    a, b = chroma * np.cos(turn), chroma * np.sin(turn)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    linear = np.stack([red, green, blue], -1)  # [N,64,3]
    exists = ((linear >= 0) & (linear <= 1)).all(-1)
    last = np.logical_and.accumulate(exists, 1).sum(1) - 1
    linear = linear[np.arange(len(hue)), last]
    encoded = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded.astype("float32")[..., None, None]


@functools.cache
def _fields():
    """The fields of SHAPES, [len(SHAPES),GRID,GRID]."""
    return np.stack([field(_placed(_corners(shape))) for shape in SHAPES])


def _placed(corners):
    """Corners [S,2] → segments [S,2,2] of the same outline, with its centroid at 0 and UNIT² as its area."""
    ends = np.roll(corners, -1, 0)
    cross = corners[:, 0] * ends[:, 1] - ends[:, 0] * corners[:, 1]
    area = cross.sum() / 2
    centroid = ((corners + ends) * cross[:, None]).sum(0) / (6 * area)
    return (np.stack([corners, ends], 1) - centroid) * UNIT / np.sqrt(abs(area))


def _corners(shape):
    """The corners of an outline, [S,2], y up, of any size."""
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    sin, cos = np.sin(turn), np.cos(turn)
    match shape:
        case "crescent":  # a disc without another, 0.45 to the right; their circles cross at these two angles
            return np.concatenate([_arc(1, 37.66, 322.34), _arc(0.7, 299.215, 60.785, right=0.45)])
        case "cross":
            quarter = np.array([(3, -1), (3, 1), (1, 1)])
            turned = [quarter, quarter[:, ::-1] * [-1, 1], -quarter, quarter[:, ::-1] * [1, -1]]
            return np.concatenate(turned)
        case "drop":
            return np.stack([1.1 * sin * np.sin(turn / 2) ** 1.6, 1.15 * cos], 1)
        case "heart":
            lobes = 13 * cos - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
            return np.stack([16 * sin**3, lobes], 1)
        case "horseshoe":
            return np.concatenate([_arc(1, -50, 230), _arc(0.52, 230, -50)])
        case "square":
            return _arc(1, 45, 315, count=4)
        case "star":
            return _arc(np.tile([1, 0.46], 5), 90, 414, count=10)
        case "triangle":
            return _arc(1, 90, 330, count=3)


def _arc(radius, start, stop, right=0.0, count=80):
    """Points on an arc, between angles in degrees, [count,2]."""
    turn = np.deg2rad(np.linspace(start, stop, count))
    return np.stack([right + radius * np.cos(turn), radius * np.sin(turn)], 1)


class Shapes(DrawnSet):
    """A coloured shape above a coloured ground, with known factors."""

    SHAPE = (PIXELS, PIXELS, 3)
    SIZES: ClassVar = {"train": 20_000, "test": 2_000}
    CLASSES: ClassVar = {"label": SHAPES}
    # Hues are a line rather than a circle, so that the lowest and the highest differ. No shape reaches the border.
    RANGES: ClassVar = {
        "hue": (30.0, 330.0),  # degrees: red, yellow, green, blue, magenta
        "ground_hue": (30.0, 330.0),
        "size": (15.0, 25.0),  # pixels, the square root of the area
        "rotation": (-30.0, 30.0),  # degrees, counter-clockwise
        "x": (-7.0, 7.0),  # pixels, right
        "y": (-7.0, 7.0),  # pixels, down
        "light": (-60.0, 60.0),  # degrees from the top, counter-clockwise: negative from the right
    }
    SECONDS = 20
    draw = staticmethod(draw)


load = Shapes.load

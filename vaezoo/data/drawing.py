"""Digits drawn from font outlines through signed distance fields: any stroke width, any affine pose, antialiased.

A field holds, at every point, the distance to the outline (positive inside). Adding a constant to the distance moves
the outline by that constant, so stroke width is exact, and a batch of images is one vectorised lookup.
"""

import functools
import pathlib

import numpy as np

# The fonts that come with matplotlib whose digits are legible and differ from each other in more than slant or stroke
# width, which are separate factors.
FONTS = (
    "DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold", "STIXGeneral", "STIXGeneralItalic",
    "STIXGeneralBol", "cmr10", "cmb10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
SIZE = 28  # pixels a side
HEIGHT = 17.0  # height of a digit in pixels at scale 1
GRID, REACH = 80, 0.85  # points a side of a field, and the distance from its centre to its edge in digit heights


@functools.cache
def fields():
    """The fields of all fonts and digits, float32 [len(FONTS),10,GRID,GRID], in digit heights; rows go down."""
    return np.stack([[field(_outline(font, digit)) for digit in "0123456789"] for font in FONTS])


def draw(font, label, rotation, slant, thickness, scale, shift_x, shift_y):
    """Draw digits, white ink on black.

    Args:
        font: index into FONTS, [N].
        label: the digit, [N].
        rotation: degrees, counter-clockwise, [N].
        slant: shift of the top to the right, as a fraction of the height, [N].
        thickness: pixels added to the stroke width; may be negative, [N].
        scale: of the digit; 1 is HEIGHT pixels, [N].
        shift_x: pixels to the right of the centre, [N].
        shift_y: pixels below the centre, [N].

    Returns:
        uint8 [N,28,28,1].
    """
    column = lambda values: np.asarray(values, "float32")[:, None, None]  # noqa: E731  [N] → [N,1,1]
    unit = HEIGHT * column(scale)  # pixels in a digit height
    pixel = np.arange(SIZE, dtype="float32") - (SIZE - 1) / 2
    x = (pixel[None, None, :] - column(shift_x)) / unit  # [N,1,W]
    y = (pixel[None, :, None] - column(shift_y)) / unit  # [N,H,1], down
    # Invert the pose: from a position in the image to the position in the upright digit.
    angle = np.deg2rad(column(rotation))
    right, down = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    right += column(slant) * down
    distance = sample(fields(), np.asarray(font) * 10 + np.asarray(label), right, down)
    ink = 0.5 + distance * unit + column(thickness) / 2
    return np.round(255 * np.clip(ink, 0, 1)).astype("uint8")[..., None]


def sample(tables, which, right, down):
    """Bilinear lookup in fields.

    Args:
        tables: fields, [...,GRID,GRID].
        which: index of a field, counted through all axes, [N].
        right, down: positions, in the unit of the field, from its centre, [N,H,W]. One outside is moved to the edge.

    Returns:
        The distances there, [N,H,W].
    """
    table = tables.reshape(-1)
    to_cell = (GRID - 1) / (2 * REACH)
    column = np.clip((right + REACH) * to_cell, 0, GRID - 1.001)
    row = np.clip((down + REACH) * to_cell, 0, GRID - 1.001)
    left, top = column.astype("int32"), row.astype("int32")
    u, v = column - left, row - top
    corner = np.asarray(which, "int32")[:, None, None] * (GRID * GRID) + top * GRID + left
    upper = table.take(corner) * (1 - u) + table.take(corner + 1) * u
    lower = table.take(corner + GRID) * (1 - u) + table.take(corner + GRID + 1) * u
    return upper * (1 - v) + lower * v


def _outline(font, digit):
    """The outline of a digit as directed segments [S,2,2], centred, of height 1, y up."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    file = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    # Curves are flattened to segments of about a unit, so a height of 100 units is far finer than a pixel.
    contours = TextPath((0, 0), digit, size=100, prop=FontProperties(fname=file)).to_polygons()
    points = np.concatenate(contours)
    low, high = points.min(0), points.max(0)
    centred = [(contour - (low + high) / 2) / (high[1] - low[1]) for contour in contours]
    return np.concatenate([np.stack([contour[:-1], contour[1:]], 1) for contour in centred])


def field(segments):
    """The signed distance to a closed outline: exact, also for holes and overlapping contours.

    Args:
        segments: the outline, [S,2,2]: the start and the end of each segment, y up, within REACH of the centre.

    Returns:
        [GRID,GRID], positive inside; rows go down.
    """
    line = np.linspace(-REACH, REACH, GRID, dtype="float32")
    point_x, point_y = np.tile(line, GRID)[:, None], np.repeat(-line, GRID)[:, None]  # y goes up, rows go down
    start_x, start_y = segments[:, 0].T.astype("float32")  # [S]
    along_x, along_y = (segments[:, 1] - segments[:, 0]).T.astype("float32")
    x, y = point_x - start_x, point_y - start_y  # [GRID*GRID,S], relative to the start of each segment
    place = (x * along_x + y * along_y) / np.maximum(along_x**2 + along_y**2, 1e-12)
    place = np.clip(place, 0, 1)  # nearest point of the segment, as a fraction of its length
    distance = np.sqrt(((x - place * along_x) ** 2 + (y - place * along_y) ** 2).min(-1))
    # Winding number: a ray to the right crosses a segment upwards (+1), downwards (-1) or not at all (0).
    crosses = (y >= 0).astype("int8") - (y >= along_y)
    to_its_left = (along_x * y - along_y * x) * crosses > 0
    winding = (crosses * to_its_left).sum(-1)
    return np.where(winding != 0, distance, -distance).reshape(GRID, GRID)

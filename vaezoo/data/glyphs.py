"""glyphs: 70,000 digits drawn from twelve fonts, 28 by 28, with the known factors of each."""

from typing import ClassVar

from vaezoo.data import drawing
from vaezoo.data.drawn_sets import DrawnSet


class Glyphs(DrawnSet):
    """Digits drawn from fonts, with known factors."""

    SHAPE = (drawing.SIZE, drawing.SIZE, 1)
    SIZES: ClassVar = {"train": 60_000, "test": 10_000}
    CLASSES: ClassVar = {"label": tuple("0123456789"), "font": drawing.FONTS}
    # They are as wide as keeps digits inside the image: a handful of the 70,000 touch the border, faintly.
    RANGES: ClassVar = {
        "rotation": (-16.0, 16.0),  # degrees, counter-clockwise
        "slant": (-0.25, 0.25),  # shift of the top to the right, as a fraction of the height
        "thickness": (0.0, 1.7),  # pixels added to the font's stroke width
        "scale": (0.8, 1.1),  # 1 is 17 pixels high
        "shift_x": (-1.8, 1.8),  # pixels, right
        "shift_y": (-1.8, 1.8),  # pixels, down
    }
    SECONDS = 15
    draw = staticmethod(drawing.draw)


load = Glyphs.load

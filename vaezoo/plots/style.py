"""What all pictures share: colours, sizes, axes, and a Figure that draws every text as it is."""

import textwrap

from matplotlib import figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullLocator

TEXT = "#222222"
DPI = 200

# Okabe & Ito's palette for lines: colour-blind readers can distinguish them, and neighbours differ in greyscale too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")

# Ten colours for classes, selected by search from those of Okabe & Ito, Tol and Petroff: any two are at least 15 apart
# in CIELAB for normal, protanopic, deuteranopic and tritanopic vision, and 4.6 apart in lightness, so that they differ
# in greyscale too. Dark and light alternate, because neighbouring digits are often neighbours in a latent space.
CLASS_COLOURS = (
    "#0077BB", "#FFA90E", "#882255", "#33BBEE", "#BD1F01", "#999933", "#332288", "#CC6677", "#94A4A2", "#DDCC77",
)  # fmt: skip


def class_colour(index):
    """The colour of a class. After ten classes the colours repeat, so the maps also show the names."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


class Figure(figure.Figure):
    """A matplotlib Figure without mathematical text: the name of a class may hold a dollar sign."""

    def draw(self, renderer):
        """Draw the figure."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)


def plain_axes(figure, title, x_label, y_label):
    """The only axes of a figure, with a title and a light grid."""
    return style_axes(figure.subplots(), title, x_label, y_label)


def style_axes(axes, title, x_label, y_label):
    """Give axes a title, labels and a light grid; returns them."""
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, 76)]
    axes.set_title("\n".join(lines), fontsize=10, color=TEXT, loc="left")
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plain_ticks(axis):
    """Ticks at 1, 2 and 5 times the powers of ten of a logarithmic axis; matplotlib's own are mathematical text."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())

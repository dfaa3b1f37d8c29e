"""The colours and sizes that all pictures share."""

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

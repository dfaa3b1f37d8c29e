"""The colours and sizes that all pictures share."""

TEXT = "#222222"
DPI = 200

# Okabe & Ito's palette for lines: told apart by colour-blind readers, and neighbours differ in greyscale too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")

# Ten colours for classes, chosen by search among those of Okabe & Ito, Tol and Petroff: any two are at least 15 apart
# in CIELAB for normal, protanopic, deuteranopic and tritanopic eyes, and 4.6 apart in lightness alone, so a greyscale
# print keeps them apart. Dark and light take turns, since neighbouring digits are often neighbours in a latent space.
CLASS_COLOURS = (
    "#0077BB", "#FFA90E", "#882255", "#33BBEE", "#BD1F01", "#999933", "#332288", "#CC6677", "#94A4A2", "#DDCC77",
)  # fmt: skip


def class_colour(index):
    """The colour of a class; after ten they begin again, which is why the maps also write the names of classes."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]

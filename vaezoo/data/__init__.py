"""Data sets by name or path, as splits of examples and labels."""

import importlib
import os

from vaezoo.data.binarization import BINARIZATIONS, binarize
from vaezoo.data.dataset import DRAWN, MELODIES, Data
from vaezoo.data.melodies import Windows
from vaezoo.data.preparation import Preparation
from vaezoo.data.split import Split
from vaezoo.errors import VaezooError

__all__ = ["BINARIZATIONS", "Data", "Split", "binarize", "canonical_name", "is_path", "load_data"]

FILES = (".npy", ".npz", ".abc", ".mid", ".midi", ".csv", ".parquet")  # what ends so is the name of a file


def load_data(
    name,
    *,
    image_size=None,
    crop="center",
    background="white",
    bars=2,
    transpose="key",
    columns=None,
    label=None,
    validation=0.05,
    seed=0,
    memory_limit=2 * 2**30,
    cache=None,
    quiet=False,
) -> Data:
    """A data set by name or path, divided into training, validation and test examples.

    Args:
        name: "glyphs" (grey digits), "shapes" (in colour) or "sprites" (the grid of factors of dSprites), drawn here
            without a download; or "folk_melodies" or "folk_melodies/essen", tunes that come with music21; or an image
            set of tensorflow-datasets, as "mnist" or "emnist/letters"; or the path of your own data: a folder of
            images, a folder of .mid and .abc files or one such file, or an .npy or .npz file of images [N,H,W] or
            [N,H,W,C], vectors [N,F] or token sequences [N,T], or a table in a .csv or .parquet file (a folder with the
            name of a known set is given as "./mnist").
        image_size: (H, W), or one number for both, that every image is brought to. None keeps the size of the images;
            those of a folder or of tensorflow-datasets that differ in size, and those of a folder that are larger than
            256 pixels, become 64×64, or 32×32 if most are smaller than 64.
        crop: what happens to the proportions of an image that is brought to another size: "center" cuts it to those of
            image_size around its centre, "pad" fits it in on a background, "stretch" changes them.
        background: a colour such as "white" or "#ff8000": what transparency in a folder lies on, and padding.
        bars: the length of a melody, 1..64 bars of 16 sixteenths; used for music only.
        transpose: used for music only. "key" brings every tune to a signature without sharps and flats (C major, A
            minor, D dorian); "none" keeps it as written; "random" is "key", and `training_batches(transpose=True)`
            moves each window by -5..6 semitones, drawn anew each time.
        columns: of a table or an array of vectors, name → type ("continuous", "count", "binary", "categorical", or
            "drop") in place of the type that the cells suggest. None for no such wish; then the vectors of an array are
            plain numbers without columns, and with an empty mapping they have columns too.
        label: the column of a table that is the class; its other columns are the rows.
        validation: fraction of the training examples to hold out, in [0, 0.5]; 0 for none. Not used where a folder has
            `val` (or `valid`, `validation`) beside `train` and `test`: that is the validation split.
        seed: chooses the validation examples, an int >= 0.
        memory_limit: bytes; a set that needs more when decoded is streamed from disk. (An .npz is always held, up to
            4 GiB or this limit, whichever is more.)
        cache: a folder to keep the decoded images of a folder in, for the next time; None to decode them each time.
            (The images of tensorflow-datasets that are held are kept in vaezoo's own cache folder.)
        quiet: whether to show no progress of that on a terminal.

    Returns:
        A Data. Test examples are never used in training: if a set has no test split, a tenth of it is held out, the
        same tenth for every seed.

    Raises:
        VaezooError: for a name, path, file or setting that cannot be used; the message says how to fix it.
    """
    preparation = Preparation(image_size, crop, background)
    windows = Windows(bars, transpose)
    if not 0 <= validation <= 0.5:
        raise VaezooError(f"validation {validation} is not in [0, 0.5]: it is the fraction held out of training.")
    if seed < 0:
        raise VaezooError(f"seed {seed} is negative: it must be 0 or more.")
    options = preparation, validation, seed, memory_limit
    if (columns or label) and not is_path(name):
        raise VaezooError(
            "columns= and label= are for tables: give a .csv, .parquet, .npy or .npz file, or leave them out"
        )
    if name in DRAWN:
        return importlib.import_module(f"vaezoo.data.{name}").load(*options)
    if _is_melodies(name):
        from vaezoo.data import folk_melodies

        return folk_melodies.load(name, preparation, windows, validation, seed)
    if is_path(name):
        from vaezoo.data import files

        return files.load(name, preparation, windows, columns, label, validation, seed, memory_limit, cache, quiet)
    from vaezoo.data import tfds_sets

    return tfds_sets.load(name, *options)


def canonical_name(name):
    """The name of a known set unchanged, or the absolute path of the user's own data: valid in any working folder."""
    if name in DRAWN or _is_melodies(name) or not is_path(name):
        return name
    path = os.path.expanduser(name)
    real = os.path.realpath(path)
    if os.path.isfile(real) and not real.lower().endswith(FILES):
        # The suffix says what a file holds; in a cache of Hugging Face or DVC, data.csv is a link to blobs/HASH.
        folder, file = os.path.split(path)
        return os.path.join(os.path.realpath(folder), file)
    return real


def _is_melodies(name):
    return isinstance(name, str) and name.split("/")[0] == MELODIES


def is_path(name):
    """Whether the name means files: it looks like a path, or it exists and is not the name of a known set."""
    if isinstance(name, os.PathLike) or name.startswith((".", "/", "~")) or name.lower().endswith(FILES):
        return True
    if not (os.path.exists(name) or "/" in name or os.sep in name):
        return False
    from vaezoo.data import tfds_sets

    return not tfds_sets.is_name(name)  # "emnist/letters" is a set, and so is "mnist" even beside a folder "mnist"

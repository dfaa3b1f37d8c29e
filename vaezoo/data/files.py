"""Your own data: a folder of images or of music, a file of music, an array, a table."""

import os
import pathlib

from vaezoo.data.listing import KINDS, list_files, one_file, require_test
from vaezoo.errors import VaezooError


def load(path, preparation, windows, columns, label, validation, seed, memory_limit, cache, quiet):
    """The data set at a path; see load_data."""
    from vaezoo.data import arrays, folders, music_files, tabular

    name, path = str(path), pathlib.Path(os.path.expanduser(path))  # that of Path raises for an unknown user
    suffix = path.suffix.lower()
    if not os.path.exists(path):  # unlike Path.exists, this accepts any text
        raise VaezooError(
            f"'{name}' does not exist: give a folder of images or of music, an .npy or .npz file of images, vectors or "
            "tokens, a .csv or .parquet file, or the name of a data set."
        )
    if suffix in (".csv", ".parquet") and path.is_file():
        return tabular.load(name, columns, label, validation, seed)
    if label is not None or (columns and suffix not in (".npy", ".npz")):
        raise VaezooError(f"columns= and label= are for tables, and '{name}' is none: leave them out")
    if suffix in KINDS["music"] and path.is_file():
        return music_files.load(name, one_file(path), preparation, windows, validation, seed, quiet)
    if path.is_dir():
        require_test(name, path)
        listing = list_files(name, path)
        if listing.kind == "music":
            return music_files.load(name, listing, preparation, windows, validation, seed, quiet)
        return folders.load(name, listing, preparation, validation, seed, memory_limit, cache, quiet)
    if suffix in (".npy", ".npz") and path.is_file():
        return arrays.load(name, path, preparation, columns, validation, seed, memory_limit)
    raise VaezooError(
        f"'{name}' is neither a folder nor an .npy, .npz, .csv, .parquet, .mid or .abc file: put image files into a "
        "folder."
    )

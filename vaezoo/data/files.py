"""Your own data: a folder of image files, an .npy or an .npz."""

import os
import pathlib

from vaezoo.errors import VaezooError


def load(path, preparation, validation, seed, memory_limit, cache, quiet):
    """The data set at a path; see load_data."""
    from vaezoo.data import arrays, folders

    name, path = str(path), pathlib.Path(path).expanduser()
    if not os.path.exists(path):  # unlike Path.exists, this accepts any text
        raise VaezooError(
            f"'{name}' does not exist: give a folder of images, an .npy or .npz file of images, vectors or tokens, or "
            "the name of a data set."
        )
    if path.is_dir():
        return folders.load(name, path, preparation, validation, seed, memory_limit, cache, quiet)
    if path.suffix in (".npy", ".npz") and path.is_file():
        return arrays.load(name, path, preparation, validation, seed, memory_limit)
    raise VaezooError(f"'{name}' is neither a folder nor an .npy or .npz file: put image files into a folder.")

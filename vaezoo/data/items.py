"""New examples for a model that is trained already: every one of them, in order, with its name."""

import dataclasses
import os
import pathlib

import numpy as np

from vaezoo.data import arrays
from vaezoo.data.indexed import ArraySplit
from vaezoo.data.listing import EXTENSIONS, first_names, list_files, one_file
from vaezoo.data.pictures import UnusableImageError, guarded, read_header, read_image
from vaezoo.data.split import Split
from vaezoo.data.table_files import SUFFIXES, read_table
from vaezoo.data.tabular import rows_of
from vaezoo.errors import VaezooError


@dataclasses.dataclass(frozen=True, eq=False)
class Items:
    """New examples.

    Attributes:
        split: the examples, without labels.
        names: of each: the file, or the place in the array as text.
        classes: the class of each as text; None where there are none.
        notes: lines about what was left out.
    """

    split: Split
    names: list[str]
    classes: list[str] | None = None
    notes: tuple[str, ...] = ()


def load_items(name, spec, preparation, further=(), label=None, classes=None):
    """Read new examples, prepared like those that a model was trained on.

    Args:
        name: the path of a folder of images, of one image, of a .csv or .parquet file, or of an .npy or .npz file as in
            `load_data`; of an .npz the first of its arrays is taken.
        spec: the `Spec` of the model's examples.
        preparation: the `Preparation` of the model's data. With image_size every image is brought to it; without,
            images must have the size of the spec.
        further, label, classes: of a table, as in `read_rows`.

    Returns:
        The `Items`. Images that cannot be read are left out, and the notes name them.

    Raises:
        VaezooError: for a path that cannot be used, examples of another kind, size or number of channels, or if no
            image can be read.
    """
    name, path = str(name), pathlib.Path(os.path.expanduser(name))
    if not os.path.exists(path):
        raise VaezooError(
            f"'{name}' does not exist: give a folder of images, an image, a table, or an .npy or .npz file"
        )
    suffix = path.suffix.lower()
    if suffix in SUFFIXES and path.is_file():
        _, x, own = read_rows(path, spec, further, label, classes)
        return Items(ArraySplit(x, spec.with_classes(0)), [f"row {place}" for place in range(len(x))], own)
    if suffix in (".npy", ".npz") and path.is_file():
        split, labels = arrays.load_all(name, path, spec, preparation, further)
        return Items(
            split, [str(place) for place in range(len(split))], None if labels is None else [*map(str, labels)]
        )
    if path.is_dir():
        return _images(name, list_files(name, path), spec, preparation)
    if EXTENSIONS.get(suffix) == "image":
        return _images(name, one_file(path), spec, preparation)
    raise VaezooError(f"'{name}' is neither a folder of images, an image, a table, an .npy nor an .npz file")


def read_rows(path, spec, further=(), label=None, classes=None):
    """The rows of a .csv or .parquet file that a model of a table was not trained on.

    Args:
        path: of the file. Its columns are matched by name.
        spec: the `Spec` of the model's examples.
        further: names of columns that the file may have and the model has not.
        label: the name of the column that is the class; None without one.
        classes: the names of the model's classes. Where one is no number, the classes of a CSV are read as text: "01"
            stays "01".

    Returns:
        (the pyarrow.Table, rows [N,F] float32 with NaN for a missing cell, the class of each as text or None).

    Raises:
        VaezooError: for a file or a column that does not fit, or a value that training did not have.
    """
    if spec.columns is None:
        raise VaezooError(f"'{path}' is a table, and this model takes {spec}")
    dtypes = {column.name: column.dtype for column in spec.columns}
    if label and any(map(_is_text, classes or ())):
        dtypes[label] = "str"
    table, _ = read_table(path, dtypes)
    x = rows_of(table, spec.columns, path, [*further, *([label] if label else [])])
    named = label and label in table.column_names
    return table, x, [*map(str, table.column(label).to_pylist())] if named else None


def _is_text(name):
    """Whether a class is neither a number nor true or false."""
    try:
        float(name)
    except ValueError:
        return name not in ("True", "False")
    return False


def _images(name, listing, spec, preparation):
    """The images of a listing, in the order of their names."""
    spec.require_image(f"'{name}'")
    if listing.kind != "image":
        raise VaezooError(f"'{name}' holds music, and this model takes {spec}; give images")
    order = sorted(range(len(listing.files)), key=listing.files.__getitem__)
    found, used, skipped = [], [], []
    with guarded():
        for number in order:
            try:
                found.append(_image(listing.path(number), spec, preparation))
                used.append(number)
            except UnusableImageError as error:
                skipped.append((listing.files[number], error.reason))
    if not found:
        file, reason = skipped[0]
        raise VaezooError(f"none of the {len(order):,} images of '{name}' can be read: '{file}' is {reason}")
    note = f"{len(skipped):,} of {len(order):,} images are left out, since they cannot be read: "
    return Items(
        ArraySplit(np.stack(found), spec.with_classes(0)),
        [listing.files[number] for number in used],
        listing.classes and [listing.classes[number] for number in used],
        (*listing.notes, *[note + first_names([file for file, _ in skipped])] * bool(skipped)),
    )


def _image(path, spec, preparation):
    """One image as uint8 [H,W,C], or an error if bringing it to the spec would hide what it is."""
    size, grey = read_header(path)
    if preparation.image_size is None and size != spec.shape[:2]:
        raise VaezooError(f"'{path}' is {size[0]}×{size[1]}, and this model takes {spec}; bring it to that size")
    if spec.shape[2] == 1 and not grey:
        raise VaezooError(f"'{path}' is in colour, and this model takes {spec}; convert it to grey")
    return read_image(path, spec.shape, dataclasses.replace(preparation, image_size=spec.shape[:2]))

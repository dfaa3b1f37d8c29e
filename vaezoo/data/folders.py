"""A folder of image files; its sub-folders, or a labels.csv, are the classes."""

import dataclasses
import itertools

import numpy as np

from vaezoo.data.dataset import make_data, name_classes
from vaezoo.data.decoded import describe_skipped, read_images, used_files
from vaezoo.data.indexed import ReaderSplit
from vaezoo.data.listing import first_names
from vaezoo.errors import printable
from vaezoo.spec import Spec

# TensorFlow makes two copies of a split in memory, from a third. Reading batches from the cache was as fast: 30,000
# colour images of 64×64 a second on two cores, against 35,000.
COPIES = 3


def load(name, listing, preparation, validation, seed, memory_limit, cache, quiet):
    """The data set in a folder.

    Its sub-folders are the classes, in the order of their names, however deep the images lie in them. Images directly
    in the folder have no classes, unless a labels.csv names the class of every image in its columns file and label. If
    there are both `train` and `test`, they are the splits, each of them such a folder, and so is `val`, `valid` or
    `validation` beside them: then no other images are held out for validation. Hidden files, runs of vaezoo and files
    without the extension of an image are left out; images that cannot be used are skipped. Images are grey if all of
    them are, else RGB; transparency lies on the background, EXIF orientation is applied, and an animation gives its
    first frame.

    Args:
        name: as given to load_data.
        listing: the `Listing` of the folder.
        preparation: a `Preparation`; without image_size, `decided_size` decides.
        validation: fraction of the training images to hold out.
        seed: chooses the validation images.
        memory_limit: bytes that decoded images may take in memory; more are read when needed.
        cache: a folder to keep the decoded images in, or None.
        quiet: whether to show no progress.

    Raises:
        VaezooError: for a folder that cannot be used, or one of which more than half of the images cannot be.
    """
    images = read_images(name, listing, preparation, memory_limit, cache, quiet)
    used = used_files(listing, images.skipped)
    classes = listing.classes and np.array(listing.classes)[used]
    stops = np.searchsorted(used, np.cumsum([0, *listing.counts]))
    parts = [np.arange(*ends) for ends in itertools.pairwise(stops)]
    class_names, *labels = name_classes(*(None if classes is None else classes[part] for part in parts))
    spec = Spec("image", images.shape, classes=len(class_names or ()))
    splits = [ReaderSplit(images.read, part, spec, "uint8", each) for part, each in zip(parts, labels, strict=True)]
    notes = [*listing.notes, *images.notes]
    if empty := listing.folders.difference(class_names or ()):
        notes.append(f"folders without images are no classes: {first_names(empty)}")
    if images.skipped:
        notes.append(describe_skipped(images.skipped, listing))
    data = make_data(
        name,
        splits[0],
        splits[1] if len(splits) > 1 else None,
        class_names,
        validation,
        seed,
        held=splits[2] if len(splits) > 2 else None,
        image_size=images.image_size,
        notes=tuple(map(printable, notes)),
        skipped=tuple((printable(file), reason) for file, reason in sorted(images.skipped.items())),
    )
    if COPIES * len(used) * spec.size > memory_limit:
        return data
    splits = {part: getattr(data, part) for part in ("train", "validation", "test")}
    return dataclasses.replace(data, **{part: split and split.in_memory() for part, split in splits.items()})

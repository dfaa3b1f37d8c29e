"""The decoded images of a folder: made once, in several threads, and kept in a cache for the next time.

The cache is an .npy file of the images that can be used, and a .json file about it, which is written last: without it
there is no cache. Their names say which folder it is, what is in it (names, sizes and times of all files) and how the
images are prepared. When a cache is written, those of the same folder with another content are removed, since nothing
reads them any more; those of other preparations stay. The whole cache folder may be deleted at any time.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vaezoo.atomic import remove_unfinished, write_file, write_text
from vaezoo.data.listing import first_names
from vaezoo.data.npy import NpyFile
from vaezoo.data.pictures import UnusableImageError, guarded, read_header, read_image
from vaezoo.data.preparation import Preparation, decided_size
from vaezoo.errors import VaezooError
from vaezoo.reading import LARGEST_TABLE
from vaezoo.regular_files import read_bytes

VERSION = 1  # of what becomes of an image file; another one makes new caches
AT_ONCE = 64  # files that a thread reads at a time
BYTES_AT_ONCE = 2**20  # of decoded images that a thread returns at a time


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a folder that can be used, in the order of its `Listing`.

    Attributes:
        shape: (H, W, C) of each.
        image_size: (H, W) that each was brought to, asked for or decided here; None if they keep their size.
        skipped: file → the reason why it cannot be used.
        notes: lines about them.
        read: int64 indices [B] → images uint8 [B,H,W,C].
        preparation: how each was brought to that shape.
    """

    shape: tuple[int, int, int]
    image_size: tuple[int, int] | None
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    read: Callable
    preparation: Preparation


def read_images(name, listing, preparation, memory_limit, cache, quiet):
    """The `Images` of a folder.

    They are read from the cache, or decoded and kept there. Where there is no cache, or it cannot be written, they are
    held in memory if they fit, else each is decoded when it is needed.

    Args:
        name: of the folder, for messages.
        listing: its `Listing`.
        preparation: a `Preparation`; without image_size, `decided_size` decides.
        memory_limit: bytes of images that may be held.
        cache: the folder of the caches, or None.
        quiet: whether to show no progress.

    Raises:
        VaezooError: if more than half of the images cannot be used, or all of them are identical.
    """
    path = cache and Path(cache) / _cache_name(listing, preparation)
    if path and (found := _cached(path, listing, preparation)):
        return found
    images = _look(name, listing, preparation, quiet)
    if path:
        try:
            with _only_writer(path.parent, quiet):
                return _cached(path, listing, preparation) or _write_cache(path, name, listing, images, quiet)
        except (OSError, VaezooError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            note = f"the decoded images are not kept in '{cache}': {cause.strerror or cause}"
            images = dataclasses.replace(images, notes=(*images.notes, note))
    count = len(listing.files) - len(images.skipped)
    if count * math.prod(images.shape) > memory_limit:
        return images
    held, rows = np.empty((count, *images.shape), "uint8"), iter(range(count))
    skipped = _decode(name, listing, images, lambda image: held.__setitem__(next(rows), image), quiet)
    return dataclasses.replace(images, skipped=skipped, read=held.__getitem__)


def _look(name, listing, preparation, quiet):
    """The `Images` after a look at all headers, each decoded when it is read."""
    skipped, sizes, all_grey = {}, [], True
    for number, header in _in_threads(
        read_header, range(len(listing.files)), listing, "looking at images", AT_ONCE, quiet
    ):
        if isinstance(header, UnusableImageError):
            skipped[listing.files[number]] = header.reason
        else:
            sizes.append(header[0])
            all_grey = all_grey and header[1]
    _check_most_are_usable(name, listing, skipped)
    image_size, note = preparation.image_size, None
    if image_size is None:
        image_size, note = decided_size(sizes)
    shape = (*(image_size or sizes[0]), 1 if all_grey else 3)
    read = _reader(listing, skipped, shape, preparation)
    return Images(shape, image_size, skipped, (note,) if note else (), read, preparation.of_size(shape[:2]))


def _reader(listing, skipped, shape, preparation):
    """indices [B] of the images that are not skipped → uint8 [B,H,W,C], from their files."""
    used, preparation = used_files(listing, skipped), preparation.of_size(shape[:2])

    def read(indices):
        return np.stack([read_image(listing.path(used[i]), shape, preparation) for i in indices])

    return read


def used_files(listing, skipped):
    """The numbers of the files that are not skipped, in order."""
    return [number for number, file in enumerate(listing.files) if file not in skipped]


def _decode(name, listing, images, write, quiet):
    """Decode the images in order; `write` is called with each. Returns which files are skipped, with the reasons."""

    def read(path):
        return read_image(path, images.shape, images.preparation)

    skipped, first, differ = dict(images.skipped), None, False
    at_once = int(np.clip(BYTES_AT_ONCE // math.prod(images.shape), 1, AT_ONCE))
    for number, image in _in_threads(read, used_files(listing, skipped), listing, "decoding images", at_once, quiet):
        if isinstance(image, UnusableImageError):
            skipped[listing.files[number]] = image.reason
            continue
        first = image if first is None else first
        differ = differ or not np.array_equal(image, first)
        write(image)
    _check_most_are_usable(name, listing, skipped)
    count = len(listing.files) - len(skipped)
    if count > 1 and not differ:
        raise VaezooError(f"all {count:,} images of '{name}' are identical: there is nothing to learn from them.")
    return skipped


def _check_most_are_usable(name, listing, skipped):
    if 2 * len(skipped) > len(listing.files):
        found = describe_skipped(skipped, listing)
        raise VaezooError(f"more than half of '{name}' cannot be used: {found}; replace or remove them.")


def describe_skipped(skipped, listing):
    """How many files are skipped, for each reason with the first names."""
    reasons = collections.defaultdict(list)
    for file, reason in skipped.items():
        reasons[reason].append(file)
    parts = (f"{len(files):,} {reason} ({first_names(files)})" for reason, files in sorted(reasons.items()))
    return f"{len(skipped):,} of {len(listing.files):,} images are skipped: {', '.join(parts)}"


def _in_threads(function, numbers, listing, what, at_once, quiet):
    """(number, what the function makes of the path of that file, or its UnusableImageError) for each of them, in order.

    A thread takes several files at a time, and few results wait: those of a quarter of a million files and more would
    not fit in memory.
    """

    def of_some(numbers):
        return [(number, _or_error(function, listing.path(number))) for number in numbers]

    workers = os.cpu_count() or 1
    parts = [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]
    with (
        guarded(),
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        file_bar(what, len(numbers), quiet) as advance,
    ):
        for start in range(0, len(parts), 4 * workers):
            for results in pool.map(of_some, parts[start : start + 4 * workers]):
                yield from results
                advance(len(results))


def _or_error(function, path):
    try:
        return function(path)
    except UnusableImageError as error:
        return error


@contextlib.contextmanager
def file_bar(what, total, quiet):
    """A progress bar, if standard error is a terminal; yields a function to move it by so many files."""
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


# The cache


def _cache_name(listing, preparation):
    """The name of the .npy file: a folder, its content, and how the images are prepared."""
    content = hashlib.sha256(str(VERSION).encode())
    for file, stamp in zip(listing.files, listing.stamps, strict=True):
        content.update(f"{file}\0{stamp}\0".encode("utf-8", "surrogateescape"))
    parts = os.path.realpath(listing.root), content, str(dataclasses.astuple(preparation))
    digests = (part if part is content else hashlib.sha256(part.encode("utf-8", "surrogateescape")) for part in parts)
    return "-".join(digest.hexdigest()[:16] for digest in digests) + ".npy"


def _cached(path, listing, preparation):
    """The `Images` of a cache, or None if it is not there, or not complete."""
    try:
        content = json.loads(read_bytes(path.with_suffix(".json"), LARGEST_TABLE))
        shape, image_size = tuple(content["shape"]), content["image_size"] and tuple(content["image_size"])
        skipped, file = content["skipped"], NpyFile(path)
        if (file.shape, file.dtype) != ((len(listing.files) - len(skipped), *shape), np.uint8):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    decode = _reader(listing, skipped, shape, preparation)

    def read(indices):
        try:
            return file[indices]
        except FileNotFoundError:  # somebody has deleted the cache meanwhile
            return decode(indices)

    return Images(shape, image_size, skipped, tuple(content["notes"]), read, preparation.of_size(shape[:2]))


def _write_cache(path, name, listing, images, quiet):
    """Decode the images into a cache; returns the `Images` that read it."""
    folder, row = path.parent, math.prod(images.shape)
    if shutil.disk_usage(folder).free < (len(listing.files) - len(images.skipped)) * row:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def header(file, count):
        content = {"descr": "|u1", "fortran_order": False, "shape": (count, *images.shape)}
        np.lib.format.write_array_header_1_0(file, content)

    def write(temporary):
        nonlocal skipped
        with open(temporary, "wb") as file:
            header(file, len(listing.files))
            skipped = _decode(name, listing, images, lambda image: file.write(image.tobytes()), quiet)
            file.seek(0)
            header(file, len(listing.files) - len(skipped))  # as long as before: NumPy leaves room for larger counts

    skipped = {}
    write_file(path, write)
    content = {
        "folder": os.path.realpath(listing.root),
        "shape": images.shape,
        "image_size": images.image_size,
        "notes": images.notes,
        "skipped": skipped,
    }
    write_text(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    place, content, _ = path.stem.split("-")
    for other in folder.glob(f"{place}-*"):
        if other.stem.split("-")[1] != content:
            other.unlink(missing_ok=True)
    return _cached(path, listing, images.preparation)


@contextlib.contextmanager
def _only_writer(folder, quiet):
    """Be the only process that writes a cache in this folder; another one that wants to waits, and then reads it."""
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        if not quiet:
            print(f"vaezoo: waiting for another process that decodes images into '{folder}'", file=sys.stderr)
        lock.acquire()
    try:
        remove_unfinished(folder)
        yield
    finally:
        lock.release()

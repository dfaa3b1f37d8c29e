"""The images of a folder, or its music, and the class of each file: what is found before any of them is opened."""

import collections
import csv
import dataclasses
import os
from pathlib import Path

import numpy as np

from vaezoo.data.split import FILE_ORDER
from vaezoo.errors import VaezooError

KINDS = {
    "image": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"),
    "music": (".mid", ".midi", ".abc"),
}
NOUNS = {"image": "image", "music": "file"}
EXTENSIONS = {extension: kind for kind, extensions in KINDS.items() for extension in extensions}
TABLE = "labels.csv"
VALIDATION = ("val", "valid", "validation")  # names of the folder of the validation split
NAMED = 3  # names in a line


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of a folder, or its files of music.

    Attributes:
        kind: of all the files: one of KINDS.
        root: the folder.
        files: paths relative to it, in a fixed shuffled order, so that the first are of many classes; those of `train`
            come before those of `test`, and these before those of the validation split.
        stamps: (size in bytes, time of the last change in ns) of each.
        counts: how many files each split has: one number, or two where there are `train` and `test`, and three where
            there is one of VALIDATION too.
        classes: the class of each file, a list of texts; None without classes.
        folders: the names of the sub-folders, if they are the classes.
        notes: lines about what was found.
    """

    kind: str
    root: str
    files: list[str]
    stamps: list[tuple[int, int]]
    counts: list[int]
    classes: list[str] | None
    folders: set[str]
    notes: list[str]

    def path(self, number):
        """The path of one of the files."""
        return os.path.join(self.root, self.files[number])


def list_files(name, root):
    """The `Listing` of a folder.

    Args:
        name: of the folder, for messages.
        root: its path.

    Raises:
        VaezooError: for a folder without images and music, with both, or that cannot be read, a link that leads out of
            it, classes in only some of the splits, or a labels.csv that does not fit the files.
    """
    others, splits = collections.Counter(), []
    parts, notes = _parts(root)
    for part in parts:
        folder = os.path.join(root, part) if part else str(root)
        _refuse_escape(folder, root)
        found = _walk(root, part, others)
        if not found:
            raise VaezooError(
                f"there are no images in '{folder}', and no music: give files with extension {', '.join(EXTENSIONS)}"
                f"{'; it holds ' * bool(others)}{_kinds(others)}."
            )
        order = np.random.default_rng([0, FILE_ORDER]).permutation(len(found))
        splits.append([found[i] for i in order])
    files, stamps = ([file[i] for split in splits for file in split] for i in (0, 1))
    kind, *more = sorted({EXTENSIONS[_ending(file)] for file in files})
    if more:
        count = sum(EXTENSIONS[_ending(file)] == "music" for file in files)
        raise VaezooError(
            f"'{name}' holds {len(files) - count:,} images and {count:,} files of music: give a folder with one kind."
        )
    if os.path.exists(os.path.join(root, TABLE)):
        classes, folders = _labels_of(root, files, NOUNS[kind]), set()
    else:
        classes, folders = _sub_folders(name, root, parts, splits, notes, NOUNS[kind])
    if others:
        notes.append(f"left out {_kinds(others)}: no {kind} files")
    return Listing(kind, str(root), files, stamps, [len(split) for split in splits], classes, folders, notes)


def one_file(path):
    """The `Listing` of a single file."""
    path = Path(path)
    status = path.stat()
    stamp = status.st_size, status.st_mtime_ns
    return Listing(EXTENSIONS[_ending(path.name)], str(path.parent), [path.name], [stamp], [1], None, set(), [])


def _parts(root):
    """(the sub-folders that are splits, or one empty text where there are none; notes on what lies beside them)."""
    found = [part for part in ("train", "test") if os.path.isdir(os.path.join(root, part))]
    # An empty one is none.
    found += [part for part in VALIDATION if any(files for *_, files in os.walk(os.path.join(root, part)))][:1]
    if not {"train", "test"} <= {*found}:
        return [""], []
    beside = {each for each in os.listdir(root) if not each.startswith(".")}.difference(found, [TABLE])
    return found, [f"left out what lies beside {_and(found)}: {first_names(beside)}"] * bool(beside)


def _and(parts):
    *first, last = (f"'{part}'" for part in parts)
    return f"{', '.join(first)} and {last}"


def require_test(name, root):
    """Raise a VaezooError for a folder with `train` and a validation split and no `test`: they would be classes."""
    has = {part for part in ("train", "test", *VALIDATION) if os.path.isdir(os.path.join(root, part))}
    if "train" in has and "test" not in has and (held := sorted(has.intersection(VALIDATION))):
        raise VaezooError(
            f"'{name}' has the folders 'train' and '{held[0]}', and no 'test': rename '{held[0]}' to 'test', and a "
            "validation split is held out of 'train'; or add the folder 'test'"
        )


def _walk(root, part, others):
    """The files in a part of the root, by name: [(path relative to the root, (size, time))]; counts the others."""
    found, waiting = [], [part]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(os.path.join(root, place)) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise VaezooError(
                f"the folder '{os.path.join(root, place)}' cannot be read: {error.strerror}; make it readable, or move "
                "it out of the data"
            ) from None
        if place != part and {"recipe.yaml", "environment.json"} <= {entry.name for entry in entries}:
            continue  # a run of vaezoo, whose pictures are no examples
        folders = []
        for entry in entries:
            path, ending = os.path.join(place, entry.name), _ending(entry.name)
            if entry.name.startswith("."):
                continue
            linked = entry.is_symlink()
            is_folder = os.path.isdir(entry.path) if linked else entry.is_dir()
            if linked and (is_folder or ending in EXTENSIONS):
                _refuse_escape(entry.path, root)
            if is_folder:
                folders += [path] * (not linked)  # a link might lead back here
            elif ending in EXTENSIONS:
                found.append((path, _stamp(entry)))
            elif path != TABLE:
                others[ending or "without extension"] += 1
        waiting += reversed(folders)
    return found


def _ending(name):
    return os.path.splitext(name)[1].lower()


def _stamp(entry):
    try:
        status = entry.stat()
    except OSError:  # a link to nothing
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _kinds(others):
    return ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(5)) + ", ..." * (len(others) > 5)


def _sub_folders(name, root, parts, splits, notes, noun):
    """(the top sub-folder that each file lies in, the names of all of them); (None, empty) without classes."""
    classes, folders = [], set()
    for part, split in zip(parts, splits, strict=True):
        skip = len(part) + bool(part)
        tops = [path[skip:].split(os.sep)[0] if os.sep in path[skip:] else None for path, _ in split]
        if None not in tops:
            with os.scandir(os.path.join(root, part)) as entries:
                folders |= {each.name for each in entries if each.is_dir() and not each.name.startswith(".")}
        elif any(tops):
            where = os.path.join(name, part) if part else name
            notes.append(f"{noun}s lie both beside and in the sub-folders of '{where}': no classes")
        classes.append(None if None in tops else tops)
    if None not in classes:
        return [top for tops in classes for top in tops], folders
    if any(classes):
        raise VaezooError(f"'{name}' has classes in only some of {_and(parts)}: give each sub-folders, or none.")
    return None, set()


def _labels_of(root, files, noun):
    """The label of each file, from labels.csv."""
    path = os.path.join(root, TABLE)
    _refuse_escape(path, root)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise VaezooError(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise VaezooError(f"'{path}' needs the columns file,label in its first line, and a line for each {noun}.")
    labels, twice, known = {}, set(), set(files)
    for row in rows:
        file, label = os.path.normpath(row["file"] or ""), row["label"]
        if labels.setdefault(file, label) != label:
            twice.add(file)
    for problem, wrong in (
        ("names {} that the folder does not have", labels.keys() - known),
        ("does not name {} of the folder", known - labels.keys()),
        ("gives two labels to {}", twice),
        ("gives no label to {}", {file for file, label in labels.items() if not label}),
    ):
        if wrong:
            what = f"{len(wrong):,} {noun}{'s' * (len(wrong) > 1)} ({first_names(wrong)})"
            raise VaezooError(f"'{path}' {problem.format(what)}: correct it, or remove it.")
    return [labels[file] for file in files]


def first_names(paths):
    """The first of some paths, for a line."""
    return ", ".join(f"'{path}'" for path in sorted(paths)[:NAMED]) + ", ..." * (len(paths) > NAMED)


def _refuse_escape(link, root):
    target, inside = os.path.realpath(link), os.path.realpath(root)
    if os.path.commonpath([target, inside]) != inside:
        raise VaezooError(f"'{link}' is a link to {target}, outside the folder: copy the images in, or remove it.")

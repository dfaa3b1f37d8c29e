"""The arrays that the functions here take, read from a run.

`run` is a `vaezoo.runs.Run`. Its examples are read as the model was trained on them: binarized if the recipe says so.
"""

import contextlib
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaezoo.atomic import write_arrays
from vaezoo.data import binarize
from vaezoo.data.items import read_rows
from vaezoo.data.pictures import guarded, read_image
from vaezoo.data.table_files import filled, table_of
from vaezoo.errors import VaezooError
from vaezoo.evaluation.disentanglement import mutual_information
from vaezoo.latent_space.codes import information
from vaezoo.latent_space.editing import class_index, members
from vaezoo.models.in_batches import BATCH, embed
from vaezoo.reading import Texts, parse_json, read_arrays
from vaezoo.regular_files import LARGEST, open_regular

CACHE = "averages.npz"
RANKING_EXAMPLES = 2000  # enough to rank the latent axes
FACTOR_EXAMPLES = 10_000  # enough to tell which factor an axis holds


class Inputs(NamedTuple):
    """What a command starts from: examples [N,...], their classes [N] if the model is conditional, and N names."""

    x: np.ndarray
    labels: np.ndarray | None
    names: list[str]


def inputs_of(run, index=None, image=None, invert=False, image_label=None):
    """Test examples by index, or the user's own pictures.

    Args:
        run: a `Run`.
        index: one index of the test set, or several, from 0.
        image: one path of a picture, or several, instead.
        invert: exchange light and dark in `image` (ink on paper).
        image_label: the class of each picture, or one for all, for a conditional model: as in `class_of`.

    Returns:
        The `Inputs`.

    Raises:
        VaezooError: for neither or both of `index` and `image`, an index outside the test set, a picture that cannot be
            read, or a class that is missing or does not exist.
    """
    if image is None and (invert or image_label is not None):
        raise VaezooError("invert= and image_label= apply to image= only; leave them out")
    if (index is None) == (image is None):
        raise VaezooError("give index= or image=, and not both")
    if image is None:
        indices = [int(each) for each in np.ravel(index)]
        x, labels = examples_at(run, indices)
        return Inputs(x, labels_for(run.model, labels), [f"test {each}" for each in indices])
    paths = [Path(path) for path in ([image] if np.ndim(image) == 0 else image)]
    x, names = own_images(run, paths, invert), [path.stem for path in paths]
    if image_label is None:
        if run.model.spec.conditional:
            raise VaezooError("this model is conditional: give the class of each image= as image_label=")
        return Inputs(x, None, names)
    given = [image_label] if np.ndim(image_label) == 0 else image_label
    labels = [class_of(run, label, "image_label") for label in given]
    if len(labels) not in (1, len(paths)):
        raise VaezooError(f"{len(labels)} classes in image_label= for {len(paths)} pictures; give one, or one for each")
    return Inputs(x, np.array(labels * len(paths))[: len(paths)], names)


def own_rows(run, path):
    """The rows of a table that the user gives.

    Args:
        run: a `Run` of a table.
        path: of a .csv or .parquet file. Its columns are matched by name; those that training left out may be there.

    Returns:
        (the pyarrow.Table, rows [N,F], their classes [N] or None, their names).

    Raises:
        VaezooError: for a file or a column that does not fit, or a value that training did not have.
    """
    run.model.spec.require_table("data=")
    settings, labels = run.recipe.data, None
    further, names = settings.columns or (), run.environment.get("class_names")
    table, x, classes = read_rows(path, run.model.spec, further, settings.label, names)
    if run.model.spec.conditional:
        if classes is None:
            raise VaezooError(f"this model is conditional: '{path}' needs the column '{settings.label}', the class")
        labels = np.array([class_of(run, each, "data") for each in classes], "int32")
    return table, x, labels, [f"row {number}" for number in range(len(x))]


def run_table(run, x, labels=None, given=None, places=None):
    """Rows of a run as a pyarrow.Table, or None without pyarrow.

    Args:
        run: a `Run` of a table.
        x: rows [N,F]; a NaN is a missing cell.
        labels: classes [N] of a conditional model, which become the last column.
        given: a table whose missing cells are filled in from x, in place of a new one.
        places: the shape of the leading axes of rows that were flattened: their places become the first columns.
    """
    if importlib.util.find_spec("pyarrow") is None:
        return None
    columns = run.model.spec.columns
    if given is not None:
        for place, column in enumerate(columns):
            given = filled(given, column, x[:, place])
        return given
    table = table_of(x, columns)
    if labels is not None:
        names = [run.environment["class_names"][label] for label in labels]
        whole = all(name.isdecimal() for name in names)
        table = table.append_column(run.recipe.data.label or "label", [list(map(int, names)) if whole else names])
    for axis, name in reversed(list(enumerate(("row", "step", "place")[: len(places or ())]))):
        while name in table.column_names:
            name += "_"
        table = table.add_column(0, name, [np.indices(places)[axis].ravel()])
    return table


def class_of(run, label, argument="label"):
    """The index of a class: a text is its name in the data set (or its index), an integer is the index itself."""
    if not run.model.spec.conditional:
        raise VaezooError(f"{argument}= is for conditional models, and '{run.path}' is not one; leave it out")
    if not isinstance(label, str):
        return label
    return class_index(label, run.class_names)


def examples_at(run, indices):
    """Test examples by their index [N,...], and their classes [N] or None."""
    size = len(run.data.test)
    for index in indices:
        if not 0 <= index < size:
            raise VaezooError(f"index {index} is outside the test set; its {size:,} examples are 0 to {size - 1}")
    x, labels = run.first("test", max(indices) + 1)
    return x[indices], None if labels is None else labels[indices]


def own_images(run, paths, invert=False):
    """The user's own pictures as images that the model takes [N,H,W,C]."""
    run.model.spec.require_image("image=")
    with guarded():
        images = np.stack([read_image(path, run.model.spec.shape, strict=True) for path in paths]) / np.float32(255)
    images = 1 - images if invert else images
    mode = run.recipe.data.binarize
    return np.asarray(binarize(images, mode, seed=[run.recipe.training.seed, 0]) if mode != "none" else images)


def labels_for(model, labels):
    """The labels if the model takes any, otherwise None."""
    return labels if model.spec.conditional else None


def embedding_of_test(run, count=None):
    """The posterior means of the first `count` test examples, or all [N,D], and their classes [N] or None."""
    if count is not None and count < 1:
        raise VaezooError(f"{count} test examples; give at least 1")
    x, labels = run.first("test", count)
    return embed(run.model, x, labels_for(run.model, labels)), labels


def axis_information(run):
    """`information` of the latent axes, measured on the first test examples."""
    x, labels = run.first("test", RANKING_EXAMPLES)
    return information(run.model, x, labels_for(run.model, labels))


def axes_by_factor(run):
    """The latent axes in the order of the known factors that they hold, measured on the first test examples.

    Args:
        run: a `Run`.

    Returns:
        A list of (axis, factor, nats): for each axis the factor that it has the most information about. The factors
        are in the order of the data set; of a factor, the most informative axis comes first.

    Raises:
        VaezooError: if the examples have no known factors, or too few for an estimate.
    """
    x, labels = run.first("test", FACTOR_EXAMPLES)
    factors = {name: values[: len(x)] for name, values in run.data.test.factors.items()}
    if not factors:
        raise VaezooError(
            f"'{run.recipe.data.name}' has no known factors to order the axes by; set by=information, or train on "
            "sprites, shapes or glyphs"
        )
    nats = mutual_information(embed(run.model, x, labels_for(run.model, labels)), factors)  # [D,F]
    best, names = nats.argmax(1), list(factors)
    order = sorted(range(len(nats)), key=lambda axis: (best[axis], -nats[axis, best[axis]]))
    return [(axis, names[best[axis]], float(nats[axis, best[axis]])) for axis in order]


def cached_average(run, characteristics):
    """The average code of the training examples that have all the characteristics [D], and how many they are.

    It is cached in the run directory, for this model file only: the next edit with the same target reads no training
    data.

    Args:
        run: a `Run`.
        characteristics: `Characteristic`s.

    Returns:
        (average [D], number of examples).

    Raises:
        VaezooError: as `members`; and for a class as the target of a conditional model, whose codes hold no class.
    """
    if run.model.spec.conditional and any(wanted.factor == "label" for wanted in characteristics):
        raise VaezooError(
            "this model is conditional: the class is an input, not a part of the code; "
            "`vaezoo sample RUN --index N` draws the style of that example in every class"
        )
    key = " & ".join(sorted(map(str, characteristics)))
    cache = _read_cache(run)
    if key not in cache:
        total, count = _sum_of_codes(run, characteristics)
        cache[key] = np.append(total / count, count)
        # If the run directory cannot be written, the edit still works; only the next one takes longer.
        with contextlib.suppress(VaezooError):
            _write_cache(run, cache)
    *average, count = cache[key]
    return np.array(average, "float32"), int(count)


def _sum_of_codes(run, characteristics):
    """The sum of the codes of the training examples that have all the characteristics [D], and how many they are."""
    split, model = run.data.train, run.model
    having = members(characteristics, _labels_of(split), split.factors, run.data.class_names)
    total, start = np.zeros(model.latent_dim), 0
    for batch in split.batches(BATCH, **run.batches).as_numpy_iterator():  # a large set does not fit into memory
        here = having[start : start + len(batch["x"])]
        start += len(here)
        if here.any():
            labels = batch["label"][here] if model.spec.conditional else None
            total += embed(model, batch["x"][here], labels).sum(0, dtype="float64")
    return total, having.sum()


def _labels_of(split):
    """The classes of all examples of a split [N], or None; read from disk if the split is streamed."""
    if split.labels is not None or not split.has_labels:
        return split.labels
    return np.concatenate([batch["label"] for batch in split.batches(BATCH, labels=True).as_numpy_iterator()])


def _fingerprint(run):
    with open_regular(run.model_file) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(run):
    """The averages of this model file; empty if the cache is missing, broken, or of another model."""
    try:
        stored = read_arrays(run.path / CACHE, LARGEST)
        if str(stored["model"]) != _fingerprint(run):
            return {}
        names, averages = parse_json(str(stored["names"]), Texts), stored["averages"]
        if averages.dtype.kind != "f" or averages.shape[1:] != (run.model.latent_dim + 1,):
            return {}
        return dict(zip(names, averages, strict=True))
    except (ValueError, KeyError):
        return {}


def _write_cache(run, cache):
    arrays = {
        "model": _fingerprint(run),
        "names": json.dumps(list(cache)),
        "averages": np.stack(list(cache.values())),  # the average and, last, the number of examples
    }
    write_arrays(run.path / CACHE, arrays)

"""The arrays that the functions here take, read from a run directory.

`run` is a `training.Run`. Its images are read as the model was trained on them: binarized where the recipe says so,
by a draw that is a function of the run's seed and the image's place alone.
"""

import contextlib
import hashlib
import json
import zipfile

import numpy as np

from vaezoo.atomic import write_file
from vaezoo.data import binarize
from vaezoo.errors import VaezooError
from vaezoo.latent_space.codes import information
from vaezoo.latent_space.editing import members
from vaezoo.latent_space.own_image import read_image
from vaezoo.models.in_batches import BATCH, embed
from vaezoo.training.run_directory import images_of

CACHE = "averages.npz"
RANKING_IMAGES = 2000  # enough to put the latent axes in order


def images_at(run, indices):
    """Test images by their index [N,H,W,C], and their classes [N] or None."""
    size = len(run.data.test)
    for index in indices:
        if not 0 <= index < size:
            raise VaezooError(f"index {index} is outside the test set; its {size:,} images are 0 to {size - 1}")
    images, labels = images_of(run, run.data.test, max(indices) + 1)
    return images[list(indices)], None if labels is None else labels[list(indices)]


def own_images(run, paths, invert=False):
    """The user's own pictures as images that the run's model takes [N,H,W,C]."""
    images = np.stack([read_image(path, run.model.image_shape, invert) for path in paths])
    mode = run.recipe.data.binarize
    return np.asarray(binarize(images, mode, seed=[run.recipe.training.seed, 0]) if mode != "none" else images)


def labels_for(model, labels):
    """The labels if the model takes any, else None."""
    return labels if model.conditional else None


def embedding_of_test(run, count=None):
    """The posterior means of the first `count` test images, or all [N,D], and their classes [N] or None."""
    if count is not None and count < 1:
        raise VaezooError(f"{count} test images; give at least 1")
    images, labels = images_of(run, run.data.test, count)
    return embed(run.model, images, labels_for(run.model, labels)), labels


def axis_information(run):
    """`information` of the run's latent axes, measured on its first test images."""
    images, labels = images_of(run, run.data.test, RANKING_IMAGES)
    return information(run.model, images, labels_for(run.model, labels))


def cached_average(run, characteristics):
    """The average code of the training images that have all the characteristics [D], and how many they are.

    It is kept in the run directory, for that very model file: the next edit towards the same needs no training images.

    Args:
        run: a `training.Run`.
        characteristics: `Characteristic`s.

    Returns:
        (average [D], number of images).

    Raises:
        VaezooError: as `members`; and for a class as target of a conditional model, whose codes hold no class.
    """
    if run.model.conditional and any(wanted.factor == "label" for wanted in characteristics):
        raise VaezooError(
            "this model is conditional: it is told the class, which is no part of its code; "
            "`vaezoo sample RUN --index N` draws that image's style in every class"
        )
    key = " & ".join(sorted(map(str, characteristics)))
    cache = _read_cache(run)
    if key not in cache:
        total, count = _sum_of_codes(run, characteristics)
        cache[key] = np.append(total / count, count)
        # A run directory that cannot be written to is still good for an edit: only the next one takes longer.
        with contextlib.suppress(VaezooError):
            _write_cache(run, cache)
    *average, count = cache[key]
    return np.array(average, "float32"), int(count)


def _sum_of_codes(run, characteristics):
    """The sum of the codes of the training images that have all the characteristics [D], and how many they are."""
    split = run.data.train
    having = members(characteristics, _labels_of(split), split.factors, run.data.class_names)
    recipe, model = run.recipe, run.model
    batches = split.batches(BATCH, binarize=recipe.data.binarize, seed=recipe.training.seed, labels=model.conditional)
    total, start = np.zeros(model.latent_dim), 0
    for batch in batches.as_numpy_iterator():  # one by one: a large set does not fit into memory
        images, labels = (batch["image"], batch["label"]) if model.conditional else (batch, None)
        here = having[start : start + len(images)]
        start += len(images)
        if here.any():
            codes = embed(model, images[here], None if labels is None else labels[here])
            total += codes.sum(0, dtype="float64")
    return total, having.sum()


def _labels_of(split):
    """The classes of all images of a split [N], or None; of one that is streamed from disk they must be read there."""
    if split.labels is not None or not split.has_labels:
        return split.labels
    return np.concatenate([batch["label"] for batch in split.batches(BATCH, labels=True).as_numpy_iterator()])


def _fingerprint(run):
    with open(run.path / "model.keras", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(run):
    """The averages of this very model; none if the file is missing, broken, or of another model."""
    try:
        with np.load(run.path / CACHE, allow_pickle=False) as file:
            if str(file["model"]) != _fingerprint(run):
                return {}
            return dict(zip(json.loads(str(file["names"])), file["averages"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write_cache(run, cache):
    arrays = {
        "model": _fingerprint(run),
        "names": json.dumps(list(cache)),
        "averages": np.stack(list(cache.values())),  # the average and, last, the number of images
    }
    write_file(run.path / CACHE, lambda beside: np.savez(beside, **arrays))

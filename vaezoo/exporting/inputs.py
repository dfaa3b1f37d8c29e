"""What artefacts are measured and calibrated on: codes of the prior, test images, codes of the training images."""

import numpy as np
import tensorflow as tf

from vaezoo.seeds import EXPORT, fold_seed

COUNT = 1000  # codes, and test images, of a measurement
CALIBRATION = 2000  # training images whose codes set the ranges of int8
CALIBRATION_DRAWS = 4000  # codes of the prior that do so too; more than are measured, lest one of those lie outside


def measured_inputs(run, seed=0):
    """What `verify` sends through every artefact; kept with the export, so it can be measured again anywhere.

    Args:
        run: a `Run`.
        seed: of the codes and of their labels.

    Returns:
        {"z" [1000,D] float32 from the prior, "image" [<=1000,H,W,C] uint8, the first test images}, and for a
        conditional model "z_label" and "image_label", int32.
    """
    model = run.model
    z = model.prior_distribution().sample(COUNT, seed=fold_seed(seed, EXPORT, 0)).numpy()
    images, labels = _first_images(run, run.data.test, COUNT)
    # Grey levels in 256 steps: any image is as good for a comparison, and these are small on disk.
    inputs = {"z": z, "image": np.round(images * 255).astype("uint8")}
    if model.conditional:
        drawn = np.random.default_rng([seed, EXPORT]).integers(0, model.classes, COUNT)
        inputs |= {"z_label": drawn.astype("int32"), "image_label": labels}
    return inputs


def calibration_inputs(run, seed=0):
    """What int8 takes its ranges from: training images, and the codes that a decoder meets in use.

    The codes are drawn from the posteriors of those images (the aggregated posterior) and from the prior, which reaches
    farther out: what lies beyond the range of a quantized tensor is cut off at its edge.

    Args:
        run: a `Run`.
        seed: of the draws.

    Returns:
        {"decode": inputs by name, "encode": inputs by name}; the arrays of each have equally many rows.
    """
    model = run.model
    images, labels = _first_images(run, run.data.train, CALIBRATION)
    codes = model.encode(images, labels).sample(seed=fold_seed(seed, EXPORT, 1))
    draws = model.prior_distribution().sample(CALIBRATION_DRAWS, seed=fold_seed(seed, EXPORT, 2))
    z = np.concatenate([codes, draws]).astype("float32")
    inputs = {"decode": {"z": z}, "encode": {"image": images}}
    if model.conditional:
        drawn = np.arange(CALIBRATION_DRAWS, dtype="int32") % model.classes
        inputs["decode"]["label"], inputs["encode"]["label"] = np.concatenate([labels, drawn]), labels
    return inputs


def _first_images(run, split, count):
    """The first images of a split as the model was trained on them: float32 [N,H,W,C], and labels or None."""
    recipe, conditional = run.recipe, run.model.conditional
    batches = split.batches(
        min(count, len(split)), binarize=recipe.data.binarize, seed=recipe.training.seed, labels=conditional
    )
    with tf.device("CPU:0"):
        first = next(iter(batches.take(1)))
    if conditional:
        return first["image"].numpy(), first["label"].numpy()
    return first.numpy(), None

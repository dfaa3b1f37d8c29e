"""The results of a training: standalone Keras files and pictures, after the last epoch or after an interruption."""

import contextlib
from pathlib import Path

import numpy as np

from vaezoo import plots
from vaezoo.errors import VaezooError, printable
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.training.animation import FILM, leave_film
from vaezoo.zoo import load

EXAMPLES = 20  # test images in reconstructions.png
MELODIES = 6  # test melodies in it
ROWS = 5000  # of a table, in each picture


def leave_results(run, setup, model, rows, warn=lambda line: None):
    """Write the standalone Keras files and the pictures of a model; pictures of images and melodies.

    A picture that cannot be drawn is no error: images of 100,000×1 pixels are too large for one.

    Args:
        run: the `RunDirectory`.
        setup: the `Setup`.
        model: the `VAE`.
        rows: one row of metrics for each epoch; None to draw no curves.
        warn: called with a line for each picture that cannot be drawn.
    """

    def attempt(name, write):
        try:
            write()
        except VaezooError:  # a full disk
            raise
        except Exception as error:
            warn(printable(f"{name} is not drawn: {error or type(error).__name__}"))

    def picture(name, draw):
        attempt(name, lambda: run.picture(name, draw()))

    data, name = setup.data, setup.recipe.name
    run.model("encoder.keras", standalone_encoder(model))
    run.model("decoder.keras", standalone_decoder(model))
    if model.spec.is_image:
        batch = next(iter(data.test.batches(EXAMPLES, count=EXAMPLES, **setup.batches)))
        title = f"{name}: test images, decoded means"
        picture("reconstructions.png", lambda: plots.reconstructions(batch["x"], model(batch), title))
        picture("samples.png", lambda: _samples(setup, model))
    if model.spec.notation == "melody":
        picture("reconstructions.png", lambda: _melodies(setup, model))
        picture("samples.png", lambda: _sampled_melodies(setup, model))
    if model.spec.columns is not None:
        picture("reconstructions.png", lambda: _reconstructed_rows(setup, model))
        picture("samples.png", lambda: _sampled_rows(setup, model))
    if rows:
        picture("curves.png", lambda: plots.training_curves(rows, model.objective.shown, name))
    attempt(FILM, lambda: leave_film(run.path, data.class_names, f"{name} on {Path(data.name).name}"))


def _reconstructed_rows(setup, model):
    """Test rows against their reconstructions, column by column."""
    batch = next(iter(setup.data.test.batches(ROWS, count=ROWS, **setup.batches)))
    title = f"{setup.recipe.name}: cells of test rows, across, and their reconstructions"
    return plots.row_reconstructions(batch["x"].numpy(), np.asarray(model(batch)), model.spec.columns, title)


def _sampled_rows(setup, model):
    """Rows drawn from the model beside training rows; of a conditional model with their classes."""
    batch = next(iter(setup.data.train.batches(ROWS, count=ROWS, **setup.batches)))
    label = batch.get("label")
    drawn = model.sample(len(batch["x"]), seed=setup.recipe.training.seed, label=label, temperature=1.0)
    title = f"{setup.recipe.name}: training rows and samples"
    return plots.row_samples(batch["x"].numpy(), np.asarray(drawn), model.spec.columns, title)


def _melodies(setup, model):
    """Test melodies, and beside each its reconstruction."""
    batch = next(iter(setup.data.test.batches(MELODIES, count=MELODIES, **setup.batches)))
    pairs = np.stack([batch["x"], model(batch)], axis=1).reshape(-1, *model.spec.shape)
    labels = [text for number in range(len(pairs) // 2) for text in (f"test {number}", "reconstructed")]
    return plots.piano_roll(pairs, labels, f"{setup.recipe.name}: melodies and their reconstructions", 2)


def _sampled_melodies(setup, model):
    """Melodies from the prior; of a conditional model, two of each class."""
    name, seed, classes = setup.recipe.name, setup.recipe.training.seed, setup.data.class_names
    if not model.spec.conditional:
        return plots.piano_roll(model.sample(8, seed=seed), title=f"{name}: samples from the prior")
    label = np.arange(2 * len(classes)) % len(classes)
    samples = model.sample(len(label), seed=seed, label=label)
    return plots.piano_roll(samples, [classes[each] for each in label], f"{name}: samples of each class")


def _samples(setup, model):
    """Samples from the prior; of a conditional model, one column for each of the first ten classes."""
    name, seed, data = setup.recipe.name, setup.recipe.training.seed, setup.data
    if not model.spec.conditional:
        return plots.image_grid(model.sample(64, seed=seed), 8, f"{name}: samples from the prior")
    columns = min(data.classes, 10)
    label = np.tile(np.arange(columns), 8)
    samples = model.sample(len(label), seed=seed, label=label)
    return plots.image_grid(
        samples, columns, f"{name}: samples of each class", column_labels=data.class_names[:columns]
    )


def keep_what_is_done(run, setup, state, status, reason=None):
    """Complete the run directory from the last finished epoch, after a training that ended early.

    Args:
        run: the `RunDirectory`.
        setup: the `Setup`.
        state: the `TrainingState`.
        status: "interrupted" or "failed".
        reason: of a failure, on one line.

    Returns:
        What was kept and how to resume, on one line.
    """
    if not setup.devices.chief:
        return "the run directory of the chief holds what is done; resume it with `vaezoo train --resume`"
    newest = run.checkpoints.trusted[-1] if run.checkpoints.trusted else None
    if newest is None:
        run.discard()
        return "no epoch was finished, so nothing was kept"
    epoch, step = newest.place
    # Writing can fail again, if the disk is full or the folder is gone; the checkpoint is what counts.
    with contextlib.suppress(OSError, ValueError):
        run.status(setup.environment, status, epochs=epoch, **({"reason": reason} if reason else {}))
        if epoch:
            model = load(run.path)
            leave_results(run, setup, model, state.rows[:epoch])
    planned = setup.recipe.training.epochs
    shown = state.best_epoch if setup.recipe.training.keep == "best" else epoch
    kept = f"epoch {shown} of {planned} is kept in {run.path / 'model.keras'}" if epoch else "no epoch was finished"
    if step:
        kept += f", {step} of {setup.steps} steps of epoch {epoch + 1} in {newest.model}"
    return f"{kept}; resume it with `vaezoo train --resume {run.path}`"

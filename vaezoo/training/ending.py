"""What a training leaves behind when it ends: after its last epoch, or early."""

import contextlib
from pathlib import Path

import numpy as np

from vaezoo import plots
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.training.animation import leave_film
from vaezoo.zoo import load


def leave_results(run, setup, model, rows):
    """The standalone Keras files and the pictures of a model.

    Args:
        run: the `RunDirectory`.
        setup: the `Setup`.
        model: the `VAE`.
        rows: a row of metrics an epoch.
    """
    recipe, data, name = setup.recipe, setup.data, setup.recipe.name
    run.model("encoder.keras", standalone_encoder(model))
    run.model("decoder.keras", standalone_decoder(model))
    batch = next(iter(data.test.batches(20, **setup.batches)))
    images = batch["image"] if model.conditional else batch
    run.picture(
        "reconstructions.png", plots.reconstructions(images, model(batch), f"{name}: test images, decoded means")
    )
    if model.conditional:
        columns = min(data.classes, 10)
        label = np.tile(np.arange(columns), 8)
        samples = model.sample(len(label), seed=recipe.training.seed, label=label)
        names = data.class_names[:columns]
        figure = plots.image_grid(samples, columns, f"{name}: samples of each class", column_labels=names)
    else:
        figure = plots.image_grid(model.sample(64, seed=recipe.training.seed), 8, f"{name}: samples from the prior")
    run.picture("samples.png", figure)
    run.picture("curves.png", plots.training_curves(rows, name))
    leave_film(run.path, data.class_names, f"{name} on {Path(data.name).name}")


def keep_what_is_done(run, setup, state, status, reason=None):
    """After a training that ended early, complete the directory from the last finished epoch.

    Args:
        run: the `RunDirectory`.
        setup: the `Setup`.
        state: the `TrainingState`.
        status: "interrupted" or "failed".
        reason: of a failure, on one line.

    Returns:
        What was kept, and how to go on from it, on one line.
    """
    if not setup.devices.chief:
        return "what is done is in the run directory of the chief; go on from it with `vaezoo train --resume`"
    newest = next(iter(run.checkpoints.all()), None)
    if newest is None:
        run.discard()
        return "no epoch was finished, so nothing was kept"
    epoch, step = newest.place
    # A full disk has room for nothing more, and a folder may have gone; the checkpoint is what counts.
    with contextlib.suppress(OSError, ValueError):
        run.status(setup.environment, status, epochs=epoch, **({"reason": reason} if reason else {}))
        if epoch:
            model = load(run.path)
            leave_results(run, setup, model, state.rows[:epoch])
    planned = setup.recipe.training.epochs
    kept = f"epoch {epoch} of {planned} is kept in {run.path / 'model.keras'}" if epoch else "no epoch was finished"
    if step:
        kept += f", {step} of {setup.steps} steps of epoch {epoch + 1} in {newest.model}"
    return f"{kept}; go on with `vaezoo train --resume {run.path}`"

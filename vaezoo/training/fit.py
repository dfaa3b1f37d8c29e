"""Train a recipe, or resume an interrupted training: one run directory, the same weights either way."""

import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo import internals
from vaezoo.checkpoints import TrainingState
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError, printable_lines
from vaezoo.keras_files import load_weights
from vaezoo.models.vae import VAE
from vaezoo.optimizer import take_averages
from vaezoo.recipe_schema import Recipe
from vaezoo.runs import free_path, image_cache, read_environment, read_run_recipe
from vaezoo.tables import aligned
from vaezoo.training.animation import CODES, LatentFilm
from vaezoo.training.callbacks import Interruption, Progress, Recorder
from vaezoo.training.results import keep_what_is_done, leave_results
from vaezoo.training.run_directory import RunDirectory
from vaezoo.training.setup import prepare
from vaezoo.training.strategies import Devices
from vaezoo.versions import PACKAGES

EVALUATION_BATCH = 1000
CHANGEABLE = tuple(f"training.{key}" for key in ("epochs", "learning_rate", "schedule", "clip_norm", "on_nonfinite"))


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training: the run directory, the model, and its test metrics in nats per example."""

    path: Path
    model: VAE
    test: dict[str, float]


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    quiet: bool = False,
    animate: bool = False,
    checkpoint_every: float | None = None,
    strategy: str = "one",
    callbacks: Sequence[Any] = (),
) -> Trained:
    """Train a model and write a run directory.

    With a strategy, the batches, the noise and the updates are those of one device. With "multi_worker", every machine
    makes this call at the same time. Only the chief, worker 0, writes a run directory; the path that the other workers
    return does not exist.

    Args:
        recipe: a `Recipe`, or the name or path of one.
        out: the run directory; by default runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... that is free.
        quiet: print nothing.
        animate: store the codes of 1,000 test examples after every epoch, and write an animation of them, latent.gif.
        checkpoint_every: seconds between checkpoints within an epoch; there is always one at the end of an epoch.
        strategy: the devices: "one" device, "mirrored" for all GPUs of this machine, or "multi_worker" for the GPUs of
            every machine in TF_CONFIG.
        callbacks: Keras callbacks, called after those of vaezoo, on the chief only. Where one stops the training, as
            `keras.callbacks.EarlyStopping` does, the model is tested as after the last epoch, or with the weights that
            one has set by then; with training.keep=best they do not count. Their own state is not in the checkpoints,
            nor is a learning rate that they have set.

    Returns:
        A `Trained`: the path of the run, the trained model and the test metrics.

    Raises:
        VaezooError: for data that cannot be read or does not fit the recipe; a directory that cannot be written, holds
            a run or is in use; a loss or gradient that is not finite; an invalid TF_CONFIG, a batch size that the
            devices do not divide, or a lost worker.
        KeyboardInterrupt: after Ctrl-C, and as `Terminated` after SIGTERM; the message says what was kept.
    """
    started = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    prior, objective = recipe.model.prior, recipe.model.objective
    if prior.learned and not objective.has_bound:
        raise VaezooError(
            f"the objective '{objective.name}' has no KL, so the prior '{prior.name}' would learn nothing; set "
            "model.prior=standard_normal, and fit a prior after the training: "
            f"`vaezoo refit RUN --prior {prior.name}`"
        )
    directory = RunDirectory(out or free_path(Path("runs") / recipe.name))
    devices, say = _joined(strategy, quiet)
    quiet = quiet or not devices.chief
    common = {"checkpoint_every=": checkpoint_every, "the checkpoint": None}
    setup = prepare(recipe, lambda line: say(f"warning: {line}"), devices, image_cache(directory.path), quiet, common)
    with _written_by_chief(directory, devices) as run:
        run.recipe(setup.recipe)
        say(f"{setup.headline}\nwriting to {run.path}\n")
        film = [LatentFilm.of(run.path, setup)] if animate and devices.chief else []
        return _train(run, setup, TrainingState(), started, quiet, film, checkpoint_every, callbacks)


def resume(
    path: str | Path,
    epochs: int | None = None,
    changes: Mapping[str, Any] | None = None,
    quiet: bool = False,
    checkpoint_every: float | None = None,
    strategy: str = "one",
    callbacks: Sequence[Any] = (),
) -> Trained:
    """Resume a training from its newest complete checkpoint.

    With unchanged settings, the final weights are bit-identical to those of an uninterrupted training on the same
    machine. With more epochs, the schedule is that of the longer training from here on, so a falling learning rate
    first rises.

    Args:
        path: the run directory; with "multi_worker" it must be on a disk that all machines share.
        epochs: the total number of epochs; by default the number in the recipe.
        changes: values by dotted key, for keys in CHANGEABLE, as in {"training.learning_rate": 1e-4} after a loss that
            was not finite.
        quiet: print nothing.
        checkpoint_every: as in `train`.
        strategy: as in `train`; it may differ from that of the interrupted training.
        callbacks: as in `train`.

    Returns:
        What `train` returns.

    Raises:
        VaezooError: as `train` does; if the folder holds no run, or no complete checkpoint; if a checkpoint holds
            anything that no model of vaezoo has; if the data have changed; if more epochs are done than asked for.
        KeyboardInterrupt: as `train` does.
    """
    started = time.perf_counter()

    def warn(line):
        say(f"warning: {line}")

    changes = {**(changes or {}), **({} if epochs is None else {"training.epochs": epochs})}
    for key in changes:
        if key not in CHANGEABLE:
            raise VaezooError(f"'{key}' cannot change in a resumed run; allowed are {', '.join(CHANGEABLE)}")
    found_at = RunDirectory(path, resumed=True)
    devices, say = _joined(strategy, quiet)
    quiet = quiet or not devices.chief
    with _written_by_chief(found_at, devices) as run:
        recipe = read_run_recipe(found_at.path, changes)
        if recipe.training.epochs is None:
            raise VaezooError("training.epochs=null lets the data decide once, before a training; give a number")
        found = found_at.checkpoints.newest(warn, recipe.model.objective.shown)
        if found is None and (found_at.path / "model.keras").exists():
            raise VaezooError(
                f"'{path}' holds a model but no checkpoint, as `vaezoo refit` writes it; resume the run it was made of"
            )
        checkpoint, state = found or (None, TrainingState())
        if recipe.training.epochs < state.epoch + (state.step > 0):
            raise VaezooError(
                f"'{path}' has {state.epoch} epochs{f' and {state.step} steps' * (state.step > 0)} already, more than "
                f"the {recipe.training.epochs} asked for; give a larger --epochs"
            )
        # A run that not all machines share has other checkpoints on some of them.
        common = {"checkpoint_every=": checkpoint_every, "the checkpoint": checkpoint and checkpoint.model.name}
        cache = image_cache(found_at.path)
        setup = prepare(recipe, warn, devices, cache, quiet, common, done=state.step)
        try:
            before = read_environment(found_at.path)
        except VaezooError as error:
            warn(f"{error}; it is written anew, and nobody can tell whether the data have changed")
            before = {}
        _check_environment(before, setup.environment, warn)
        if checkpoint:
            _check_state(checkpoint, state, setup)
            load_weights(setup.model, checkpoint.model)
            setup.watch.steps.assign(state.epoch * setup.steps + state.step)
        film = [LatentFilm.of(run.path, setup)] if devices.chief and os.path.lexists(run.path / CODES) else []
        run.recipe(setup.recipe)
        if state.epoch < recipe.training.epochs:
            run.drop_results()
        if state.epoch and not state.step and devices.chief:
            # The process may have been killed after the checkpoint, before this.
            run.show_epoch(state, setup.model, setup.recipe.training.keep)
        say(f"{setup.headline}\nresuming in {run.path} after {state.describe()}\n")
        return _train(run, setup, state, started, quiet, film, checkpoint_every, callbacks)


@contextlib.contextmanager
def _written_by_chief(directory, devices):
    """The `RunDirectory` on the chief; on another worker a temporary one."""
    if devices.chief:
        with directory as run:
            yield run
    else:
        with tempfile.TemporaryDirectory() as folder, RunDirectory(folder) as run:
            yield run


def _train(run, setup, state, started, quiet, film, checkpoint_every, callbacks):
    """Train from a state to the last epoch and evaluate; also complete the run directory if the training ends early."""
    model, settings, data, devices = setup.model, setup.recipe.training, setup.data, setup.devices
    if not state.rows:
        state.warm_up = setup.warm_up
    say = printer(quiet or not devices.chief)
    run.status(setup.environment, "training")
    if data.skipped:
        run.text("skipped.txt", "".join(f"{file}: {reason}\n" for file, reason in data.skipped))
    if devices.name != "one":
        internals.skip_symbolic_build(model)
    validation = devices.repeat(data.validation.batches(EVALUATION_BATCH, **setup.batches)) if data.validation else None
    own = callbacks if devices.chief else ()
    recorder = Recorder(run, state, setup, started, checkpoint_every, others=bool(own))
    progress = Progress(recorder, settings.epochs, quiet or not devices.chief)
    try:
        with devices.errors_of_others(), progress, Interruption(recorder) as interruption:
            while state.epoch < settings.epochs:
                # The rest of an interrupted epoch comes first, then all the others.
                images = data.train.training_batches(
                    settings.batch_size,
                    setup.steps,
                    flip=setup.recipe.data.flip,
                    transpose=setup.recipe.data.transpose == "random",
                    first_epoch=state.epoch,
                    first_step=state.step,
                    **setup.batches,
                )
                model.fit(
                    devices.share(images),
                    initial_epoch=state.epoch,
                    epochs=state.epoch + 1 if state.step else settings.epochs,
                    steps_per_epoch=setup.steps - state.step,
                    validation_data=validation,
                    shuffle=False,
                    verbose=0,
                    callbacks=[setup.watch, *film, recorder, progress, *own, interruption],
                )
                if model.stop_training:  # a callback has asked for it
                    break
            # The files of the run are all of the same weights: those in model.keras.
            if settings.keep == "best":
                best, over = state.best_epoch, state.best_epoch > state.warm_up
                why = "whose validation loss is the smallest" if over else "the last, as its warm-up is not over"
                say(f"\nkeeping the weights of epoch {best}, {why}")
                load_weights(model, run.path / "model.keras")
            elif recorder.weights_differ():  # a callback has set others
                if settings.average:
                    say("warning: the weights that a callback has set are no averages; training.keep=best keeps those")
                run.model("model.keras", model)
            else:
                take_averages(model)
            images = devices.repeat(data.test.batches(EVALUATION_BATCH, **setup.batches))
            test = model.evaluate(images, verbose=0, return_dict=True)
            interruption.end_if_asked()
            run.json("test.json", {**test, "images": len(data.test), "training_seconds": round(state.seconds, 1)})
            if devices.chief:
                leave_results(run, setup, model, state.rows, lambda line: say(f"warning: {line}"))
            run.status(setup.environment, "finished", seconds=round(state.seconds, 1))
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(keep_what_is_done(run, setup, state, "interrupted")) from None
    except VaezooError as error:
        raise VaezooError(f"{error} ({keep_what_is_done(run, setup, state, 'failed', str(error))})") from None
    say(f"\ntest metrics ({len(data.test):,} examples, nats per example)\n{_table(test)}\n\nthe run is in {run.path}")
    return Trained(run.path, model, test)


def _check_state(checkpoint, state, setup):
    """Refuse a state that is none of this training, though its checksum is right."""
    trackers = setup.model.trackers if state.step else {}
    sums = {name: len(tracker.variables) for name, tracker in trackers.items()}
    if state.step >= setup.steps or sums != {name: len(values) for name, values in state.sums.items()}:
        raise VaezooError(
            f"'{checkpoint.manifest}' is broken: its step is {state.step:,} of {setup.steps:,} in an epoch, with the "
            f"sums of {', '.join(state.sums) or 'no terms'}; remove it to resume from the checkpoint before it"
        )


def _check_environment(before, now, warn):
    """Refuse to resume with other data; warn about what may change the weights."""
    changed = f"the data '{now['data']}' have changed since the run began"
    for key in ("images", "shape"):
        if key in before and before[key] != now[key]:
            raise VaezooError(
                f"{changed}: its {key} were {before[key]} and are {now[key]}; restore the old data, or train again"
            )
    if before.get("sketch", now["sketch"]) != now["sketch"]:
        raise VaezooError(
            f"{changed}: their first examples or labels are not those of then; restore the old data, or train again. "
            "If this machine only reads them a little differently, take 'sketch' out of the run's environment.json"
        )
    for key in (*PACKAGES, "device", "strategy", "compilation"):
        if key in before and before[key] != now[key]:
            warn(
                f"the run began with {key} {before[key]}, and now it is {now[key]}: the weights may differ from those "
                "of an uninterrupted run"
            )


def _joined(strategy, quiet):
    """The `Devices`, and a function that prints a line; on the chief only, once all machines have joined."""
    devices = Devices(strategy, printer(quiet))
    return devices, printer(quiet or not devices.chief)


def printer(quiet):
    """A function that prints a line on standard error, or nothing."""

    def say(line):
        if not quiet:
            print(printable_lines(line), file=sys.stderr, flush=True)

    return say


def _table(metrics):
    return aligned(((f"  {name}", f"{value:.3f}") for name, value in metrics.items()), right=[1])

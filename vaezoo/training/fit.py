"""Train a recipe, or go on with a training that ended early: one run directory, the same weights either way."""

import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.models.vae import VAE
from vaezoo.recipe_schema import Recipe
from vaezoo.training.animation import CODES, LatentFilm
from vaezoo.training.callbacks import Interruption, Progress, Recorder
from vaezoo.training.checkpoints import TrainingState
from vaezoo.training.ending import keep_what_is_done, leave_results
from vaezoo.training.inspection import read_environment
from vaezoo.training.run_directory import RunDirectory, free_path
from vaezoo.training.setup import PACKAGES, prepare
from vaezoo.training.strategies import Devices

EVALUATION_BATCH = 1000
CHANGEABLE = tuple(f"training.{key}" for key in ("epochs", "learning_rate", "schedule", "clip_norm", "on_nonfinite"))


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training: the run directory, the model, and its test figures in nats an image."""

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
) -> Trained:
    """Train a model and leave a run directory.

    With a strategy the batch, the noise and the update are those of one device. With "multi_worker" every machine makes
    this call at the same time, and the run directory is the chief's, worker 0: the others leave nothing.

    Args:
        recipe: a `Recipe`, or the name or path of one.
        out: the run directory; by default runs/NAME, or the first free one of runs/NAME-2, runs/NAME-3, ...
        quiet: print nothing.
        animate: keep the map of 1,000 test images after every epoch, and leave a film of it, latent.gif.
        checkpoint_every: seconds between checkpoints within an epoch; there is always one at an epoch's end.
        strategy: what to train on: "one" device, "mirrored" for all GPUs of this machine, or "multi_worker" for those
            of every machine that TF_CONFIG names.

    Returns:
        The path of the run, the trained model and the test figures.

    Raises:
        VaezooError: for data that cannot be read or does not fit the recipe, a directory that cannot be written,
            holds a run or is in use; a loss or gradient that is no longer finite; a TF_CONFIG that is wrong, a batch
            that the devices cannot share, or a worker that is gone.
        KeyboardInterrupt: after Ctrl-C, and as `Terminated` after SIGTERM, with a message that says what was kept.
    """
    started = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    directory = RunDirectory(out or free_path(Path("runs") / recipe.name))
    devices, say = _joined(strategy, quiet)
    setup = prepare(recipe, lambda line: say(f"warning: {line}"), devices)
    with _written_by_chief(directory, devices) as run:
        run.text("recipe.yaml", to_yaml(setup.recipe))
        say(f"{setup.headline}\nwriting to {run.path}\n")
        return _train(run, setup, TrainingState(), started, quiet, animate, checkpoint_every)


def resume(
    path: str | Path,
    epochs: int | None = None,
    changes: Mapping[str, Any] | None = None,
    quiet: bool = False,
    checkpoint_every: float | None = None,
    strategy: str = "one",
) -> Trained:
    """Go on with a training from its newest checkpoint that is whole.

    With nothing changed, the weights in the end are bit-identical to those of a training that was never disturbed, on
    the same machine. With more epochs the cosine schedule is that of the longer training from here on: the learning
    rate rises again to where that training would have it.

    Args:
        path: the run directory; with "multi_worker" every machine reads it, so it has to be on a disk that they share.
        epochs: how many epochs there shall be in all; by default as many as were planned.
        changes: values by dotted key, of those in CHANGEABLE, as in {"training.learning_rate": 1e-4} after a loss that
            was not finite.
        quiet: print nothing.
        checkpoint_every: as in `train`.
        strategy: as in `train`; it may be another one than the run was begun with.

    Returns:
        What `train` returns.

    Raises:
        VaezooError: as `train` does; if the folder holds no run, or no checkpoint that is whole; if the data have
            changed; if more epochs are done than asked for.
        KeyboardInterrupt: as `train` does.
    """
    started = time.perf_counter()

    def warn(line):
        say(f"warning: {line}")

    changes = {**(changes or {}), **({} if epochs is None else {"training.epochs": epochs})}
    for key in changes:
        if key not in CHANGEABLE:
            raise VaezooError(f"'{key}' cannot change in a run that goes on; what can: {', '.join(CHANGEABLE)}")
    found_at = RunDirectory(path, resumed=True)
    devices, say = _joined(strategy, quiet)
    with _written_by_chief(found_at, devices) as run:
        recipe = load_recipe(found_at.path / "recipe.yaml", changes)
        found = found_at.checkpoints.newest(warn)
        if found is None and (found_at.path / "model.keras").exists():
            raise VaezooError(f"'{path}' holds a model but no checkpoint: an earlier version made it; train it anew")
        checkpoint, state = found or (None, TrainingState())
        if recipe.training.epochs < state.epoch + (state.step > 0):
            raise VaezooError(
                f"'{path}' has {state.epoch} epochs{f' and {state.step} steps' * (state.step > 0)} already, more than "
                f"the {recipe.training.epochs} asked for; give a larger --epochs"
            )
        setup = prepare(recipe, warn, devices)
        _check_environment(read_environment(found_at.path), setup.environment, warn)
        if checkpoint:
            setup.model.load_weights(checkpoint.model)
            setup.watch.steps.assign(state.epoch * setup.steps + state.step)
        if not devices.agree(state.epoch * setup.steps + state.step):
            raise VaezooError(f"the workers found different checkpoints in '{path}'; let all see one disk")
        run.text("recipe.yaml", to_yaml(setup.recipe))
        if state.epoch < recipe.training.epochs:
            run.drop_results()
        if state.epoch and not state.step and devices.chief:
            run.show_epoch(state)  # the process may have been killed between the checkpoint and these
        say(f"{setup.headline}\ngoing on in {run.path} after {state.describe()}\n")
        return _train(run, setup, state, started, quiet, (run.path / CODES).exists(), checkpoint_every)


@contextlib.contextmanager
def _written_by_chief(directory, devices):
    """That `RunDirectory` on the chief; on another worker one of its own, which goes when the training ends."""
    if devices.chief:
        with directory as run:
            yield run
    else:
        with tempfile.TemporaryDirectory() as folder, RunDirectory(folder) as run:
            yield run


def _train(run, setup, state, started, quiet, animate, checkpoint_every):
    """Train from that state to the last epoch; evaluate; leave everything in the directory, whatever happens."""
    model, settings, data, devices = setup.model, setup.recipe.training, setup.data, setup.devices
    run.status(setup.environment, "training")
    validation = devices.repeat(data.validation.batches(EVALUATION_BATCH, **setup.batches)) if data.validation else None
    recorder = Recorder(run, state, setup, started, checkpoint_every)
    film = [LatentFilm.of(run.path, data, model.conditional, **setup.batches)] if animate and devices.chief else []
    lines = [] if quiet or not devices.chief else [Progress(recorder, settings.epochs)]
    try:
        with devices.errors_of_others(), Interruption(recorder) as interruption:
            while state.epoch < settings.epochs:
                # First the rest of an epoch that was broken off, then all the whole ones.
                images = data.train.training_batches(
                    settings.batch_size, setup.steps, first_epoch=state.epoch, first_step=state.step, **setup.batches
                )
                model.fit(
                    devices.share(images),
                    initial_epoch=state.epoch,
                    epochs=state.epoch + 1 if state.step else settings.epochs,
                    steps_per_epoch=setup.steps - state.step,
                    validation_data=validation,
                    shuffle=False,
                    verbose=0,
                    callbacks=[setup.watch, *film, recorder, *lines, interruption],
                )
            images = devices.repeat(data.test.batches(EVALUATION_BATCH, **setup.batches))
            test = model.evaluate(images, verbose=0, return_dict=True)
            interruption.end_if_asked()
            run.json("test.json", {**test, "images": len(data.test), "training_seconds": round(state.seconds, 1)})
            if devices.chief:
                leave_results(run, setup, model, state.rows)
            run.status(setup.environment, "finished", seconds=round(state.seconds, 1))
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(keep_what_is_done(run, setup, state, "interrupted")) from None
    except VaezooError as error:
        raise VaezooError(f"{error} ({keep_what_is_done(run, setup, state, 'failed', str(error))})") from None
    say = _say(quiet or not devices.chief)
    say(f"\ntest figures ({len(data.test):,} images, nats an image)\n{_table(test)}\n\nthe run is in {run.path}")
    return Trained(run.path, model, test)


def _check_environment(before, now, warn):
    """Refuse to go on with other data; warn where the last bits may differ."""
    for key in ("images", "image_shape"):
        if key in before and before[key] != now[key]:
            raise VaezooError(
                f"the data '{now['data']}' have changed since the run began: its {key} were {before[key]} and are "
                f"{now[key]}; bring the old ones back, or train anew"
            )
    for key in (*PACKAGES, "device", "strategy", "compilation"):
        if key in before and before[key] != now[key]:
            warn(
                f"the run was begun with {key} {before[key]}, and this is {now[key]}: the weights may differ from "
                "those of an undisturbed run"
            )


def _joined(strategy, quiet):
    """The `Devices`, and what prints a line: once all machines are there, on the chief alone."""
    devices = Devices(strategy, _say(quiet))
    return devices, _say(quiet or not devices.chief)


def _say(quiet):
    def say(line):
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    return say


def _table(figures):
    return "\n".join(f"  {name:<16}{value:10.3f}" for name, value in figures.items())

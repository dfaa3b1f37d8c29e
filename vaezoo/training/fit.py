"""Train a recipe: data, model, fit, test figures, pictures, one run directory."""

import contextlib
import dataclasses
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

import vaezoo
from vaezoo import plots
from vaezoo.config import load_recipe, to_yaml
from vaezoo.data import canonical_name
from vaezoo.errors import VaezooError
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.models.vae import VAE
from vaezoo.recipe_schema import Recipe
from vaezoo.training.animation import LatentFilm, leave_film
from vaezoo.training.callbacks import Interruption, Progress, Recorder
from vaezoo.training.compilation import epoch_shape, on_gpu, use_xla
from vaezoo.training.run_directory import RunDirectory, free_path, load_recipe_data
from vaezoo.zoo import build_model, load

EVALUATION_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training: the run directory, the model, and its test figures in nats an image."""

    path: Path
    model: VAE
    test: dict[str, float]


def train(recipe: Recipe | str, out: str | Path | None = None, quiet: bool = False, animate: bool = False) -> Trained:
    """Train a model and leave a run directory.

    Args:
        recipe: a `Recipe`, or the name or path of one.
        out: the run directory; by default runs/NAME, or the first free one of runs/NAME-2, runs/NAME-3, ...
        quiet: print nothing.
        animate: keep the map of 1,000 test images after every epoch, and leave a film of it, latent.gif.

    Returns:
        The path of the run, the trained model and the test figures.

    Raises:
        VaezooError: for data that cannot be read or does not fit the recipe, a directory that cannot be written or
            holds a run, or a loss that is no longer finite.
        KeyboardInterrupt: after Ctrl-C, with a message that says what was kept.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    named = recipe.data.model_copy(update={"name": canonical_name(recipe.data.name)})
    recipe = recipe.model_copy(update={"data": named})  # so that the run can be read from any folder
    settings = recipe.training

    def say(line):
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    started = time.perf_counter()
    data = load_recipe_data(recipe)
    keras.utils.set_random_seed(settings.seed)  # the initial weights
    model = build_model(recipe, data.image_shape, data.classes)
    for warning in _check_likelihood(recipe, model, data):
        say(f"warning: {warning}")
    steps, steps_per_call = _steps(data, settings)
    xla = use_xla(model, settings.compilation)
    model.compile(
        optimizer=keras.optimizers.Adam(_learning_rate(settings, steps), global_clipnorm=settings.clip_norm),
        jit_compile=xla,
        steps_per_execution=steps_per_call,
    )

    run = RunDirectory(out or free_path(Path("runs") / recipe.name))
    resolved = recipe.model_copy(update={"parameters": model.count_params()})
    run.text("recipe.yaml", to_yaml(resolved))
    environment = _environment(data, model, xla)
    run.json("environment.json", {**environment, "status": "training"})
    say(_headline(recipe, data, model, environment, run))

    batches = {"binarize": recipe.data.binarize, "seed": settings.seed, "labels": model.conditional}
    recorder = Recorder(run, steps * settings.batch_size)
    film = [LatentFilm.of(run.path, data, model.conditional, **batches)] if animate else []
    try:
        with Interruption() as interruption:
            model.fit(
                data.train.training_batches(settings.batch_size, steps, **batches),
                epochs=settings.epochs,
                steps_per_epoch=steps,
                validation_data=data.validation.batches(EVALUATION_BATCH, **batches) if data.validation else None,
                shuffle=False,
                verbose=0,
                callbacks=[
                    recorder,
                    *film,
                    *([] if quiet else [Progress(recorder, settings.epochs, steps)]),
                    interruption,
                ],
            )
        seconds = time.perf_counter() - started
        test = model.evaluate(data.test.batches(EVALUATION_BATCH, **batches), verbose=0, return_dict=True)
        run.json("test.json", {**test, "images": len(data.test), "training_seconds": round(seconds, 1)})
        _leave(run, recipe, model, data, recorder.rows)
        run.json("environment.json", {**environment, "status": "finished", "seconds": round(seconds, 1)})
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_keep_last_epoch(run, recipe, data, recorder, environment)) from None
    except VaezooError as error:
        raise VaezooError(f"{error} ({_keep_last_epoch(run, recipe, data, recorder, environment)})") from None
    say(f"\ntest figures ({len(data.test):,} images, nats an image)\n{_table(test)}\n\nthe run is in {run.path}")
    return Trained(run.path, model, test)


def _check_likelihood(recipe, model, data):
    """Refuse a likelihood that does not describe the images; yield a warning where the figures would mislead."""
    if recipe.data.binarize == "none":
        model.likelihood.check(data.train.head(1000))
    elif recipe.model.likelihood.name != "bernoulli":
        yield (
            f"the likelihood '{recipe.model.likelihood.name}' describes grey levels, and data.binarize="
            f"{recipe.data.binarize} leaves zeros and ones; its figures do not compare with those of 'bernoulli'. "
            "Set data.binarize=none."
        )


def _steps(data, settings):
    if settings.batch_size > len(data.train):
        raise VaezooError(
            f"training.batch_size is {settings.batch_size} and '{data.name}' has {len(data.train)} training images; "
            "set a smaller batch"
        )
    return epoch_shape(len(data.train), settings.batch_size)


def _learning_rate(settings, steps):
    if settings.schedule == "constant":
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * steps)


def versions():
    """The versions and the machine that figures come from."""
    packages = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")
    return {
        "vaezoo": vaezoo.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "platform": platform.platform(),
        "device": "GPU" if on_gpu() else f"CPU, {os.cpu_count()} cores",
    }


def _environment(data, model, xla):
    return {
        **versions(),
        "precision": model.dtype_policy.name,
        "compilation": "xla" if xla else "graph",
        "seed": model.seed,
        "data": data.name,
        "images": {"train": len(data.train), "validation": len(data.validation or ()), "test": len(data.test)},
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names) if data.class_names else None,
    }


def _headline(recipe, data, model, environment, run):
    chosen = ", ".join(environment[key] for key in ("device", "precision", "compilation"))
    shape = "×".join(map(str, data.image_shape))
    images = ", ".join(f"{count:,} {split}" for split, count in environment["images"].items())
    return (
        f"{recipe.name}: {model.count_params():,} parameters; {chosen}\n"
        f"{data.name}: images of {shape}; {images}\n"
        f"writing to {run.path}\n"
    )


def _leave(run, recipe, model, data, rows):
    """The standalone Keras files and the pictures of a model."""
    run.model("encoder.keras", standalone_encoder(model))
    run.model("decoder.keras", standalone_decoder(model))
    name = recipe.name
    binarize = {"binarize": recipe.data.binarize, "seed": recipe.training.seed, "labels": model.conditional}
    batch = next(iter(data.test.batches(20, **binarize)))
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


def _keep_last_epoch(run, recipe, data, recorder, environment):
    """After a training that ended early, complete the directory from the last finished epoch; say what was kept."""
    if not recorder.rows:
        run.discard()
        return "no epoch was finished, so nothing was kept"
    with contextlib.suppress(VaezooError):  # a full disk has room for nothing more, and the model is already there
        run.json("environment.json", {**environment, "status": "interrupted", "epochs": len(recorder.rows)})
        _leave(run, recipe, load(run.path), data, recorder.rows)
    return f"epoch {len(recorder.rows)} of {recipe.training.epochs} is kept in {run.path / 'model.keras'}"


def _table(figures):
    return "\n".join(f"  {name:<16}{value:10.3f}" for name, value in figures.items())

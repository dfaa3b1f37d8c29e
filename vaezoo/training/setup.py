"""From a recipe to everything that `fit` needs: the data, the compiled model, the shape of an epoch."""

import dataclasses
import hashlib
import math
from importlib import metadata

import keras
import numpy as np

import vaezoo
from vaezoo import internals, part_schema
from vaezoo.data import Data, canonical_name
from vaezoo.data.binarization import fitting
from vaezoo.errors import VaezooError
from vaezoo.models.vae import VAE
from vaezoo.optimizer import optimizer_of
from vaezoo.recipe_schema import Recipe
from vaezoo.runs import SPLITS, load_recipe_data
from vaezoo.seeds import initial_weights
from vaezoo.training.compilation import compile_whole_calls, epoch_shape, use_xla
from vaezoo.training.nonfinite import Watch
from vaezoo.training.strategies import Devices
from vaezoo.versions import PACKAGES, versions
from vaezoo.zoo import build_model

# Keras begins at 2^15. A loss of hundreds of nats overflows that, and each overflow skips a step: up to eight at the
# start of conv_vae, after which the steps see other batches than those of a float32 training.
FIRST_LOSS_SCALE = 2.0**7

SKETCHED = 100  # examples of a split, by which data sets are told apart

# The number of epochs that the data decide: enough for LEAST_STEPS, within bounds.
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 5000, 10, 1000


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that a training needs, as a function of the recipe and the machine: a resumed process has the same.

    Attributes:
        recipe: with the canonical name of the data, what the data decided (image size, binarization, batch size,
            epochs) and the number of parameters.
        data: the three splits.
        model: compiled, with initial weights and a built optimizer.
        watch: guards the steps.
        devices: what training runs on.
        steps: the number of steps in an epoch.
        warm_up: as in `TrainingState`.
        environment: the content of environment.json: versions, device, precision, data.
    """

    recipe: Recipe
    data: Data
    model: VAE
    watch: Watch
    devices: Devices
    steps: int
    warm_up: int
    environment: dict

    @property
    def batches(self):
        """How training and every evaluation read the examples: keywords of `Split.batches`."""
        recipe = self.recipe
        return {"binarize": recipe.data.binarize, "seed": recipe.training.seed, "labels": self.model.spec.conditional}

    @property
    def headline(self):
        """The first lines: the model and the device, the data, how images are prepared, what to know of them."""
        model, data = self.model, self.data
        keys = ("device", *["strategy"] * (self.devices.name != "one"), "precision", "compilation")
        chosen = ", ".join(self.environment[key] for key in keys)
        counts = ", ".join(f"{count:,} {split}" for split, count in self.environment["images"].items())
        lines = [
            f"{self.recipe.name}: {model.count_params():,} parameters; {chosen}",
            f"{data.name}: {data.spec}; {counts}",
        ]
        if data.spec.is_image:
            keys = (*["crop"] * (data.image_size is not None), "binarize", *["flip"] * self.recipe.data.flip)
            lines.append("data: " + ", ".join(f"{key}={getattr(self.recipe.data, key)}" for key in keys))
        if data.spec.notation == "melody":
            lines.append(f"data: bars={self.recipe.data.bars}, transpose={self.recipe.data.transpose}")
        return "\n".join([*lines, *data.notes, *["skipped.txt names them all"] * bool(data.skipped)])


def prepare(recipe, warn, devices=None, cache=None, quiet=False, common=None, data=None, done=0):
    """Read the data; build and compile the model.

    Args:
        recipe: a `Recipe`.
        warn: called with a line for each setting that is likely a mistake.
        devices: the `Devices` to train on; by default one.
        cache: a folder for decoded images, as in `load_data`.
        quiet: whether to show no progress of reading the data.
        common: name → what else must be the same on all machines, besides recipe, data and versions.
        data: the `Data`, where they are in memory; by default those that the recipe names.
        done: the number of steps of an interrupted epoch that are done: the rest of it is whole calls too.

    Returns:
        The `Setup`.

    Raises:
        VaezooError: for data that cannot be read or does not fit the recipe, a batch that the devices cannot share, or
            machines that differ.
    """
    devices = devices or Devices()  # before the data, since reading them may use a GPU
    devices.require_equal({"the versions": [vaezoo.__version__, *map(metadata.version, PACKAGES)]})
    name = canonical_name(recipe.data.name) if data is None else data.name
    named = recipe.data.model_copy(update={"name": name})
    recipe = recipe.model_copy(update={"data": named})  # so that the run can be read from any folder
    settings = recipe.training
    _check_devices(devices, settings)
    if data is None:
        data = load_recipe_data(recipe, cache, quiet)
        recipe, data = _fitting_likelihood(recipe, data, cache, quiet)
    if settings.keep == "best" and (not data.validation or devices.workers > 1):
        raise VaezooError(
            "training.keep=best compares the epochs on a validation split, on one machine; set training.keep=last, or "
            "give data.validation more than 0"
        )
    if recipe.data.flip:
        data.spec.require_image("data.flip=true")
    if recipe.data.transpose == "random":
        data.spec.require_melody("data.transpose=random")
    decided = {"image_size": data.image_size, "binarize": _binarization(recipe, data), "columns": data.columns}
    settings = settings.model_copy(update={"batch_size": _batch_size(data, settings, devices, warn)})
    steps, steps_per_call = epoch_shape(len(data.train), settings.batch_size)
    steps_per_call = math.gcd(steps_per_call, done)
    settings = settings.model_copy(update={"epochs": settings.epochs or _epochs(steps)})
    recipe = recipe.model_copy(
        update={
            "model": _counted(recipe.model, len(data.train)),
            "data": recipe.data.model_copy(update=decided),
            "training": settings,
        }
    )
    if devices.workers > 1:  # the sketch reads examples
        devices.require_equal({**(common or {}), **_by_section(recipe), "the data": _identity(data)})
    with devices.errors_of_others(), devices.strategy.scope(), initial_weights(settings.seed):
        model = build_model(recipe, data.spec)
        # The expected ELBO is that of the zoo's own recipe on MNIST, not of these settings and data.
        recipe = recipe.model_copy(update={"parameters": model.count_params(), "expected_elbo": None})
        _check_likelihood(recipe, model, data, warn)
        if devices.name != "one":
            steps_per_call = 1  # with more, Keras 3.15 builds a graph that TensorFlow refuses
        xla = devices.name == "one" and use_xla(model, settings.compilation)
        model.compile(
            optimizer=optimizer_of(settings, learning_rate_of(settings, steps), settings.average),
            jit_compile=xla,
            steps_per_execution=steps_per_call,
        )
        model.optimizer.build(model.trainable_variables)
        if (scale := internals.loss_scale(model.optimizer)) is not None:
            scale.assign(FIRST_LOSS_SCALE)
        model.watch = Watch(model, settings.on_nonfinite)
    if xla:
        compile_whole_calls(model)
    warm_up = _warm_up(recipe.model.objective, steps)
    return Setup(recipe, data, model, model.watch, devices, steps, warm_up, _environment(data, model, xla, devices))


def _by_section(recipe):
    """Dotted key → value, but for the name of the data: another machine may hold them in another place."""
    content = recipe.model_dump(mode="json")
    sections = ("model", "data", "training")
    keys = {f"{section}.{key}": value for section in sections for key, value in content[section].items()}
    return {key: value for key, value in keys.items() if key != "data.name"}


def _identity(data):
    """What tells data sets apart: their spec, their classes, their sizes and their first examples."""
    return [str(data.spec), data.class_names, _sizes(data), _sketch(data)]


def _sizes(data):
    return {split: len(getattr(data, split) or ()) for split in SPLITS}


def _sketch(data):
    """A checksum of the first examples of every split, and of their labels."""
    checksum = hashlib.sha256()
    for split in filter(None, (data.train, data.validation, data.test)):
        for array in split.first(SKETCHED):
            if array is not None:
                checksum.update(np.ascontiguousarray(array))
    return checksum.hexdigest()


def _check_devices(devices, settings):
    """Refuse a batch that cannot be divided equally, and XLA on several devices."""
    batch, count = settings.batch_size, devices.count
    if batch % count:
        nearest = [str(size) for size in (batch - batch % count, batch - batch % count + count) if size]
        raise VaezooError(
            f"training.batch_size is {batch}, which {count} devices cannot share equally; set a multiple of {count}, "
            f"such as {' or '.join(nearest)}"
        )
    if devices.name != "one" and settings.compilation == "xla":
        raise VaezooError(
            "training.compilation=xla makes one program for one device; with a strategy leave it at auto, or set graph"
        )


def _fitting_likelihood(recipe, data, cache, quiet):
    """The recipe and the data, with the likelihood `mixed` for vectors that the recipe's own does not describe."""
    likelihood, spec = recipe.model.likelihood, data.spec
    if likelihood.column_types and spec.kind != "vector":
        raise VaezooError(
            f"the recipe '{recipe.name}' is for tables, and '{data.name}' holds {spec}; give data= a .csv, "
            ".parquet or .npy"
        )
    if spec.kind != "vector" or ("vector" not in likelihood.examples and spec.columns is None):
        return recipe, data
    if likelihood.column_types:
        fits = all(column.type in likelihood.column_types for column in spec.columns)
    else:
        x = data.train.first(1000)[0]
        zeros_and_ones = ((x == 0) | (x == 1)).all()
        numbers = spec.columns is None or all(c.is_number and not c.missing for c in spec.columns)
        fits = zeros_and_ones if likelihood.binary else numbers and "vector" in likelihood.examples
    if fits:
        return recipe, data
    model = recipe.model.model_copy(update={"likelihood": part_schema.Mixed()})
    recipe = recipe.model_copy(update={"model": model})
    if spec.columns is None:  # an array, whose vectors are plain numbers for the other likelihood
        data = load_recipe_data(recipe, cache, quiet)
    note = f"the likelihood '{likelihood.name}' does not describe these columns, so it is 'mixed': one for each type"
    return recipe, dataclasses.replace(data, notes=(*data.notes, note))


def _binarization(recipe, data):
    """How the images become zeros and ones: what the recipe says, or for "auto" what the data ask for."""
    likelihood, asked = recipe.model.likelihood, recipe.data.binarize
    if asked != "auto":
        return asked
    if not (likelihood.binary and data.spec.is_image):
        return "none"
    mode = fitting(data.train.first(1000)[0])
    if mode is None:
        what = "in colour" if data.spec.shape[-1] > 1 else "grey levels"
        raise VaezooError(
            f"the recipe '{recipe.name}' (likelihood '{likelihood.name}') needs images of zeros and ones, and those of "
            f"'{data.name}' are {what}; use `vaezoo train image_vae --data {data.name}`, or binarize them on purpose "
            "with --set data.binarize=dynamic"
        )
    return mode


def _check_likelihood(recipe, model, data, warn):
    """Refuse a likelihood that does not describe the examples; warn where the metrics would mislead."""
    if recipe.data.binarize == "none":
        model.likelihood.check(data.train.first(1000)[0], model.spec)
    elif not model.likelihood.binary:
        warn(
            f"the likelihood '{recipe.model.likelihood.name}' describes grey levels, and data.binarize="
            f"{recipe.data.binarize} leaves zeros and ones; its metrics do not compare with those of 'bernoulli'. "
            "Set data.binarize=none."
        )


def _counted(model, examples):
    """The model with the number of training examples, where its objective asks for that and the recipe leaves it."""
    objective = model.objective
    if not objective.needs_dataset_size or objective.dataset_size is not None:
        return model
    return model.model_copy(update={"objective": objective.model_copy(update={"dataset_size": examples})})


def _batch_size(data, settings, devices, warn):
    """The batch size of the recipe, or all training examples where there are fewer."""
    count = len(data.train) - len(data.train) % devices.count
    if settings.batch_size <= count:
        return settings.batch_size
    if not count:
        raise VaezooError(f"'{data.name}' has {len(data.train)} training examples for {devices.count} devices")
    advice = "; each epoch is one step, so train for many epochs" if settings.epochs else ""
    warn(
        f"'{data.name}' has {len(data.train)} training examples, so the batch size is {count} and not "
        f"{settings.batch_size}{advice}"
    )
    return count


def _epochs(steps):
    """How many epochs of so many steps, where the recipe lets the data decide."""
    return min(max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / steps)), MOST_EPOCHS)


def _warm_up(objective, steps):
    """The number of epochs of so many steps at whose ends a warm-up of the objective is not over."""
    weights = [value for value in objective.keywords().values() if isinstance(value, part_schema.WarmUp)]
    return max((math.ceil(weight.steps / steps) - 1 for weight in weights), default=0)


def learning_rate_of(settings, steps):
    """The learning rate of a training, in epochs of so many steps: a number or a schedule of Keras."""
    if settings.schedule == "constant":
        return settings.learning_rate
    total = settings.epochs * steps
    if settings.schedule == "linear":
        return keras.optimizers.schedules.PolynomialDecay(settings.learning_rate, total, end_learning_rate=0.0)
    return keras.optimizers.schedules.CosineDecay(settings.learning_rate, total)


def _environment(data, model, xla, devices):
    return {
        **versions(),
        "strategy": str(devices),
        "precision": model.dtype_policy.name,
        "compilation": "xla" if xla else "graph",
        "seed": model.seed,
        "data": data.name,
        "images": _sizes(data),
        "shape": list(data.spec.shape),
        "class_names": list(data.class_names) if data.class_names else None,
        "sketch": _sketch(data),
    }

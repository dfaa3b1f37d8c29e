"""From a recipe to everything that `fit` needs: the data, the compiled model, the shape of an epoch."""

import dataclasses

import keras

from vaezoo import internals
from vaezoo.data import Data, canonical_name
from vaezoo.errors import VaezooError
from vaezoo.models.vae import VAE
from vaezoo.optimizer import Adam
from vaezoo.recipe_schema import Recipe
from vaezoo.runs import load_recipe_data
from vaezoo.training.compilation import compile_whole_calls, epoch_shape, use_xla
from vaezoo.training.nonfinite import Watch
from vaezoo.training.strategies import Devices
from vaezoo.versions import versions
from vaezoo.zoo import build_model

# Keras begins at 2^15. A loss of hundreds of nats overflows that, and each overflow skips a step: up to eight at the
# start of conv_vae, after which the steps see other batches than those of a float32 training.
FIRST_LOSS_SCALE = 2.0**7


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that a training needs, as a function of the recipe and the machine: a resumed process has the same.

    Attributes:
        recipe: with the canonical name of the data and the number of parameters.
        data: the three splits.
        model: compiled, with initial weights and a built optimizer.
        watch: guards the steps.
        devices: what training runs on.
        steps: the number of steps in an epoch.
        environment: the content of environment.json: versions, device, precision, data.
    """

    recipe: Recipe
    data: Data
    model: VAE
    watch: Watch
    devices: Devices
    steps: int
    environment: dict

    @property
    def batches(self):
        """How training and every evaluation read the examples: keywords of `Split.batches`."""
        recipe = self.recipe
        return {"binarize": recipe.data.binarize, "seed": recipe.training.seed, "labels": self.model.spec.conditional}

    @property
    def headline(self):
        """Two lines: the model and the device; the data."""
        model, data = self.model, self.data
        keys = ("device", *["strategy"] * (self.devices.name != "one"), "precision", "compilation")
        chosen = ", ".join(self.environment[key] for key in keys)
        counts = ", ".join(f"{count:,} {split}" for split, count in self.environment["images"].items())
        return f"{self.recipe.name}: {model.count_params():,} parameters; {chosen}\n{data.name}: {data.spec}; {counts}"


def prepare(recipe, warn, devices=None):
    """Read the data; build and compile the model.

    Args:
        recipe: a `Recipe`.
        warn: called with a line for each setting that is likely a mistake.
        devices: the `Devices` to train on; by default one.

    Returns:
        The `Setup`.

    Raises:
        VaezooError: for data that cannot be read or does not fit the recipe, or a batch that the devices cannot share.
    """
    devices = devices or Devices()  # before the data, since reading them may use a GPU
    named = recipe.data.model_copy(update={"name": canonical_name(recipe.data.name)})
    recipe = recipe.model_copy(update={"data": named})  # so that the run can be read from any folder
    settings = recipe.training
    _check_devices(devices, settings)
    data = load_recipe_data(recipe)
    with devices.errors_of_others(), devices.strategy.scope():
        keras.utils.set_random_seed(settings.seed)  # the initial weights
        model = build_model(recipe, data.spec)
        # The expected ELBO is that of the zoo's own recipe on MNIST, not of these settings and data.
        recipe = recipe.model_copy(update={"parameters": model.count_params(), "expected_elbo": None})
        _check_likelihood(recipe, model, data, warn)
        steps, steps_per_call = _steps(data, settings)
        if devices.name != "one":
            steps_per_call = 1  # with more, Keras 3.15 builds a graph that TensorFlow refuses
        xla = devices.name == "one" and use_xla(model, settings.compilation)
        model.compile(
            optimizer=Adam(_learning_rate(settings, steps), global_clipnorm=settings.clip_norm),
            jit_compile=xla,
            steps_per_execution=steps_per_call,
        )
        model.optimizer.build(model.trainable_variables)
        if (scale := internals.loss_scale(model.optimizer)) is not None:
            scale.assign(FIRST_LOSS_SCALE)
        model.watch = Watch(model, settings.on_nonfinite)
    if xla:
        compile_whole_calls(model)
    return Setup(recipe, data, model, model.watch, devices, steps, _environment(data, model, xla, devices))


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


def _environment(data, model, xla, devices):
    return {
        **versions(),
        "strategy": str(devices),
        "precision": model.dtype_policy.name,
        "compilation": "xla" if xla else "graph",
        "seed": model.seed,
        "data": data.name,
        "images": {"train": len(data.train), "validation": len(data.validation or ()), "test": len(data.test)},
        "shape": list(data.spec.shape),
        "class_names": list(data.class_names) if data.class_names else None,
    }

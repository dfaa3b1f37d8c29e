"""The zoo: list the models, create one from its recipe, load a trained one. The only user of the registries."""

import contextlib
from pathlib import Path

import keras

# Import modules, not names: the Keras import hook can re-enter here. They fill the registries, Keras's too, which opens
# no file that names a class it has not met.
from vaezoo import (  # noqa: F401
    decoding,
    keras_files,
    likelihoods,
    music,
    networks,
    objectives,
    optimizer,
    posteriors,
    priors,
)
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.models import vae as vae_module
from vaezoo.recipe_schema import Recipe
from vaezoo.registry import DECODERS, ENCODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS
from vaezoo.spec import Spec
from vaezoo.weight_limit import weights_within

LARGEST_MODEL = 2**31  # bytes of weights; training takes three times as much


def create_model(name, spec=None, classes=10, **overrides):
    """A new, untrained model from a recipe.

    Args:
        name: the name of a recipe, or the path of a YAML file.
        spec: what an example is: (H, W, C) of images, (F,) of vectors, or a `Spec`; None for `default_spec`.
        classes: Y, the number of classes of the label, used if the model is conditional.
        **overrides: keys of the recipe's `model` section, as in latent_dim=8, conditional=True, likelihood="normal".

    Returns:
        A `VAE`. Compile it with an optimizer and fit it, or call it.

    Raises:
        VaezooError: for a recipe that is not valid, examples that a part is not for, or more than LARGEST_MODEL bytes
            of weights.
    """
    recipe = load_recipe(name, {f"model.{key}": value for key, value in overrides.items()})
    return build_model(recipe, Spec.of(default_spec(recipe) if spec is None else spec, classes))


def default_spec(recipe: Recipe) -> Spec:
    """The examples of a recipe at its default size: melodies for a likelihood of tokens, else images of 28×28×1.

    Of a recipe whose data are `shapes` they are images of 64×64×3, as those are. For a likelihood of the columns of a
    table they are vectors of 10 numbers.
    """
    if recipe.model.likelihood.column_types:
        return Spec("vector", (10,))
    if recipe.model.likelihood.examples == ("sequence",):
        return Spec("sequence", (music.STEPS * recipe.data.bars,), music.CLASSES, notation="melody")
    return Spec("image", (64, 64, 3) if recipe.data.name == "shapes" else (28, 28, 1))


def build_model(recipe: Recipe, spec: Spec):
    """The model of a recipe for such examples; their classes are used if the model is conditional."""
    model = recipe.model
    if model.conditional and not spec.conditional:
        raise VaezooError(
            f"the model '{recipe.name}' is conditional and these examples have no labels; "
            "set model.conditional=false, or give a labelled data set"
        )
    spec = spec if model.conditional else spec.with_classes(0)
    if not model.likelihood.column_types:  # the numbers of a row as they are
        spec = spec.with_columns(None)
    for part in (model.encoder, model.posterior, model.prior, model.decoder, model.likelihood, model.objective):
        part.check_examples(spec)
    too_large = (
        f"the model '{recipe.name}' needs more than {LARGEST_MODEL // 2**30} GiB of weights for {spec}; make its "
        "widths, latent_dim or the examples (data.image_size) smaller"
    )
    with _precision(recipe.training.precision), weights_within(LARGEST_MODEL, too_large):
        posterior, likelihood = POSTERIORS.create(model.posterior), LIKELIHOODS.create(model.likelihood)
        params_size, params_shape = posterior.params_size(model.latent_dim), likelihood.params_shape(spec)
        encoder = ENCODERS.create(model.encoder, spec, params_size)
        decoder = DECODERS.create(model.decoder, model.latent_dim, spec, params_shape)
        return vae_module.VAE(
            spec=spec,
            encoder=encoder,
            posterior=posterior,
            prior=PRIORS.create(model.prior),
            decoder=decoder,
            likelihood=likelihood,
            objective=OBJECTIVES.create(model.objective),
            latent_dim=decoding.codes_of(decoder.input).shape[-1],  # of a hierarchy those of all groups
            seed=recipe.training.seed,
            name=recipe.name.replace(".", "_"),
        )


def load(run):
    """The trained model of a run directory.

    Args:
        run: the folder that `vaezoo train` wrote; `vaezoo.load` takes presets too.

    Returns:
        The `VAE`, compiled as it was trained.

    Raises:
        VaezooError: if the folder holds no run, or a file that is broken or not to be trusted: nothing of it was run.
    """
    path = Path(run) / "model.keras"
    if not path.is_file():
        raise VaezooError(f"'{run}' holds no run: there is no {path.name} in it; `vaezoo train` makes one")
    model = keras_files.load_keras_file(path)
    if not isinstance(model, vae_module.VAE):
        raise VaezooError(f"'{path}' holds no VAE but a {type(model).__name__}; give the folder of a run")
    return model


@contextlib.contextmanager
def _precision(policy):
    """Make new layers compute in that precision; their variables stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

"""The zoo: list the models, create one from its recipe, load a trained one. The only user of the registries."""

import contextlib
from pathlib import Path

import keras

# The modules, not what is in them: any may be what imports Keras first, and so brings us here. They fill the
# registries, of Keras too, which opens no file that names a class it has not met.
from vaezoo import keras_files, likelihoods, networks, objectives, optimizer, posteriors, priors  # noqa: F401
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.models import vae as vae_module
from vaezoo.recipe_schema import Recipe
from vaezoo.registry import DECODERS, ENCODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS
from vaezoo.weight_limit import weights_within

LARGEST_MODEL = 2**31  # bytes of weights; training takes three times as much


def create_model(name, image_shape=(28, 28, 1), classes=10, **overrides):
    """A new, untrained model from a recipe.

    Args:
        name: the name of a recipe, or the path of a YAML file.
        image_shape: (H, W, C).
        classes: Y, the number of classes, used if the model is conditional.
        **overrides: keys of the recipe's `model` section, as in latent_dim=8, conditional=True, likelihood="normal".

    Returns:
        A `VAE`. Compile it with an optimizer and fit it, or call it.

    Raises:
        VaezooError: for a recipe that is not valid, an image shape that the networks do not fit, or more than
            LARGEST_MODEL bytes of weights.
    """
    recipe = load_recipe(name, {f"model.{key}": value for key, value in overrides.items()})
    return build_model(recipe, image_shape, classes)


def build_model(recipe: Recipe, image_shape, classes=0):
    """The model of a recipe, for images of (H, W, C) and, if it is conditional, that many classes."""
    model = recipe.model
    classes = classes if model.conditional else 0
    if model.conditional and not classes:
        raise VaezooError(
            f"the model '{recipe.name}' is conditional and these images have no labels; "
            "set model.conditional=false, or give a labelled data set"
        )
    posterior = POSTERIORS[model.posterior.name](**model.posterior.keywords())
    likelihood = LIKELIHOODS[model.likelihood.name](**model.likelihood.keywords())
    too_large = (
        f"the model '{recipe.name}' needs more than {LARGEST_MODEL // 2**30} GiB of weights for images of "
        f"{'×'.join(map(str, image_shape))}; make its widths, latent_dim or the images (data.image_size) smaller"
    )
    with _precision(recipe.training.precision), weights_within(LARGEST_MODEL, too_large):
        encoder = ENCODERS[model.encoder.name](
            image_shape, posterior.params_size(model.latent_dim), classes, **model.encoder.keywords()
        )
        decoder = DECODERS[model.decoder.name](
            model.latent_dim, image_shape, likelihood.params_per_channel, classes, **model.decoder.keywords()
        )
        return vae_module.VAE(
            encoder=encoder,
            posterior=posterior,
            prior=PRIORS[model.prior.name](**model.prior.keywords()),
            decoder=decoder,
            likelihood=likelihood,
            objective=OBJECTIVES[model.objective.name](**model.objective.keywords()),
            seed=recipe.training.seed,
            name=recipe.name.replace(".", "_"),
        )


def load(run):
    """The trained model of a run directory.

    Args:
        run: the folder that `vaezoo train` wrote.

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

"""The runs that are compared: those given, and those trained for it."""

from pathlib import Path

from vaezoo.config import load_recipe, recipe_names
from vaezoo.data import canonical_name
from vaezoo.errors import VaezooError, unknown
from vaezoo.recipe_schema import Recipe
from vaezoo.training import Run, train


def contenders(names, out, overrides=None, quiet=False):
    """The runs of some models, all on the same images; what is a recipe is trained.

    Args:
        names: recipes (their names or .yaml files) and run directories, mixed as one likes.
        out: the folder in which a recipe is trained, under its name.
        overrides: of every recipe, as in `load_recipe`. All are trained for the fewest epochs that one of them asks
            for, so that they get equally many.
        quiet: train without printing.

    Returns:
        name → `Run`, in the order given.

    Raises:
        VaezooError: for a name that is neither, one given twice, runs whose images differ, or overrides for no recipe.
    """
    found = {}
    for name in names:
        contender = _recipe_or_run(name, overrides)
        key = contender.name if isinstance(contender, Recipe) else contender.path.resolve().name
        if key in found:
            raise VaezooError(f"two of the models to compare are named '{key}'; give each name once")
        found[key] = contender
    recipes = {key: contender for key, contender in found.items() if isinstance(contender, Recipe)}
    if overrides and not recipes:
        raise VaezooError(
            f"{', '.join(overrides)} can be set for recipes, which are trained here, and only run directories were "
            "given; leave that out"
        )
    epochs = min((recipe.training.epochs for recipe in recipes.values()), default=None)
    for key, recipe in recipes.items():
        found[key] = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": epochs})})
    _check_same_images(found)
    return {
        key: Run(train(contender, Path(out) / key, quiet=quiet).path) if key in recipes else contender
        for key, contender in found.items()
    }


def _recipe_or_run(name, overrides):
    if name in recipe_names() or str(name).endswith((".yaml", ".yml")):
        return load_recipe(name, overrides)
    if Path(name).is_dir():
        return Run(name)
    raise unknown("model", name, recipe_names(), hint="Give recipes of `vaezoo list`, or run directories.")


def _check_same_images(found):
    """Figures in nats and squared errors compare only where the images are the same ones."""
    described = {}
    for key, contender in found.items():
        data = contender.data if isinstance(contender, Recipe) else contender.recipe.data
        described[key] = f"{canonical_name(data.name)}, size {data.image_size or 'as it is'}, binarize={data.binarize}"
    first = next(iter(described))
    for key, images in described.items():
        if images != described[first]:
            raise VaezooError(
                f"'{first}' and '{key}' have different images ({described[first]}; {images}), so they do not compare; "
                "give --data, or --set data.binarize=..., that suits both"
            )

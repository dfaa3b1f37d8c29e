"""The runs that are compared: those that exist, and those that are trained for it."""

from pathlib import Path

from vaezoo.config import load_recipe, recipe_names
from vaezoo.data import canonical_name
from vaezoo.errors import VaezooError, unknown
from vaezoo.recipe_schema import Recipe
from vaezoo.runs import Run
from vaezoo.training import train


def compared_runs(names, out, overrides=None, quiet=False):
    """The runs of some models, all on the same examples; recipes are trained.

    Args:
        names: recipes (their names or .yaml files) and run directories, in any order.
        out: the folder in which each recipe is trained, under its name.
        overrides: of every recipe, as in `load_recipe`. All recipes are trained for the same number of epochs, the
            smallest that one of them asks for.
        quiet: train without printing.

    Returns:
        name → `Run`, in the order given.

    Raises:
        VaezooError: for a name that is neither, two equal names, runs with different examples, or overrides without a
            recipe.
    """
    found = {}
    for name in names:
        model = _recipe_or_run(name, overrides)
        key = model.name if isinstance(model, Recipe) else model.path.resolve().name
        if key in found:
            raise VaezooError(f"two of the models to compare are named '{key}'; give each name once")
        found[key] = model
    recipes = {key: model for key, model in found.items() if isinstance(model, Recipe)}
    if overrides and not recipes:
        raise VaezooError(
            f"{', '.join(overrides)} can be set for recipes, which are trained here, and only run directories were "
            "given; leave that out"
        )
    epochs = min((recipe.training.epochs for recipe in recipes.values()), default=None)
    for key, recipe in recipes.items():
        found[key] = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": epochs})})
    _check_same_examples(found)
    return {
        key: Run(train(model, Path(out) / key, quiet=quiet).path) if key in recipes else model
        for key, model in found.items()
    }


def _recipe_or_run(name, overrides):
    if name in recipe_names() or str(name).endswith((".yaml", ".yml")):
        return load_recipe(name, overrides)
    if Path(name).is_dir():
        return Run(name)
    raise unknown("model", name, recipe_names(), hint="Give recipes of `vaezoo list`, or run directories.")


def _check_same_examples(found):
    """Nats and squared errors are comparable only on the same examples."""
    described = {}
    for key, model in found.items():
        data = model.data if isinstance(model, Recipe) else model.recipe.data
        described[key] = f"{canonical_name(data.name)}, size {data.image_size or 'unchanged'}, binarize={data.binarize}"
    first = next(iter(described))
    for key, examples in described.items():
        if examples != described[first]:
            raise VaezooError(
                f"'{first}' and '{key}' have different data ({described[first]}; {examples}), so they cannot be "
                "compared; set data.name or data.binarize to the same value for both"
            )

"""The runs that are compared: those that exist, and those that are trained for it."""

from pathlib import Path

from vaezoo import hubs
from vaezoo.config import load_recipe
from vaezoo.data import canonical_name
from vaezoo.errors import VaezooError, unknown
from vaezoo.presets import open_run, preset_names
from vaezoo.recipe_files import recipe_names
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
    asked = (recipe.training.epochs for recipe in recipes.values())
    epochs = min(filter(None, asked), default=None)
    for key, recipe in recipes.items():
        found[key] = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": epochs})})
    _check_same_examples(found)
    runs = {
        key: Run(train(model, Path(out) / key, quiet=quiet).path) if key in recipes else model
        for key, model in found.items()
    }
    _check_same_examples(runs)  # again: what the recipes left to the data is decided now
    return runs


def _recipe_or_run(name, overrides):
    if name in recipe_names() or str(name).endswith((".yaml", ".yml")):
        return load_recipe(name, overrides)
    if Path(name).is_dir() or hubs.is_address(name) or name in preset_names():
        return open_run(name)
    raise unknown("model", name, recipe_names(), hint="Give recipes of `vaezoo list`, run directories, or presets.")


def _check_same_examples(found):
    """Nats and squared errors are comparable only on the same examples."""
    described = {key: _examples(model) for key, model in found.items()}
    first = next(iter(described))
    for key, examples in described.items():
        pairs = zip(described[first], examples, strict=True)
        if any(one != other and None not in (one, other) for one, other in pairs):
            two = "; ".join(", ".join(filter(None, described[name])) for name in (first, key))
            raise VaezooError(
                f"'{first}' and '{key}' have different data ({two}), so they cannot be compared; set data.name, "
                "data.image_size or data.binarize to the same value for both"
            )


def _examples(model):
    """What the examples of a recipe or run are, in three texts; None for what a recipe leaves to the data."""
    is_recipe = isinstance(model, Recipe)
    recipe = model if is_recipe else model.recipe
    data = recipe.data
    size = None if is_recipe else "size unchanged"
    if data.image_size:
        size = "size {}×{}, crop={}".format(*data.image_size, data.crop)
    binarize = data.binarize
    if binarize == "auto":
        binarize = None if recipe.model.likelihood.binary else "none"
    return canonical_name(data.name), size, binarize and f"binarize={binarize}"

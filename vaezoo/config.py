"""Recipes: override single keys, check them, write them back as YAML."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vaezoo.errors import VaezooError, printable_lines
from vaezoo.recipe_files import find_recipe, know_numbers, parse_yaml, read_recipe
from vaezoo.recipe_schema import Recipe
from vaezoo.sections import describe, shown


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name_or_path: the name of one of the zoo's recipes, or a path that ends in .yaml or .yml.
        overrides: values by dotted key, as in {"model.latent_dim": 8, "model.likelihood": "normal"}.

    Returns:
        The recipe, frozen, with every default filled in.

    Raises:
        VaezooError: on one line, for an unknown name, a file that cannot be read, or a key, type or value that
            the schema refuses.
    """
    path = find_recipe(str(name_or_path))
    return recipe_of({"name": path.stem, **read_recipe(path)}, overrides, name_or_path)


def recipe_of(content: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, source: Any = None) -> Recipe:
    """Override and check the content of a recipe.

    Args:
        content: its keys and values.
        overrides: as in `load_recipe`.
        source: what an error names as the origin; by default the name of the recipe.

    Returns:
        The recipe; see `load_recipe`.
    """
    content = copy.deepcopy(dict(content))
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise VaezooError(f"{source or content.get('name')}: {describe(error)}") from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn `model.latent_dim=32` strings into overrides; the right-hand side is read as YAML."""
    overrides = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise VaezooError(f"cannot set '{assignment}': write KEY=VALUE, as in model.latent_dim=32")
        try:
            overrides[key.strip()] = parse_yaml(value)
        except ValueError as error:
            raise VaezooError(f"cannot read the value in '{assignment}': {error}") from None
    return overrides


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads back to an equal recipe; it may be printed on a terminal."""
    content = recipe.model_dump(mode="json")

    def dump(allow_unicode):
        return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode)

    text = dump(True)
    return text if text == printable_lines(text) else dump(False)


class _Dumper(yaml.SafeDumper):
    """YAML with a key a line, and a list of numbers on one line."""

    def represent_sequence(self, tag, sequence, flow_style=None):
        return super().represent_sequence(tag, sequence, flow_style=True)


know_numbers(_Dumper)  # beside those of YAML 1.1: text that looks like either is quoted


def _override(content: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for key in parents:
        child = content.get(key)
        if isinstance(child, str):  # `likelihood: normal` is short for `likelihood: {name: normal}`
            child = {"name": child}
        elif child is None:
            child = {}
        elif not isinstance(child, dict):
            raise VaezooError(f"cannot set '{dotted}': '{key}' holds {shown(child)}, which has no keys of its own")
        content[key] = child
        content = child
    content[last] = copy.deepcopy(value)

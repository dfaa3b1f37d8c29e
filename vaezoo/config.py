"""Recipes on disk: find one by name or path, override single keys, check it, write it back as YAML."""

import copy
import fnmatch
import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vaezoo.errors import VaezooError, printable_lines, unknown
from vaezoo.reading import read_text
from vaezoo.recipe_schema import Recipe
from vaezoo.sections import describe, shown

LARGEST_RECIPE = 65_536  # bytes; the zoo's own are under 1 KiB


def zoo_folder(name: str) -> Path:
    """A folder of the zoo's own files: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def recipe_folder() -> Path:
    """The folder of the zoo's own recipes."""
    return zoo_folder("zoo_configs")


def recipe_names(pattern: str = "*") -> list[str]:
    """The names of the zoo's recipes that match a shell pattern such as `conv*`, sorted."""
    return fnmatch.filter(sorted(path.stem for path in recipe_folder().glob("*.yaml")), pattern)


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
    path = _find(str(name_or_path))
    return recipe_of({"name": path.stem, **_read(path)}, overrides, name_or_path)


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
            overrides[key.strip()] = _parse(value)
        except ValueError as error:
            raise VaezooError(f"cannot read the value in '{assignment}': {_one_line(error)}") from None
    return overrides


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads back to an equal recipe; it may be printed on a terminal."""
    content = recipe.model_dump(mode="json")

    def dump(allow_unicode):
        return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode)

    text = dump(True)
    return text if text == printable_lines(text) else dump(False)


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not os.path.isfile(path):  # unlike Path.is_file, this takes any text
            raise VaezooError(f"there is no recipe file '{path}'; give a .yaml file, or a name from `vaezoo list`")
        return path
    names = recipe_names()
    if name_or_path not in names:
        raise unknown("model", name_or_path, names, hint=f"`vaezoo list` shows all {len(names)}.")
    return recipe_folder() / f"{name_or_path}.yaml"


class _Loader(yaml.SafeLoader):
    """YAML for recipes: each key occurs once, `1e-3` is a number (YAML 1.1 makes it text), and there are no aliases."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed in a recipe")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (str(key.value) for key, _ in node.value):
            if key in seen:
                raise yaml.YAMLError(f"the key {reprlib.repr(key)} occurs twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


# Numbers are decimal: in YAML 1.1, 010 is 8 and 1:30 is 90.
_NUMBERS = {
    "int": r"^[-+]?(0|[1-9][0-9]*)$",
    "float": r"^([-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$",
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[-1] not in _NUMBERS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list("-+0123456789."))


class _Dumper(yaml.SafeDumper):
    """YAML with a key a line, and a list of numbers on one line."""

    def represent_sequence(self, tag, sequence, flow_style=None):
        return super().represent_sequence(tag, sequence, flow_style=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = _parse(read_text(path, LARGEST_RECIPE))
    except VaezooError:
        raise
    except ValueError as error:
        raise VaezooError(f"cannot read the recipe '{path}': {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise VaezooError(f"the recipe '{path}' must hold keys and values; `vaezoo show conv_vae` prints an example")
    return content


def _parse(text: str) -> Any:
    """The value of YAML text; a ValueError for text that is not YAML."""
    try:
        return yaml.load(text, _Loader)
    except (
        Exception
    ) as error:  # PyYAML's constructors raise many kinds: `!!int ""` an IndexError, `!!bool x` a KeyError
        raise ValueError(_one_line(error) or type(error).__name__) from None


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

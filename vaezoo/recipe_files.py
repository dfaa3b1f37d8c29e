"""The files of recipes: find one by name or path, and read its YAML, which `config` checks.

Pydantic is not imported, so `vaezoo list` takes the time of reading the files.
"""

import fnmatch
import os
import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from vaezoo.errors import VaezooError, unknown
from vaezoo.regular_files import read_text

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


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe, by the path of a .yaml or .yml or by a name of the zoo; a VaezooError if it is absent."""
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not os.path.isfile(path):  # unlike Path.is_file, this takes any text
            raise VaezooError(f"there is no recipe file '{path}'; give a .yaml file, or a name from `vaezoo list`")
        return path
    names = recipe_names()
    if name_or_path not in names:
        raise unknown("model", name_or_path, names, hint=f"`vaezoo list` shows all {len(names)}.")
    return recipe_folder() / f"{name_or_path}.yaml"


def read_recipe(path: Path, most: int = LARGEST_RECIPE) -> dict[str, Any]:
    """The keys and values of a recipe file, unchecked; a VaezooError for more bytes, or what is not such YAML."""
    try:
        content = parse_yaml(read_text(path, most))
    except VaezooError:
        raise
    except ValueError as error:
        raise VaezooError(f"cannot read the recipe '{path}': {error}") from None
    if not isinstance(content, dict):
        raise VaezooError(f"the recipe '{path}' must hold keys and values; `vaezoo show conv_vae` prints an example")
    return content


def parse_yaml(text: str) -> Any:
    """The value of YAML text; a ValueError for text that is not YAML."""
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # of many types: PyYAML raises an IndexError for `!!int ""`, a KeyError for `!!bool x`
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


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
NUMBERS = {
    "int": re.compile(r"^[-+]?(0|[1-9][0-9]*)$"),
    "float": re.compile(r"^([-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
}


def know_numbers(kind: type) -> None:
    """Let a loader or a dumper of PyYAML take what NUMBERS match for numbers."""
    for name, pattern in NUMBERS.items():
        kind.add_implicit_resolver(f"tag:yaml.org,2002:{name}", pattern, list("-+0123456789."))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[-1] not in NUMBERS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
know_numbers(_Loader)

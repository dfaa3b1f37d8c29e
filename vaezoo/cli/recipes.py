"""`vaezoo list` and `vaezoo show`."""

from vaezoo.errors import VaezooError
from vaezoo.recipe_files import find_recipe, read_recipe, recipe_names
from vaezoo.tables import aligned


def add_commands(commands):
    """Add the commands of this module to the parser."""
    command = commands.add_parser("list", help="list the recipes")
    command.add_argument("pattern", nargs="?", default="*", help="a shell pattern, as in 'conv*'")
    command.add_argument(
        "--parts", action="store_true", help="list the parts that a recipe can name, with their keywords"
    )
    command.add_argument("--presets", action="store_true", help="list the trained models that come with the package")
    command.set_defaults(command=_list)

    command = commands.add_parser("show", help="print a recipe in full")
    add_recipe(command)
    command.set_defaults(command=_show)


def add_recipe(command):
    """Add a recipe and overrides to a command."""
    command.add_argument("model", help="the name of a recipe, or a .yaml file")
    add_assignments(command)


def add_assignments(command):
    """Add overrides of recipe keys to a command."""
    command.add_argument(
        "--set",
        dest="assignments",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the recipe, as in model.latent_dim=32; repeat it to override several",
    )


def _list(arguments):
    if arguments.parts:
        return print(aligned(_part_rows()))
    if arguments.presets:
        return print(aligned(_preset_rows(arguments.pattern), right=[1, 2]))
    names = recipe_names(arguments.pattern)
    if not names:
        raise VaezooError(f"no recipe matches '{arguments.pattern}'. `vaezoo list` shows all {len(recipe_names())}.")
    print(aligned(map(_recipe_row, names), right=[1]))


def _recipe_row(name):
    recipe = read_recipe(find_recipe(name))  # one of the zoo, which needs no check
    size = recipe.get("parameters")
    return name, "" if size is None else f"{size:,}", recipe.get("summary", "")


def _part_rows():
    import inspect

    from vaezoo import part_schema  # noqa: F401, which has the parts
    from vaezoo.sections import Part

    for kind in Part.__subclasses__():
        yield kind.kind, ""
        for name, section in kind.parts.items():
            examples = " and ".join(f"{example}s" for example in section.examples)
            limits = "" if section.examples == kind.examples else f" For {examples}."
            yield f"  {name}", inspect.getdoc(section) + limits
            for keyword, meaning in section.described():
                yield f"    {keyword}", f"  {meaning}"


def _preset_rows(pattern):
    from vaezoo.presets import open_run, preset_names

    names = preset_names(pattern)
    if not names:
        raise VaezooError(f"no preset matches '{pattern}'. `vaezoo list --presets` shows all {len(preset_names())}.")
    for preset in map(open_run, names):
        yield preset.name, f"{preset.size / 1e6:.1f} MB", preset.headline, preset.recipe.summary


def _show(arguments):
    from vaezoo.config import load_recipe, parse_assignments, to_yaml

    print(to_yaml(load_recipe(arguments.model, parse_assignments(arguments.assignments))), end="")

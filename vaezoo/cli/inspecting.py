"""`vaezoo inspect`."""

from vaezoo.errors import VaezooError


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("inspect", help="what is in a run, how its training ended, whether it is whole")
    command.add_argument("run", metavar="DIR", help="a run directory")
    command.set_defaults(command=_inspect)


def _inspect(arguments):
    from vaezoo.training import inspect

    found = inspect(arguments.run)
    for name, lines in _sections(found).items():
        for line in lines:
            print(f"{name:<13}{line}")
            name = ""
    if found.broken:
        raise VaezooError("; ".join(found.broken))


def _sections(found):
    recipe, environment, state = found.recipe, found.environment, found.state
    done = state.describe() if state else "nothing kept yet"
    sections = {
        "recipe": [f"{recipe.name}, {recipe.parameters:,} parameters; {recipe.data.name}"],
        "training": [found.status, f"{done}, of {recipe.training.epochs} epochs"],
        "best epoch": [_figures(found.best)] if found.best else [],
        "last epoch": [_figures(state.rows[-1])] if found.best else [],
        "checkpoints": [
            f"{checkpoint.model.stem:<24}{_size(found.files, checkpoint.model.relative_to(found.path))}  {state}"
            for checkpoint, state in found.checkpoints.items()
        ],
        "files": [
            f"{name:<24}{_size(found.files, name)}" for name in found.files if not name.startswith("checkpoints")
        ],
        "made with": [", ".join(f"{key} {environment[key]}" for key in _VERSIONS if key in environment)],
    }
    if not found.running and environment.get("status") != "finished":
        sections["training"].append(f"go on with `vaezoo train --resume {found.path}`")
    return sections


_VERSIONS = ("vaezoo", "python", "tensorflow", "keras", "numpy", "device", "precision", "compilation")


def _figures(row):
    names = ("elbo", "reconstruction", "kl") if "elbo" in row else ("loss",)
    terms = "  ".join(f"{name} {row[name]:.2f}" for name in names)
    validation = f"   validation {names[0]} {row[f'val_{names[0]}']:.2f}" if "val_loss" in row else ""
    return f"{row['epoch']:<4}{terms}{validation}"


def _size(files, name):
    return f"{files.get(str(name), 0) / 1e6:>9.2f} MB"

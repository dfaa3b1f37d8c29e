"""`vaezoo inspect`."""

from vaezoo.errors import VaezooError, printable
from vaezoo.tables import aligned


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("inspect", help="the state of a run: training, checkpoints, files")
    command.add_argument("run", metavar="DIR", help="a run directory")
    command.set_defaults(command=_inspect)


def _inspect(arguments):
    from vaezoo.training import inspect

    found = inspect(arguments.run)
    sections = _sections(found).items()
    rows = ((name * (number == 0), printable(line)) for name, lines in sections for number, line in enumerate(lines))
    print(aligned(rows))
    if found.broken:
        raise VaezooError("; ".join(found.broken))


def _sections(found):
    recipe, environment, state = found.recipe, found.environment, found.state
    done = state.describe() if state else "nothing kept yet"
    sections = {
        "recipe": [f"{recipe.name}, {recipe.parameters:,} parameters; {recipe.data.name}"],
        "training": [found.status, f"{done}, of {recipe.training.epochs} epochs"],
        "best epoch": [_metrics(recipe, found.best)] if found.best else [],
        "last epoch": [_metrics(recipe, state.rows[-1])] if found.best else [],
        "checkpoints": _columns(
            (checkpoint.model.stem, _size(found.files, checkpoint.model.relative_to(found.path)), condition)
            for checkpoint, condition in found.checkpoints.items()
        ),
        "files": _columns(
            (name, _size(found.files, name)) for name in found.files if not name.startswith("checkpoints")
        ),
        "made with": [", ".join(f"{key} {environment[key]}" for key in _VERSIONS if key in environment)],
    }
    if not found.running and environment.get("status") != "finished":
        sections["training"].append(f"resume it with `vaezoo train --resume {found.path}`")
    return sections


_VERSIONS = ("vaezoo", "python", "tensorflow", "keras", "numpy", "device", "precision", "compilation")


def _metrics(recipe, row):
    shown = recipe.model.objective.shown
    bound = "elbo" if "elbo" in shown else "loss"
    terms = "  ".join(f"{name} {row[name]:.2f}" for name in shown)
    validation = f"   validation {bound} {row[f'val_{bound}']:.2f}" if "val_loss" in row else ""
    return f"{row['epoch']:<4}{terms}{validation}"


def _size(files, name):
    return f"{files.get(str(name), 0) / 1e6:.2f} MB"


def _columns(rows):
    rows = list(rows)
    return aligned(rows, right=[1]).splitlines() if rows else []

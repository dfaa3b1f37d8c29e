"""`vaezoo inspect`."""

from vaezoo.errors import VaezooError, printable
from vaezoo.tables import aligned


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser(
        "inspect", help="the state of a run: training, checkpoints, files; or what a preset is"
    )
    command.add_argument("run", metavar="RUN", help="a run directory or a preset")
    command.set_defaults(command=_inspect)


def _inspect(arguments):
    from vaezoo.presets import open_preset
    from vaezoo.training import inspect

    preset = open_preset(arguments.run)
    if preset:
        preset.check()
        return _print(_preset_sections(preset))
    found = inspect(arguments.run)
    _print(_sections(found))
    if found.broken:
        raise VaezooError("; ".join(found.broken))


def _print(sections):
    sections = sections.items()
    rows = ((name * (number == 0), printable(line)) for name, lines in sections for number, line in enumerate(lines))
    print(aligned(rows))


def _preset_sections(preset):
    files = {path.name: path.stat().st_size for path in sorted(preset.folder.iterdir()) if path.is_file()}
    shown = preset.recipe.model.objective.shown
    return {
        "recipe": [_what(preset.recipe)],
        "test": ["  ".join(f"{name} {preset.test[name]:.2f}" for name in shown if name in preset.test)],
        "weights": [f"{preset.metadata['weights']}, after {preset.metadata['steps']:,} steps"],
        "files": _columns((name, _size(files, name)) for name in files),
        "made with": [_made_with(preset.environment)],
    }


def _sections(found):
    recipe, environment, state = found.recipe, found.environment, found.state
    done = f"{state.describe() if state else 'nothing kept yet'}, of {recipe.training.epochs} epochs"
    if not found.checkpoints and environment.get("status") == "finished":  # by `vaezoo refit`, or by an estimator
        done = "no checkpoints, so it cannot be resumed"
    sections = {
        "recipe": [_what(recipe)],
        "training": [found.status, done],
        "best epoch": [_metrics(recipe, found.best)] if found.best else [],
        "last epoch": [_metrics(recipe, state.rows[-1])] if found.best else [],
        "checkpoints": _columns(
            (checkpoint.model.stem, _size(found.files, checkpoint.model.relative_to(found.path)), condition)
            for checkpoint, condition in found.checkpoints.items()
        ),
        "files": _columns(
            (name, _size(found.files, name)) for name in found.files if not name.startswith("checkpoints")
        ),
        "made with": [_made_with(environment)],
    }
    if not found.running and environment.get("status") != "finished":
        sections["training"].append(f"resume it with `vaezoo train --resume {found.path}`")
    return sections


_VERSIONS = ("vaezoo", "python", "tensorflow", "keras", "numpy", "device", "precision", "compilation")


def _what(recipe):
    return f"{recipe.name}, {recipe.parameters:,} parameters; {recipe.data.name}"


def _made_with(environment):
    return ", ".join(f"{key} {environment[key]}" for key in _VERSIONS if key in environment)


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

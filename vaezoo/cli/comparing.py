"""`vaezoo compare`."""

import csv
import io
from pathlib import Path

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.cli.latent_files import write_arrays
from vaezoo.cli.quiet import quiet_tensorflow
from vaezoo.cli.recipes import add_assignments
from vaezoo.config import parse_assignments


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("compare", help="compare models on the same images: maps, samples, interpolations")
    command.add_argument(
        "models", nargs="+", metavar="MODEL", help="recipes, which are trained here, or run directories"
    )
    command.add_argument("--data", metavar="DATA", help="train the recipes on this, as in `vaezoo train`")
    command.add_argument("--epochs", metavar="N", help="train each for so long (the fewest that a recipe asks for)")
    add_assignments(command)
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of samples and pairs (0)")
    command.add_argument("--pairs", type=int, default=500, metavar="N", help="pairs to measure the smoothness on (500)")
    command.add_argument("--out", metavar="DIR", help="the folder of the runs and pictures (default: runs/compare)")
    command.set_defaults(command=_compare)


def _compare(arguments):
    overrides = parse_assignments(arguments.assignments)
    overrides |= {"data.name": arguments.data} if arguments.data else {}
    overrides |= parse_assignments([f"training.epochs={arguments.epochs}"]) if arguments.epochs else {}
    with quiet_tensorflow():
        import numpy as np

        from vaezoo import latent_space, plots
        from vaezoo.latent_space import of_run
        from vaezoo.latent_space.comparison import table_lines
        from vaezoo.latent_space.contenders import contenders
        from vaezoo.training.run_directory import free_path
    out = Path(arguments.out) if arguments.out else free_path(Path("runs") / "compare")
    runs = contenders(arguments.models, out, overrides)
    first = next(iter(runs.values()))
    images, labels = of_run.images_of(first, first.data.test)
    models = {name: run.model for name, run in runs.items()}
    result = latent_space.compare(models, images, labels, arguments.pairs, seed=arguments.seed)
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    arrays = {"samples": result.samples, "paths": result.paths, "step_ratios": result.step_ratios}
    codes = {f"codes_{name}": codes for name, codes in zip(models, result.codes, strict=True)}
    write_arrays(out / "comparison.npz", {**arrays, **codes, "labels": labels})
    table = io.StringIO()
    writer = csv.DictWriter(table, result.table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.table)
    write_text(out / "comparison.csv", table.getvalue())
    print("\n".join(table_lines(result.table)), end="\n\n")
    on = f"on {Path(first.recipe.data.name).name}"
    maps = []
    for name, codes in zip(models, result.codes, strict=True):
        plane = plots.plane_of(codes)
        maps.append((name, plane.project(codes), labels, plane.names))
    figures = {
        "maps.png": plots.latent_maps(maps, first.data.class_names, f"Posterior means of the test images {on}"),
        "samples.png": plots.panels_of_images(
            list(zip(models, result.samples, strict=True)), 6, f"Samples from the prior, {on}", cell=75
        ),
        "interpolations.png": plots.panels_of_images(
            [(name, np.concatenate(paths[:, ::2])) for name, paths in zip(models, result.paths, strict=True)],
            6, f"From one test image to another, {on}", cell=75,
        ),
    }  # fmt: skip
    for name, figure in figures.items():
        print(write_file(out / name, figure.savefig))

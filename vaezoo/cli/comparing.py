"""`vaezoo compare`."""

from pathlib import Path

from vaezoo.cli.recipes import add_assignments
from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("compare", help="compare models on the same images: maps, samples, interpolations")
    command.add_argument(
        "models", nargs="+", metavar="MODEL", help="recipes, which are trained, run directories or presets"
    )
    command.add_argument("--data", metavar="DATA", help="the data to train the recipes on, as in `vaezoo train`")
    command.add_argument(
        "--epochs", metavar="N", help="the epochs of each training (default: the smallest number of all recipes)"
    )
    add_assignments(command)
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of samples and pairs (0)")
    command.add_argument("--pairs", type=int, default=500, metavar="N", help="pairs to measure the smoothness on (500)")
    command.add_argument("--out", metavar="DIR", help="the folder of the runs and pictures (default: runs/compare)")
    command.set_defaults(command=_compare)


def _compare(arguments):
    from vaezoo.config import parse_assignments

    overrides = parse_assignments(arguments.assignments)
    overrides |= {"data.name": arguments.data} if arguments.data else {}
    overrides |= parse_assignments([f"training.epochs={arguments.epochs}"]) if arguments.epochs else {}
    with quick_tensorflow():
        from vaezoo.latent_space import draw_comparison
        from vaezoo.latent_space.compared import compared_runs
        from vaezoo.runs import free_path
    out = Path(arguments.out) if arguments.out else free_path(Path("runs") / "compare")
    drawn = draw_comparison(compared_runs(arguments.models, out, overrides), arguments.pairs, arguments.seed)
    print(*drawn.lines, *drawn.save(out), sep="\n")

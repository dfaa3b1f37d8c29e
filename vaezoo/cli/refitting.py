"""`vaezoo refit`."""

from vaezoo.cli.recipes import add_assignments
from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("refit", help="fit a new prior to a trained model")
    command.add_argument("run", metavar="RUN", help="a run directory or a preset; it is not changed")
    command.add_argument("--prior", default="mixture", help="mixture (default), flow or vamp")
    add_assignments(command)
    command.add_argument("--out", metavar="DIR", help="the new run directory (default: RUN-PRIOR)")
    command.set_defaults(command=_refit)


def _refit(arguments):
    with quick_tensorflow():
        from vaezoo.config import parse_assignments
        from vaezoo.training import refit
    refit(arguments.run, arguments.prior, parse_assignments(arguments.assignments), arguments.out)

"""The entry point: the parser, and what becomes of an error."""

import argparse
import re
import sys

from vaezoo import __version__
from vaezoo.cli import (
    comparing,
    diagnosing,
    evaluating,
    exploring,
    exporting,
    inspecting,
    latent,
    publishing,
    recipes,
    refitting,
    scoring,
    training,
)
from vaezoo.cli.streams import lasting_streams
from vaezoo.errors import Terminated, VaezooError, errors_of_readers

GROUPS = (
    recipes,
    training,
    refitting,
    inspecting,
    evaluating,
    diagnosing,
    scoring,
    latent,
    comparing,
    exploring,
    exporting,
    publishing,
)
FLAGS = {"n": "-n", "span": "--range", "with_map": "--map"}  # argument → flag, if the flag is not --ARGUMENT


def build_parser():
    """The parser of every command."""
    parser = argparse.ArgumentParser(prog="vaezoo", description="A model zoo of variational autoencoders.")
    parser.add_argument("--version", action="version", version=f"vaezoo {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    return parser


def main(argv=None):
    """Run a command.

    Returns:
        The exit code: 0 for success, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM, 141 where the reader of
        standard output went away, as in `vaezoo list | head -1`.
    """
    with lasting_streams() as (output, _):
        arguments = build_parser().parse_args(argv)
        code = _run(arguments)
        output.flush()
        if code == 0 and output.error:
            if isinstance(output.error, BrokenPipeError):
                return 141
            print(f"vaezoo: cannot write to standard output: {output.error.strerror}", file=sys.stderr)
            return 2
    return code


def _run(arguments):
    """Run the command of the arguments, and print an error as one line; returns the exit code."""
    try:
        with errors_of_readers():
            arguments.command(arguments)
    except VaezooError as error:
        print(f"vaezoo: {with_flags(str(error), arguments)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"\nvaezoo: interrupted; {interrupt or 'nothing was kept'}", file=sys.stderr)
        return 143 if isinstance(interrupt, Terminated) else 130
    return 0


def with_flags(message, arguments):
    """A message of the library with the flag in place of each `argument=` that the command has."""

    def flag(match):
        name = match[1]
        return FLAGS.get(name, f"--{name.replace('_', '-')}") if name in vars(arguments) else match[0]

    return re.sub(r"\b(\w+)=(?=[\s,;:)]|$)", flag, message)

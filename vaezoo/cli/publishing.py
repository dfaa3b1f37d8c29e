"""`vaezoo preset` and `vaezoo push`."""

from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the commands of this module to the parser."""
    command = commands.add_parser("preset", help="make a preset of a run: small, measured, with a card")
    _add_run(command)
    command.add_argument("--to", metavar="DIR", required=True, help="the folder to write")
    command.set_defaults(command=_preset)

    command = commands.add_parser("push", help="upload a run, as a preset, to Hugging Face or Kaggle")
    _add_run(command)
    command.add_argument(
        "address", metavar="ADDRESS", help="hf://USER/MODEL, or kaggle://USER/MODEL/FRAMEWORK/VARIATION"
    )
    command.set_defaults(command=_push)


def _add_run(command):
    command.add_argument("run", metavar="RUN", help="a run directory, or a preset")
    command.add_argument(
        "--weights",
        default="float16",
        metavar="KIND",
        help="how they are stored: float16 (default), or int8, half of it",
    )
    command.add_argument("--licence", metavar="TEXT", help="whose the data are, and their licence, for the card")


def _preset(arguments):
    with quick_tensorflow():
        from vaezoo.publishing import make_preset
    made = make_preset(arguments.run, arguments.to, arguments.weights, arguments.licence)
    print(f"the preset is in {made.folder}: {made.size / 1e6:.2f} MB, test {made.headline}")


def _push(arguments):
    with quick_tensorflow():
        from vaezoo.publishing import push
    push(arguments.run, arguments.address, arguments.weights, arguments.licence)
    print(f"the preset is at {arguments.address}")

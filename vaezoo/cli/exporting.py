"""`vaezoo export` and `vaezoo verify`."""

import sys

from vaezoo.cli.latent import finite
from vaezoo.errors import VaezooError
from vaezoo.exporting.plan import FORMATS, QUANTIZATIONS, Plan
from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the commands of this module to the parser."""
    command = commands.add_parser("export", help="convert a run to SavedModel, LiteRT and Keras files")
    command.add_argument("run", help="a run directory, or a preset")
    command.add_argument("--to", metavar="DIR", required=True, help="the folder to write")
    command.add_argument("--format", nargs="+", metavar="FORMAT", help=f"{', '.join(FORMATS)} (default: all but onnx)")
    command.add_argument(
        "--quantize", nargs="+", metavar="PRECISION", help=f"of LiteRT files: {', '.join(QUANTIZATIONS)} (default: all)"
    )
    command.add_argument("--with-encoder", action="store_true", help="write the encoder to LiteRT files too")
    command.add_argument("--batch", metavar="N", help="a fixed batch size for LiteRT and ONNX files (default: any)")
    command.add_argument(
        "--fpr", type=finite, metavar="P", help="add a score for anomalies, for this rate of false alarms (no score)"
    )
    _add_threads(command)
    command.set_defaults(command=_export)

    command = commands.add_parser("verify", help="compare an export with its Keras files again")
    command.add_argument("folder", metavar="DIR", help="a folder that `vaezoo export` wrote")
    _add_threads(command)
    command.set_defaults(command=_verify)


def _add_threads(command):
    command.add_argument("--threads", metavar="N", default="1", help="threads of each runtime (default: 1)")


def _export(arguments):
    chosen = {"formats": arguments.format, "quantizations": arguments.quantize, "with_encoder": arguments.with_encoder}
    chosen["fpr"] = arguments.fpr
    if arguments.batch is not None:
        chosen["batch"] = _integer("--batch", arguments.batch)
    chosen = {name: choice for name, choice in chosen.items() if choice is not None}
    Plan(**chosen)  # refused before TensorFlow is imported
    threads = _integer("--threads", arguments.threads)
    with quick_tensorflow():
        from vaezoo.exporting import export
    done = export(arguments.run, arguments.to, **chosen, threads=threads, say=_say)
    print(done.agreement.text)
    for note in done.notes:
        _say(f"note: {note}")
    _say(f"\nthe export is in {done.path}; read {done.card} first")


def _verify(arguments):
    from vaezoo.exporting import verify

    agreement = verify(arguments.folder, _integer("--threads", arguments.threads))
    print(agreement.text)
    if not agreement.passed:
        raise VaezooError(f"{len(agreement.failures)} of {len(agreement.report['rows'])} artefacts disagree with Keras")


def _integer(option, text):
    try:
        return int(text)
    except ValueError:
        raise VaezooError(f"{option} is '{text}'; it must be an integer, at least 1") from None


def _say(line):
    print(line, file=sys.stderr, flush=True)

"""`vaezoo score`."""

from pathlib import Path

from vaezoo.cli.latent import finite
from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("score", help="find anomalies: a score, a p-value and a decision for each example")
    command.add_argument("run", metavar="RUN", help="a run directory, or a preset as in conv_vae/mnist")
    command.add_argument(
        "--data", metavar="DATA", help="new examples: a folder, a file, or a data set (the test split of the run)"
    )
    command.add_argument(
        "--score",
        metavar="S",
        help="elbo, evidence, reconstruction, latent or robust (robust for images, elbo for others)",
    )
    command.add_argument(
        "--fpr", type=finite, default=0.01, metavar="P", help="the share of normal examples to call anomalies (0.01)"
    )
    command.add_argument("--samples", type=int, metavar="K", help="draws of each code (5; of evidence 100)")
    command.add_argument(
        "--explain", dest="explained", action="store_true", help="which pixels, columns and latents are responsible"
    )
    command.add_argument("--out", metavar="DIR", help="the folder to write (default: RUN/scores, or scores-2, ...)")
    command.set_defaults(command=_score)


def _score(arguments):
    with quick_tensorflow():
        from vaezoo.presets import open_run
        from vaezoo.runs import free_path
        from vaezoo.scoring import score
    run = open_run(arguments.run)
    scored = score(
        run, arguments.data, arguments.score, arguments.fpr, arguments.samples, explained=arguments.explained
    )
    out = Path(arguments.out) if arguments.out else free_path(run.path / "scores")
    print(*scored.lines, *scored.save(out), sep="\n")

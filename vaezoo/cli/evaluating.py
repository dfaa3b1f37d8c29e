"""`vaezoo evaluate`."""

import contextlib
import json
import sys
import time
from pathlib import Path

from vaezoo.atomic import plain_errors, write_file, write_text
from vaezoo.cli.latent_files import write_arrays
from vaezoo.cli.quiet import quiet_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("evaluate", help="measure a run: bound, evidence, latent code, samples")
    command.add_argument("run", metavar="RUN", help="a run directory, as `vaezoo train` leaves it")
    command.add_argument(
        "--importance-samples", type=int, default=100, metavar="K", help="samples of the evidence log p(x) (100)"
    )
    command.add_argument("--limit", type=int, metavar="N", help="the first N test images (all)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of every draw (0)")
    command.add_argument(
        "--out", metavar="DIR", help="the folder of the report (default: RUN/evaluation, or evaluation-2, ...)"
    )
    command.set_defaults(command=_evaluate)


def _evaluate(arguments):
    with quiet_tensorflow():
        from vaezoo.evaluation import evaluate
        from vaezoo.evaluation.report import as_markdown, as_text
        from vaezoo.training import Run
        from vaezoo.training.run_directory import free_path
    run = Run(arguments.run)
    out = Path(arguments.out) if arguments.out else free_path(run.path / "evaluation")
    with _folder(out):
        progress = Progress(sys.stderr)
        report, per_image = evaluate(run, arguments.importance_samples, arguments.limit, arguments.seed, progress)
        pictures = []
        for name, text, figure in _pictures(report):
            write_file(out / name, figure.savefig)
            pictures.append((name, text))
        if per_image:
            write_arrays(out / "per_image.npz", per_image)
        write_text(out / "report.md", as_markdown(report, pictures))
        write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    print(as_text(report), end=f"\n\n{out / 'report.md'}\n")


@contextlib.contextmanager
def _folder(out):
    """A folder that is there before hours are spent, and gone again if nothing came of them."""
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            out.rmdir()  # only an empty one goes
        raise


def _pictures(report):
    """(file name, what it shows, Figure) of what there is to draw."""
    import numpy as np

    from vaezoo import plots
    from vaezoo.evaluation.latent_code import ACTIVE
    from vaezoo.evaluation.report import headline

    if evidence := report["evidence"]:
        curve, rises = evidence["curve"], [point["above_elbo"] for point in evidence["curve"]]
        figure = plots.evidence_curve(
            [point["samples"] for point in curve],
            [rise["value"] for rise in rises],
            [rise["standard_error"] or 0 for rise in rises],
            report["bound"]["elbo"]["value"],
            f"{headline(report)}\nlog p(x) by the number of samples",
        )
        yield "evidence.png", "log p(x) by the number of importance samples", figure
    if kl := report["code"]["kl_per_latent"]:
        active = np.array(report["code"]["variance_of_means"]) > ACTIVE
        title = f"{headline(report)}\n{active.sum()} of {len(kl)} latents are active"
        yield "latents.png", "The KL of each latent, the largest first", plots.latent_bars(kl, active, title)


class Progress:
    """A line that fills, on a terminal; nothing elsewhere.

    Args:
        stream: where to write.
    """

    def __init__(self, stream):
        self.stream, self.live = stream, stream.isatty()
        self.started, self.drawn = time.monotonic(), 0.0

    def __call__(self, share):
        """Show the share that is done, in (0, 1], at most ten times a second; at 1 the line goes."""
        now = time.monotonic()
        if not self.live or (share < 1 and now - self.drawn < 0.1):
            return
        self.drawn = now
        left = (now - self.started) * (1 - share) / share
        filled = round(32 * share)
        line = f"evidence  {'━' * filled}{'·' * (32 - filled)}  {share:4.0%}, {left:,.0f} s left"
        self.stream.write(f"\r{line if share < 1 else ''}\x1b[K")  # over the one before
        self.stream.flush()

"""`vaezoo evaluate`."""

import contextlib
import json
from pathlib import Path

from vaezoo.atomic import plain_errors, write_arrays, write_file, write_text
from vaezoo.quiet import quick_tensorflow


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("evaluate", help="measure a run: bound, NLL, latent code, samples")
    command.add_argument("run", metavar="RUN", help="a run directory, or a preset as in conv_vae/mnist")
    command.add_argument(
        "--importance-samples", type=int, default=100, metavar="K", help="samples of the NLL, -log p(x) (100)"
    )
    command.add_argument("--limit", type=int, metavar="N", help="the first N test images (all)")
    command.add_argument(
        "--features",
        default="auto",
        help="compare samples in the features of a classifier of the data (auto), or of inception for FID and KID",
    )
    command.add_argument(
        "--disentanglement", action="store_true", help="how the latents hold the known factors: MIG, DCI, ..."
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of every draw (0)")
    command.add_argument(
        "--out", metavar="DIR", help="the folder of the report (default: RUN/evaluation, or evaluation-2, ...)"
    )
    command.set_defaults(command=_evaluate)


def _evaluate(arguments):
    with quick_tensorflow():
        from vaezoo.evaluation import evaluate
        from vaezoo.evaluation.pictures import pictures
        from vaezoo.evaluation.report import as_markdown, as_text
        from vaezoo.presets import open_run
        from vaezoo.runs import free_path
    run = open_run(arguments.run)
    out = Path(arguments.out) if arguments.out else free_path(run.path / "evaluation")
    with _folder(out):
        with progress_bar("NLL") as progress:
            report, per_example = evaluate(
                run,
                samples=arguments.importance_samples,
                limit=arguments.limit,
                seed=arguments.seed,
                progress=progress,
                features=arguments.features,
                disentangled=arguments.disentanglement,
            )
        drawn = pictures(report)
        for name, (_, figure) in drawn.items():
            write_file(out / name, figure.savefig)
        if per_example:
            write_arrays(out / "per_example.npz", per_example)
        write_text(out / "report.md", as_markdown(report, [(name, text) for name, (text, _) in drawn.items()]))
        write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    print(as_text(report), end=f"\n\n{out / 'report.md'}\n")


@contextlib.contextmanager
def _folder(out):
    """Make the folder before the long computation, and remove it again if nothing was written into it."""
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            out.rmdir()  # fails if the folder is not empty
        raise


@contextlib.contextmanager
def progress_bar(text, stream=None):
    """A progress bar on a terminal, nothing elsewhere; yields a function of the share that is done, from 0 to 1.

    Args:
        text: what is in progress.
        stream: where to write; by default standard error.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=stream, stderr=True, force_jupyter=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=1)
        yield lambda share: progress.update(task, completed=share, visible=share < 1)

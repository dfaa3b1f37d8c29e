"""The commands of the latent space: sample, reconstruct, manifold, traverse, interpolate, edit, embed."""

import math

from vaezoo.errors import VaezooError
from vaezoo.quiet import quick_tensorflow

PICTURES = "pictures"  # the folder in a run directory


def add_commands(commands):
    """Add the commands of this module to the parser."""
    command = _add_command(commands, "sample", "draw_samples", "draw examples from the prior")
    command.add_argument(
        "-n", type=int, metavar="N", help="how many (64; melodies: 8; rows: 1000), or styles of a conditional run (8)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the seed of the draw (0)")
    command.add_argument(
        "--label", metavar="C", help="the class (conditional runs; by default every style in every class)"
    )
    command.add_argument(
        "--temperature",
        type=finite,
        metavar="T",
        help="sequences: draw each token, at this temperature (the most likely tokens)",
    )
    _add_inputs(command, required=False)

    command = _add_command(
        commands, "reconstruct", "draw_reconstructions", "decode the posterior means; of a table, fill in missing cells"
    )
    _add_inputs(command, rows=True)

    command = _add_command(commands, "manifold", "draw_manifold", "decode a grid over two latent axes")
    _add_range(command)
    command.add_argument("--size", type=int, default=20, metavar="N", help="images along each axis (20)")
    command.add_argument("--axes", type=int, nargs=2, metavar="I", help="the two axes (the most informative)")
    command.add_argument("--quantile", action="store_true", help="space the grid by the quantiles of a normal")
    command.add_argument("--label", metavar="C", help="the class (conditional runs)")
    command.add_argument(
        "--map", dest="with_map", action="store_true", help="draw the test set in the same two axes beside it"
    )

    command = _add_command(
        commands, "traverse", "draw_traversal", "vary each latent axis in turn, the most informative first"
    )
    _add_inputs(command)
    _add_range(command)
    command.add_argument("--steps", type=int, default=11, metavar="N", help="images for each axis (11)")
    command.add_argument("--top", type=int, metavar="N", help="only the N most informative axes")
    command.add_argument(
        "--by",
        default="information",
        metavar="ORDER",
        help="information, or factors: the axes in the order of the known factors that they hold (information)",
    )
    _add_gif(command)

    command = _add_command(
        commands, "interpolate", "draw_interpolation", "go from image to image through the latent space"
    )
    _add_inputs(command)
    command.add_argument("--steps", type=int, default=9, metavar="N", help="images from one to the next (9)")
    command.add_argument("--spherical", action="store_true", help="along arcs around the origin, not straight lines")
    _add_gif(command)

    command = _add_command(commands, "edit", "draw_edits", "move images towards a class or another known factor")
    _add_inputs(command)
    command.add_argument(
        "--toward",
        action="append",
        required=True,
        metavar="FACTOR=VALUE",
        help="label=7, thickness=high, rotation=low, ...; repeat it to combine several",
    )
    command.add_argument(
        "--amount", type=finite, nargs="+", default=[0, 0.25, 0.5, 0.75, 1], metavar="A", help="how far (0 to 1)"
    )

    command = _add_command(commands, "embed", "draw_embedding", "map the posterior means of the test set")
    command.add_argument("--axes", type=int, nargs=2, metavar="I", help="draw these two axes, not a PCA")
    command.add_argument("--by", metavar="FACTOR", help="the known factor that colours the map (the label)")
    command.add_argument("--count", type=int, metavar="N", help="the first N test images (all)")


def _add_command(commands, name, function, text):
    """A command that calls this function of `latent_space`; its options are the keywords of the function."""
    command = commands.add_parser(name, help=text)
    command.add_argument("run", metavar="RUN", help="a run directory, or a preset as in conv_vae/mnist")
    command.add_argument(
        "--out",
        metavar="PATH",
        help="the picture (.png, .pdf, .svg), the rows of a table (.csv, .parquet), or a folder; the arrays are "
        f"written beside it as .npz, melodies as .mid and .wav, rows as .csv "
        f"(default: RUN/{PICTURES})",
    )
    command.set_defaults(command=_draw, function=function)
    return command


def _add_inputs(command, required=True, rows=False):
    inputs = command.add_mutually_exclusive_group(required=required)
    inputs.add_argument("--index", type=int, nargs="+", metavar="I", help="images of the test set, from 0")
    inputs.add_argument("--image", nargs="+", metavar="FILE", help="your own pictures")
    if rows:
        inputs.add_argument("--data", metavar="FILE", help="your own table, .csv or .parquet")
    command.add_argument("--invert", action="store_true", help="exchange light and dark in --image (ink on paper)")
    command.add_argument(
        "--image-label", nargs="+", metavar="C", help="the class of each --image, or one for all (conditional runs)"
    )


def _add_range(command):
    command.add_argument("--range", dest="span", type=finite, default=3.0, metavar="R", help="from -R to R (3)")


def _add_gif(command):
    command.add_argument("--gif", action="store_true", help="write an animation too")


def _draw(arguments):
    options = dict(vars(arguments))
    run, out, function, _ = (options.pop(name) for name in ("run", "out", "function", "command"))
    with quick_tensorflow():
        from vaezoo import latent_space
        from vaezoo.latent_space.drawing import checked_path
        from vaezoo.presets import open_run
    run = open_run(run)
    path = checked_path(out) if out else _folder_of_pictures(run)
    drawing = getattr(latent_space, function)(run, **options)
    print(*drawing.lines, *drawing.save(path), sep="\n")


def _folder_of_pictures(run):
    folder = run.path / PICTURES
    if folder.resolve() != run.path.resolve() / PICTURES:  # the run may be a stranger's
        raise VaezooError(f"'{folder}' is a link to {folder.resolve()}; remove it, or choose a place with out=")
    return folder


def finite(text):
    """A number from the command line that is neither infinite nor NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value

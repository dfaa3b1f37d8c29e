"""What the commands of the latent space share: which images they take, and where their pictures go."""

import contextlib
import math
from pathlib import Path

from vaezoo.atomic import plain_errors, write_file
from vaezoo.errors import VaezooError

PICTURES = "pictures"  # the folder in a run directory
FORMATS = (".png", ".pdf", ".svg")


def add_run(command):
    """Let a command take a run directory and a place for its picture."""
    command.add_argument("run", metavar="RUN", help="a run directory, as `vaezoo train` leaves it")
    command.add_argument(
        "--out",
        metavar="FILE",
        help=f"the picture ({', '.join(FORMATS)}); its arrays go beside it as .npz "
        f"(default: the next free name in RUN/{PICTURES})",
    )


def add_images(command, required=True):
    """Let a command take test images by index, or the user's own pictures."""
    inputs = command.add_mutually_exclusive_group(required=required)
    inputs.add_argument("--index", type=int, nargs="+", metavar="I", help="images of the test set, from 0")
    inputs.add_argument("--image", nargs="+", metavar="FILE", help="your own pictures")
    command.add_argument("--invert", action="store_true", help="turn light and dark of --image round (ink on paper)")
    command.add_argument(
        "--image-label", nargs="+", metavar="C", help="the class of each --image, or one for all (conditional runs)"
    )


def chosen_images(run, arguments):
    """The images that the options name: [N,H,W,C], their classes [N] or None, and a name for each."""
    import numpy as np

    from vaezoo.latent_space import of_run

    if not arguments.image and (arguments.invert or arguments.image_label):
        raise VaezooError("--invert and --image-label are about --image, and there is none; leave them out")
    if arguments.index is not None:
        images, labels = of_run.images_at(run, arguments.index)
        return images, of_run.labels_for(run.model, labels), [f"test {index}" for index in arguments.index]
    images = of_run.own_images(run, arguments.image, arguments.invert)
    names = [Path(path).stem for path in arguments.image]
    if arguments.image_label is None:
        if run.model.conditional:
            raise VaezooError("this model is conditional: say what --image shows with --image-label, as in 3")
        return images, None, names
    if not run.model.conditional:
        raise VaezooError("--image-label is for conditional runs, and this one is not; leave it out")
    labels = [class_of(run, text) for text in arguments.image_label]
    if len(labels) not in (1, len(images)):
        raise VaezooError(f"{len(labels)} of --image-label for {len(images)} pictures; give one, or one each")
    return images, np.array(labels * len(images))[: len(images)], names


def title_of(run, text):
    """A picture's title: which model, on which images, and what is seen."""
    return f"{run.recipe.name} on {Path(run.recipe.data.name).name}: {text}"


def class_of(run, text):
    """The class of a conditional run that a text names: its number, or its name in the data set."""
    from vaezoo.latent_space.editing import class_index

    if not run.model.conditional:
        raise VaezooError(f"--label {text} is for conditional runs, and '{run.path}' is not one; leave it out")
    if text.isdecimal() and int(text) < run.model.classes:
        return int(text)  # no need to read the data for its names
    return class_index(text, run.data.class_names)


def finite(text):
    """A number from the command line that is neither infinite nor NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def checked_out(arguments):
    """Refuse an --out that cannot be a picture, before the work is done."""
    if arguments.out and Path(arguments.out).suffix.lower() not in FORMATS:
        raise VaezooError(f"cannot write a picture '{arguments.out}'; its name must end in {', '.join(FORMATS)}")


def leave(arguments, name, figure, arrays, frames=None, **timing):
    """Write a picture, its arrays beside it and, with frames, a film; print the paths.

    Args:
        arguments: with `run` and `out`.
        name: of the files, where `out` names none.
        figure: a matplotlib Figure.
        arrays: name → array; what is None is left out.
        frames: uint8 [T,height,width,C], or None.
        timing: for `plots.save_gif`.
    """
    from vaezoo import plots

    if arguments.out:
        picture = Path(arguments.out)
    else:
        folder = Path(arguments.run) / PICTURES
        if folder.resolve() != Path(arguments.run).resolve() / PICTURES:
            raise VaezooError(
                f"'{folder}' is a link to {folder.resolve()}; remove it, or say where to write with --out"
            )
        number, picture = 1, folder / f"{name}.png"
        while picture.exists():
            number += 1
            picture = folder / f"{name}-{number}.png"
    with plain_errors(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
    before = set(picture.parent.iterdir())
    written = []
    try:
        written.append(write_arrays(picture.with_suffix(".npz"), arrays))
        if frames is not None:
            path = picture.with_suffix(".gif")
            written.append(write_file(path, lambda beside: plots.save_gif(beside, frames, **timing)))
        written.append(write_file(picture, figure.savefig))
    except BaseException:
        for path in set(written) - before:  # all of it or nothing
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    for path in reversed(written):
        print(path)


def write_arrays(path, arrays):
    """Write arrays by name as .npz; what is None is left out."""
    import numpy as np

    arrays = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    return write_file(path, lambda beside: np.savez_compressed(beside, **arrays))

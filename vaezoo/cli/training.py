"""`vaezoo train`."""

import functools
import re
from pathlib import Path

from vaezoo.cli.recipes import add_assignments
from vaezoo.errors import VaezooError
from vaezoo.quiet import quick_tensorflow

SHORTCUTS = {
    "data": (
        "data.name",
        "DATA",
        "glyphs, shapes, sprites, folk_melodies, a tensorflow-datasets name, a folder, an .npz, a .csv",
    ),
    "crop": ("data.crop", "C", "center, pad or stretch: how an image gets the proportions of the image size"),
    "epochs": ("training.epochs", "N", "passes over the training images"),
    "precision": ("training.precision", "P", "float32, mixed_float16 or mixed_bfloat16"),
    "seed": ("training.seed", "N", "the seed of weights, order and noise"),
}

LITERAL = ("data", "crop", "precision")  # names and paths; numbers are parsed as YAML


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("train", help="train a model")
    command.add_argument("model", nargs="?", help="the name of a recipe, or a .yaml file")
    command.add_argument("--resume", metavar="DIR", help="resume the run in that directory")
    add_assignments(command)
    for option, (key, metavar, text) in SHORTCUTS.items():
        command.add_argument(f"--{option}", metavar=metavar, help=f"{text} (short for --set {key}={metavar})")
    command.add_argument(
        "--image-size", metavar="N", nargs="+", help="height and width of every image, or one number (data.image_size)"
    )
    command.add_argument("--out", metavar="DIR", help="the run directory (default: runs/NAME)")
    command.add_argument("--animate", action="store_true", help="write latent.gif, the latent space after every epoch")
    command.add_argument(
        "--checkpoint-every", metavar="TIME", help="write checkpoints within an epoch too: 90s, 10min, 1h"
    )
    command.add_argument(
        "--strategy",
        metavar="S",
        default="one",
        help="one device (default); mirrored: all GPUs of this machine; multi_worker: every machine in TF_CONFIG",
    )
    command.add_argument(
        "--callback", metavar="TRACKER", nargs="+", default=[], help="track it: tensorboard, wandb, mlflow (extras)"
    )
    command.set_defaults(command=_train)


def _train(arguments):
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.model is None:
        raise VaezooError("give a model to train, as in `vaezoo train conv_vae`, or --resume DIR")
    from vaezoo.config import load_recipe, parse_assignments
    from vaezoo.runs import free_path

    every = _seconds(arguments.checkpoint_every)
    overrides = parse_assignments(arguments.assignments)
    for option, (key, _, _) in SHORTCUTS.items():
        if (value := getattr(arguments, option)) is not None:
            overrides |= {key: value} if option in LITERAL else parse_assignments([f"{key}={value}"])
    if arguments.image_size:
        size = arguments.image_size
        if len(size) > 2:
            raise VaezooError(f"--image-size {' '.join(size)}: give one number, or a height and a width")
        overrides |= parse_assignments([f"data.image_size=[{size[0]}, {size[-1]}]"])
    recipe = load_recipe(arguments.model, overrides)
    out = arguments.out or free_path(Path("runs") / recipe.name)
    with quick_tensorflow():
        from vaezoo.training import train
    options = {"checkpoint_every": every, "strategy": arguments.strategy, "animate": arguments.animate}
    _tracked(arguments.callback, out, recipe, functools.partial(train, recipe, out, **options))


def _resume(arguments):
    fixed = ("model", "out", "data", "precision", "seed", "image_size", "crop", "animate")
    for name in fixed:
        if getattr(arguments, name):
            given = "a model" if name == "model" else f"--{name.replace('_', '-')}"
            raise VaezooError(f"--resume continues with the recipe of the run; leave out {given}")
    from vaezoo.config import parse_assignments
    from vaezoo.runs import read_run_recipe

    changes = parse_assignments(arguments.assignments)
    if arguments.epochs is not None:
        changes |= parse_assignments([f"training.epochs={arguments.epochs}"])
    every = _seconds(arguments.checkpoint_every)
    with quick_tensorflow():
        from vaezoo.training import resume
    options = {"changes": changes, "checkpoint_every": every, "strategy": arguments.strategy}
    recipe = read_run_recipe(Path(arguments.resume), changes) if arguments.callback else None
    _tracked(arguments.callback, arguments.resume, recipe, functools.partial(resume, arguments.resume, **options))


def _tracked(names, path, recipe, run):
    """Call `run` with trackers of these names as callbacks."""
    if not names:
        return run()
    with quick_tensorflow():
        from vaezoo.tracking import trackers
    with trackers(names, path, recipe) as callbacks:
        trained = run(callbacks=callbacks)
        for each in callbacks:
            if each.opened:
                each.finish(trained.test)


def _seconds(text):
    """A duration such as 90s, 10min or 1h, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", text)
    if not match or not float(match[1]):
        raise VaezooError(f"--checkpoint-every {text} is not a duration; write it as 90s, 10min or 1h")
    return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]

"""`vaezoo train`."""

from vaezoo.cli.quiet import quiet_tensorflow
from vaezoo.cli.recipes import add_recipe
from vaezoo.config import load_recipe, parse_assignments

SHORTCUTS = {
    "data": ("data.name", "DATA", "glyphs, a tensorflow-datasets name, a folder of images, a .npy or .npz file"),
    "epochs": ("training.epochs", "N", "how many passes over the training images"),
    "precision": ("training.precision", "P", "float32, mixed_float16 or mixed_bfloat16"),
    "seed": ("training.seed", "N", "the seed of weights, order and noise"),
}


def add_commands(commands):
    """Add the command of this module to the parser."""
    command = commands.add_parser("train", help="train a model")
    add_recipe(command)
    for option, (key, metavar, text) in SHORTCUTS.items():
        command.add_argument(f"--{option}", metavar=metavar, help=f"{text} (short for --set {key}={metavar})")
    command.add_argument("--image-size", metavar=("H", "W"), nargs=2, help="resize every image (data.image_size)")
    command.add_argument("--out", metavar="DIR", help="the run directory (default: runs/NAME)")
    command.add_argument("--animate", action="store_true", help="leave latent.gif, the latent space after every epoch")
    command.set_defaults(command=_train)


def _train(arguments):
    overrides = parse_assignments(arguments.assignments)
    for option, (key, _, _) in SHORTCUTS.items():
        if (value := getattr(arguments, option)) is not None:
            # Names and paths are taken as they stand; a number is read as YAML reads one.
            overrides |= {key: value} if option in ("data", "precision") else parse_assignments([f"{key}={value}"])
    if arguments.image_size:
        overrides |= parse_assignments([f"data.image_size=[{','.join(arguments.image_size)}]"])
    recipe = load_recipe(arguments.model, overrides)
    with quiet_tensorflow():
        from vaezoo.training import train
    train(recipe, arguments.out, animate=arguments.animate)

"""A run that is trained once and measured once, for the tables of metrics; resumable at any point."""

import argparse
import csv
import json
import sys
from pathlib import Path

import keras

from vaezoo.atomic import write_text
from vaezoo.config import load_recipe
from vaezoo.data import canonical_name
from vaezoo.errors import VaezooError
from vaezoo.evaluation import evaluate
from vaezoo.recipe_files import recipe_names
from vaezoo.runs import Run
from vaezoo.tables import as_csv
from vaezoo.training import resume, train


def measured(recipe, folder, samples, limit=None, start=None):
    """The row of a recipe: train it unless the folder holds the finished run, measure it unless that was done.

    Args:
        recipe: a `Recipe`.
        folder: the run directory; one that training left unfinished is resumed.
        samples: K, the importance samples of each image.
        limit: measure the gap between the ELBO and -NLL on the first so many test images only; None for all. The ELBO
            is always that of all of them, and -NLL is the ELBO plus the gap: from image to image the gap varies a tenth
            as much as the NLL, so that few images are enough.
        start: as in `trained`.

    Returns:
        A mapping, for `write_csv`: the metrics in nats per image, and all that it takes to reproduce them.

    Raises:
        VaezooError: if the folder holds a run of other settings.
    """
    found = trained(recipe, folder, start)
    report = _report(found, found.path / f"nll-{samples}{f'-of-{limit}' if limit else ''}.json", samples, limit)
    settings, test = found.recipe.training, json.loads((found.path / "test.json").read_text())
    gap = report["nll"]["gap"]
    elbo = test["elbo"] if limit else report["bound"]["elbo"]["value"]
    return {
        "nll": round(-(elbo + gap["value"]), 2),
        "elbo": round(elbo, 2),
        "gap": round(gap["value"], 2),
        "gap_standard_error": round(gap["standard_error"], 2),
        "kl": round(test["kl"], 2),
        "active_units": report["code"]["active_units"],
        "latents": report["latents"],
        "importance_samples": samples,
        "test_images": report["examples"],
        "parameters": found.model.count_params(),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "optimizer": settings.optimizer,
        "schedule": settings.schedule,
        "seed": settings.seed,
        "training_seconds": round(test["training_seconds"]),
        "images_per_second": max(images_per_second(found)),  # of the epoch that other processes disturbed least
        "evaluation_seconds": round(report["seconds"]),
        "vaezoo": report["versions"]["vaezoo"],
        "tensorflow": report["versions"]["tensorflow"],
    }


def trained(recipe, folder, start=None):
    """The finished `Run` of a recipe: train it, or resume its training, unless the folder holds it.

    Args:
        recipe: a `Recipe`.
        folder: the run directory.
        start: a function that returns a `Run` of the same networks, called if anything is left to train: the training
            starts from its weights. None for random ones.

    Raises:
        VaezooError: if the folder holds a run of other settings.
    """
    folder = Path(folder)
    begun = folder / "recipe.yaml"
    if begun.exists() and _what_is_trained(load_recipe(begun), recipe) != _what_is_trained(recipe, recipe):
        raise VaezooError(f"'{folder}' holds a run of other settings; remove it, or give another --out")
    if not (folder / "test.json").exists():
        callbacks = [_Start(start())] if start else []
        if begun.exists():
            resume(folder, callbacks=callbacks)
        else:
            train(recipe, folder, callbacks=callbacks)
    return Run(folder)


def check_settings(folder, settings):
    """Keep what the results in a folder are measured with in settings.json, so that no other results join them.

    Args:
        folder: of the results; it need not exist.
        settings: a mapping fit for JSON.

    Raises:
        VaezooError: if the folder holds results of other settings, or has no settings.json.
    """
    folder = Path(folder)
    path = folder / "settings.json"
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=2) + "\n")
    elif not path.exists():
        raise VaezooError(
            f"'{folder}' holds results and no settings.json; if they are of these settings, write it with "
            f"{json.dumps(settings)}; or give another --out"
        )
    elif json.loads(path.read_text()) != settings:
        raise VaezooError(f"'{folder}' holds results of other settings; remove it, or give another --out")


class _Start(keras.callbacks.Callback):
    """Gives a model the weights of a run before its first step."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_train_begin(self, logs=None):
        if int(self.model.optimizer.iterations) == 0:  # nor where a training is resumed
            self.model.set_weights(self.run.model.get_weights())


def table_options(description, rows, out, samples, limit, argv):
    """The options of a script that trains and measures some rows.

    Args:
        description: what the script does.
        rows: {name of a row: ...}; all of them by default.
        out: the default folder of the runs.
        samples: the default number of importance samples.
        limit: the default number of test images to measure the gap on; None for all.
        argv: the arguments, or None for those of the process.
    """
    names, images = list(rows), limit or "all"
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=type(names[0]), nargs="+", choices=names, default=names, metavar="ROW")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of those of the table")
    parser.add_argument("--samples", type=int, default=samples, metavar="N", help=f"importance samples ({samples})")
    help_limit = f"test images to measure the gap on ({images})"
    parser.add_argument("--limit", type=int, default=limit, metavar="N", help=help_limit)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--data", default="mnist", metavar="DATA")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="DIR")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the CSV to write (DIR/table.csv)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="of the trainings (DIR/curves.png)")
    return parser.parse_args(argv)


def image_recipes():
    """The names of the recipes that can be trained on images."""
    return [name for name in recipe_names() if "image" in load_recipe(name).model.likelihood.examples]


def images_per_second(run):
    """The speed of each epoch of a finished `Run`."""
    with open(run.path / "metrics.csv", newline="") as file:
        return [int(row["images_per_second"]) for row in csv.DictReader(file)]


def run(main):
    """Run a script; bad input is one line and exit code 2, Ctrl-C says what was kept."""
    try:
        main()
    except VaezooError as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interrupt:
        print(f"\n{Path(sys.argv[0]).stem}: interrupted; {interrupt}", file=sys.stderr)
        sys.exit(130)


def write_csv(path, rows):
    """Write rows of equal keys."""
    write_text(path, as_csv(rows))


def _what_is_trained(recipe, asked):
    """What two recipes must agree in; a run has decided what was left to its data, so that is not compared."""
    content = recipe.model_dump(include={"model", "data", "training"})
    content["data"]["name"] = canonical_name(recipe.data.name)
    left_to_the_data = (
        ("data", "binarize", "auto"),
        ("data", "image_size", None),
        ("data", "columns", None),
        ("training", "epochs", None),
    )
    for section, key, value in left_to_the_data:
        if getattr(getattr(asked, section), key) == value:
            del content[section][key]
    if asked.model.objective.needs_dataset_size and asked.model.objective.dataset_size is None:
        del content["model"]["objective"]["dataset_size"]
    return content


def _report(run, path, samples, limit):
    if not path.exists():
        print(f"measuring {run.path} with {samples:,} importance samples", file=sys.stderr)
        report, _ = evaluate(run, samples, limit)
        write_text(path, json.dumps(report, indent=2) + "\n")
    return json.loads(path.read_text())

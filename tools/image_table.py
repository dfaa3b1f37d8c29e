"""Compare `image_vae` with `conv_vae` on folders of pictures, at equal minutes of training, and write the table.

python tools/image_table.py ./photos ./icons --minutes 10     # the same command goes on after an interruption
"""

import argparse
import json
import math
import time
from pathlib import Path

import keras
from measured import check_settings, images_per_second, run, write_csv

from vaezoo.atomic import write_text
from vaezoo.config import load_recipe
from vaezoo.data import canonical_name
from vaezoo.evaluation import evaluate
from vaezoo.runs import Run
from vaezoo.training import refit, train
from vaezoo.training.setup import prepare

MODELS = {
    "conv_vae": {"data.binarize": "none", "model.likelihood": "discretized_logistic", "model.latent_dim": 64},
    "image_vae": {},
}
CALLS = 6  # of the step that the speed is measured on; the first of them compiles


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", metavar="DATA", help="folders of pictures, or other data")
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="of training (10)")
    parser.add_argument("--image-size", type=int, default=64, metavar="N", help="pixels (64)")
    parser.add_argument("--samples", type=int, default=10, metavar="K", help="importance samples (10)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/image_table"), metavar="DIR")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the CSV to write (DIR/table.csv)")
    options = parser.parse_args(argv)
    rows = []
    for data in options.data:
        folder = options.out / Path(data).name
        asked = {"data": canonical_name(data), "minutes": options.minutes, "image_size": options.image_size}
        check_settings(folder, {**asked, "samples": options.samples})
        for name in options.models:
            sizes = {"data.name": data, "data.image_size": options.image_size, "training.epochs": 1}
            recipe = load_recipe(name, {**MODELS[name], **sizes})
            path = folder / name
            if not (path / "test.json").exists():
                epochs = _epochs(recipe, options.minutes)
                train(load_recipe(name, {**MODELS[name], **sizes, "training.epochs": epochs}), path)
            refitted = path.with_name(f"{name}-mixture")
            if not refitted.exists():
                refit(path, "mixture", out=refitted)
            rows.append(_row(Path(data).name, name, path, refitted, options.samples))
            write_csv(options.table or options.out / "table.csv", rows)
            print(rows[-1], flush=True)


def _epochs(recipe, minutes):
    """How many epochs take so many minutes on this machine."""
    setup = prepare(recipe, print)
    calls = setup.model.steps_per_execution
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seconds.append(time.perf_counter())

    batches = setup.data.train.training_batches(recipe.training.batch_size, setup.steps, **setup.batches)
    setup.model.fit(batches, steps_per_epoch=min(CALLS * calls, setup.steps), verbose=0, callbacks=[Clock()])
    step = (seconds[-1] - seconds[0]) / (len(seconds) - 1) / calls
    return max(1, round(minutes * 60 / (step * setup.steps)))


def _row(data, name, path, refitted, samples):
    reports = [_report(folder, samples) for folder in (path, refitted)]
    before, after = reports
    dimensions, found = before["dimensions"], Run(path)
    test = json.loads((path / "test.json").read_text())
    rates = images_per_second(found)

    def distance(report):
        return report["samples"] and round(report["samples"]["frechet_distance"]["value"], 1)

    return {
        "data": data,
        "recipe": name,
        "parameters": found.recipe.parameters,
        "minutes": round(test["training_seconds"] / 60, 1),
        "epochs": found.recipe.training.epochs,
        "images_per_second": round(sum(rates) / len(rates)),
        "bits_per_dimension": _bits(before["bound"]["elbo"]["value"], dimensions),
        "bits_refitted": _bits(after["bound"]["elbo"]["value"], dimensions),
        "psnr": round(before["psnr"]["value"], 2),
        "frechet": distance(before),
        "frechet_refitted": distance(after),
        "frechet_floor": before["samples"] and round(before["samples"]["of_real_images"]["frechet_distance"], 1),
    }


def _report(folder, samples):
    path = folder / "report.json"
    if not path.exists():
        write_text(path, json.dumps(evaluate(Run(folder), samples)[0]))
    return json.loads(path.read_text())


def _bits(elbo, dimensions):
    return round(-elbo / dimensions / math.log(2), 3)


if __name__ == "__main__":
    run(main)

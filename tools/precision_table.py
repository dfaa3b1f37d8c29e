"""Train every recipe in float32 and in the mixed precisions, and write how that changes the test metric.

python tools/precision_table.py           # on MNIST; the same command resumes after an interruption
python tools/precision_table.py --models conv_vae --precisions mixed_bfloat16 --seeds 0 1 2
"""

import argparse
import itertools
import json
from pathlib import Path

from measured import image_recipes, run, trained, write_csv

from vaezoo.config import load_recipe

HALVES = ("mixed_float16", "mixed_bfloat16")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help="of the recipes (all)")
    parser.add_argument("--precisions", nargs="+", choices=HALVES, default=HALVES, help="besides float32 (both)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="(0)")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of each recipe's own")
    parser.add_argument("--data", default="mnist", metavar="DATA")
    parser.add_argument("--out", type=Path, default=Path("runs/precision_table"), metavar="DIR")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the CSV to write (DIR/table.csv)")
    options = parser.parse_args(argv)
    # One compilation for all: from the same seed XLA draws other normal numbers than a graph, as with another seed.
    overrides = {"data.name": options.data, "training.compilation": "graph"}
    if options.epochs:
        overrides["training.epochs"] = options.epochs
    rows, full = [], {}
    for name, seed, precision in itertools.product(
        options.models or image_recipes(), options.seeds, ("float32", *options.precisions)
    ):
        recipe = load_recipe(name, {**overrides, "training.precision": precision, "training.seed": seed})
        row = metrics(trained(recipe, options.out / f"{recipe.name}-{precision}-seed{seed}"))
        difference = row["nats"] - full.setdefault((name, seed), row["nats"])  # float32 comes first
        rows.append({**row, "difference": round(difference, 3)})
        write_csv(options.table or options.out / "table.csv", rows)
        print("{recipe} {precision}: {figure} {nats}, {difference:+} to float32".format(**rows[-1]), flush=True)


def metrics(run):
    """The row of a finished run: its test ELBO in nats an image, or for an autoencoder minus its reconstruction."""
    test, environment = (json.loads((run.path / f"{name}.json").read_text()) for name in ("test", "environment"))
    settings = run.recipe.training
    return {
        "recipe": run.recipe.name,
        "precision": settings.precision,
        "figure": "elbo" if "elbo" in test else "-reconstruction",
        "nats": round(test.get("elbo", -test["reconstruction"]), 3),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "data": run.recipe.data.name,
        "test_images": test["images"],
        "seed": settings.seed,
        "compilation": environment["compilation"],
        "device": environment["device"],
        "vaezoo": environment["vaezoo"],
        "tensorflow": environment["tensorflow"],
    }


if __name__ == "__main__":
    run(main)

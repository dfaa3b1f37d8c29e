"""Train and measure every VAE of the zoo at its default, and write the table of docs/results.md.

python tools/zoo_table.py           # on MNIST; the same command resumes after an interruption
"""

import argparse
from pathlib import Path

from measured import image_recipes, measured, run, write_csv

from vaezoo.config import load_recipe


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help="of the recipes (all VAEs)")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of each recipe's own")
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="importance samples (1000)")
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="test images to measure the gap on (1000)")
    parser.add_argument("--data", default="mnist", metavar="DATA")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo_table"), metavar="DIR")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the CSV to write (DIR/table.csv)")
    options = parser.parse_args(argv)
    overrides = {"data.name": options.data, **({"training.epochs": options.epochs} if options.epochs else {})}
    recipes = [load_recipe(name, overrides) for name in options.models or image_recipes()]
    rows = []
    for recipe in recipes:
        if not is_vae(recipe.model):
            continue
        metrics = measured(recipe, options.out / recipe.name, options.samples, options.limit)
        rows.append({"recipe": recipe.name, **metrics})
        write_csv(options.table or options.out / "table.csv", rows)
        print(f"{recipe.name}: ELBO {metrics['elbo']}, NLL {metrics['nll']}", flush=True)


def is_vae(model):
    """Whether a recipe's model has an ELBO and is trained to reconstruct: not an autoencoder, nor the KL alone."""
    return model.objective.has_bound and model.objective.keywords().get("reconstruction_weight", 1) > 0


if __name__ == "__main__":
    run(main)

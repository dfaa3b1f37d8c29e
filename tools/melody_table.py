"""Train a melody VAE and what it is compared with, and measure how much of a melody comes back.

    python tools/melody_table.py                     # two bars; the same command resumes after an interruption
    python tools/melody_table.py --bars 16           # sixteen: a conductor over the bars against one long sequence

Accuracies are those of `vaezoo evaluate` on test tunes, decoded from the means of q(z|x) without a look at the true
tokens. The steps of an interpolation are Hamming distances: of 1,000 pairs of test melodies, the largest step on the
path over the mean step, in the latent space and between the melodies themselves.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from measured import run, trained, write_csv

from vaezoo import latent_space
from vaezoo.atomic import write_text
from vaezoo.config import load_recipe
from vaezoo.evaluation import evaluate

TRANSPOSED = {"data.transpose": "random"}  # there are few windows of sixteen bars
DECODER = {"name": "mlp", "hidden": [512, 512], "activation": "relu"}
# Name → the recipe's length in bars, and what is changed in it.
VARIANTS = {
    "melody_vae": (2, {}),
    "beta 1": (2, {"model.objective": {"name": "beta", "beta": {"start": 0.0, "end": 1.0, "steps": 1500}}}),
    "autoencoder": (2, {"model.posterior": "point", "model.objective": "reconstruction"}),
    "without autoregression": (2, {"model.likelihood": "categorical"}),
    "melody_vae_16": (16, TRANSPOSED),
    "one long sequence": (16, {**TRANSPOSED, "model.likelihood.span": None, "model.decoder": DECODER}),
}
ACCURACIES = ("tokens", "changes", "perfect", "teacher_forced")
PAIRS = 1000  # of the interpolations
SHOWN = ("elbo", "nll", "kl", *ACCURACIES, "step_ratio", "epochs", "minutes")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bars", type=int, default=2, choices=(2, 16), help="(2)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="(all of that length)")
    parser.add_argument("--data", default="folk_melodies", metavar="DATA", help="(folk_melodies)")
    parser.add_argument("--epochs", type=int, metavar="N", help="(those of the recipe)")
    parser.add_argument("--samples", type=int, default=100, metavar="K", help="importance samples (100)")
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="test melodies that are measured (1000)")
    parser.add_argument("--out", type=Path, default=Path("runs/melodies"), metavar="DIR")
    options = parser.parse_args(argv)
    rows = []
    for name, (bars, changes) in VARIANTS.items():
        if bars == options.bars and name in (options.variants or VARIANTS):
            rows.append(row(name, changes, options))
            write_csv(options.out / f"{bars}_bars.csv", rows)
            print(", ".join(f"{key} {rows[-1][key]}" for key in ("variant", *SHOWN)), flush=True)
    write_text(options.out / f"{options.bars}_bars.md", as_markdown(rows))
    print(as_markdown(rows))


def row(name, changes, options):
    """The metrics of a variant: trained and measured once."""
    settings = {"data.name": options.data, **changes}
    if options.epochs:
        settings["training.epochs"] = options.epochs
    recipe = load_recipe("melody_vae" if options.bars == 2 else "melody_vae_16", settings)
    finished = trained(recipe, options.out / name.replace(" ", "_"))
    path = finished.path / "melodies.json"
    if not path.exists():
        write_text(path, json.dumps(metrics_of(finished, options), indent=2) + "\n")
    return {"variant": name, **json.loads(path.read_text())}


def metrics_of(finished, options):
    """The bound, the NLL, the accuracies, the smoothness of interpolations, and the time that 100 samples take."""
    report, _ = evaluate(finished, options.samples, options.limit)
    test, model = json.loads((finished.path / "test.json").read_text()), finished.model
    bound, found = report["bound"], report["accuracy"]
    x, _ = finished.first("test", PAIRS + 1)
    pairs = np.stack([x[:-1], x[1:]], axis=1)
    paths = np.stack([latent_space.interpolate(model, pair).examples[0] for pair in pairs])  # [N,S,T]
    model.sample(100, seed=1, temperature=1.0)
    started = time.perf_counter()
    model.sample(100, seed=2, temperature=1.0)
    seconds = time.perf_counter() - started
    return {
        "elbo": bound["elbo"] and round(bound["elbo"]["value"], 2),
        "nll": report["nll"] and round(report["nll"]["value"], 2),
        "bits_per_step": bound["elbo"] and round(-bound["elbo"]["value"] / model.spec.size / np.log(2), 3),
        "reconstruction": round(bound["reconstruction"]["value"], 2),
        "kl": bound["kl"] and round(bound["kl"]["value"], 2),
        **{name: round(found[name]["value"], 4) if name in found else None for name in ACCURACIES},
        "most_common": round(found["most_common"], 4),
        "step_ratio": round(float(np.nanmean(latent_space.step_ratio(paths, model.spec))), 2),
        "step_ratio_of_the_data": round(float(np.nanmean(latent_space.step_ratio(blended(pairs), model.spec))), 2),
        "distinct_samples": len(np.unique(np.asarray(model.sample(100, seed=3)), axis=0)),
        "seconds_for_100_samples": round(seconds, 2),
        "importance_samples": options.samples,
        "test_melodies": report["examples"],
        "parameters": model.count_params(),
        "epochs": finished.recipe.training.epochs,
        "minutes": round(test["training_seconds"] / 60, 1),
    }


def blended(pairs, steps=9, seed=0):
    """Paths between melodies [N,2,T] without a model: each step takes more places from the second one, at random."""
    order = np.random.default_rng(seed).random((len(pairs), 1, pairs.shape[-1]))
    taken = order < np.linspace(0, 1, steps)[:, None]  # [N,S,T]
    return np.where(taken, pairs[:, 1:], pairs[:, :1])


def as_markdown(rows):
    """The rows as a table."""
    lines = ["| | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |", "|-" + "|-:" * len(SHOWN) + "|"]
    for each in rows:
        cells = ["" if each.get(name) is None else f"{each[name]}" for name in SHOWN]
        lines.append(f"| {each['variant']} | " + " | ".join(cells).replace("-", "−") + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)

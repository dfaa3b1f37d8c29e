"""Train the disentangling objectives with several seeds, and measure how their latents hold the known factors.

python tools/disentanglement_table.py                     # sprites; the same command resumes after an interruption
python tools/disentanglement_table.py --epochs 28         # the 300,000 steps of the protocol

The networks, the latents and the batch are those of Locatello et al. 2019, arXiv:1811.12359, for every objective.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from measured import run, trained, write_csv

from vaezoo.atomic import write_file, write_text
from vaezoo.config import load_recipe
from vaezoo.evaluation import disentanglement
from vaezoo.evaluation.encoded import encode
from vaezoo.evaluation.latent_code import kl_per_latent
from vaezoo.plots.style import DPI, PALETTE, Figure, plain_axes
from vaezoo.runs import Run

METHODS = ("vae", "beta_vae", "factor_vae", "tc_vae", "dip_vae", "info_vae")  # recipes, for their objectives
METRICS = (
    *("beta_vae_score", "factor_vae_score", "mig", "sap", "dci_disentanglement", "dci_completeness"),
    *("dci_informativeness", "modularity", "explicitness"),
)
SHOWN = ("elbo", "reconstruction", "gaussian_total_correlation", *METRICS, "udr")
POINTS = 10_000  # test images that the metrics are of


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="(all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--data", default="sprites", metavar="DATA", help="with known factors (sprites)")
    parser.add_argument("--epochs", type=int, default=7, metavar="N", help="7 of sprites are 76,000 steps")
    parser.add_argument("--precision", default="float32", metavar="P")
    parser.add_argument("--out", type=Path, default=Path("runs/disentanglement"), metavar="DIR")
    options = parser.parse_args(argv)
    rows = []
    for seed in options.seeds:  # all methods of a seed first, so that an interrupted table compares
        for name in options.methods:
            rows.append(row(name, seed, options))
            write_csv(options.out / "table.csv", rows)
            found = ", ".join(f"{metric} {rows[-1][metric]}" for metric in ("factor_vae_score", "mig"))
            print(f"{name}, seed {seed}: {found}", flush=True)
    for name in options.methods:
        add_udr([each for each in rows if each["method"] == name], options.out)
    write_csv(options.out / "table.csv", rows)
    write_text(options.out / "table.md", as_markdown(rows))
    write_file(options.out / "plane.png", plane(rows).savefig)
    print(as_markdown(rows))


def row(name, seed, options):
    """The metrics of a method and a seed: trained and measured once."""
    objective = {"name": "elbo"} if name == "vae" else load_recipe(name).model.objective.model_dump(mode="json")
    settings = {
        "model.objective": objective,
        "data.name": options.data,
        "training.epochs": options.epochs,
        "training.precision": options.precision,
        "training.seed": seed,
    }
    trained_run = trained(load_recipe("tc_vae", settings), options.out / f"{name}-{seed}")
    path = trained_run.path / "disentanglement.json"
    if not path.exists():
        write_text(path, json.dumps(metrics_of(trained_run), indent=2) + "\n")
    return {"method": name, "seed": seed, "epochs": options.epochs, **json.loads(path.read_text()), "udr": None}


def add_udr(rows, folder):
    """Fill in how well each model of one method agrees with those of the other seeds; alone it agrees with none."""
    if len(rows) > 1:
        models = [code_and_kl(Run(folder / f"{each['method']}-{each['seed']}")) for each in rows]
        for each, found in zip(rows, disentanglement.udr(*zip(*models, strict=True)), strict=True):
            each["udr"] = round(found["value"], 3)


def code_and_kl(trained_run):
    """The code [POINTS,D] of the test images of the metrics, and the KL of each latent [D]."""
    x, _ = trained_run.first("test", POINTS)
    encoded = encode(trained_run.model, x)
    return encoded.means(), kl_per_latent(trained_run.model, encoded)


def metrics_of(trained_run):
    """The bound of all test images; the total correlation and the metrics of the first POINTS of them.

    The total correlation is that of a normal with the covariance of the codes, as in Locatello et al. 2019: these codes
    tell 10,000 images apart, and then no estimate from the posteriors can be trusted.
    """
    x, _ = trained_run.first("test", POINTS)
    encoded, test = encode(trained_run.model, x), json.loads((trained_run.path / "test.json").read_text())
    factors = {name: values[: len(x)] for name, values in trained_run.data.test.factors.items()}
    found = disentanglement.disentanglement(encoded.means(), factors)
    return {
        **{name: round(test[name], 2) for name in ("elbo", "reconstruction", "kl")},
        "gaussian_total_correlation": round(gaussian_total_correlation(encoded), 3),
        **{name: round(found[name]["value"], 3) if name in found else None for name in METRICS},
        "steps": int(trained_run.model.optimizer.iterations),
    }


def gaussian_total_correlation(encoded):
    """-1/2 log det of the correlations of the codes z ~ q(z|x) over all examples, in nats."""
    variances = np.concatenate([np.square(passed.q.stddev()) for passed in encoded.passes()])
    covariance = np.cov(encoded.means().T) + np.diag(variances.mean(0))
    return float((np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1]) / 2)


def as_markdown(rows):
    """The median of every metric over the seeds, with its range, as a table."""
    methods = list(dict.fromkeys(each["method"] for each in rows))
    lines = ["| | " + " | ".join(f"`{name}`" for name in methods) + " |", "|-" * (len(methods) + 1) + "|"]
    for metric in SHOWN:
        cells = [spread([each[metric] for each in rows if each["method"] == name]) for name in methods]
        lines.append(f"| {metric.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values):
    """The median, and the smallest and the largest value in brackets."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    middle, ends = statistics.median(known), "" if len(known) == 1 else f" ({min(known):.4g}–{max(known):.4g})"
    return f"{middle:.4g}{ends}".replace("-", "−")


def plane(rows):
    """Reconstruction against total correlation: what a method pays for independent latents."""
    figure = Figure(figsize=(6.2, 4.2), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, "Reconstruction against independence", "total correlation, nats", "reconstruction, nats")
    for number, name in enumerate(dict.fromkeys(each["method"] for each in rows)):
        own = [each for each in rows if each["method"] == name]
        points = [[each[key] for each in own] for key in ("gaussian_total_correlation", "reconstruction")]
        axes.scatter(*points, color=PALETTE[number % len(PALETTE)], label=name, s=36)
    axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    run(main)

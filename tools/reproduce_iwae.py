"""Reproduce one stochastic layer of table 1 of Burda et al. (2016), "Importance Weighted Autoencoders".

    python tools/reproduce_iwae.py          # trains and measures the three rows, and writes the table

MNIST, binarized anew each time an image is read; 784-200-200-50-200-200-784, tanh; the negative log-likelihood of the
10,000 test images by 5,000 importance samples. As in the paper 59,600 images are trained on, and a step of k = 50 takes
20 images. Other than there, the steps of k = 1 and 5 take 100; the learning rate falls along a cosine over fewer epochs
than their 3,280; the KL of k = 1 has a warm-up of ten epochs, which leaves more units active; k = 50 starts from the
trained weights of k = 5, an epoch of which takes a sixth of the time, and has the doubly-reparameterized gradient, the
same in expectation, which was 1.4 nats ahead after six epochs. The same command resumes after an interruption.
"""

from typing import NamedTuple

from measured import measured, run, table_options, trained, write_csv
from training_curves import training_curves

from vaezoo.atomic import write_file
from vaezoo.config import load_recipe


class Row(NamedTuple):
    """How k samples are trained, and what the paper found; `start` is the row whose weights it starts from."""

    paper_nll: float
    objective: dict
    epochs: int
    batch_size: int
    learning_rate: float
    start: int | None = None


ROWS = {  # by k
    1: Row(86.76, {"name": "beta", "beta": {"start": 0.0, "end": 1.0, "steps": 6000}}, 1000, 100, 2e-3),
    5: Row(85.54, {"name": "iwae", "samples": 5}, 720, 100, 2e-3),
    50: Row(84.78, {"name": "iwae", "samples": 50, "doubly_reparameterized": True}, 85, 20, 6e-4, start=5),
}
NETWORK = {"name": "mlp", "hidden": [200, 200], "activation": "tanh"}


def recipe(k, data="mnist", epochs=None, seed=0):
    """The recipe of the row of k samples."""
    row = ROWS[k]
    return load_recipe(
        "mlp_vae",
        {
            "name": f"iwae_k{k}",
            "model.latent_dim": 50,
            "model.encoder": NETWORK,
            "model.decoder": NETWORK,
            "model.objective": row.objective,
            "data.name": data,
            "data.validation": 0.0066667,  # 400 of 60,000 images
            "training.epochs": epochs or row.epochs,
            "training.batch_size": row.batch_size,
            "training.learning_rate": row.learning_rate,
            "training.seed": seed,
        },
    )


def curves(runs):
    """The bound that each row is trained on, on its 400 validation images, over the epochs.

    Args:
        runs: {k: run directory}.

    Returns:
        The Figure.
    """

    def bound(k):
        # During its warm-up the loss of k = 1 is not a bound.
        return lambda row: float(row["val_elbo"]) if k == 1 else -float(row["val_loss"])

    lines = [(f"k = {k}", folder, bound(k), -ROWS[k].paper_nll) for k, folder in runs.items()]
    return training_curves("The bound over the epochs; dotted: log p(x) of the paper", lines)


def main(argv=None):
    options = table_options(__doc__.splitlines()[0], ROWS, "runs/reproduce_iwae", 5000, None, argv)
    rows, runs = [], {}

    def planned(k):
        wanted = recipe(k, options.data, options.epochs, options.seed)
        start = f"-from-k{ROWS[k].start}" if ROWS[k].start else ""
        return wanted, options.out / f"k{k}{start}-epochs{wanted.training.epochs}-seed{options.seed}"

    for k in options.rows:
        row, (wanted, folder) = ROWS[k], planned(k)
        start = row.start and trained(*planned(row.start))
        metrics = measured(wanted, folder, options.samples, options.limit, start)
        rows.append({"k": k, "paper_nll": row.paper_nll, "start_k": row.start, **metrics})
        runs[k] = folder
        write_csv(options.table or options.out / "table.csv", rows)
        write_file(options.picture or options.out / "curves.png", curves(runs).savefig)
        print(f"k = {k}: NLL {metrics['nll']}, paper {row.paper_nll}", flush=True)


if __name__ == "__main__":
    run(main)

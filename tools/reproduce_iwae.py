"""Reproduce one stochastic layer of table 1 of Burda et al. (2016), "Importance Weighted Autoencoders".

    python tools/reproduce_iwae.py          # trains and measures the rows, and writes the table

MNIST, binarized anew each time an image is read; 784-200-200-50-200-200-784, tanh; the negative log-likelihood of the
10,000 test images by 5,000 importance samples. As in the paper 59,600 images are trained on, and a step of k = 50 takes
20 images. Other than there, the steps of k = 1 and 5 take 100; the learning rate falls along a cosine over fewer epochs
than their 3,280; the KL of k = 1 has a warm-up of ten epochs, which leaves more units active; k = 50 starts from the
trained weights of k = 5, an epoch of which takes a sixth of the time, and has the doubly-reparameterized gradient, the
same in expectation, which was 1.4 nats ahead after six epochs. `5-again` is a second training with that gradient, from
the weights of the first; `1-again` and `50-again` start from the weights of `5-again`. `5-muon` has that gradient and
orthogonal updates from the start, and `50-muon`, in batches of 100, starts from its weights. The same command resumes
after an interruption.
"""

from typing import NamedTuple

from measured import measured, run, table_options, trained, write_csv
from training_curves import training_curves

from vaezoo.atomic import write_file
from vaezoo.config import load_recipe


class Row(NamedTuple):
    """How k samples are trained, and what the paper found; `start` is the row whose weights it starts from."""

    k: int
    paper_nll: float
    objective: dict
    epochs: int
    batch_size: int
    learning_rate: float
    start: str | None = None
    optimizer: dict | None = None  # what differs from Adam on a cosine


MUON = {"optimizer": "muon_all", "schedule": "linear", "beta_2": 0.99}
WARMED_UP = {"name": "beta", "beta": {"start": 0.0, "end": 1.0, "steps": 6000}}
DOUBLY = {"name": "iwae", "doubly_reparameterized": True}
ROWS = {
    "1": Row(1, 86.76, WARMED_UP, 1000, 100, 2e-3),
    "5": Row(5, 85.54, {"name": "iwae", "samples": 5}, 720, 100, 2e-3),
    "5-again": Row(5, 85.54, {**DOUBLY, "samples": 5}, 720, 100, 2e-3, start="5"),
    "1-again": Row(1, 86.76, {"name": "elbo"}, 300, 100, 1e-3, start="5-again"),
    "50": Row(50, 84.78, {**DOUBLY, "samples": 50}, 85, 20, 6e-4, start="5"),
    "50-again": Row(50, 84.78, {**DOUBLY, "samples": 50}, 85, 20, 6e-4, start="5-again"),
    "5-muon": Row(5, 85.54, {**DOUBLY, "samples": 5}, 360, 200, 4e-3, optimizer=MUON),
    "50-muon": Row(50, 84.78, {**DOUBLY, "samples": 50}, 40, 100, 1e-3, start="5-muon", optimizer=MUON),
}
NETWORK = {"name": "mlp", "hidden": [200, 200], "activation": "tanh"}


def recipe(name, data="mnist", epochs=None, seed=0):
    """The recipe of a row."""
    row = ROWS[name]
    return load_recipe(
        "mlp_vae",
        {
            "name": f"iwae_k{row.k}",
            "model.latent_dim": 50,
            "model.encoder": NETWORK,
            "model.decoder": NETWORK,
            "model.objective": row.objective,
            "data.name": data,
            "data.validation": 0.0066667,  # 400 of 60,000 images
            "training.epochs": epochs or row.epochs,
            "training.batch_size": row.batch_size,
            "training.learning_rate": row.learning_rate,
            **{f"training.{key}": value for key, value in (row.optimizer or {}).items()},
            "training.seed": seed,
        },
    )


def curves(runs):
    """The bound that each row is trained on, on its 400 validation images, over the epochs.

    Args:
        runs: {name of a row: run directory}.

    Returns:
        The Figure.
    """

    def bound(k):
        # During its warm-up the loss of k = 1 is not a bound.
        return lambda row: float(row["val_elbo"]) if k == 1 else -float(row["val_loss"])

    lines = [(f"k = {name}", runs[name], bound(ROWS[name].k), -ROWS[name].paper_nll) for name in runs]
    return training_curves("The bound over the epochs; dotted: log p(x) of the paper", lines)


def main(argv=None):
    options = table_options(__doc__.splitlines()[0], ROWS, "runs/reproduce_iwae", 5000, None, argv)
    rows, runs = [], {}

    def planned(name):
        """The recipe of a row, its folder, and a function that returns the run whose weights it starts from."""
        row, wanted = ROWS[name], recipe(name, options.data, options.epochs, options.seed)
        folder = options.out / f"k{name}-epochs{wanted.training.epochs}-seed{options.seed}"
        return wanted, folder, (lambda: trained(*planned(row.start))) if row.start else None

    for name in options.rows:
        row, (wanted, folder, start) = ROWS[name], planned(name)
        metrics = measured(wanted, folder, options.samples, options.limit, start)
        rows.append({"row": name, "k": row.k, "paper_nll": row.paper_nll, "start": row.start, **metrics})
        runs[name] = folder
        write_csv(options.table or options.out / "table.csv", rows)
        write_file(options.picture or options.out / "curves.png", curves(runs).savefig)
        print(f"{name}: NLL {metrics['nll']}, paper {row.paper_nll}", flush=True)


if __name__ == "__main__":
    run(main)

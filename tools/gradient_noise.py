"""Compare estimators of the encoder's gradient over a training, each on the same model and the same minibatch.

    python tools/gradient_noise.py --data mnist          # writes the table and the picture

The model is `mlp_vae` with 10 latents; it is trained with the reparameterized gradient. Before the training and after
each epoch, the gradient of one minibatch is computed many times by every estimator, with other draws of the noise. Its
variance is that of the whole gradient (the trace of the covariance).
"""

import argparse
from pathlib import Path

import keras
from matplotlib.ticker import MaxNLocator
from measured import run, write_csv

from vaezoo.atomic import write_file
from vaezoo.config import load_recipe
from vaezoo.evaluation import gradient_noise
from vaezoo.objectives import ELBO, IWAE
from vaezoo.plots.style import DPI, PALETTE, Figure, plain_axes, plain_ticks
from vaezoo.training.setup import prepare


def estimators(samples):
    """Name → objective, all with the same number of draws."""
    return {
        "score function": ELBO(samples=samples, gradient="score_function"),
        "reparameterized, KL of the draws": ELBO(samples=samples, kl="monte_carlo"),
        "reparameterized, KL in closed form": ELBO(samples=samples),
        "sticking the landing": ELBO(samples=samples, gradient="sticking_the_landing"),
        "IWAE": IWAE(samples=samples),
        "IWAE, doubly reparameterized": IWAE(samples=samples, doubly_reparameterized=True),
    }


class Measure(keras.callbacks.Callback):
    """Measure every estimator before the training and after each epoch."""

    def __init__(self, batch, samples, draws):
        super().__init__()
        self.batch, self.samples, self.draws, self.rows = batch, samples, draws, []

    def on_train_begin(self, logs=None):
        """Measure the initial model."""
        self.measure(0)

    def on_epoch_end(self, epoch, logs=None):
        """Measure the model after an epoch."""
        self.measure(epoch + 1)

    def measure(self, epoch):
        """Add a row for each estimator."""
        found = gradient_noise(self.model, self.batch["x"], estimators(self.samples), draws=self.draws)
        for name, noise in found.items():
            self.rows.append({"epoch": epoch, "estimator": name, **noise._asdict()})
        print(
            f"epoch {epoch}: " + ", ".join(f"{name} {noise.variance:.3g}" for name, noise in found.items()), flush=True
        )


def picture(rows):
    """The variance of each estimator over the epochs."""
    figure = Figure(figsize=(7, 3.6), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, "Variance of the encoder's gradient of one minibatch", "epoch", "nats²")
    names = list(dict.fromkeys(row["estimator"] for row in rows))
    for colour, name in zip(PALETTE, names, strict=False):
        own = [row for row in rows if row["estimator"] == name]
        axes.plot([row["epoch"] for row in own], [row["variance"] for row in own], color=colour, label=name)
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)
    return figure


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", metavar="DATA")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="(10)")
    parser.add_argument("--samples", type=int, default=5, metavar="K", help="draws of the posterior (5)")
    parser.add_argument("--draws", type=int, default=100, metavar="N", help="gradients of each estimator (100)")
    parser.add_argument("--out", type=Path, default=Path("runs/gradient_noise"), metavar="DIR")
    options = parser.parse_args(argv)
    changes = {"data.name": options.data, "training.epochs": options.epochs, "model.latent_dim": 10}
    setup = prepare(load_recipe("mlp_vae", changes), print)
    batches = setup.data.train.training_batches(setup.recipe.training.batch_size, setup.steps, **setup.batches)
    measure = Measure(next(iter(batches)), options.samples, options.draws)
    setup.model.fit(batches, epochs=options.epochs, steps_per_epoch=setup.steps, verbose=0, callbacks=[measure])
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "table.csv", measure.rows)
    write_file(options.out / "gradient_noise.png", picture(measure.rows).savefig)


if __name__ == "__main__":
    run(main)

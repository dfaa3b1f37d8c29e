"""Train and measure the sharper models of docs/results.md: with learned priors, and a hierarchy.

    python tools/sharp_table.py          # trains and measures the rows, and writes the table

MNIST, binarized anew each time an image is read. The NLL is -(ELBO + gap), with the gap between the ELBO and log p(x)
of the first test images. The same command resumes after an interruption.
"""

from measured import measured, run, table_options, write_csv
from training_curves import training_curves

from vaezoo.atomic import write_file
from vaezoo.config import load_recipe

GATED = {"name": "mlp", "hidden": [300, 300], "activation": "glu"}
HALF = {"training.precision": "mixed_bfloat16"}
# A row: the recipe, what is changed in it, and the NLL that was aimed at.
ROWS = {
    "flow_vae": ("flow_vae", HALF, 81.0),
    "ladder_vae": ("ladder_vae", HALF, None),
    # A long training is worth more of a deeper network: seven groups of latents in place of five, and twice the blocks.
    "ladder_vae_long": (
        "ladder_vae",
        {
            **HALF,
            "model.encoder.blocks": 2,
            "model.decoder.blocks": 2,
            "model.decoder.groups": 3,
            "training.epochs": 50,
        },
        79.0,
    ),
    # The networks of Tomczak & Welling (2018), arXiv:1705.07120, with one layer of latents.
    "vamp_300": (
        "vamp_vae",
        {
            "model.latent_dim": 40,
            "model.encoder": GATED,
            "model.decoder": GATED,
            "model.prior.components": 500,
            "model.objective": {"name": "beta", "beta": {"start": 0.1, "end": 1.0, "steps": 4700}},
            "training.epochs": 100,
            "training.learning_rate": 2e-3,
        },
        82.5,
    ),
}


def recipe(row, data="mnist", epochs=None, seed=0):
    """The recipe of a row."""
    name, changes, _ = ROWS[row]
    overrides = {"data.name": data, **changes, "training.seed": seed}
    return load_recipe(name, {**overrides, **({"training.epochs": epochs} if epochs else {})})


def main(argv=None):
    options = table_options(__doc__.splitlines()[0], ROWS, "runs/sharp_table", 1000, 1000, argv)
    rows, lines = [], []
    for row in options.rows:
        wanted = recipe(row, options.data, options.epochs, options.seed)
        folder = options.out / f"{row}-epochs{wanted.training.epochs}-seed{options.seed}"
        metrics = measured(wanted, folder, options.samples, options.limit)
        target = ROWS[row][2]
        rows.append({"row": row, "target_nll": target, **metrics})
        lines.append((row, folder, lambda terms: float(terms["val_elbo"]), None))
        write_csv(options.table or options.out / "table.csv", rows)
        picture = training_curves("The ELBO of the validation images over the epochs", lines)
        write_file(options.picture or options.out / "curves.png", picture.savefig)
        print(f"{row}: ELBO {metrics['elbo']}, NLL {metrics['nll']}, aimed at {target}", flush=True)


if __name__ == "__main__":
    run(main)

"""Draw one picture of every recipe, and write the gallery of the documentation.

    python tools/gallery.py                                    # all; the same command resumes after an interruption
    python tools/gallery.py --recipes rae vamp_vae --epochs 4  # two, after short trainings

A recipe that has a preset is drawn from it; every other one is trained first, with its own settings, into a folder of
its own below --out. scikit-learn gives the table, and music21 the melodies: pip install -e '.[tables,music,sklearn]'.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from measured import run, trained, write_csv
from melody_table import TRANSPOSED
from recipe_table import rows

from vaezoo import latent_space
from vaezoo.atomic import write_file, write_text
from vaezoo.config import load_recipe
from vaezoo.presets import open_run
from vaezoo.recipe_files import recipe_names

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = DOCS / "pictures" / "gallery"
PRESETS = {
    "beta_vae": "beta_vae/sprites",
    "conditional_vae": "conditional_vae/mnist",
    "conv_vae": "conv_vae/mnist",
    "ladder_vae": "ladder_vae/mnist",
    "mlp_vae_2d": "mlp_vae_2d/mnist",
}
# What is drawn of a recipe, and what the picture shows.
SAMPLES = latent_space.draw_samples, {"n": 36}, "Samples from the prior"
RECONSTRUCTIONS = latent_space.draw_reconstructions, {"index": [*range(10)]}, "Test images and their reconstructions"
TRAVERSAL = latent_space.draw_traversal, {"index": [5], "top": 6}, "The six most informative latents of a test image"
DRAWN = {
    **dict.fromkeys(("ae", "image_vae", "linear_ae", "rae"), RECONSTRUCTIONS),
    **dict.fromkeys(("beta_vae", "capacity_vae", "dip_vae", "factor_vae", "info_vae", "tc_vae"), TRAVERSAL),
    "kl_only": (*RECONSTRUCTIONS[:2], "Test images and their reconstructions: the code holds nothing of the image"),
    "mlp_vae_2d": (latent_space.draw_manifold, {"size": 12}, "What each place of the latent plane decodes to"),
    "conditional_vae": (latent_space.draw_samples, {"n": 8}, "Eight codes, each decoded in every class"),
    "melody_vae": (latent_space.draw_samples, {"n": 4}, "Four melodies of two bars from the prior"),
    "melody_vae_16": (latent_space.draw_samples, {"n": 1, "temperature": 0.8}, "Sixteen bars from the prior"),
    "table_vae": (latent_space.draw_samples, {"n": 178}, "The columns of the table, and of as many sampled rows"),
}
INTRODUCTION = """# Gallery

One picture of every recipe. `python tools/gallery.py` draws them anew; the captions say what each was trained on and
for how long, which is often less than its recipe asks for. `vaezoo train RECIPE` trains it to the end.
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=recipe_names(), choices=recipe_names(), metavar="RECIPE")
    parser.add_argument("--epochs", type=int, metavar="N", help="of each training (those of the recipe)")
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"), metavar="DIR")
    options = parser.parse_args(argv)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in options.recipes:
        found = model_of(name, options.epochs, options.out)
        draw, keywords, shown = DRAWN.get(name, SAMPLES)
        figure = draw(found, **keywords).figure
        write_file(PICTURES / f"{name}.png", lambda path, figure=figure: figure.savefig(path, format="png", dpi=72))
        steps = found.environment["images"]["train"] // found.recipe.training.batch_size
        captions = {row["recipe"]: row for row in rows("gallery")}
        captions[name] = {
            "recipe": name,
            "shown": shown,
            "data": Path(found.recipe.data.name).stem,
            "epochs": round(int(found.model.optimizer.iterations) / max(1, steps)),
        }
        write_csv(DOCS / "results" / "gallery.csv", [captions[each] for each in recipe_names() if each in captions])
        write_text(DOCS / "gallery.md", page())


def model_of(name, epochs, out):
    """The preset of a recipe, or its finished run below `out`."""
    if name in PRESETS:
        return open_run(PRESETS[name])
    changes = {} if epochs is None else {"training.epochs": epochs}
    if name == "melody_vae_16":
        changes |= TRANSPOSED
    if name == "table_vae":
        changes = {"data.name": wine(out), "data.label": "target"}  # 178 rows: its epochs are short
    return trained(load_recipe(name, changes), out / name)


def wine(out):
    """A table as a file: 178 wines, of each 13 measurements and its cultivar."""
    from sklearn.datasets import load_wine

    out.mkdir(parents=True, exist_ok=True)
    path = out / "wine.csv"
    write_text(path, load_wine(as_frame=True).frame.to_csv(index=False))
    return str(path)


def page():
    """The gallery in Markdown, from docs/results/gallery.csv."""
    parts = [INTRODUCTION]
    for row in rows("gallery"):
        name, epochs = row["recipe"], int(row["epochs"])
        caption = f"{row['shown']}; `{row['data']}`, {epochs} epoch{'s' * (epochs != 1)}."
        picture = f"![{row['shown']}](pictures/gallery/{name}.png)"
        parts.append(f"## {name}\n\n{load_recipe(name).summary}.\n\n{picture}\n\n{caption}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    run(main)

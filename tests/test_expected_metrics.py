"""What the recipes promise: each states the ELBO of the table, and a short training reaches its known value.

A recipe that was not measured yet has no `expected_elbo`, and nothing here is asked of it.
"""

import csv
from pathlib import Path

import pytest
from zoo_table import is_vae

from vaezoo.config import load_recipe, recipe_names
from vaezoo.training import train

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
MEASURED = [name for name in recipe_names() if load_recipe(name).expected_elbo is not None]
# Test ELBO on MNIST, in nats, of a recipe trained for one epoch; complete trainings would take half an hour.
AFTER_ONE_EPOCH = {
    "beta_vae": -124.80,
    "conditional_vae": -113.90,
    "conv_vae": -105.64,
    "iaf_vae": -143.28,
    "iwae": -142.94,
    "mlp_vae": -142.14,
    "mlp_vae_2d": -173.94,
    "vamp_vae": -139.94,
}


def test_the_recipes_state_the_elbo_of_the_table():
    with open(RESULTS / "zoo.csv", newline="") as file:
        rows = {row["recipe"]: row for row in csv.DictReader(file)}
    assert list(rows) == MEASURED
    for name, row in rows.items():
        recipe = load_recipe(name)
        assert is_vae(recipe.model), name
        assert float(row["elbo"]) == pytest.approx(recipe.expected_elbo, abs=0.1), name
        for key in ("epochs", "batch_size", "learning_rate", "schedule", "seed"):
            assert row[key] == str(getattr(recipe.training, key)), (name, key)


@pytest.mark.slow
@pytest.mark.parametrize("name", AFTER_ONE_EPOCH)
def test_a_short_training_reaches_its_known_elbo(name, mnist, tmp_path):
    # Two-sided: without its KL a model would have a better ELBO than it should.
    trained = train(load_recipe(name, {"data.name": "mnist", "training.epochs": 1}), tmp_path / "run", quiet=True)
    assert trained.test["elbo"] == pytest.approx(AFTER_ONE_EPOCH[name], abs=1.5)


def test_the_readme_shows_the_tables():
    shown = (ROOT / "README.md").read_text(encoding="utf-8").replace("−", "-").replace("`", "")
    for name, keys in (("zoo", ("recipe", "elbo", "nll")), ("iwae", ("k", "paper_nll", "nll", "elbo"))):
        with open(RESULTS / f"{name}.csv", newline="") as file:
            for row in csv.DictReader(file):
                assert f"| {' | '.join(row[key] for key in keys)} |" in shown, row

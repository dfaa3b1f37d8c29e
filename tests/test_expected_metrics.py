"""What the recipes promise: each states the ELBO of the table, and a short training reaches its known value.

A recipe that was not measured yet has no `expected_elbo`, and nothing here is asked of it.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from zoo_table import is_vae

from vaezoo.config import load_recipe
from vaezoo.recipe_files import recipe_names
from vaezoo.training import train

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
MEASURED = [name for name in recipe_names() if load_recipe(name).expected_elbo is not None]
# Test ELBO on 2,000 images of MNIST, in nats, after one epoch of 12,000; complete trainings would take half an hour.
AFTER_ONE_EPOCH = {
    "beta_vae": -179.92,
    "conditional_vae": -160.77,
    "conv_vae": -186.92,
    "iaf_vae": -202.75,
    "iwae": -202.84,
    "mlp_vae": -201.77,
    "mlp_vae_2d": -204.17,
    "vamp_vae": -203.01,
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


@pytest.fixture(scope="module")
def some_mnist(mnist, tmp_path_factory):
    path = tmp_path_factory.mktemp("some") / "mnist.npz"
    (x_train, y_train), (x_test, y_test) = mnist.train.first(12_000), mnist.test.first(2_000)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", AFTER_ONE_EPOCH)
def test_a_short_training_reaches_its_known_elbo(name, some_mnist, tmp_path):
    # Two-sided: without its KL a model would have a better ELBO than it should.
    recipe = load_recipe(name, {"data.name": str(some_mnist), "training.epochs": 1})
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert trained.test["elbo"] == pytest.approx(AFTER_ONE_EPOCH[name], abs=1.5)


def test_the_results_show_the_tables():
    shown = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").replace("−", "-").replace("`", "")
    for name, keys in (("zoo", ("recipe", "elbo", "nll")), ("iwae", ("k", "paper_nll", "nll", "elbo"))):
        with open(RESULTS / f"{name}.csv", newline="") as file:
            for row in csv.DictReader(file):
                assert f"| {' | '.join(row[key] for key in keys)} |" in shown, row

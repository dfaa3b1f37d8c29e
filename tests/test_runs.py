"""What a `Run` reads from a run directory."""

import numpy as np
import pytest

from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.runs import Run, free_path


@pytest.fixture
def run_of(bars_file, tiny_recipe, tmp_path):
    """A run directory whose model is never read."""

    def make(**settings):
        recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), **settings})
        (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
        (tmp_path / "model.keras").touch()
        return Run(tmp_path)

    return make


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("mode", ["none", "threshold", "dynamic"])
def test_the_first_examples_are_those_that_the_model_was_trained_on(split, mode, run_of):
    run = run_of(**{"data.binarize": mode, "training.seed": 3})
    x, labels = run.first(split, 7)
    assert x.shape == (7, 8, 8, 1)
    batch = next(iter(getattr(run.data, split).batches(7, binarize=mode, seed=3, labels=True)))
    np.testing.assert_array_equal(x, batch["x"])
    np.testing.assert_array_equal(labels, batch["label"])


def test_all_examples_are_the_default(run_of):
    run = run_of()
    x, labels = run.first("test")
    assert len(x) == len(labels) == 100
    assert len(run.first("test", 1000)[0]) == 100


def test_a_split_that_does_not_exist(run_of):
    run = run_of(**{"data.validation": 0})
    with pytest.raises(VaezooError, match=r"unknown split 'tests'. Did you mean 'test'"):
        run.first("tests")
    with pytest.raises(VaezooError, match=r"has no validation split; data.validation sets its size"):
        run.first("validation")


@pytest.mark.parametrize("conditional", [False, True])
def test_the_keywords_of_its_batches(conditional, run_of):
    run = run_of(**{"model.conditional": conditional, "training.seed": 5})
    assert run.batches == {"binarize": "threshold", "seed": 5, "labels": conditional}
    batch = next(iter(run.data.train.batches(4, **run.batches)))
    assert ("label" in batch) is conditional


def test_what_is_not_a_run(tmp_path):
    with pytest.raises(VaezooError, match=r"there is no recipe.yaml in it"):
        Run(tmp_path)


def test_a_path_that_is_free(tmp_path):
    assert free_path(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").touch()
    assert free_path(tmp_path / "a") == tmp_path / "a-3"

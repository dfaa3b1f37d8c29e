"""What a `Run` reads from a run directory."""

import numpy as np
import pytest

from vaezoo import recipe_files
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.runs import FILES, Run, free_path
from vaezoo.training import inspect, run_directory
from vaezoo.training.run_directory import RunDirectory


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


def wide_recipe(count, length):
    """A recipe that names so many columns, as that of a run does."""
    columns = {f"{number:0{length}d}_mean": "continuous" for number in range(count)}
    return load_recipe("table_vae", {"data.columns": columns})


def test_the_recipe_of_a_wide_table_is_read_back(tmp_path):
    recipe = wide_recipe(2000, 30)
    assert len(to_yaml(recipe)) > recipe_files.LARGEST_RECIPE
    with RunDirectory(tmp_path / "run") as run:
        run.recipe(recipe)
        run.text("model.keras", "")
    assert Run(tmp_path / "run").recipe == recipe
    assert inspect(tmp_path / "run").recipe == recipe


def test_a_recipe_that_could_not_be_read_back_is_not_written(tmp_path, monkeypatch):
    recipe = wide_recipe(100, 50)
    monkeypatch.setattr(run_directory, "LARGEST_RECIPE", 5000)
    refusal = r"would have \d,\d{3} bytes, of 5,000 at most, .* 100 columns; give the columns shorter names"
    with pytest.raises(VaezooError, match=refusal), RunDirectory(tmp_path / "run") as run:
        run.recipe(recipe)
    assert not list(tmp_path.iterdir())


def test_a_path_that_is_too_long(tmp_path):
    path = tmp_path / ("a" * 300)
    assert free_path(path) == path
    for read in (Run, inspect, lambda path: RunDirectory(path, resumed=True)):
        with pytest.raises(VaezooError, match=r"holds no run: there is no recipe.yaml in it"):
            read(path)
    with pytest.raises(VaezooError, match=r"cannot write .*: File name too long; .*choose another path"):
        RunDirectory(path).__enter__()


def test_what_is_discarded_leaves_no_file(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        run.checkpoints.folder.mkdir()
        (run.checkpoints.folder / "epoch-0-step-5.keras").touch()  # a disk was full before its manifest
        for name in FILES:
            (run.path / name).touch()
        run.discard()
    assert not list(tmp_path.iterdir())


def test_the_codes_of_another_training_are_not_continued(tmp_path):
    (tmp_path / "latent.npz").touch()
    with pytest.raises(VaezooError, match="already holds a run"):
        RunDirectory(tmp_path)

"""A stranger's pictures through the commands of the README: train, refit, evaluate."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.recipe_schema import Training
from vaezoo.training.setup import prepare

pytestmark = pytest.mark.slow

SMALL = ["--set", "model.encoder.width=8", "--set", "model.decoder.width=8", "--set", "model.latent_dim=4"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve colour pictures of different sizes and proportions, in a folder and in one below it."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "trip").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        width, height = rng.integers(80, 200, 2)
        ramp = np.linspace(0, 255, width)[None, :, None] * rng.uniform(0, 1, 3) + rng.uniform(0, 20, (height, width, 3))
        picture = Image.fromarray(ramp.clip(0, 255).astype("uint8"))
        picture.save(folder / ("trip" if number % 3 else "") / f"IMG_{number}.{'jpg' if number % 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "photos"
    assert run("train", "image_vae", "--data", photos, "--epochs", "3", *SMALL, "--out", path) == 0
    return path


def test_a_dozen_photos_of_mixed_sizes_train_as_they_are(trained):
    recipe = yaml.safe_load((trained / "recipe.yaml").read_text())
    assert recipe["data"]["image_size"] == [64, 64]
    assert recipe["data"]["crop"] == "center"
    assert recipe["data"]["binarize"] == "none"
    assert recipe["training"]["batch_size"] == 10  # all that are left of 12 after validation and test
    test = json.loads((trained / "test.json").read_text())
    assert 0 < -test["elbo"] / (64 * 64 * 3 * np.log(2)) < 12  # bits per dimension, of 8 at most for a sensible model


@pytest.mark.parametrize(("examples", "batch_size", "epochs"), [(10, 32, 1000), (640, 32, 250), (640, 1, 10)])
def test_the_number_of_examples_decides_the_epochs(examples, batch_size, epochs, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (examples + 2, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x_train=images[2:], x_test=images[:2])
    sizes = {"model.encoder.width": 8, "model.decoder.width": 8, "data.validation": 0.0}
    recipe = load_recipe(
        "image_vae", {**sizes, "data.name": str(tmp_path / "set.npz"), "training.batch_size": batch_size}
    )
    assert prepare(recipe, print).recipe.training.epochs == epochs
    assert prepare(recipe.model_copy(update={"training": Training(epochs=3)}), print).recipe.training.epochs == 3


def test_the_size_and_the_crop_can_be_asked_for(photos, tmp_path, capsys):
    options = ["--image-size", "32", "--crop", "pad", "--epochs", "1", *SMALL]
    assert run("train", "image_vae", "--data", photos, *options, "--out", tmp_path / "run") == 0
    recipe = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert recipe["data"]["image_size"] == [32, 32]
    assert recipe["data"]["crop"] == "pad"
    assert "32×32×3" in capsys.readouterr().err


def test_a_refitted_run_is_used_like_any_other(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.training.refitting.STEPS", 20)
    out = tmp_path / "refitted"
    assert run("refit", trained, "--out", out) == 0
    prior = yaml.safe_load((out / "recipe.yaml").read_text())["model"]["prior"]
    assert (prior["name"], prior["components"]) == ("mixture", 10)  # no more than there are training images
    assert run("sample", out, "-n", "4", "--out", tmp_path / "samples.png") == 0
    assert run("evaluate", out, "--importance-samples", "2", "--out", tmp_path / "evaluation") == 0
    report = json.loads((tmp_path / "evaluation/report.json").read_text())
    assert report["samples"] is None  # two test pictures: no metric of samples can be trusted
    assert report["samples_left_out"]


def test_a_recipe_for_zeros_and_ones_says_what_to_use_instead(photos, tmp_path, capsys):
    assert run("train", "conv_vae", "--data", photos, "--out", tmp_path / "run") == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "zeros and ones" in message
    assert "image_vae" in message
    assert not (tmp_path / "run").exists()

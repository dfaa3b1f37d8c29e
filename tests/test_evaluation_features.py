"""The spaces that samples are compared in: what they refuse, and that bad samples score badly in each of them."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from vaezoo import evaluation
from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.data import drawing, load_data
from vaezoo.data.glyphs import Glyphs
from vaezoo.errors import VaezooError
from vaezoo.evaluation import (
    features,
    frechet_distance,
    kernel_distance,
    memorization,
    metrics,
    precision_recall,
    report,
)
from vaezoo.evaluation.classifier import SIZE, Changes, classifier
from vaezoo.evaluation.inception import inception
from vaezoo.evaluation.sample_quality import UndefinedMetricError, check_variety
from vaezoo.runs import Run, load_recipe_data
from vaezoo.training.run_directory import RunDirectory
from vaezoo.zoo import build_model

TRAIN, TEST = 640, 200


def digits(label, seed=0):
    """Drawn digits [N,28,28,1] uint8."""
    rng, count = np.random.default_rng(seed), len(label)
    factors = {name: rng.uniform(*limits, count) for name, limits in Glyphs.RANGES.items()}
    return drawing.draw(label=label, font=rng.integers(len(drawing.FONTS), size=count), **factors)


def save(path, label, labels=None):
    """An .npz of digits, with these labels or none."""
    x, (y, test_y) = digits(label), (None, None) if labels is None else np.split(labels, [TRAIN])
    arrays = {"x_train": x[:TRAIN], "x_test": x[TRAIN:], "y_train": y, "y_test": test_y}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for data and runs, with the cache of the classifiers in it."""
    path = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        yield path


@pytest.fixture(scope="module")
def files(folder):
    """The same digits with and without labels: the kind of the space that they have → a file."""
    label = np.random.default_rng(0).permutation(TRAIN + TEST) % 10
    return {
        "labels": save(folder / "labelled.npz", label, label),
        "changes": save(folder / "unlabelled.npz", label),
    }


@pytest.fixture(scope="module")
def run_of(folder, tiny_recipe):
    """A data set → a run of a model that was never trained."""

    def leave(data, name):
        recipe = load_recipe(tiny_recipe, {"data.name": str(data)})
        with RunDirectory(folder / name) as run:
            run.text("recipe.yaml", to_yaml(recipe))
            run.model("model.keras", build_model(recipe, load_recipe_data(recipe).spec))
        return Run(run.path)

    return leave


class Compared:
    """Any images, compared with the test images of a space."""

    def __init__(self, kind, file, recipe):
        self.space = evaluation.feature_space(
            load_recipe(recipe, {"data.name": str(file), "data.binarize": "none"}).data
        )
        assert self.space.kind == kind
        self.data = load_data(str(file), validation=0)
        self.train, self.real = (self.space.features_of(split) for split in (self.data.train, self.data.test))
        self.images = self.data.train.first(TEST)[0]
        self.floor = self.distance(self.images)

    def distance(self, images):
        return frechet_distance(self.space.features(images), self.real)

    def kid(self, images):
        return kernel_distance(self.space.features(images), self.real)

    def precision_recall(self, images):
        return precision_recall(self.space.features(images), self.real)


@pytest.fixture(scope="module", params=["labels", "changes"])
def compared(request, files, tiny_recipe):
    """`Compared` in either space."""
    return Compared(request.param, files[request.param], tiny_recipe)


def blurred(images, times):
    for axis in (1, 2) * times:
        images = (np.roll(images, 1, axis) + 2 * images + np.roll(images, -1, axis)) / 4
    return images


# Samples that must score badly, in each space


@pytest.mark.slow
def test_real_images_score_well(compared):
    value, error = compared.kid(compared.images)
    assert abs(value) < 3 * error
    assert min(compared.precision_recall(compared.images)) > 0.7
    assert memorization(compared.real, compared.train) < 0.05


@pytest.mark.slow
def test_copies_of_the_training_images_are_memorized(compared):
    copies = np.concatenate([compared.images[:150], compared.data.test.first(50)[0]])
    assert memorization(compared.space.features(copies), compared.train) == pytest.approx(0.75, abs=0.03)


def test_noise_is_far_away_in_every_metric(compared):
    noise = np.random.default_rng(1).random(compared.images.shape, "float32")
    value, error = compared.kid(noise)
    assert value > 10 * error
    assert compared.distance(noise) > 20 * compared.floor
    assert compared.precision_recall(noise)[0] < 0.05


def test_one_repeated_image_has_no_recall_and_is_far_away(compared):
    repeated = np.repeat(compared.images[:1], TEST, axis=0)
    assert compared.precision_recall(repeated)[1] < 0.05
    assert compared.distance(repeated) > 20 * compared.floor
    value, error = compared.kid(repeated)
    assert value > 5 * error


def test_grey_images_are_far_away(compared):
    assert compared.distance(np.full_like(compared.images, compared.images.mean())) > 20 * compared.floor


def test_the_more_an_image_is_blurred_the_further_it_is_away(compared):
    distances = [compared.distance(blurred(compared.images, times)) for times in (0, 1, 2, 4, 8)]
    assert (np.diff(distances) > 0).all()
    assert distances[-1] > 5 * compared.floor
    value, error = compared.kid(blurred(compared.images, 8))
    assert value > 3 * error


def test_the_fewer_kinds_of_image_there_are_the_further_they_are_away(compared):
    rng, label = np.random.default_rng(2), np.arange(TEST)
    distances = [compared.distance(digits(label % kinds, seed=3) / 255) for kinds in (10, 5, 2, 1)]
    assert (np.diff(distances) > 0).all()
    assert distances[-1] > 5 * compared.floor
    assert compared.precision_recall(digits(rng.integers(1, size=TEST), seed=4) / 255)[1] < 0.5


@pytest.mark.slow
def test_both_spaces_rank_bad_samples_alike(files, tiny_recipe):
    rng, n = np.random.default_rng(5), TEST
    ranks = []
    for kind in ("labels", "changes"):
        one = Compared(kind, files[kind], tiny_recipe)
        x = one.images
        sets = [x, *(blurred(x, times) for times in (1, 2, 4, 8)), (x + x[::-1]) / 2, 0.8 * x + 0.2 * x[::-1]]
        sets += [digits(np.arange(n) % kinds, seed=6) / 255 for kinds in (5, 2, 1)]
        sets += [np.repeat(x[:8], n // 8, axis=0), np.full_like(x, x.mean()), rng.random(x.shape, "float32")]
        ranks.append(np.argsort(np.argsort([one.distance(images) for images in sets])))
    assert np.corrcoef(*ranks)[0, 1] > 0.8  # Spearman; 0.85 to 0.96 on MNIST, glyphs and emoji


# Spaces that are refused


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0, 1e-4])
def test_constant_features_leave_the_samples_out(run_of, files, tiny_recipe, scale):
    run = run_of(files["labels"], name=f"constant-{scale}")
    space = evaluation.feature_space(run.recipe.data)
    dense = space.network.get_layer("features")
    kernel, bias = dense.get_weights()
    dense.set_weights([scale * kernel, bias + 1])
    found, reason = metrics._samples(run, TEST, None, 0, space)
    assert found is None
    assert "nearly constant" in reason


def test_features_that_vary_are_not_refused():
    rng = np.random.default_rng(0)
    check_variety(1 + 0.1 * rng.normal(size=(100, 8)))
    for constant in (
        1 + 1e-3 * rng.normal(size=(100, 8)),
        np.ones((100, 8)),
        np.zeros((100, 8)),
        np.full((9, 2), np.nan),
    ):
        with pytest.raises(UndefinedMetricError, match="nearly constant"):
            check_variety(constant)


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["labels of the digits", "random labels"])
def test_a_class_of_60_percent_and_nine_small_ones(folder, tiny_recipe, told, monkeypatch):
    monkeypatch.setattr("vaezoo.evaluation.classifier.STEPS", 100)
    rng = np.random.default_rng(7)
    label = rng.permutation(np.concatenate([np.zeros(504, int), 1 + np.arange(336) % 9]))
    file = save(folder / f"unequal-{told}.npz", label, label if told else rng.permutation(label))
    space = evaluation.feature_space(load_recipe(tiny_recipe, {"data.name": str(file)}).data)
    if told:  # not by the largest class alone, which is right of 60 %
        assert space.kind == "labels"
        assert space.accuracies["balanced_accuracy"] > 0.6
        assert 0.5 < space.accuracies["largest_class"] < 0.7
    else:
        assert space.kind == "changes"
        assert "does not tell the classes apart" in space.instead


@pytest.mark.slow
def test_images_of_noise_have_no_features(folder, tiny_recipe):
    rng = np.random.default_rng(0)
    np.savez(folder / "noise.npz", x_train=rng.random((256, 8, 8, 1)), x_test=rng.random((100, 8, 8, 1)))
    with pytest.raises(UndefinedMetricError, match="does not tell the classes apart"):
        evaluation.feature_space(load_recipe(tiny_recipe, {"data.name": str(folder / "noise.npz")}).data)


# The network and its task without labels


@pytest.mark.parametrize(
    "shape", [(28, 28, 1), (32, 32, 3), (33, 64, 2), (64, 64, 4), (65, 40, 3), (256, 256, 3), (1, 5, 1)]
)
def test_the_classifier_takes_any_image_at_a_bounded_cost(shape):
    network = classifier(shape, 7)
    out = network(np.zeros((2, *shape), "float32"))
    assert out["features"].shape == (2, SIZE)
    assert out["logits"].shape == (2, 7)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    cost = sum(layer.kernel.value.shape.num_elements() * np.prod(layer.output.shape[1:3]) for layer in convolutions)
    assert cost <= 5.5e6  # multiplications for an image
    assert network.count_params() < 400_000


def test_the_classifier_of_small_images_is_the_one_that_published_metrics_used():
    network = classifier((28, 28, 1), 10)
    assert network.count_params() == 253_514
    shapes = [tuple(weights.shape) for weights in network.weights]
    assert shapes[:4] == [(5, 5, 1, 32), (32,), (5, 5, 32, 64), (64,)]


def test_large_images_are_averaged():
    large = np.random.default_rng(0).random((2, 128, 128, 3), "float32")
    small = large.reshape(2, 64, 2, 64, 2, 3).mean((2, 4))
    network, other = classifier((128, 128, 3), 3), classifier((64, 64, 3), 3)
    np.testing.assert_allclose(network(large)["features"], other(small)["features"], atol=1e-5)


def task_of(folder, shape):
    x = np.random.default_rng(0).random((20, *shape), "float32")
    np.savez(folder / "task.npz", x_train=x, x_test=x[:10])
    return Changes(load_data(str(folder / "task.npz"), validation=0), "none"), x


def test_a_square_image_has_four_turns_and_one_disorder(tmp_path):
    task, x = task_of(tmp_path, (6, 6, 2))
    assert task.classes == 5
    for turn in range(4):
        np.testing.assert_array_equal(task.changed(x, turn, 0), np.rot90(x, turn, axes=(1, 2)))


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 9), (4, 5), (1, 3)])
def test_the_quadrants_of_any_image_are_put_in_another_order(tmp_path, height, width):
    task, x = task_of(tmp_path, (height, width, 1))
    assert task.classes == 3
    np.testing.assert_array_equal(task.changed(x, 1, 0), x[:, ::-1, ::-1])
    found = task.changed(x, 2, 5).numpy()
    h, w = height // 2, width // 2
    places = list(itertools.product((0, height - h), (0, width - w)))

    def quadrants(image):
        return [image[top : top + h, left : left + w] for top, left in places]

    orders = set()
    for before, after in zip(x, found, strict=True):
        order = [[np.array_equal(a, b) for b in quadrants(before)].index(True) for a in quadrants(after)]
        orders.add(tuple(order))
        assert h == 0 or sorted(order) == [0, 1, 2, 3]
        np.testing.assert_array_equal(after[h : height - h], before[h : height - h])
        np.testing.assert_array_equal(after[:, w : width - w], before[:, w : width - w])
    assert h == 0 or len(orders) > 5
    np.testing.assert_array_equal(found, task.changed(x, 2, 5))  # a function of the number of the batch
    assert h == 0 or not np.array_equal(found, task.changed(x, 2, 6))


@pytest.mark.slow
def test_the_space_without_labels_is_the_same_every_time(files, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.evaluation.classifier.STEPS", 60)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    data = load_recipe(tiny_recipe, {"data.name": str(files["changes"])}).data
    x = load_data(str(files["changes"]), validation=0).test.first(5)[0]
    first = evaluation.feature_space(data).features(x)
    np.testing.assert_array_equal(evaluation.feature_space(data).features(x), first)  # from the cache
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    np.testing.assert_allclose(evaluation.feature_space(data).features(x), first, atol=1e-5)  # trained again


# Inception


def small_inception(shape):
    """A network with the shapes of `inception`, quickly made."""
    image = h = keras.Input(shape)
    h = keras.layers.Flatten()(h)
    h = keras.layers.Dense(2048, kernel_initializer=keras.initializers.GlorotUniform(seed=0))(h)
    return keras.Model(image, {"features": h})


@pytest.mark.slow
def test_inception_takes_grey_and_colour_images():
    colour = inception((40, 30, 3), weights=None)
    grey = inception((40, 30, 1), weights=None)
    grey.set_weights(colour.get_weights())
    x = np.random.default_rng(0).random((2, 40, 30, 1), "float32")
    found = colour(np.repeat(x, 3, axis=-1))["features"]
    assert found.shape == (2, 2048)
    np.testing.assert_allclose(grey(x)["features"], found, atol=1e-5)
    base = keras.Model(colour.get_layer("inception_v3").input, colour.get_layer("inception_v3").output)
    resized = tf.image.resize(np.repeat(x, 3, axis=-1), (299, 299)) * 2 - 1  # enlarged: antialiasing does nothing
    np.testing.assert_allclose(base(resized), found, atol=1e-4)
    with pytest.raises(VaezooError, match="not those of 4 channels"):
        inception((40, 30, 4), weights=None)


@pytest.mark.slow
def test_fid_and_kid_are_reported_under_their_names(run_of, files, monkeypatch, capsys):
    monkeypatch.setattr(features, "inception", small_inception)
    run = run_of(files["changes"], name="inception")
    assert main(["evaluate", str(run.path), "--importance-samples", "1", "--features", "inception"]) == 0
    out = capsys.readouterr().out
    samples = json.loads((run.path / "evaluation" / "report.json").read_text())["samples"]
    assert samples["features"] == {"kind": "inception", "size": 2048, "instead": None}
    assert "frechet_distance" not in samples
    assert "The FID is left out: a covariance of 2,048 features needs more" in out
    assert "KID" in out
    assert "Keras's weights" in out
    assert samples["kid"]["value"] > 5 * samples["kid"]["standard_error"]
    run = Run(run.path)
    space = features.inception_space(run.data.spec, run.recipe.data)
    real = space.features_of(run.data.test)
    np.testing.assert_allclose(
        samples["of_real_images"]["kid"], kernel_distance(space.features_of(run.data.train, TEST), real)[0], rtol=1e-4
    )


def test_the_fid_is_reported_for_more_images_than_features():
    floor = {"frechet_distance": 1.5, "kid": 1e-4, "precision": 0.7, "recall": 0.7, "memorization": 0.0}
    metric = {"value": 20.25, "standard_error": 0.5}
    samples = {**dict.fromkeys(floor, metric), "of_real_images": floor, "images": 3000, "training_images": 3000}
    samples |= {"features": {"kind": "inception", "size": 2048, "instead": None}, "classifier": None}
    names = [row[1] for row in report._rows_of_samples(samples)]
    assert names == ["FID", "KID", "precision", "recall", "memorization"]
    assert not any("left out" in remark for remark in report._on_the_samples(samples))


def test_missing_weights_of_inception_are_one_line_before_anything_else(run_of, files, monkeypatch, capsys):
    def fail(**_):
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- no route")  # as `get_file` does

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    path = run_of(files["labels"], name="no_weights").path
    monkeypatch.setattr("vaezoo.evaluation.metrics.estimate_nll", None)
    assert main(["evaluate", str(path), "--features", "inception"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "https://example.org/weights.h5" in error
    assert "~/.keras/models" in error
    assert "--features" in error
    assert main(["evaluate", str(path), "--features", "inceptoin"]) == 2
    assert "Did you mean 'inception'?" in capsys.readouterr().err

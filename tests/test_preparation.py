"""How images come to one size, and what the data decide: the size, and whether images become black and white."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hostile import refusal
from PIL import Image

from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.data import load_data
from vaezoo.data.binarization import fitting
from vaezoo.data.indexed import ArraySplit
from vaezoo.data.preparation import Preparation, centred, decided_size
from vaezoo.errors import VaezooError
from vaezoo.latent_space.compared import _check_same_examples
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training.setup import prepare


def gradient(height, width):
    """uint8 [height,width,3]: red is the row, green the column, blue is 200."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 200)], -1).astype("uint8")


def by_pillow(image, preparation):
    return np.asarray(preparation.fit_picture(Image.fromarray(image)))


def by_tensorflow(image, preparation):
    return preparation.fit(tf.constant(image)).numpy()


def by_tensorflow_in_a_graph(image, preparation):
    """As a record is read: the size is not known when the graph is made."""
    fit = tf.function(preparation.fit, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    return fit(image).numpy()


WAYS = pytest.mark.parametrize("fit", [by_pillow, by_tensorflow, by_tensorflow_in_a_graph])


@pytest.mark.parametrize(
    ("outer", "proportions", "part"),
    [
        ((10, 20), (1, 1), (0, 5, 10, 10)),
        ((20, 10), (1, 1), (5, 0, 10, 10)),
        ((20, 10), (64, 64), (5, 0, 10, 10)),
        ((9, 9), (3, 1), (0, 3, 9, 3)),
        ((100, 101), (2, 3), (16, 0, 68, 101)),  # 67.3 rows
        ((8, 30_000), (64, 64), (0, 14_996, 8, 8)),
        ((8, 8), (1, 4096), (3, 0, 1, 8)),
    ],
)
def test_the_largest_part_around_the_centre(outer, proportions, part):
    assert centred(outer, proportions) == part


@WAYS
def test_center_cuts_the_same_from_both_sides(fit):
    image = gradient(12, 30)
    np.testing.assert_array_equal(fit(image, Preparation(12)), image[:, 9:21])
    np.testing.assert_array_equal(fit(image.transpose(1, 0, 2), Preparation(12)), image.transpose(1, 0, 2)[9:21])


@WAYS
def test_center_cuts_and_then_resizes(fit):
    # Each pixel is the mean of those it covers, weighted by a triangle: of a gradient, the value at its centre. At the
    # border of the part that was cut out the triangle loses a side.
    image = gradient(40, 24)
    small = fit(image, Preparation((8, 12)))
    assert small.shape == (8, 12, 3)
    np.testing.assert_allclose(small[1:-1, :, 0] - (12 + 2 * np.arange(8) + 0.5)[1:-1, None], 0, atol=0.51)
    np.testing.assert_allclose(small[:, 1:-1, 1] - (2 * np.arange(12) + 0.5)[1:-1], 0, atol=0.51)
    assert small[0, 0, 0] >= 12
    assert small[-1, 0, 0] <= 27  # nothing of what was cut off
    np.testing.assert_array_equal(small[..., 2], 200)


@WAYS
def test_pad_keeps_all_of_the_image_on_the_background(fit):
    image = gradient(6, 8)
    padded = fit(image, Preparation((10, 8), "pad", "#ff8001"))
    np.testing.assert_array_equal(padded[2:8], image)
    np.testing.assert_array_equal(padded[[0, 1, 8, 9]], np.broadcast_to([255, 128, 1], (4, 8, 3)))
    larger = fit(image, Preparation((12, 20), "pad", "black"))  # 12×16 in the middle
    assert not larger[:, :2].any()
    assert not larger[:, 18:].any()
    assert (larger[:, 2:18, 2] == 200).all()


@WAYS
def test_stretch_changes_the_proportions(fit):
    stretched = fit(gradient(40, 20), Preparation((10, 10), "stretch"))
    np.testing.assert_allclose(stretched[1:-1, 0, 0], (4 * np.arange(10) + 1.5)[1:-1], atol=0.51)
    np.testing.assert_allclose(stretched[0, 1:-1, 1], (2 * np.arange(10) + 0.5)[1:-1], atol=0.51)


@WAYS
@pytest.mark.parametrize("crop", ["center", "pad", "stretch"])
def test_an_image_of_that_size_is_unchanged(crop, fit):
    image = gradient(9, 7)
    np.testing.assert_array_equal(fit(image, Preparation((9, 7), crop)), image)


def test_floats_and_single_channels_have_the_background_too():
    images = np.linspace(0, 1, 2 * 4 * 8, dtype="float32").reshape(2, 4, 8, 1)
    padded = by_tensorflow(images, Preparation(8, "pad", "grey"))
    assert padded.dtype == "float32"
    np.testing.assert_array_equal(padded[:, 2:6], images)
    np.testing.assert_allclose(padded[:, [0, 1, 6, 7]], 128 / 255, atol=1e-6)
    two = by_tensorflow(np.zeros((1, 4, 8, 2), "uint8"), Preparation(8, "pad"))
    assert two[0, 0, 0].tolist() == [255, 255]


@pytest.mark.parametrize(("crop", "mean"), [("center", 100), ("pad", 100 / 2 + 255 / 2), ("stretch", 60)])
def test_arrays_are_cropped_and_padded(crop, mean, tmp_path):
    images = np.full((20, 8, 16), 20, "uint8")
    images[:, :, 4:12] = 100  # the middle half
    images[:, :, ::1][:, :, :0] = 0
    if crop == "pad":
        images[:] = 100
    np.save(tmp_path / "images.npy", images)
    data = load_data(tmp_path / "images.npy", image_size=8, crop=crop, validation=0)
    assert data.train.spec.shape == (8, 8, 1)
    assert data.image_size == (8, 8)
    np.testing.assert_allclose(data.train.first(1)[0].mean() * 255, mean, atol=1)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(64, 64)] * 3, None),
        ([(256, 9)] * 3, None),
        ([(257, 100)] * 3, 64),
        ([(64, 64), (64, 65)], 64),
        ([(300, 60), (60, 300), (70, 70)], 32),
        ([(10, 10), (12, 12)], 32),
    ],
)
def test_the_size_that_the_data_ask_for(sizes, side):
    size, line = decided_size(sizes)
    assert size == (side and (side, side))
    assert (line is None) == (side is None)
    if side:
        assert f"becomes {side}×{side}: data.image_size sets another" in line


# Recipes


@pytest.mark.parametrize(
    ("key", "given", "found"),
    [
        ("image_size", 96, (96, 96)),
        ("image_size", [96, 128], (96, 128)),
        ("image_size", None, None),
        ("background", "#1A2b3c", "#1A2b3c"),
        ("crop", "pad", "pad"),
        ("flip", True, True),
        ("binarize", "auto", "auto"),
    ],
)
def test_keys(key, given, found):
    assert getattr(load_recipe("conv_vae", {f"data.{key}": given}).data, key) == found


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("image_size", 0, "'data.image_size[0]' should be greater than or equal to 1, not 0"),
        ("image_size", [8], "'data.image_size"),
        ("image_size", [8, 8, 3], "'data.image_size'"),
        ("image_size", True, "'data.image_size'"),
        ("image_size", "big", "'data.image_size'"),
        ("background", "whitish", "'data.background' is 'whitish'; set white, black, grey, or '#rrggbb' in quotes"),
        ("background", None, "'data.background' is None; set"),
        ("crop", "centre", "unknown data.crop 'centre'. Did you mean 'center'?"),
        ("flip", 1, "'data.flip'"),
    ],
)
def test_keys_that_are_refused(key, given, message):
    with pytest.raises(VaezooError) as error:
        load_recipe("conv_vae", {f"data.{key}": given})
    assert message in str(error.value)


# What the data decide


def drawings(channels=1, noise=0):
    """Strokes of white with soft edges on black."""
    images = np.zeros((50, 16, 16, channels), "float32")
    images[:, 4:12, 6:9] = 1
    images[:, 4:12, 9] = np.random.default_rng(0).uniform(size=(50, 8, channels))
    return np.clip(images + np.random.default_rng(1).uniform(0, noise, images.shape), 0, 1)


STARS = np.clip(np.random.default_rng(2).exponential(0.04, (50, 16, 16, 1)), 0, 1)
PHOTOGRAPHS = np.random.default_rng(3).beta(2, 2, (50, 16, 16, 1))


@pytest.mark.parametrize(
    ("images", "mode"),
    [
        (np.round(PHOTOGRAPHS), "none"),
        (np.zeros((3, 4, 4, 1)), "none"),
        (np.round(np.repeat(PHOTOGRAPHS, 3, -1)), "none"),
        (drawings(), "dynamic"),
        (1 - drawings(), "dynamic"),
        (drawings(noise=0.05), "dynamic"),
        (drawings(3), None),  # colours
        (STARS, None),
        (PHOTOGRAPHS, None),
        (np.full((3, 4, 4, 1), 0.05), None),
    ],
)
def test_what_suits_zeros_and_ones(images, mode):
    assert fitting(images) == mode


@pytest.mark.slow
def test_mnist_suits_zeros_and_ones(mnist):
    assert fitting(mnist.train.first(1000)[0]) == "dynamic"
    assert fitting(mnist.test.first()[0]) == "dynamic"


def test_glyphs_suit_zeros_and_ones():
    from vaezoo.data import drawing

    pose = dict.fromkeys(("rotation", "slant", "shift_x", "shift_y"), np.zeros(200)) | {"scale": np.ones(200)}
    images = drawing.draw(np.arange(200) % 12, np.arange(200) % 10, thickness=np.linspace(0, 1.7, 200), **pose)
    assert fitting(images / 255) == "dynamic"


@pytest.fixture
def prepared(tiny_recipe, tmp_path):
    """Some images [N,H,W,C] in [0, 1] as an .npy and overrides → the Setup."""

    def make(images, **overrides):
        np.save(tmp_path / "images.npy", np.round(255 * images).astype("uint8"))
        settings = {"data.name": str(tmp_path / "images.npy"), "data.binarize": "auto", "training.batch_size": 10}
        return prepare(load_recipe(tiny_recipe, settings | overrides), print)

    return make


@pytest.mark.parametrize(
    ("images", "overrides", "mode"),
    [
        (drawings(), {}, "dynamic"),
        (np.round(drawings()), {}, "none"),
        (drawings(), {"model.likelihood": "normal"}, "none"),
        (PHOTOGRAPHS, {"model.likelihood": "normal"}, "none"),
        (PHOTOGRAPHS, {"data.binarize": "threshold"}, "threshold"),
        (drawings(3), {"data.binarize": "dynamic"}, "dynamic"),
    ],
)
def test_the_resolved_recipe_says_what_was_chosen(images, overrides, mode, prepared):
    setup = prepared(images, **overrides)
    assert setup.recipe.data.binarize == mode
    assert setup.batches["binarize"] == mode
    assert setup.headline.splitlines()[2] == f"data: binarize={mode}"


def test_what_a_resized_set_says_of_itself(prepared):
    setup = prepared(drawings(), **{"data.image_size": 12, "data.crop": "stretch", "data.flip": True})
    assert setup.recipe.data.image_size == (12, 12)
    assert setup.headline.splitlines()[2].startswith("data: crop=stretch, binarize=")


@pytest.mark.parametrize(("images", "what"), [(drawings(3), "are in colour"), (PHOTOGRAPHS, "are grey levels")])
def test_other_images_are_refused_in_one_line_that_says_what_to_use(images, what, prepared):
    with pytest.raises(VaezooError) as error:
        prepared(images)
    for part in ("needs images of zeros and ones", what, "`vaezoo train image_vae --data ", "data.binarize=dynamic"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "size", "crop"),
    [(["--image-size", "12"], (12, 12), "center"), (["--image-size", "12", "20", "--crop", "pad"], (12, 20), "pad")],
)
def test_the_command_line_sets_size_and_crop(arguments, size, crop, tiny_recipe, bars_file, tmp_path):
    command = ["train", tiny_recipe, "--data", bars_file, "--epochs", 1, "--out", tmp_path / "run", *arguments]
    assert main(list(map(str, command))) == 0
    written = load_recipe(tmp_path / "run" / "recipe.yaml").data
    assert (written.image_size, written.crop, written.binarize) == (size, crop, "threshold")
    assert Run(tmp_path / "run").data.spec.shape == (*size, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "mlp_vae", "--image-size", "1", "2", "3"], "--image-size 1 2 3: give one number, or a height and a"),
        (["train", "mlp_vae", "--image-size", "big"], "'data.image_size[0]'"),
        (["train", "mlp_vae", "--crop", "centre"], "unknown data.crop 'centre'. Did you mean 'center'?"),
        (["train", "--resume", "run", "--crop", "pad"], "leave out --crop"),
    ],
)
def test_bad_sizes_on_the_command_line(arguments, message, capsys):
    assert message in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    ("one", "other", "comparable"),
    [
        ({}, {"data.binarize": "dynamic"}, True),  # auto is decided only when the data are read
        ({}, {"data.image_size": 32}, True),
        ({"model.likelihood": "normal"}, {"data.binarize": "dynamic"}, False),
        ({"data.image_size": 16}, {"data.image_size": 32}, False),
        ({"data.image_size": 32}, {"data.image_size": 32, "data.crop": "pad"}, False),
    ],
)
def test_recipes_are_compared_unless_their_examples_are_known_to_differ(one, other, comparable):
    recipes = {"one": load_recipe("mlp_vae", one), "other": load_recipe("conv_vae", other)}
    with contextlib.nullcontext() if comparable else pytest.raises(VaezooError, match="have different data"):
        _check_same_examples(recipes)


# Flips


def flipped_split(count=20):
    """Images that say which way they look: the column of their one bright pixel."""
    images = np.zeros((count, 8, 8, 1), "uint8")
    images[np.arange(count), 0, np.arange(count) % 4] = 255
    return ArraySplit(images, Spec("image", (8, 8, 1), classes=count), np.arange(count))


def test_half_of_the_images_are_mirrored_anew_each_time():
    images = flipped_split().x
    batches = list(flipped_split().training_batches(10, 2, flip=True, labels=True).take(40))
    mirrored = []
    for batch in batches:
        for image, label in zip(batch["x"].numpy(), batch["label"].numpy(), strict=True):
            plain = images[label] / 255
            mirrored.append(bool((image != plain).any()))
            np.testing.assert_allclose(image, plain[:, ::-1] if mirrored[-1] else plain, atol=1e-6)
    assert abs(np.mean(mirrored) - 0.5) < 5 * 0.5 / np.sqrt(len(mirrored))
    assert mirrored[:20] != mirrored[20:40]


@pytest.mark.parametrize("mode", ["none", "dynamic"])
def test_a_resumed_run_sees_the_same_flips(mode):
    options = {"flip": True, "binarize": mode, "seed": 3}
    whole = list(flipped_split().training_batches(5, 4, **options).take(12))
    resumed = list(flipped_split().training_batches(5, 4, first_epoch=1, first_step=2, **options).take(6))
    for expected, batch in zip(whole[6:], resumed, strict=True):
        np.testing.assert_array_equal(batch["x"], expected["x"])


def test_without_flips_batches_are_what_they_were():
    pairs = zip(
        flipped_split().training_batches(5, 4, binarize="dynamic").take(4),
        flipped_split().training_batches(5, 4, binarize="dynamic", flip=False).take(4),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_array_equal(one["x"], other["x"])


def test_only_training_flips_and_only_images(prepared, tmp_path):
    setup = prepared(np.round(drawings()), **{"data.flip": True})
    assert "flip" not in setup.batches  # which evaluation reads with
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.raises(VaezooError, match=r"^flip=True \(instead of False\) needs images"):
        load_data(tmp_path / "vectors.npy").train.training_batches(5, 2, flip=True)

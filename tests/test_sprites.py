"""The built-in grid of sprites: its factors, its pixels, how it is read; and known factors of other sets."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from conftest import small_recipe
from PIL import Image, ImageDraw

from vaezoo.data import canonical_name, load_data, sprites
from vaezoo.data.binarization import fitting
from vaezoo.data.indexed import ArraySplit
from vaezoo.data.preparation import Preparation
from vaezoo.errors import VaezooError
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training import train

MIB = 2**20
AREAS = (sprites.SIDE * sprites.VALUES["scale"]) ** 2  # of the outlines, [6]


@pytest.fixture(scope="module")
def data():
    return load_data("sprites")


@pytest.fixture(scope="module")
def patches():
    """Whether a pixel is lit, [3,6,40,33,33]."""
    return sprites.patches() == 255


def lit(images):
    """The number of lit pixels of each image."""
    return np.count_nonzero(images, axis=(1, 2, 3))


# The grid


def test_the_grid_is_that_of_dsprites():
    assert sprites.SIZES == (3, 6, 40, 32, 32)
    assert sprites.COUNT == 737_280
    assert list(sprites.VALUES) == ["shape", "scale", "orientation", "x", "y"]
    np.testing.assert_allclose(sprites.VALUES["scale"], [0.5, 0.6, 0.7, 0.8, 0.9, 1])
    np.testing.assert_allclose(np.rad2deg(sprites.VALUES["orientation"]), np.arange(0, 360, 9))
    for name in ("x", "y"):
        np.testing.assert_allclose(sprites.VALUES[name], np.arange(32) / 31)


def test_every_combination_of_factors_has_one_index():
    factors = sprites.factors_at(np.arange(sprites.COUNT))
    assert list(factors) == list(sprites.VALUES)
    np.testing.assert_array_equal(list(factors.values()), np.indices(sprites.SIZES).reshape(5, -1))
    np.testing.assert_array_equal(sprites.index_of(**factors), np.arange(sprites.COUNT))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": 3}, "shape=3 is out of range: it is an index in 0..2."),
        ({"orientation": [0, 40]}, "orientation=40 is out of range: it is an index in 0..39."),
        ({"y": [-1, 5]}, "y=-1 is out of range: it is an index in 0..31."),
    ],
)
def test_factors_out_of_range(changed, message):
    with pytest.raises(VaezooError) as error:
        sprites.draw(**{"shape": 0, "scale": 0, "orientation": 0, "x": 0, "y": 0, **changed})
    assert str(error.value) == message


# What is drawn


def outline(shape, scale, angle):
    """Corners [S,2] in pixels to the right and down from the centroid, turned counter-clockwise by an angle."""
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    match shape:
        case "square":
            right, up = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], float).T
        case "ellipse":
            right, up = 1.7 * np.cos(turn), np.sin(turn)
        case "heart":
            right = 16 * np.sin(turn) ** 3
            up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    cross = right * np.roll(up, -1) - np.roll(right, -1) * up  # the shoelace formula
    area, unit = cross.sum() / 2, np.sqrt(abs(cross.sum()) / 2)
    middle = [((values + np.roll(values, -1)) * cross).sum() / (6 * area) for values in (right, up)]
    right, up = ((values - m) * sprites.SIDE * scale / unit for values, m in zip((right, up), middle, strict=True))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([right * cos - up * sin, -(right * sin + up * cos)], 1)


@pytest.mark.parametrize("shape", sprites.SHAPES)
def test_a_pixel_is_lit_where_the_outline_covers_half_of_it(shape, patches):
    fine, side = 16, sprites.PATCH
    seen = 0
    for j in (0, 3, 5):
        for k in range(0, 40, 3):
            paper = Image.new("L", (side * fine, side * fine))
            corners = outline(shape, sprites.VALUES["scale"][j], sprites.VALUES["orientation"][k])
            places = (corners + side / 2) * fine - 0.5  # Pillow's coordinates are those of the middles of pixels
            ImageDraw.Draw(paper).polygon([tuple(place) for place in places], fill=255)
            cover = np.asarray(paper).reshape(side, fine, side, fine).mean((1, 3)) / 255
            clear = abs(cover - 0.5) > 0.1  # Pillow also fills the pixels on an outline
            np.testing.assert_array_equal(patches[sprites.SHAPES.index(shape), j, k][clear], cover[clear] > 0.5)
            seen += np.count_nonzero((cover > 0) & (cover < 1) & clear)
    assert seen > 1000  # pixels on an outline


def test_ink_is_the_area_of_the_outline(patches):
    ink = patches.sum((-2, -1))
    assert (np.diff(ink, axis=1) > 0).all()  # at every orientation, a larger scale has more
    np.testing.assert_allclose(ink, np.broadcast_to(AREAS[:, None], ink.shape), rtol=0.1)
    np.testing.assert_allclose(ink.mean(2), np.broadcast_to(AREAS, (3, 6)), rtol=0.015)  # in proportion to scale²


def test_the_centroid_is_in_the_centre(patches):
    place, ink = np.arange(sprites.PATCH) - sprites.PATCH // 2, patches.sum((-2, -1))
    for axis in (-2, -1):
        # Whole pixels: the smallest heart has 110 of them.
        np.testing.assert_allclose(patches.sum(axis) @ place / ink, 0, atol=0.35)


def test_symmetries_are_those_of_the_shapes(patches):
    for shape, quarters, different in (("square", 1, 10), ("ellipse", 2, 20), ("heart", 4, 40)):
        drawn = patches[sprites.SHAPES.index(shape)]
        np.testing.assert_array_equal(np.roll(drawn, 10 * quarters, axis=1), drawn)
        np.testing.assert_array_equal(np.roll(drawn, 10, axis=1), np.rot90(drawn, -1, axes=(-2, -1)))
        for at_scale in drawn:
            assert len(np.unique(at_scale.reshape(40, -1), axis=0)) == different


def test_images_are_binary_and_never_cut(patches):
    every = np.indices(sprites.SIZES[:3]).reshape(3, -1)
    wanted = patches.sum((-2, -1)).ravel()
    for x, y in ((0, 0), (31, 0), (0, 31), (31, 31), (17, 5)):
        images = sprites.draw(*every, x, y)
        assert images.shape == (720, 64, 64, 1)
        assert images.dtype == "uint8"
        assert np.isin(images, (0, 255)).all()
        np.testing.assert_array_equal(lit(images), wanted)
        assert not images[:, [0, -1]].any()  # nor does one touch the border
        assert not images[:, :, [0, -1]].any()


@pytest.mark.parametrize("shape", range(3))
def test_a_step_of_x_or_y_is_a_pixel(shape):
    at = {"shape": shape, "scale": 5, "orientation": 7}
    right, down = sprites.draw(**at, x=np.arange(32), y=4), sprites.draw(**at, x=4, y=np.arange(32))
    np.testing.assert_array_equal(np.roll(right[:-1], 1, axis=2), right[1:])
    np.testing.assert_array_equal(np.roll(down[:-1], 1, axis=1), down[1:])
    np.testing.assert_array_equal(right[4], down[4])
    grid = np.indices((32, 32)).reshape(2, -1)
    assert np.ptp(lit(sprites.draw(**at, x=grid[0], y=grid[1]))) == 0


def test_positions_are_centred_in_the_image():
    corners = sprites.draw(0, 5, 0, [0, 31], [0, 31])[..., 0]
    rows, columns = (np.flatnonzero(corners.any((0, axis))) for axis in (2, 1))
    assert (rows[0], rows[-1]) == (columns[0], columns[-1]) == (6, 57)  # as far from one side as from the other
    assert not (corners[0] & corners[1]).all()


# How it is read


def test_the_splits_are_the_grid(data):
    assert (data.name, data.spec) == ("sprites", Spec("image", (64, 64, 1), classes=3))
    assert data.class_names == ("square", "ellipse", "heart")
    assert (len(data.train), len(data.validation), len(data.test)) == (690_916, 36_364, 10_000)
    indices = np.concatenate([data.train.indices, data.validation.indices, data.test.indices])
    np.testing.assert_array_equal(np.sort(indices), np.arange(sprites.COUNT))  # disjoint, and nothing is lost
    other = load_data("sprites", seed=1, validation=0.1)
    np.testing.assert_array_equal(other.test.indices, data.test.indices)
    assert len(other.validation) == 72_728
    assert not np.isin(data.validation.indices, other.validation.indices).all()


def test_examples_are_what_their_factors_say(data):
    for split in (data.train, data.validation, data.test):
        assert {name: values.dtype.name for name, values in split.factors.items()} == dict.fromkeys(
            sprites.VALUES, "uint8"
        )
        np.testing.assert_array_equal(sprites.index_of(**split.factors), split.indices)
        x, labels = split.first(300)
        drawn = sprites.draw(**{name: values[:300] for name, values in split.factors.items()})
        np.testing.assert_array_equal(x, drawn / np.float32(255))
        np.testing.assert_array_equal(labels, split.factors["shape"][:300])


def test_the_first_examples_are_of_all_kinds(data):
    for split in (data.train, data.validation, data.test):
        for name, size in zip(sprites.VALUES, sprites.SIZES, strict=True):
            expected = 2000 / size
            counts = np.bincount(split.factors[name][:2000], minlength=size)
            assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_one_seed_gives_one_order_and_a_resumed_run_reads_on(data):
    split = data.train.take(np.arange(500))

    def seen(seed, count, **start):
        batches = split.training_batches(50, 8, seed=seed, labels=True, **start).take(count)
        return [(batch["x"].numpy(), batch["label"].numpy()) for batch in batches]

    whole, again, other = seen(3, 20), seen(3, 20), seen(4, 20)
    resumed = seen(3, 7, first_epoch=1, first_step=5)
    for expected, part in ((whole, again), (whole[13:], resumed)):
        for one, another in zip(expected, part, strict=True):
            np.testing.assert_array_equal(one[0], another[0])
            np.testing.assert_array_equal(one[1], another[1])
    assert any((one[0] != another[0]).any() for one, another in zip(whole, other, strict=True))
    shape_of = {image.tobytes(): label for image, label in zip(*split.first(), strict=True)}
    for x, labels in whole:
        assert [shape_of[image.tobytes()] for image in x] == labels.tolist()


def test_a_full_epoch_starts_without_drawing_the_set():
    sprites._windows.cache_clear()
    tracemalloc.start()
    try:
        data = load_data("sprites")
        batch = next(iter(data.train.training_batches(64, len(data.train) // 64)))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert batch["x"].shape == (64, 64, 64, 1)
    assert held < 24 * MIB
    assert peak < 96 * MIB  # 2.8 GiB would be all of its pixels
    base = sprites._windows()
    while base.base is not None:
        base = base.base
    assert base.nbytes < 8 * MIB  # of which every image is a view


def test_images_stay_zeros_and_ones(data):
    x, _ = data.test.first(200)
    assert fitting(x) == "none"
    for mode in ("threshold", "dynamic"):
        np.testing.assert_array_equal(data.test.first(200, binarize=mode)[0], x)


def test_another_size_is_made_as_that_of_other_sets(data):
    x = data.test.first(50)[0]
    for size, crop in (((32, 32), "center"), ((64, 96), "pad")):
        small = load_data("sprites", image_size=size, crop=crop, background="black", validation=0)
        assert (small.spec.shape, small.image_size) == ((*size, 1), size)
        found = small.test.first(50)[0]
        wanted = Preparation(size, crop, "black").fit_array((255 * x).astype("uint8")) / np.float32(255)
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found[:, :, 16:80], x)


def test_the_name_is_of_the_set_even_beside_a_folder(monkeypatch, tmp_path):
    (tmp_path / "sprites").mkdir()
    monkeypatch.chdir(tmp_path)
    assert canonical_name("sprites") == "sprites"
    assert canonical_name("./sprites") == str(tmp_path / "sprites")
    with pytest.raises(VaezooError, match=r"unknown data set 'sprite'\. Did you mean 'sprites'\? Give glyphs, shapes,"):
        load_data("sprite")


# Training


@pytest.mark.slow
def test_a_conditional_model_trains_on_them_and_evaluation_reads_them(monkeypatch, tmp_path):
    load = sprites.load

    def few(*options):
        data = load(*options)
        sizes = {"train": 200, "validation": 20, "test": 30}
        return dataclasses.replace(
            data, **{name: getattr(data, name).take(np.arange(size)) for name, size in sizes.items()}
        )

    monkeypatch.setattr(sprites, "load", few)
    overrides = {"training.batch_size": 40, "training.epochs": 1, "training.compilation": "graph"}
    recipe = small_recipe("mlp_vae", "sprites", **overrides, **{"model.conditional": True})
    trained = train(recipe, tmp_path / "run", quiet=True)
    run = Run(trained.path)
    assert (run.recipe.data.name, run.recipe.data.binarize) == ("sprites", "none")
    assert (run.model.spec.conditional, run.model.spec.classes) == (True, 3)
    assert int(trained.model.optimizer.iterations) == 5
    x, labels = run.first("test", 9)
    np.testing.assert_array_equal(x, sprites.draw(**{k: v[:9] for k, v in run.data.test.factors.items()}) / 255)
    np.testing.assert_array_equal(labels, run.data.test.factors["shape"][:9])
    assert -64 * 64 < trained.test["elbo"] < 0  # 64×64 fair coins have 2839 nats


# Known factors of any split


def test_a_traversal_of_a_factor(data):
    at = {"shape": 2, "scale": 4, "orientation": 11}
    parts = [split.with_factors(**at) for split in (data.train, data.validation, data.test)]
    assert min(map(len, parts)) > 1
    for part in parts:
        assert (np.diff(part.indices) > 0).all()  # in the order of the grid
        x, y = part.factors["x"], part.factors["y"]
        np.testing.assert_array_equal(part.first()[0], sprites.draw(**at, x=x, y=y) / np.float32(255))
    every = np.concatenate([part.indices for part in parts])
    np.testing.assert_array_equal(
        np.sort(every), sprites.index_of(**at, x=np.repeat(np.arange(32), 32), y=[*range(32)] * 32)
    )
    alone = data.train.with_factors(**at, y=[4])
    assert 24 < len(alone) <= 32
    assert set(alone.factors["y"]) == {4}


def test_several_values_and_labels_of_a_split_in_memory():
    rng = np.random.default_rng(0)
    x, labels = rng.integers(0, 256, (60, 4, 4, 1)).astype("uint8"), np.arange(60) % 3
    size, angle = rng.integers(4, size=60), rng.uniform(0, 1, 60).astype("float32")
    split = ArraySplit(x, Spec("image", (4, 4, 1), classes=3), labels, {"size": size, "angle": angle})
    found = split.with_factors(size=[1, 3], label=2)
    expected = [i for i in np.lexsort([angle, size]) if size[i] in (1, 3) and labels[i] == 2]
    np.testing.assert_array_equal(found.x, x[expected])
    np.testing.assert_array_equal(found.labels, np.full(len(expected), 2))
    np.testing.assert_array_equal(found.factors["angle"], angle[expected])
    assert len(split.with_factors(angle=angle[7])) == 1
    with pytest.raises(VaezooError, match=r"unknown factor 'sizes'\. Did you mean 'size'\?"):
        split.with_factors(sizes=1)
    with pytest.raises(VaezooError, match=r"none of these 60 examples has size=9 and label=2: ask for fewer"):
        split.with_factors(size=9, label=2)
    with pytest.raises(VaezooError, match="these examples have no known factors: use sprites, shapes or glyphs"):
        ArraySplit(x, Spec("image", (4, 4, 1))).with_factors(size=1)


@pytest.fixture(scope="module")
def factored(tmp_path_factory):
    """Two prepared tfds sets with the kinds of features that dsprites and smallnorb have; one has pixels of 0 and 1."""
    import tensorflow_datasets as tfds

    class Factored(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(4, 4, 1)),
                "label_shape": tfds.features.ClassLabel(num_classes=3),
                "label_x_position": tfds.features.Scalar(np.int64),
                "value_x_position": tfds.features.Tensor(shape=[], dtype=np.float32),
                "label_box": tfds.features.Tensor(shape=[2], dtype=np.int64),
                "label_name": tfds.features.Text(),
                "label_angle": tfds.features.Scalar(np.float32),
                "instance": tfds.features.ClassLabel(num_classes=10),
                "id": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(200):
                factors = {"label_shape": i % 3, "label_x_position": i, "value_x_position": i / 200}
                others = {"label_box": [i, i], "label_name": "a", "label_angle": 0.5, "instance": i % 10, "id": str(i)}
                yield i, {"image": self.picture(i), **factors, **others}

        @staticmethod
        def picture(i):
            return np.full((4, 4, 1), i, "uint8")

    class Bits(Factored, skip_registration=True):
        @staticmethod
        def picture(i):
            return i >> np.arange(16, dtype="uint8").reshape(4, 4, 1) & 1

    builders = [kind(data_dir=tmp_path_factory.mktemp(kind.name)) for kind in (Factored, Bits)]
    for builder in builders:
        builder.download_and_prepare()
    return builders


def test_sets_of_tensorflow_datasets_have_their_factors(factored):
    from vaezoo.data import tfds_sets

    data = tfds_sets.read(factored[0], "factored", Preparation(), 0.1, seed=0, memory_limit=2**31)
    assert (data.classes, data.notes) == (0, ())
    for split in (data.train, data.validation, data.test):
        number = split.x[:, 0, 0, 0]
        assert set(split.factors) == {"shape", "x_position"}
        np.testing.assert_array_equal(split.factors["x_position"], number)
        np.testing.assert_array_equal(split.factors["shape"], number % 3)
    assert set(data.train.with_factors(shape=1).x[:, 0, 0, 0] % 3) == {1}


@pytest.mark.slow
def test_a_streamed_set_has_its_factors_too(factored):
    from vaezoo.data import tfds_sets

    data = tfds_sets.read(factored[0], "factored", Preparation(), 0.1, seed=0, memory_limit=1000)
    assert (data.train.labels, data.notes) == (None, ())
    for split in (data.train, data.validation, data.test, data.train.take([90, 3, 41])):
        number = np.round(255 * split.first()[0][:, 0, 0, 0]).astype(int)
        assert set(split.factors) == {"shape", "x_position"}
        np.testing.assert_array_equal(split.factors["x_position"], number)
        np.testing.assert_array_equal(split.factors["shape"], number % 3)
    ones = data.train.with_factors(shape=1)
    assert set(np.round(255 * ones.first()[0][:, 0, 0, 0]).astype(int) % 3) == {1}
    assert set(ones.factors["shape"]) == {1}


@pytest.mark.parametrize("limit", [2**31, 1000])
def test_pixels_that_are_stored_as_bits_become_black_and_white(factored, limit):
    from vaezoo.data import tfds_sets

    data = tfds_sets.read(factored[1], "bits", Preparation(), 0, seed=0, memory_limit=limit)
    x = np.concatenate([data.train.first()[0], data.test.first()[0]]).reshape(200, 16)
    assert np.isin(x, (0, 1)).all()
    np.testing.assert_array_equal(np.sort(x @ 2 ** np.arange(16)), np.arange(200))

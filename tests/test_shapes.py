"""The built-in colour set: each factor is measured in the pictures, and what is on disk is what was drawn."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vaezoo.data import canonical_name, load_data


@pytest.fixture(scope="session")
def shapes():
    from vaezoo.data import shapes

    return shapes


@pytest.fixture(scope="session")
def draw(shapes):
    """Draws pictures in the middle pose but for what is changed; every argument is a number or an array."""

    def pictures(**changed):
        pose = {"label": np.arange(len(shapes.SHAPES)), "hue": 30, "ground_hue": 230, "size": 20}
        pose |= {"rotation": 0, "x": 0, "y": 0, "light": 0} | changed
        arrays = np.broadcast_arrays(*(np.atleast_1d(value) for value in pose.values()))
        return shapes.draw(**dict(zip(pose, arrays, strict=True)))

    return pictures


@pytest.fixture(scope="session")
def cover(draw):
    """How much of each pixel is shape, [N,H,W]: its hue changes that part only, and the hue of the ground the rest."""

    def covered(**changed):
        one, other, third = (
            draw(**changed, hue=hue, ground_hue=ground).astype("float32")
            for hue, ground in ((30, 30), (260, 30), (30, 230))
        )
        of_shape, of_ground = np.abs(one - other).sum(-1), np.abs(one - third).sum(-1)
        of_shape, of_ground = (part / np.median(part[part > part.max() / 2]) for part in (of_shape, of_ground))
        return of_shape / (of_shape + of_ground)

    return covered


def centroid(images):
    rows, columns = map(np.arange, images.shape[1:])
    return np.stack([images.sum(1) @ columns, images.sum(2) @ rows]) / images.sum((1, 2))  # x, y: [2,N]


def oklab(pixels):
    """uint8 sRGB [...,3] → lightness and hue in degrees."""
    encoded = np.asarray(pixels) / 255
    linear = np.where(encoded < 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_cones = np.array([*to_cones, [0.0883024619, 0.2817188376, 0.6299787005]])
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab = np.array([*to_lab, [0.0259040371, 0.7827717662, -0.8086757660]])
    lightness, a, b = np.moveaxis(np.cbrt(linear @ to_cones.T) @ to_lab.T, -1, 0)
    return lightness, np.rad2deg(np.arctan2(b, a)) % 360


def middle(images):
    return images[:, 29:35, 29:35].reshape(len(images), -1, 3).mean(1)


def corners(images):
    return np.stack([images[:, i, j] for i in (0, -1) for j in (0, -1)], 1).mean(1)


# What is drawn


def test_size_is_the_root_of_the_area(cover):
    for size in (15, 20, 25):
        side = np.sqrt(cover(size=size).sum((1, 2)))
        np.testing.assert_allclose(side, size, atol=0.2)


def test_x_and_y_move_the_centroid(cover):
    centre = centroid(cover())
    np.testing.assert_allclose(centre, 31.5, atol=0.15)
    np.testing.assert_allclose(centroid(cover(x=7)) - centre, np.outer([7, 0], np.ones(8)), atol=0.1)
    np.testing.assert_allclose(centroid(cover(y=-4.5)) - centre, np.outer([0, -4.5], np.ones(8)), atol=0.1)


def test_turning_everything_turns_the_picture(draw):
    still = draw(rotation=10, x=3, y=-5, light=-20)
    turned = draw(rotation=100, x=-5, y=-3, light=70)  # counter-clockwise: what was right is up
    assert np.abs(np.rot90(still, axes=(1, 2)).astype(int) - turned).max() <= 2
    assert np.abs(np.rot90(still, axes=(1, 2)).astype(int) - still).max() > 50


def test_rotation_is_counter_clockwise(cover, shapes):
    star = shapes.SHAPES.index("star")
    upper = cover(label=star, rotation=[-20, 0, 20])[:, :20]  # holds one of its points
    x = centroid(upper)[0]
    assert x[0] > x[1] + 3
    assert x[2] < x[1] - 3


def test_every_rotation_can_be_seen(draw, shapes):
    angles = np.linspace(*shapes.Shapes.RANGES["rotation"], 7)
    for label in range(len(shapes.SHAPES)):
        images = draw(label=label, rotation=angles).astype("float32")
        apart = np.abs(images[:, None] - images[None]).mean((2, 3, 4)) + 100 * np.eye(7)
        assert apart.min() > 1, shapes.SHAPES[label]


def test_hues_are_those_of_the_pixels(draw, shapes):
    hue, other = np.linspace(30, 330, 16), np.linspace(330, 30, 16)
    images = draw(label=shapes.SHAPES.index("square"), hue=hue, ground_hue=other)
    np.testing.assert_allclose(oklab(middle(images))[1], hue, atol=4)
    np.testing.assert_allclose(oklab(corners(images))[1], other, atol=6)


def test_every_pair_of_hues_is_legible(draw, shapes):
    hue, other = (grid.ravel() for grid in np.meshgrid(*[np.arange(30, 331, 20)] * 2))
    images = draw(label=shapes.SHAPES.index("square"), hue=hue, ground_hue=other)
    assert (oklab(corners(images))[0] - oklab(middle(images))[0]).min() > 0.12


def test_light_brightens_its_side_and_casts_the_shadow_to_the_other(draw, cover):
    for light, lit, dark in ((60, 0, -1), (-60, -1, 0)):  # from the left, from the right
        images = draw(light=light).mean(-1)
        assert (images[:, :, lit].mean(1) > images[:, :, dark].mean(1) + 5).all()
        darkest = (images < np.median(images, (1, 2), keepdims=True) - 25) & (cover(light=light) < 0.1)
        assert (np.sign(centroid(darkest)[0] - 31.5) == np.sign(light)).all()


def test_shapes_differ(cover):
    covers = cover()
    shared, either = (op(covers[:, None], covers[None]).sum((2, 3)) for op in (np.minimum, np.maximum))
    assert (shared / either - np.eye(len(covers))).max() < 0.8


@pytest.mark.parametrize("shape", ["triangle", "square"])
def test_outlines_are_what_they_are_called(cover, shapes, shape):
    sides = {"triangle": 3, "square": 4}[shape]
    radius = 20 * np.sqrt(2 / (sides * np.sin(2 * np.pi / sides)))  # of the regular polygon of this area
    paper = Image.new("L", (640, 640))
    # Pillow turns it counter-clockwise from one that stands on a side
    ImageDraw.Draw(paper).regular_polygon((320, 320, 10 * radius), sides, rotation=15, fill=255)
    wanted = np.asarray(paper.resize((64, 64), Image.Resampling.BOX)) / 255
    found = cover(label=shapes.SHAPES.index(shape), rotation=15)[0]
    assert np.abs(found - wanted).mean() < 0.01


# What the factors are


@pytest.mark.parametrize("split", ["train", "test"])
def test_factors_are_balanced_and_in_range(shapes, split):
    factors, size = shapes.Shapes.known_factors(split), shapes.Shapes.SIZES[split]
    assert (np.bincount(factors["label"]) == size // len(shapes.SHAPES)).all()
    for name, (low, high) in shapes.Shapes.RANGES.items():
        assert low <= factors[name].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < factors[name].max() <= high
    table = np.stack([values.astype(float) for values in factors.values()])
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.08  # independent of one another


def test_drawing_is_repeatable(shapes):
    part = {name: values[4000:4050] for name, values in shapes.Shapes.known_factors("train").items()}
    once = shapes.draw(**part)
    alone = np.concatenate([shapes.draw(**{k: v[i : i + 1] for k, v in part.items()}) for i in range(50)])
    np.testing.assert_array_equal(once, alone)  # no picture depends on its neighbours


def test_shapes_and_their_shadows_are_whole(shapes, cover):
    pose = {k: v[:400] for k, v in shapes.Shapes.known_factors("train").items() if "hue" not in k}
    covers = cover(**pose)
    assert max(covers[:, [0, -1]].max(), covers[:, :, [0, -1]].max()) == 0
    fields, unit = shapes._fields(), shapes.Shapes.RANGES["size"][0] / shapes.UNIT
    # Beyond the edge of a field, its distances no longer grow: no shadow may reach that far.
    assert max(fields[:, [0, -1]].max(), fields[:, :, [0, -1]].max()) * unit < -shapes.BLUR / 2


# What is on disk


def test_what_is_read_is_what_was_drawn(shapes, monkeypatch, tmp_path, capfd):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(shapes.Shapes, "SIZES", {"train": 80, "test": 20})
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data = load_data("shapes", validation=0)
    assert "drawing the shapes data set" in capfd.readouterr().err
    assert (data.name, data.spec.shape, data.class_names) == ("shapes", (64, 64, 3), shapes.SHAPES)
    for name, split in (("train", data.train), ("test", data.test)):
        factors = shapes.Shapes.known_factors(name)
        np.testing.assert_array_equal(split.x, shapes.draw(**factors))
        np.testing.assert_array_equal(split.labels, factors.pop("label"))
        assert split.factors.keys() == factors.keys()
        for factor in factors:
            np.testing.assert_array_equal(split.factors[factor], factors[factor])
    assert tfds.builder("shapes", data_dir=tmp_path).info.features["label"].names == list(shapes.SHAPES)


def test_the_name_is_of_the_set_even_beside_a_folder(monkeypatch, tmp_path):
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert canonical_name("shapes") == "shapes"
    assert canonical_name("./shapes") == str(tmp_path / "shapes")


@pytest.mark.slow
def test_the_whole_set(shapes, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data = load_data("shapes", validation=0)
    assert (len(data.train), len(data.test)) == (20_000, 2_000)
    for name, split in (("train", data.train), ("test", data.test)):
        factors = shapes.Shapes.known_factors(name)
        np.testing.assert_array_equal(split.labels, factors["label"])
        some = np.random.default_rng(0).integers(len(split), size=200)
        np.testing.assert_array_equal(split.x[some], shapes.draw(**{k: v[some] for k, v in factors.items()}))

"""The built-in digits: what is drawn is what the factors say, and what is on disk is what was drawn."""

import numpy as np
import pytest
from scipy import ndimage

from vaezoo.data import drawing, load_data
from vaezoo.errors import VaezooError

FONTS = len(drawing.FONTS)


@pytest.fixture(scope="session")
def glyphs():
    from vaezoo.data.glyphs import Glyphs

    return Glyphs


@pytest.fixture
def small(glyphs, monkeypatch, tmp_path):
    """The real builder, with a hundredth of the images, in an empty folder."""
    monkeypatch.setattr(glyphs, "SIZES", {"train": 600, "test": 100})
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def draw(label=8, font=0, **changed):
    """Digits in the middle pose but for what is changed; every argument is a number or an array."""
    pose = {"rotation": 0, "slant": 0, "thickness": 0.5, "scale": 1, "shift_x": 0, "shift_y": 0}
    pose |= {"label": label, "font": font, **changed}
    arrays = dict(zip(pose, np.broadcast_arrays(*(np.atleast_1d(value) for value in pose.values())), strict=True))
    return drawing.draw(**arrays)[..., 0] / 255  # [N, H, W]


def every_digit():
    font, label = np.meshgrid(np.arange(FONTS), np.arange(10), indexing="ij")
    return {"font": font.ravel(), "label": label.ravel()}


def centroid(images):
    place = np.arange(drawing.SIZE)
    ink = images.sum((1, 2))
    return (images.sum(1) @ place) / ink, (images.sum(2) @ place) / ink  # x, y [N]


def lean(images):
    """How far the ink moves to the right for every pixel up, by least squares over it [N]."""
    x, y = centroid(images)
    place = np.arange(drawing.SIZE)
    right = place[None, None, :] - x[:, None, None]
    up = y[:, None, None] - place[None, :, None]
    return (images * right * up).sum((1, 2)) / (images * up**2).sum((1, 2))


# What is drawn


def test_digits_have_their_holes():
    holes = {0: {1}, 1: {0}, 2: {0}, 3: {0}, 4: {0, 1}, 5: {0}, 6: {1, 2}, 7: {0, 1}, 8: {2}, 9: {1, 2}}
    for font, fields in zip(drawing.FONTS, drawing.fields(), strict=True):
        for digit, field in enumerate(fields):
            assert ndimage.label(field < 0)[1] - 1 in holes[digit], (font, digit)


def outline(*contours):
    """Segments of closed contours, each a list of corners."""
    return np.concatenate([np.stack([corners, np.roll(corners, -1, 0)], 1) for corners in np.array(contours, float)])


def square(half, x=0.0):
    return [(x - half, -half), (x + half, -half), (x + half, half), (x - half, half)]


def test_field_is_the_distance_to_the_outline():
    line = np.linspace(-drawing.REACH, drawing.REACH, drawing.GRID)
    x, y = np.meshgrid(line, -line)
    field = drawing.field(outline(square(0.4)))
    outside = np.hypot(np.maximum(abs(x) - 0.4, 0), np.maximum(abs(y) - 0.4, 0))
    inside = 0.4 - np.maximum(abs(x), abs(y))
    np.testing.assert_allclose(field, np.where(inside > 0, inside, -outside), atol=1e-5)


def test_field_knows_holes_and_overlaps():
    with_hole = drawing.field(outline(square(0.5), square(0.2)[::-1]))
    overlapping = drawing.field(outline(square(0.3, -0.1), square(0.3, 0.1)))
    middle = drawing.GRID // 2
    assert with_hole[middle, middle] < 0
    assert with_hole[middle, drawing.GRID // 2 + int(0.35 / drawing.REACH * drawing.GRID / 2)] > 0
    assert overlapping[middle, middle] > 0


def test_thickness_adds_ink():
    ink = [draw(**every_digit(), thickness=pixels).sum((1, 2)) for pixels in (0, 0.5, 1, 1.7)]
    assert (np.diff(ink, axis=0) > 5).all()


def test_thickness_is_in_pixels():
    one = draw(label=1, font=0, thickness=[0.0, 1.0, 1.7])
    stem = one[:, 12:15].sum(2).mean(1)  # the width of the stem, away from foot and flag
    np.testing.assert_allclose(stem - stem[0], [0, 1, 1.7], atol=0.05)


def test_shift_moves_the_centroid():
    x, y = centroid(draw(**every_digit()))
    right, _ = centroid(draw(**every_digit(), shift_x=1.8))
    _, down = centroid(draw(**every_digit(), shift_y=-1.3))
    np.testing.assert_allclose(right - x, 1.8, atol=0.12)
    np.testing.assert_allclose(down - y, -1.3, atol=0.12)


def test_slant_leans_to_the_right():
    upright, leaning = lean(draw(**every_digit())), lean(draw(**every_digit(), slant=0.25))
    np.testing.assert_allclose(leaning - upright, 0.25, atol=0.05)


def test_rotation_is_counter_clockwise():
    one = lean(draw(label=1, font=0, rotation=[-16, 0, 16]))
    assert one[0] > one[1] + 0.2  # clockwise: the top goes right
    assert one[2] < one[1] - 0.2
    turned = draw(label=8, rotation=90)  # what was on the right is on top now
    np.testing.assert_allclose(turned, np.rot90(draw(label=8), axes=(1, 2)), atol=0.02)


def test_scale_is_the_height():
    rows = (draw(**every_digit(), scale=1.1, thickness=0).max(2) > 0.5).sum(1)
    np.testing.assert_allclose(rows, drawing.HEIGHT * 1.1, atol=1.2)


def test_fonts_differ():
    images = draw(**every_digit()).reshape(FONTS, -1)
    apart = np.abs(images[:, None] - images[None]).mean(-1) + np.eye(FONTS)
    assert apart.min() > 0.005


# What the factors are


@pytest.mark.parametrize("split", ["train", "test"])
def test_factors_are_balanced_and_in_range(glyphs, split):
    factors = glyphs.known_factors(split)
    assert (np.bincount(factors["label"]) == glyphs.SIZES[split] // 10).all()
    assert np.bincount(factors["font"]).min() > 0.9 * glyphs.SIZES[split] / FONTS
    for name, (low, high) in glyphs.RANGES.items():
        assert low <= factors[name].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < factors[name].max() <= high
    table = np.stack([values.astype(float) for values in factors.values()])
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.05  # independent of one another


def test_drawing_is_repeatable(glyphs):
    again = {name: values[4000:4300] for name, values in glyphs.known_factors("train").items()}
    once = drawing.draw(**again)
    alone = np.concatenate([drawing.draw(**{k: v[i : i + 1] for k, v in again.items()}) for i in range(300)])
    np.testing.assert_array_equal(once, alone)  # no image depends on its neighbours
    assert all((glyphs.known_factors("train")[k][4000:4300] == v).all() for k, v in again.items())
    test = glyphs.known_factors("test")
    assert not np.isin(test["rotation"], glyphs.known_factors("train")["rotation"]).all()


def test_images_are_whole_and_like_mnist(glyphs):
    part = {name: values[:5000] for name, values in glyphs.known_factors("train").items()}
    images = drawing.draw(**part)[..., 0]
    border = np.concatenate([images[:, [0, -1]].reshape(5000, -1), images[:, :, [0, -1]].reshape(5000, -1)], 1)
    assert border.max() < 128
    assert (border.max(1) > 0).mean() < 0.001
    assert 0.1 < images.mean() / 255 < 0.15  # MNIST: 0.131
    assert images.reshape(5000, -1).max(1).min() > 150  # nothing too faint to see


# What is on disk


def test_what_is_read_is_what_was_drawn(glyphs, small, capfd):
    data = load_data("glyphs", validation=0.1)
    assert "drawing the glyphs" in capfd.readouterr().err
    assert (data.name, data.spec.shape, data.classes) == ("glyphs", (28, 28, 1), 10)
    assert (len(data.train), len(data.validation), len(data.test)) == (540, 60, 100)
    for split, part in (("test", [data.test]), ("train", [data.train, data.validation])):
        factors = glyphs.known_factors(split)
        drawn = drawing.draw(**factors)
        for piece in part:
            # a rotation is as good as a name: no two images share one
            order = [int(np.flatnonzero(factors["rotation"] == value)[0]) for value in piece.factors["rotation"]]
            np.testing.assert_array_equal(piece.x, drawn[order])
            np.testing.assert_array_equal(piece.labels, factors["label"][order])
            assert set(piece.factors) == {"font", *glyphs.RANGES}
            for name in piece.factors:
                np.testing.assert_array_equal(piece.factors[name], factors[name][order])
    load_data("glyphs")
    out, err = capfd.readouterr()
    assert "drawing" not in out + err  # once


def test_it_is_a_tfds_set(glyphs, small):
    import tensorflow_datasets as tfds

    glyphs.prepared()
    builder = tfds.builder("glyphs", data_dir=small / "tfds")
    assert builder.info.splits["train"].num_examples == 600
    assert builder.info.features["font"].names == list(drawing.FONTS)
    assert builder.info.features["image"].shape == (28, 28, 1)


def test_read_only_folder_falls_back_to_the_cache(small):
    (small / "tfds").mkdir(mode=0o555)
    assert len(load_data("glyphs", validation=0).train) == 600
    assert not list((small / "tfds").iterdir())
    assert (small / "cache" / "vaezoo" / "glyphs").is_dir()


def test_read_only_folder_that_has_it_is_read(glyphs, small):
    glyphs.prepared()
    for folder in (small / "tfds", *(path for path in (small / "tfds").rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    assert len(load_data("glyphs", validation=0).train) == 600
    assert not (small / "cache").exists()


@pytest.mark.parametrize(
    ("interruption", "seen"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("no space left"), VaezooError)]
)
def test_interrupted_drawing_leaves_nothing(glyphs, small, monkeypatch, interruption, seen):
    def interrupted(**factors):
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(glyphs, "draw", staticmethod(interrupted))
        with pytest.raises(seen):
            load_data("glyphs")
    assert not [path for path in (small / "tfds").rglob("*") if path.is_file()]
    assert len(load_data("glyphs", validation=0).train) == 600  # and the next attempt works


@pytest.mark.slow
def test_the_whole_set(glyphs, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data = load_data("glyphs", validation=0)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert (np.bincount(data.train.labels) == 6000).all()
    for name, split in (("train", data.train), ("test", data.test)):
        factors = glyphs.known_factors(name)
        np.testing.assert_array_equal(split.labels, factors["label"])
        some = np.random.default_rng(0).integers(len(split), size=500)
        np.testing.assert_array_equal(split.x[some], drawing.draw(**{k: v[some] for k, v in factors.items()}))
    x, y = (split.x.reshape(len(split), -1) / np.float32(255) for split in (data.train, data.test))
    x, y = np.pad(x, ((0, 0), (0, 1)), constant_values=1), np.pad(y, ((0, 0), (0, 1)), constant_values=1)
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(785), x.T @ np.eye(10)[data.train.labels])
    assert 0.78 < (np.argmax(y @ weights, 1) == data.test.labels).mean() < 0.97  # learnable, and not too easily

"""The reader of image files: what is adapted for a folder, and what is refused for a single picture of the user."""

import numpy as np
import pytest
from PIL import Image

from vaezoo.data.pictures import guarded, read_header, read_image
from vaezoo.errors import VaezooError

GREY = (np.arange(28 * 28).reshape(28, 28) % 256).astype("uint8")


def saved(folder, picture, name="a.png", **options):
    picture.save(folder / name, **options)
    return folder / name


def strict(path, shape):
    return read_image(path, shape, strict=True)


def test_a_grey_picture_of_the_right_size_is_unchanged(tmp_path):
    image = strict(saved(tmp_path, Image.fromarray(GREY)), (28, 28, 1))
    np.testing.assert_array_equal(image, GREY[..., None])
    assert image.dtype == "uint8"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "CMYK", "1", "I;16"])
def test_modes_are_converted(tmp_path, mode):
    picture = Image.fromarray(GREY.astype("uint16") * 257) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    path = saved(tmp_path, picture, "a.tif" if mode == "CMYK" else "a.png")
    expected = np.asarray(picture.convert("L")) if mode == "1" else GREY
    np.testing.assert_allclose(strict(path, (28, 28, 1))[..., 0], expected, atol=2)
    colour = strict(path, (28, 28, 3))
    assert colour.shape == (28, 28, 3)
    np.testing.assert_allclose(colour.mean(-1), expected, atol=2)
    if mode != "CMYK":  # TIFF is not a format of folders
        np.testing.assert_array_equal(read_image(path, (28, 28, 1)), strict(path, (28, 28, 1)))


def test_floating_point_pictures(tmp_path):
    path = saved(tmp_path, Image.fromarray((GREY / 255).astype("float32")), "a.tif")
    np.testing.assert_array_equal(strict(path, (28, 28, 1))[..., 0], GREY)
    saved(tmp_path, Image.fromarray(GREY.astype("float32")), "a.tif")
    with pytest.raises(VaezooError, match=r"a\.tif' holds floating-point values outside \[0, 1\]"):
        strict(path, (28, 28, 1))


def test_four_channels_keep_transparency(tmp_path):
    picture = Image.fromarray(np.dstack([GREY] * 4))
    np.testing.assert_array_equal(strict(saved(tmp_path, picture), (28, 28, 4)), np.dstack([GREY] * 4))
    with pytest.raises(VaezooError, match="of 2 channels; allowed: 1, 3 or 4"):
        strict(tmp_path / "a.png", (28, 28, 2))


def test_a_larger_picture_of_the_same_proportions_is_scaled(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY).resize((280, 280), Image.Resampling.NEAREST))
    image = strict(path, (28, 28, 1))
    assert image.shape == (28, 28, 1)
    assert np.corrcoef(image.ravel(), GREY.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("name", "lenient"), [("a.jpg", True), ("a.webp", True), ("a.png", False)])
def test_exif_orientation_is_applied(tmp_path, name, lenient):
    exif = Image.Exif()
    exif[0x0112] = 6  # upright after a turn of 90 degrees to the right
    options = {} if name == "a.png" else {"quality": 100}
    path = saved(tmp_path, Image.fromarray(np.sort(GREY[:14], 1)), name, exif=exif, **options)
    turned = np.rot90(np.sort(GREY[:14], 1), -1)
    np.testing.assert_allclose(strict(path, (28, 14, 1))[..., 0], turned, atol=9)
    # A folder knows of the orientation only where its header says so without decoding.
    assert read_header(path) == ((28, 14) if lenient else (14, 28), name != "a.webp")
    if lenient:
        np.testing.assert_allclose(read_image(path, (28, 14, 1))[..., 0], turned, atol=9)


def test_only_strict_refuses_what_needs_a_decision(tmp_path):
    transparent = Image.fromarray(GREY).convert("RGBA")
    transparent.putpixel((3, 3), (0, 0, 0, 0))
    film = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}
    for path, message in (
        (saved(tmp_path, Image.fromarray(GREY[:20]), "wide.png"), "is 28×20 and the model takes 28×28: crop or pad it"),
        (saved(tmp_path, transparent, "clear.png"), "is partly transparent: save it on a background"),
        (saved(tmp_path, Image.fromarray(GREY), "film.gif", **film), "holds 2 frames: save the one to use as a PNG"),
    ):
        with pytest.raises(VaezooError) as error:
            strict(path, (28, 28, 1))
        assert str(error.value).startswith(f"'{path}' {message}")
        assert read_image(path, (28, 28, 1)).shape == (28, 28, 1)
    assert read_image(tmp_path / "clear.png", (28, 28, 1))[3, 3] == 255  # on white
    np.testing.assert_array_equal(read_image(tmp_path / "film.gif", (28, 28, 1))[..., 0], GREY)  # the first frame


@pytest.mark.parametrize("read", [read_image, strict])
def test_files_that_are_not_images(tmp_path, read):
    (tmp_path / "text.png").write_text("not an image")
    complete = saved(tmp_path, Image.fromarray(GREY), "complete.png").read_bytes()
    (tmp_path / "half.png").write_bytes(complete[: len(complete) // 2])
    for name, message in (
        ("text.png", "cannot be read as an image: replace or remove it."),
        ("half.png", "cannot be read as an image ("),
        ("none.png", "is not a file: an image file is needed (PNG, JPEG, BMP, GIF, WEBP"),
        (".", "is not a file"),
    ):
        with pytest.raises(VaezooError) as error:
            read(tmp_path / name, (28, 28, 1))
        assert str(error.value).startswith(f"'{tmp_path / name}' {message}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_image, strict])
def test_a_picture_of_too_many_pixels(tmp_path, read):
    path = saved(tmp_path, Image.new("1", (10_000, 10_000)))
    with guarded(), pytest.raises(VaezooError, match="is of more than 89,478,485 pixels: shrink or remove it"):
        read(path, (28, 28, 1))

"""Image folders from strangers: what is legal though unusual is read, all else is skipped or refused, and named."""

import os
import random
import struct
import zlib

import numpy as np
import pytest
from hostile import refusal
from PIL import Image

from vaezoo.cli import main
from vaezoo.data import folders, load_data
from vaezoo.data.pictures import read_header, read_image
from vaezoo.errors import VaezooError

GREY = np.random.default_rng(0).integers(0, 256, (8, 12)).astype("uint8")
COLOUR = np.random.default_rng(1).integers(0, 256, (8, 12, 3)).astype("uint8")


@pytest.fixture
def folder(tmp_path):
    """Twenty good images of 8×12 pixels in grey."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(np.roll(GREY, number)).save(folder / f"{number:03}.png")
    return folder


def chunk(kind, content):
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def png(width, height, pixels=b"", *, bits=8, colour=0, more=b""):
    """The bytes of a PNG of that header, whatever its pixels are."""
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def bmp(width, height, bits=8):
    return struct.pack("<2sLHHLLllHHLLllLL", b"BM", 99, 0, 0, 54, 40, width, height, 1, bits, 0, 0, 1, 1, 0, 0)


HOSTILE = {
    "empty.png": b"",
    "one_byte.png": b"\x89",
    "signature_alone.png": b"\x89PNG\r\n\x1a\n",
    "no_pixels.png": png(12, 8),
    "zero_wide.png": png(0, 8),
    "zero_high.png": png(12, 0),
    "strange_depth.png": png(12, 8, b"\0" * 99, bits=77),
    "strange_colour.png": png(12, 8, b"\0" * 99, colour=5),
    "bomb.png": png(50_000, 50_000, b"\0" * 10**6),
    "edge.png": png(2**31 - 1, 2**31 - 1),
    "long_line.png": png(2**31 - 1, 1),
    "text_bomb.png": png(12, 8, b"\0" * 104, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 10**8))),
    "profile_bomb.png": png(12, 8, more=chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 10**8))),
    "negative.bmp": bmp(-12, 8),
    "huge.bmp": bmp(2**31 - 1, 2**31 - 1),
    "few.bmp": bmp(12, 8),
    "cut.gif": b"GIF89a\x0c\x00\x08\x00\x80\x00\x00",
    "cut.webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "pickle.png": b"cos\nmkdir\n(S'vaezoo_was_here'\ntR.",
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 8\n(vaezoo_was_here) (w) file\n",
    "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
    "page.jpg": b"%PDF-1.4",
    "scan.png": b"II*\x00\x08\x00\x00\x00\x00\x00",  # a TIFF
    "\x1b[2J\n.png": b"no image",
}


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name if name.isprintable() else "terminal codes")
def test_a_hostile_image_is_skipped_and_named(name, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / name).write_bytes(HOSTILE[name])
    data = load_data(folder, image_size=8)
    (line,), ((skipped, reason),) = data.notes, data.skipped
    assert line == f"1 of 21 images are skipped: 1 {reason} ('{skipped}')"
    assert line.isprintable()
    assert skipped == name or not name.isprintable()
    assert os.listdir() == ["images"]


def test_a_folder_of_hostile_images_alone_is_refused_in_one_line(tmp_path, capsys):
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    line = refusal(capsys, "train", "mlp_vae", "--data", tmp_path, "--image-size", 8, "--out", tmp_path / "run")
    assert "more than half of" in line


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp"])
def test_broken_at_random(suffix, tmp_path):
    # Whatever is wrong with a file, it is an image or it is skipped: never an error, never a crash.
    Image.fromarray(COLOUR).resize((40, 40)).save(tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    draw, skipped = random.Random(0), 0
    for number in range(60):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        part = tmp_path / str(number)
        part.mkdir()
        for name in range(10):
            Image.fromarray(np.roll(COLOUR, name)).save(part / f"{name}.png")
        (part / f"bad.{suffix}").write_bytes(content[: draw.randint(1, 2 * len(content))])
        data = load_data(part, image_size=8)
        assert [file for file, _ in data.skipped] in ([], [f"bad.{suffix}"])
        assert len(data.train) + len(data.validation) + len(data.test) == 11 - len(data.skipped)
        skipped += len(data.skipped)
    assert skipped


def outside(folder):
    """An image that does not lie in the folder."""
    Image.fromarray(GREY).save(folder.parent / "secret.png")
    return folder.parent / "secret.png"


LINKS = {
    "absolute": lambda folder: outside(folder),
    "relative": lambda folder: os.path.relpath(outside(folder), folder),
    "of a link": lambda folder: (folder / "a.txt").symlink_to(outside(folder)) or "a.txt",
    "to a folder": lambda folder: folder.parent,
    "to a device": lambda folder: "/dev/zero",
    "to the memory of the process": lambda folder: "/proc/self/mem",
}


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS)
def test_links_that_lead_out_are_refused(target, folder, capsys):
    (folder / "link.png").symlink_to(target(folder))
    assert "link.png' is a link to " in refusal(capsys, "train", "mlp_vae", "--data", folder)


def test_links_that_people_use(folder):
    # The folder that was given may be a link itself, and links within it are followed.
    (folder / "again.png").symlink_to("003.png")
    (folder.parent / "link").symlink_to(folder)
    data = load_data(folder.parent / "link", validation=0)
    assert len(data.train) + len(data.test) == 21


def test_a_folder_that_holds_itself(folder):
    (folder / "more").symlink_to(folder, target_is_directory=True)
    assert len(load_data(folder, validation=0).train) == 18  # links to folders are not followed


def read(folder, image, name, **options):
    """What is read of an image saved under a name."""
    image.save(folder / name, **options)
    (height, width), grey = read_header(folder / name)
    return read_image(folder / name, (height, width, 1 if grey else 3)).astype(int)


def test_sixteen_bits(tmp_path):
    wide = GREY.astype("uint16") * 257
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(wide), "a.png")[..., 0], GREY)


def test_one_bit(tmp_path):
    found = read(tmp_path, Image.fromarray(GREY > 99), "a.png")[..., 0]
    np.testing.assert_array_equal(found, 255 * (GREY > 99))


def test_palette(tmp_path):
    few = COLOUR // 128 * 128
    found = read(tmp_path, Image.fromarray(few).quantize(8), "a.png")
    np.testing.assert_array_equal(found, few)


def test_cmyk(tmp_path):
    flat = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert np.abs(read(tmp_path, flat, "a.jpg", quality=100)[0, 0] - [0, 255, 255]).max() <= 3


def test_transparency_lies_on_white(tmp_path):
    image = Image.fromarray(np.dstack([COLOUR, np.where(GREY > 99, 255, 0)]).astype("uint8"))
    expected = np.where((GREY > 99)[..., None], COLOUR, 255)
    np.testing.assert_array_equal(read(tmp_path, image, "a.png"), expected)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_the_first_frame_of_an_animation(suffix, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("black", "white", "red")]
    found = read(tmp_path, frames[0], f"a{suffix}", save_all=True, append_images=frames[1:])
    assert found.max() <= 2


def test_the_camera_says_which_way_is_up(tmp_path):
    image = Image.fromarray(np.repeat(np.array([[0], [255]], "uint8"), 8, axis=1).repeat(4, axis=0))  # dark above
    image.getexif()[0x0112] = 3  # upside down
    found = read(tmp_path, image, "a.jpg", exif=image.getexif(), quality=100)[..., 0]
    assert found[0].min() > 250
    assert found[-1].max() < 5


def test_a_wrong_ending_does_not_matter(tmp_path):
    found = read(tmp_path, Image.fromarray(COLOUR), "a.jpg", format="PNG")
    np.testing.assert_array_equal(found, COLOUR)


@pytest.fixture
def streamed(folder, monkeypatch):
    """The folder, read as it is needed, with an image that is broken below its header."""
    whole = (folder / "003.png").read_bytes()
    (folder / "bad.png").write_bytes(whole[: len(whole) * 2 // 3])
    load = folders.load
    monkeypatch.setattr(folders, "load", lambda *given: load(*given[:5], 0, None, True))
    return folder


def test_a_streamed_image_that_breaks_training_is_named(streamed, tmp_path, capsys):
    options = "--set", "training.batch_size=4", "--set", "data.binarize=threshold", "--set", "data.validation=0"
    assert main(["train", "mlp_vae", "--data", str(streamed), "--out", str(tmp_path / "run"), *options]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # after what training says as it begins
    assert line.startswith(f"vaezoo: '{streamed / 'bad.png'}' cannot be read as an image (")


def test_a_streamed_image_that_breaks_a_look_is_named(streamed):
    data = load_data(streamed, validation=0)
    with pytest.raises(VaezooError, match=r"bad\.png' cannot be read as an image"):
        data.train.first(99)[0], data.test.first(99)[0]

"""A folder of a stranger's images: what is an example, what is its class, what is left out, and what is said of it."""

import os

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from vaezoo.data import load_data
from vaezoo.data.indexed import ArraySplit, ReaderSplit
from vaezoo.data.pictures import read_image
from vaezoo.errors import VaezooError


def write_images(folder, count, mode="L", size=(9, 8), start=0, suffix="png"):
    """Images that can be told apart: each is filled with its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new("L", size, i).convert(mode).save(folder / f"{i:03}.{suffix}")
    return folder


def numbers(*splits):
    """The numbers of the images of some splits."""
    return [int(n) for split in splits for n in np.rint(split.first()[0][:, 0, 0, 0] * 255)]


def everything(data):
    return sorted(numbers(*filter(None, (data.train, data.validation, data.test))))


def refused(folder, **options):
    with pytest.raises(VaezooError) as error:
        load_data(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is an example, and of which class


def test_flat_folder(tmp_path):
    write_images(tmp_path, 30)
    (tmp_path / ".hidden.png").write_text("not an image")
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (26, 1, 3)
    assert data.spec.shape == (8, 9, 1)
    assert data.class_names is None
    assert everything(data) == list(range(30))
    assert (data.notes, data.skipped, data.image_size) == ((), (), None)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    write_images(tmp_path / "cats", 10)
    write_images(tmp_path / "dogs", 10)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("dogs"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    line = refused(tmp_path)
    assert line.startswith(f"the folder '{tmp_path / 'dogs'}' cannot be read: Permission denied; make it readable")


def test_control_characters_in_the_name_of_a_class_are_escaped(tmp_path):
    write_images(tmp_path / "red\x1b[31m", 10)
    write_images(tmp_path / "left\u202eright", 10)
    write_images(tmp_path / os.fsdecode(b"not utf-8 \xff"), 10)
    assert load_data(tmp_path).class_names == (r"left\u202eright", r"not utf-8 \udcff", r"red\x1b[31m")


def test_sub_folders_are_classes_however_deep_images_lie(tmp_path):
    write_images(tmp_path / "dogs" / "big" / "brown", 5, start=20)
    write_images(tmp_path / "dogs", 5, start=25)
    write_images(tmp_path / "cats", 10)
    write_images(tmp_path / ".cache", 3)
    data = load_data(str(tmp_path), validation=0)
    assert data.class_names == ("cats", "dogs")
    assert data.train.labels.tolist() == [int(n >= 20) for n in numbers(data.train)]
    assert len(set(data.train.labels[:8])) == 2  # the first are not all of one class


def test_train_and_test_folders(tmp_path):
    for split, start in (("train", 0), ("test", 100)):
        write_images(tmp_path / split / "a", 6, start=start)
        write_images(tmp_path / split / "b", 6, start=start + 50)
    data = load_data(tmp_path, validation=0)
    assert sorted(numbers(data.test)) == [*range(100, 106), *range(150, 156)]
    assert (len(data.train), data.class_names) == (12, ("a", "b"))
    assert data.test.labels.tolist() == [int(n >= 150) for n in numbers(data.test)]
    os.remove(tmp_path / "test" / "a" / "100.png")
    write_images(tmp_path / "test", 1)
    assert "has classes in only some of 'train' and 'test'" in refused(tmp_path)


@pytest.mark.parametrize("held", ["val", "valid", "validation"])
def test_a_validation_folder_is_the_validation_split(tmp_path, held):
    for split, start in (("train", 0), ("test", 100), (held, 200)):
        write_images(tmp_path / split / "a", 6, start=start)
        write_images(tmp_path / split / "b", 6, start=start + 20)
    for validation in (0, 0.3):
        data = load_data(tmp_path, validation=validation)
        assert [(len(split), numbers(split)[0] // 100) for split in (data.train, data.test, data.validation)] == [
            (12, 0), (12, 1), (12, 2),
        ]  # fmt: skip
        assert data.validation.labels.tolist() == [int(n >= 220) for n in numbers(data.validation)]
        assert data.notes == ()
    write_images(tmp_path / held, 1)
    assert f"has classes in only some of 'train', 'test' and '{held}'" in refused(tmp_path)


def test_what_lies_beside_the_splits_is_named(tmp_path):
    for number, folder in enumerate(("train", "test", "extra")):
        write_images(tmp_path / folder, 6, start=10 * number)
    write_images(tmp_path, 1)
    (tmp_path / ".hidden").touch()
    (tmp_path / "val" / "a").mkdir(parents=True)
    data = load_data(tmp_path, validation=0.25)
    assert everything(data) == [*range(6), *range(10, 16)]
    assert len(data.validation) == 2
    assert data.notes == ("left out what lies beside 'train' and 'test': '000.png', 'extra', 'val'",)


def test_a_validation_folder_without_a_test_is_refused(tmp_path):
    write_images(tmp_path / "train", 12)
    write_images(tmp_path / "val", 12, start=12)
    assert refused(tmp_path) == (
        f"'{tmp_path}' has the folders 'train' and 'val', and no 'test': rename 'val' to 'test', and a validation "
        "split is held out of 'train'; or add the folder 'test'"
    )


def test_images_beside_and_in_sub_folders_have_no_classes(tmp_path):
    write_images(tmp_path, 10)
    write_images(tmp_path / "more", 10, start=10)
    data = load_data(tmp_path)
    assert data.class_names is None
    assert everything(data) == list(range(20))
    assert data.notes == (f"images lie both beside and in the sub-folders of '{tmp_path}': no classes",)


def test_an_empty_class_folder_is_no_class(tmp_path):
    write_images(tmp_path / "a", 10)
    write_images(tmp_path / "b", 10, start=10)
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.png").write_text("no image")
    data = load_data(tmp_path)
    assert data.class_names == ("a", "b")
    assert data.notes == (
        "folders without images are no classes: 'broken', 'empty'",
        "1 of 21 images are skipped: 1 unreadable ('broken/bad.png')",
    )


def test_files_that_are_no_images_are_counted_by_extension(tmp_path):
    write_images(tmp_path, 12)
    for name in ("a.txt", "b.TXT", "c.heic", "README", "d.png.zip"):
        (tmp_path / name).write_text("no image")
    assert load_data(tmp_path).notes == ("left out 2 .txt, 1 without extension, 1 .heic, 1 .zip: no image files",)


def test_a_folder_of_other_files_says_what_it_holds(tmp_path):
    assert refused(tmp_path).endswith(
        "give files with extension .png, .jpg, .jpeg, .bmp, .gif, .webp, .mid, .midi, .abc."
    )
    (tmp_path / "a.heic").touch()
    assert refused(tmp_path).endswith("; it holds 1 .heic.")
    write_images(tmp_path, 1)
    assert "is neither a folder nor an .npy, .npz, .csv, .parquet, .mid or .abc file" in refused(tmp_path / "000.png")


def test_the_pictures_of_runs_are_no_examples(tmp_path):
    write_images(tmp_path, 12)
    write_images(tmp_path / "runs" / "image_vae", 5, start=20)
    for name in ("recipe.yaml", "environment.json"):
        (tmp_path / "runs" / "image_vae" / name).touch()
    data = load_data(tmp_path)
    assert (everything(data), data.notes) == (list(range(12)), ())


def test_a_set_is_not_hidden_by_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    write_images(tmp_path / "imdb_reviews", 20)
    with pytest.raises(VaezooError, match="choose an image set"):
        load_data("imdb_reviews")
    assert len(load_data("./imdb_reviews", validation=0).train) == 18
    (tmp_path / "imdb_reviews").rename(tmp_path / "mine")
    assert len(load_data("mine", validation=0).train) == 18


# labels.csv


def write_labels(folder, labels, header="file,label"):
    lines = [header, *(f"{file},{label}" for file, label in labels.items())]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8-sig")


def test_a_table_gives_the_classes(tmp_path):
    write_images(tmp_path, 10)
    write_images(tmp_path / "more", 10, start=10)
    labels = {f"{'more/' * (n >= 10)}{n:03}.png": "even" if n % 2 == 0 else "odd" for n in range(20)}
    write_labels(tmp_path, {f"./{file}": f"{label},7" for file, label in labels.items()}, "file,label,weight")
    data = load_data(tmp_path, validation=0)
    assert data.class_names == ("even", "odd")
    assert data.notes == ()
    for split in (data.train, data.test):
        assert split.labels.tolist() == [n % 2 for n in numbers(split)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a.png": "x", "b.png": "x"}, "names 2 images ('a.png', 'b.png') that the folder does not have"),
        ({"../000.png": "x"}, "names 1 image ('../000.png') that the folder does not have"),
        ({"003.png": None}, "does not name 1 image ('003.png') of the folder"),
        ({"./003.png": "other"}, "gives two labels to 1 image ('003.png')"),
        ({"003.png": ""}, "gives no label to 1 image ('003.png')"),
    ],
)
def test_tables_that_do_not_fit(change, message, tmp_path):
    write_images(tmp_path, 12)
    labels = {f"{n:03}.png": "x" for n in range(12)} | change
    write_labels(tmp_path, {file: label for file, label in labels.items() if label is not None})
    assert refused(tmp_path) == f"'{tmp_path}/labels.csv' {message}: correct it, or remove it."


@pytest.mark.parametrize("content", [b"", b"000.png,x\n", b"file,labels\n000.png,x\n", b"file,label\n"])
def test_a_table_without_its_columns(content, tmp_path):
    write_images(tmp_path, 12)
    (tmp_path / "labels.csv").write_bytes(content)
    assert "needs the columns file,label in its first line" in refused(tmp_path)


def test_a_table_that_is_no_text(tmp_path):
    write_images(tmp_path, 12)
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe\x00,x\n")
    assert refused(tmp_path).startswith(f"'{tmp_path}/labels.csv' cannot be read")


# Formats and modes


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp"])
def test_formats(tmp_path, suffix):
    write_images(tmp_path, 20, mode="RGB", start=100, suffix=suffix)
    data = load_data(tmp_path, validation=0)
    assert data.spec.shape == (8, 9, 3)
    assert np.abs(np.array(everything(data)) - np.arange(100, 120)).max() <= 6


GREY = {
    "sixteen.png": (Image.fromarray(np.full((8, 8), 40_000, "uint16")), [156] * 3),
    "bit.png": (Image.new("1", (8, 8), 1), [255] * 3),
    "grey_and_nothing.png": (Image.new("LA", (8, 8), (0, 0)), [255] * 3),  # nothing, laid on white
    "grey_and_half.png": (Image.new("LA", (8, 8), (100, 255)), [100] * 3),
}
transparent = Image.new("P", (8, 8), 0)
transparent.putpalette([10, 200, 30, 40, 50, 60])
COLOUR = {
    "nothing.png": (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), [255, 255, 255]),
    "palette.png": (Image.new("RGB", (8, 8), (10, 200, 30)).quantize(4), [10, 200, 30]),
    "palette_and_nothing.png": (transparent, [255, 255, 255]),
    "cmyk.jpg": (Image.new("CMYK", (8, 8), (255, 0, 0, 0)), [0, 255, 255]),
}


def test_modes(tmp_path):
    for folder, images in (("grey", GREY), ("mixed", GREY | COLOUR)):
        (tmp_path / folder).mkdir()
        for name, (image, _) in images.items():
            options = {"transparency": 0} if name == "palette_and_nothing.png" else {}
            image.save(tmp_path / folder / name, **options)
    assert load_data(tmp_path / "grey", validation=0).spec.shape == (8, 8, 1)
    assert load_data(tmp_path / "mixed", validation=0).spec.shape == (8, 8, 3)
    for name, (_, expected) in (GREY | COLOUR).items():
        found = read_image(tmp_path / "mixed" / name, (8, 8, 3))
        assert np.abs(found.astype(int) - expected).max() <= 4, name


def test_transparency_lies_on_the_background(tmp_path):
    for n in range(12):
        Image.new("RGBA", (8, 8), (n, 0, 0, 0 if n else 255)).save(tmp_path / f"{n}.png")
    data = load_data(tmp_path, background="#0080ff", validation=0)
    seen = np.concatenate([data.train.first()[0], data.test.first()[0]])[:, 0, 0] * 255
    assert sorted(map(tuple, np.rint(seen).astype(int).tolist())) == [(0, 0, 0), *[(0, 128, 255)] * 11]


def test_photographs_are_turned(tmp_path):
    photo = Image.new("RGB", (9, 8))
    photo.getexif()[0x0112] = 6
    for i in range(20):
        photo.putpixel((0, 0), (9 * i, 0, 0))
        photo.save(tmp_path / f"{i}.jpg", exif=photo.getexif(), quality=100)
    assert load_data(tmp_path).spec.shape == (9, 8, 3)


def test_large_photographs_are_decoded_small(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:640, :960]
    photo = np.stack([rows * 255 / 640, columns * 255 / 960, 0 * rows], -1).astype("uint8")
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(photo).save(tmp_path / "a.png")
    sizes, draft = [], JpegImageFile.draft

    def spy(image, *wanted):
        draft(image, *wanted)
        sizes.append(image.size)

    monkeypatch.setattr(JpegImageFile, "draft", spy)
    small = read_image(tmp_path / "a.jpg", (64, 64, 3)).astype(int)
    np.testing.assert_allclose(small, read_image(tmp_path / "a.png", (64, 64, 3)).astype(int), atol=4)
    assert sizes == [(240, 160)]  # a quarter


def test_the_data_decide_on_one_of_several_sizes(tmp_path):
    write_images(tmp_path, 10, size=(80, 70))
    write_images(tmp_path, 10, size=(90, 70), start=10)
    data = load_data(tmp_path)
    assert (data.spec.shape, data.image_size) == ((64, 64, 1), (64, 64))
    (line,) = data.notes
    assert line.startswith("the images differ in size, from 70×80 to 70×90 (height×width); each becomes 64×64: data.im")
    data = load_data(tmp_path, image_size=(8, 7))
    assert (data.train.x.shape[1:], data.image_size, data.notes) == ((8, 7, 1), (8, 7), ())


def test_images_are_cut_around_the_centre_unless_asked_otherwise(tmp_path):
    columns = np.mgrid[:16, :40][1]
    for n in range(12):
        Image.fromarray((columns * 5 + n).astype("uint8")).save(tmp_path / f"{n:02}.png")
    shown = {}
    for crop in ("center", "pad", "stretch"):
        data = load_data(tmp_path, image_size=16, crop=crop, background="black", validation=0)
        shown[crop] = np.rint(data.train.first(1)[0][0, :, :, 0] * 255)
    n = shown["center"][0, 0] - 12 * 5
    np.testing.assert_array_equal(shown["center"], np.broadcast_to(5 * np.arange(12, 28) + n, (16, 16)))
    np.testing.assert_array_equal(shown["pad"][[0, 1, 2, 3, 11, 12, 13, 14, 15]], 0)
    assert (shown["pad"][4:11, 8] > 50).all()
    assert shown["stretch"][0, 0] < shown["center"][0, 0]


# What is skipped


def text(path):
    path.write_text("not an image")


def half_a_file(path):
    whole = (path.parent / "000.png").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def tiff(path):
    Image.new("L", (9, 8)).save(path.with_suffix(".tiff"))
    path.with_suffix(".tiff").rename(path)


SPOILT = {
    "text": (text, "unreadable"),
    "half of a file": (half_a_file, "unreadable"),
    "another format": (tiff, "unreadable"),
    "1×1": (lambda path: Image.new("L", (1, 1)).save(path), "with a side below 8 pixels"),
    "7×100": (lambda path: Image.new("L", (7, 100)).save(path), "with a side below 8 pixels"),
    "30,000×2": (lambda path: Image.new("L", (30_000, 2)).save(path), "with a side below 8 pixels"),
    "bomb": (lambda path: Image.new("1", (20_000, 20_000)).save(path), "of more than 89,478,485 pixels"),
    "pipe": (lambda path: os.mkfifo(path), "not a file"),
    "link to nothing": (lambda path: path.symlink_to(path.parent / "nowhere.png"), "not a file"),
    "link to itself": (lambda path: path.symlink_to(path), "not a file"),
}


@pytest.mark.parametrize(("spoil", "reason"), SPOILT.values(), ids=SPOILT)
def test_a_file_that_cannot_be_used_is_skipped(spoil, reason, tmp_path):
    write_images(tmp_path, 20)
    spoil(tmp_path / "bad.png")
    data = load_data(tmp_path)
    assert everything(data) == list(range(20))
    assert data.skipped == (("bad.png", reason),)
    assert data.notes == (f"1 of 21 images are skipped: 1 {reason} ('bad.png')",)


def test_skipped_files_are_counted_by_reason_with_the_first_names(tmp_path):
    write_images(tmp_path, 20)
    for n in range(5):
        text(tmp_path / f"bad{n}.png")
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    data = load_data(tmp_path)
    assert len(data.skipped) == 6
    (line,) = data.notes
    assert line == (
        "6 of 26 images are skipped: 5 unreadable ('bad0.png', 'bad1.png', 'bad2.png', ...), "
        "1 with a side below 8 pixels ('dot.png')"
    )


@pytest.mark.parametrize("spoil", [text, half_a_file], ids=["header", "body"])
def test_half_of_the_files_may_be_broken_but_not_more(spoil, tmp_path):
    write_images(tmp_path, 20)
    for n in range(20):
        spoil(tmp_path / f"bad{n:02}.png")
    assert everything(load_data(tmp_path)) == list(range(20))
    spoil(tmp_path / "last.png")
    assert refused(tmp_path).startswith(
        f"more than half of '{tmp_path}' cannot be used: 21 of 41 images are skipped: 21 unreadable ('bad00.png', "
    )


def test_labels_stay_with_their_images_when_others_are_skipped(tmp_path):
    for part in ("train", "test"):
        write_images(tmp_path / part / "a", 10)
        write_images(tmp_path / part / "b", 10, start=10)
        for n in range(7):
            spoil = half_a_file if n % 2 else text
            write_images(tmp_path / part / "a", 1)
            spoil(tmp_path / part / "a" / f"bad{n}.png")
    data = load_data(tmp_path, validation=0)
    for split in (data.train, data.test):
        assert len(split) == 20
        assert split.labels.tolist() == [int(n >= 10) for n in numbers(split)]


def test_one_image_is_too_few(tmp_path):
    write_images(tmp_path, 1)
    assert "has too few examples: of 1, " in refused(tmp_path)


def test_identical_images_are_refused(tmp_path):
    for n in range(20):
        Image.new("RGB", (9, 8), "blue").save(tmp_path / f"{n}.png")
    message = f"all 20 images of '{tmp_path}' are identical: there is nothing to learn from them."
    assert refused(tmp_path) == message
    assert refused(tmp_path, cache=tmp_path / "cache") == message
    assert not list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.parametrize("folder", [False, True])
def test_links_that_lead_out_are_refused(folder, tmp_path):
    images = write_images(tmp_path / "images", 20)
    outside = write_images(tmp_path / "elsewhere", 3)
    (images / "bad.png").symlink_to(outside if folder else outside / "000.png", target_is_directory=folder)
    assert "outside the folder: copy the images in, or remove it" in refused(images)
    (images / "bad.png").unlink()
    (images / "labels.csv").symlink_to(outside / "labels.csv")
    (outside / "labels.csv").touch()
    assert "outside the folder" in refused(images)


def test_links_inside_are_followed(tmp_path):
    write_images(tmp_path, 20)
    (tmp_path / "linked.png").symlink_to(tmp_path / "003.png")
    assert len(load_data(tmp_path, validation=0).train) == 19


# Sets larger than memory


@pytest.mark.parametrize("limit", [100, 30 * 8 * 8 + 1], ids=["decoded when needed", "held once"])
def test_streamed_folder_is_the_one_in_memory(limit, tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.data.decoded.AT_ONCE", 7)
    write_images(tmp_path / "a", 15, size=(9, 8))
    write_images(tmp_path / "b", 15, size=(8, 9), start=100)
    held = load_data(tmp_path, image_size=(8, 8))
    streamed = load_data(tmp_path, image_size=(8, 8), memory_limit=limit)
    assert isinstance(held.train, ArraySplit)
    assert isinstance(streamed.train, ReaderSplit)
    np.testing.assert_array_equal(held.train.labels, streamed.train.labels)
    np.testing.assert_array_equal(held.test.first()[0], streamed.test.first()[0])
    passes = [data.train.training_batches(5, 4).take(8) for data in (held, streamed)]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])

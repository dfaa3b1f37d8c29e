"""The library functions behind the commands of the latent space, for images, vectors and sequences."""

import copy
import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from test_cli_latent import leave_run

from vaezoo import latent_space
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.latent_space.codes import Information
from vaezoo.latent_space.drawing import Drawing
from vaezoo.latent_space.of_run import class_of, inputs_of
from vaezoo.runs import Run

RNG = np.random.default_rng(0)
LIKELIHOODS = {"vector": "normal", "sequence": "categorical"}


@pytest.fixture(scope="module")
def runs(tiny_recipe, bars_file, tmp_path_factory):
    """Runs by name, of models that were never trained: images, vectors and sequences."""
    folder = tmp_path_factory.mktemp("drawn_runs")
    with np.load(bars_file) as bars:
        arrays = dict(bars)
    labels = {"y_train": arrays["y_train"] + 1, "y_test": arrays["y_test"] + 1}  # the classes are named 1 to 8
    np.savez(folder / "image.npz", x_train=arrays["x_train"], x_test=arrays["x_test"], **labels)
    np.savez(folder / "vector.npz", x=RNG.normal(size=(500, 8)), y=RNG.integers(3, size=500))
    np.savez(folder / "sequence.npz", tokens=RNG.integers(5, size=(500, 6)))
    data = {"image": "image", "conditional": "image", "vector": "vector", "sequence": "sequence"}
    for name, kind in data.items():
        settings = {"data.name": str(folder / f"{kind}.npz"), "model.conditional": name == "conditional"}
        if kind in LIKELIHOODS:
            settings |= {"model.likelihood": LIKELIHOODS[kind], "data.binarize": "none"}
        leave_run(load_recipe(tiny_recipe, settings), folder / name)
    return {name: Run(folder / name) for name in data}


DRAWINGS = {
    "sample": lambda run: latent_space.draw_samples(run, n=5),
    "reconstruct": lambda run: latent_space.draw_reconstructions(run, index=[0, 1, 2]),
    "manifold": lambda run: latent_space.draw_manifold(run, size=3),
    "traverse": lambda run: latent_space.draw_traversal(run, index=1, top=2, gif=True),
    "interpolate": lambda run: latent_space.draw_interpolation(run, index=[1, 2], gif=True),
    "embed": lambda run: latent_space.draw_embedding(run, count=30),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_images_are_drawn(runs, name, tmp_path):
    drawing = DRAWINGS[name](runs["image"])
    assert drawing.name == name
    assert isinstance(drawing.figure, Figure)
    assert (drawing.frames is not None) == (name in ("traverse", "interpolate"))
    written = drawing.save(tmp_path)
    endings = [".png", ".gif", ".npz"] if drawing.frames is not None else [".png", ".npz"]
    assert written == [tmp_path / f"{name}{ending}" for ending in endings]
    assert sorted(tmp_path.iterdir()) == sorted(written)


@pytest.mark.parametrize("kind", ["vector", "sequence"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_of_other_examples_there_are_the_arrays(runs, name, kind, tmp_path):
    drawing = DRAWINGS[name](runs[kind])
    spec = runs[kind].model.spec
    if name == "embed":  # a map of codes needs no images
        assert isinstance(drawing.figure, Figure)
        return
    assert drawing.figure is None
    assert drawing.frames is None
    what = {"vector": "vectors of 8 numbers", "sequence": "sequences of 6 tokens out of 5"}[kind]
    assert drawing.lines[-1] == f"no picture: the examples are {what}"
    assert drawing.arrays["examples"].shape[-1:] == spec.shape
    assert drawing.save(tmp_path / "deep" / "a.png") == [tmp_path / "deep" / "a.npz"]
    assert [drawing.save(tmp_path) for _ in range(2)] == [[tmp_path / f"{name}.npz"], [tmp_path / f"{name}-2.npz"]]
    with np.load(tmp_path / f"{name}.npz") as arrays:
        assert all(np.isfinite(array).all() for array in arrays.values())
        np.testing.assert_array_equal(arrays["examples"], drawing.arrays["examples"])


def test_a_drawing_shows_what_the_function_of_arrays_returns(runs):
    run = runs["image"]
    x, labels, names = inputs_of(run, 5)
    drawing = latent_space.draw_traversal(run, index=5, top=2, span=1.5, steps=4)
    result = latent_space.traverse(run.model, x[0], span=1.5, steps=4, axes=drawing.arrays["axes"])
    for name, array in result._asdict().items():
        np.testing.assert_array_equal(drawing.arrays[name], array)
    np.testing.assert_array_equal(x, run.first("test", 6)[0][5:])
    assert labels is None
    assert names == ["test 5"]


def test_an_edit_of_vectors(runs):
    drawing = latent_space.draw_edits(runs["vector"], "label=2", index=[0, 1], amount=[0, 1])
    assert drawing.arrays["examples"].shape == (2, 2, 8)
    assert "training examples with label=2" in drawing.lines[0]
    x, labels = runs["vector"].first("train")
    average = latent_space.embed(runs["vector"].model, x[labels == 2]).mean(0)
    np.testing.assert_allclose(drawing.arrays["average"], average, atol=1e-5)


def test_a_class_is_given_by_its_name_or_as_an_integer(runs):
    run = runs["conditional"]
    assert class_of(run, "3") == 2  # the classes are named 1 to 8
    assert class_of(run, 3) == 3
    by_name, by_index = (latent_space.draw_samples(run, n=2, label=label).arrays["examples"] for label in ("3", 2))
    np.testing.assert_array_equal(by_name, by_index)


@pytest.mark.parametrize("kind", ["image", "vector", "sequence"])
def test_a_comparison_has_maps_of_all_kinds_and_pictures_of_images(runs, kind, tmp_path):
    drawn = latent_space.draw_comparison({"a": runs[kind], "b": runs[kind]}, pairs=7)
    pictures = ["maps.png", "samples.png", "interpolations.png"] if kind == "image" else ["maps.png"]
    assert list(drawn.figures) == pictures
    paths = drawn.save(tmp_path / "out")
    assert [path.name for path in paths] == ["comparison.npz", "comparison.csv", *pictures]
    assert all(path.is_file() for path in paths)
    first, second = ({key: value for key, value in row.items() if key != "model"} for row in drawn.result.table)
    assert first == second
    assert drawn.lines[1].startswith("a ")
    assert ("no pictures of samples" in drawn.lines[-1]) == (kind != "image")
    with np.load(paths[0]) as arrays:
        assert arrays["step_ratios"].shape == (2, 7)
        assert arrays["codes_a"].shape == (100 if kind == "image" else 50, 3)


def test_the_error_of_a_sequence_is_the_share_of_wrong_tokens(runs):
    run = runs["sequence"]
    drawing = latent_space.draw_reconstructions(run, index=range(20))
    wrong = drawing.arrays["inputs"] != drawing.arrays["examples"]
    np.testing.assert_allclose(drawing.arrays["squared_error"], wrong.mean(1))
    assert 0 < wrong.mean() < 1


def test_all_files_are_written_or_none(runs, tmp_path, monkeypatch):
    drawing = DRAWINGS["traverse"](runs["image"])
    (tmp_path / "mine.npz").write_text("before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(VaezooError, match="No space left"):
        drawing.save(tmp_path / "new.png")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]
    monkeypatch.undo()
    assert drawing.save(tmp_path / "mine.pdf")[0].read_bytes().startswith(b"%PDF")


def test_no_file_of_a_melody_stays_alone(tmp_path):
    drawing = Drawing("sample", {"examples": np.zeros(16)}, Figure(), melody=np.zeros(16, "uint8"))
    (tmp_path / "sample.wav").mkdir()  # cannot be replaced by a file
    with pytest.raises(VaezooError, match=r"cannot write '.*sample\.wav'"):
        drawing.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.wav"]
    (tmp_path / "sample.wav").rmdir()
    assert [path.suffix for path in drawing.save(tmp_path)] == [".png", ".wav", ".mid", ".npz"]


@pytest.mark.parametrize(
    ("kind", "call", "message"),
    [
        ("image", lambda run: latent_space.draw_reconstructions(run), "give index= or image=, and not both"),
        ("image", lambda run: latent_space.draw_reconstructions(run, 0, "a.png"), "index= or image=, and not both"),
        ("image", lambda run: latent_space.draw_traversal(run, 0, invert=True), "apply to image= only"),
        ("image", lambda run: latent_space.draw_samples(run, invert=True), "apply to image= only"),
        ("image", lambda run: latent_space.draw_samples(run, label=3), "label= is for conditional models"),
        ("image", lambda run: latent_space.draw_traversal(run, [0, 1]), "starts from one example and was given 2"),
        ("image", lambda run: latent_space.draw_traversal(run, 0, top=4), "top= is 4; it must be from 1 to 3"),
        ("image", lambda run: latent_space.draw_manifold(run, axes=(0, 3)), "there is no latent axis 3"),
        ("image", lambda run: latent_space.draw_embedding(run, count=0), "give at least 1"),
        ("conditional", lambda run: latent_space.draw_samples(run, label=9), "label 9 is no class of this model"),
        ("conditional", lambda run: latent_space.draw_samples(run, label="9"), "unknown class '9'. Classes: 1, 2,"),
        ("conditional", lambda run: latent_space.draw_samples(run, label=1, index=2), "label= draws one class"),
        ("conditional", lambda run: latent_space.draw_samples(run, n=1, index=2), "n= counts draws from the prior"),
        ("vector", lambda run: latent_space.draw_reconstructions(run, image="a.png"), "image= needs images"),
        ("image", lambda run: DRAWINGS["embed"](run).save("a.txt"), "its name must end in .png, .pdf, .svg"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_argument(runs, kind, call, message):
    with pytest.raises(VaezooError) as error:
        call(runs[kind])
    assert message in str(error.value)
    assert "--" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_picture_of_ones_own(runs, tmp_path):
    pixels = np.zeros((8, 8), "uint8")
    pixels[2] = 255
    Image.fromarray(pixels).save(tmp_path / "own.png")
    x, labels, names = inputs_of(runs["image"], image=tmp_path / "own.png")
    np.testing.assert_array_equal(x[0, ..., 0], pixels / 255)
    assert (labels, names) == (None, ["own"])
    x, labels, _ = inputs_of(runs["conditional"], image=[tmp_path / "own.png"] * 2, invert=True, image_label="8")
    np.testing.assert_array_equal(x[1, ..., 0], 1 - pixels / 255)
    assert list(labels) == [7, 7]


def test_a_map_coloured_by_a_known_factor(runs):
    run = Run(runs["image"].path)
    test = copy.copy(run.data.test)
    count = len(test)
    size, kind = np.linspace(0, 1, 20)[np.arange(count) % 20], np.array(["even", "odd"])[np.arange(count) % 2]
    test.factors = {"size": size, "kind": kind}
    run.__dict__["data"] = dataclasses.replace(run.data, test=test)
    drawing = latent_space.draw_embedding(run, by="size", count=15)
    np.testing.assert_array_equal(drawing.arrays["values"], size[:15])
    dots, (_, scale) = drawing.figure.axes[0].collections[0], drawing.figure.axes
    np.testing.assert_allclose(dots.get_array(), size[:15])
    assert scale.get_ylabel() == "size"
    drawing = latent_space.draw_embedding(run, by="kind")
    np.testing.assert_array_equal(drawing.arrays["values"], kind)
    assert {text.get_text() for text in drawing.figure.axes[0].texts} == {"even", "odd"}
    np.testing.assert_array_equal(latent_space.draw_embedding(run, by="label").arrays["labels"], test.labels)
    with pytest.raises(VaezooError, match=r"unknown by 'sizes'\. Did you mean 'size'\?"):
        latent_space.draw_embedding(run, by="sizes")


def test_a_traversal_in_the_order_of_the_factors(runs, monkeypatch):
    run = Run(runs["image"].path)
    images = run.data.train  # the test images are too few
    rows = np.argmax(np.asarray(images.first()[0]).mean(2)[..., 0], axis=1)  # where the horizontal bar is
    test = copy.copy(images)
    test.factors = {"noise": np.arange(len(rows)) % 2, "row": rows}
    run.__dict__["data"] = dataclasses.replace(run.data, test=test)
    # Codes made by hand: the first latent is the row, the second one is noise, the third one is constant.
    codes = np.stack([rows, np.arange(len(rows)) % 2, np.zeros(len(rows))], axis=1).astype("float32")
    monkeypatch.setattr("vaezoo.latent_space.of_run.embed", lambda *_: codes)
    found = latent_space.of_run.axes_by_factor(run)
    assert [(axis, factor) for axis, factor, _ in found] == [(1, "noise"), (2, "noise"), (0, "row")]
    assert found[1][2] == 0
    np.testing.assert_allclose(found[0][2], np.log(2), atol=0.01)
    bits = np.array([1.0, 1.0, 1.0])
    monkeypatch.setattr("vaezoo.latent_space.drawings.axis_information", lambda _: Information(bits, "bits"))
    assert latent_space.draw_traversal(run, index=0, by="factors").arrays["axes"].tolist() == [1, 2, 0]
    bits[1] = 0.01  # what its mean tells is lost in its noise
    drawing = latent_space.draw_traversal(run, index=0, by="factors")
    assert drawing.arrays["axes"].tolist() == [2, 0, 1]
    assert "z1  unused" in [text.get_text() for text in drawing.figure.findobj(Text)]
    with pytest.raises(VaezooError, match=r"unknown by 'factor'\. Did you mean 'factors'\?"):
        latent_space.draw_traversal(run, index=0, by="factor")
    with pytest.raises(VaezooError, match="has no known factors to order the axes by"):
        latent_space.draw_traversal(runs["image"], index=0, by="factors")

"""The commands of the latent space: what they write and print, and how they refuse."""

import json
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import vaezoo
from vaezoo import latent_space
from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.latent_space import of_run
from vaezoo.runs import Run, load_recipe_data
from vaezoo.training.run_directory import RunDirectory
from vaezoo.zoo import build_model


@pytest.fixture(scope="module")
def runs(tiny_recipe, bars_file, tmp_path_factory):
    """Run directories by name, of models that were never trained: no command here asks how good they are."""
    folder = tmp_path_factory.mktemp("latent_runs")
    with np.load(bars_file) as bars:
        np.savez(folder / "unlabelled.npz", x_train=bars["x_train"], x_test=bars["x_test"])
    data = {"plain": bars_file, "conditional": bars_file, "unlabelled": folder / "unlabelled.npz"}
    for name, path in data.items():
        settings = {"data.name": str(path), "model.conditional": name == "conditional"}
        leave_run(load_recipe(tiny_recipe, settings), folder / name)
    return folder


def leave_run(recipe, path):
    """A run directory as far as a later command reads it."""
    keras.utils.set_random_seed(1)
    with RunDirectory(path) as run:
        run.text("recipe.yaml", to_yaml(recipe))
        run.model("model.keras", build_model(recipe, load_recipe_data(recipe).spec))


@pytest.fixture
def run_of(runs, tmp_path):
    """A copy of a run in which a test may write."""
    return lambda name: shutil.copytree(runs / name, tmp_path / name)


def done(capsys, *arguments):
    """Run a command that must succeed; the lines that it printed."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.err == ""
    return captured.out.splitlines()


def refused(capsys, *arguments):
    """Run a command that must be refused: exit code 2 and one line, which is returned."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("vaezoo: ")
    return line


def picture(tmp_path, name="own.png", size=8):
    image = np.zeros((size, size), "uint8")
    image[size // 4] = image[:, size // 2] = 255
    Image.fromarray(image).save(tmp_path / name)
    return tmp_path / name


COMMANDS = {
    "sample": ["-n", 9],
    "reconstruct": ["--index", 0, 1, 2],
    "manifold": ["--size", 4],
    "traverse": ["--index", 5, "--gif"],
    "interpolate": ["--index", 3, 17, "--gif"],
    "edit": ["--index", 3, "--toward", "label=7"],
    "embed": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_leaves_a_picture_and_its_arrays(runs, run_of, capsys, command):
    run = run_of("plain")
    before = {path: path.read_bytes() for path in run.iterdir()}
    lines = done(capsys, command, run, *COMMANDS[command])
    path = run / "pictures" / f"{command}.png"
    assert str(path) in lines
    with Image.open(path) as image:
        assert min(image.size) > 100
    with np.load(path.with_suffix(".npz")) as arrays:
        assert all(np.isfinite(arrays[name]).all() for name in arrays)
    films = [path.with_suffix(".gif")] if "--gif" in COMMANDS[command] else []
    assert {str(each) for each in [path, path.with_suffix(".npz"), *films]} == {
        line for line in lines if line.startswith("/")
    }
    for film in films:
        with Image.open(film) as frames:
            assert frames.n_frames > 5
    # A second picture takes the next name, and nothing of the run has changed.
    assert str(run / "pictures" / f"{command}-2.png") in done(capsys, command, run, *COMMANDS[command])
    assert {path: path.read_bytes() for path in before} == before


def arrays_of(capsys, tmp_path, *arguments):
    """The arrays that a command writes."""
    out = tmp_path / "arrays" / "a.png"
    done(capsys, *arguments, "--out", out)
    with np.load(out.with_suffix(".npz")) as arrays:
        return dict(arrays)


def test_out_names_the_picture(runs, tmp_path, capsys):
    out = tmp_path / "new" / "mine.pdf"
    assert done(capsys, "sample", runs / "plain", "-n", 4, "--out", out) == [str(out), str(out.with_suffix(".npz"))]
    assert out.read_bytes().startswith(b"%PDF")
    assert not (runs / "plain" / "pictures").exists()


def test_sample_is_the_functions(runs, tmp_path, capsys):
    model = vaezoo.load(runs / "plain")
    arrays = arrays_of(capsys, tmp_path, "sample", runs / "plain", "-n", 5, "--seed", 3)
    np.testing.assert_allclose(arrays["examples"], model.sample(5, seed=3), atol=1e-6)
    assert arrays["examples"].shape == (5, 8, 8, 1)
    assert arrays_of(capsys, tmp_path, "sample", runs / "plain")["examples"].shape == (64, 8, 8, 1)


def test_a_conditional_run_samples_a_class_or_every_class(runs, tmp_path, capsys):
    run, model = runs / "conditional", vaezoo.load(runs / "conditional")
    one = arrays_of(capsys, tmp_path, "sample", run, "-n", 4, "--label", 3)
    np.testing.assert_allclose(one["examples"], model.sample(4, label=3), atol=1e-6)
    every = arrays_of(capsys, tmp_path, "sample", run, "-n", 4)
    assert every["examples"].shape == (4, 8, 8, 8, 1)
    np.testing.assert_allclose(every["examples"][:, 3], one["examples"], atol=1e-6)
    styles = arrays_of(capsys, tmp_path, "sample", run, "--index", 2, 0)
    images, labels, _ = of_run.inputs_of(Run(run), [2, 0])
    np.testing.assert_allclose(styles["codes"], latent_space.embed(model, images, labels), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "edit"])
def test_every_command_works_on_a_conditional_run(runs, tmp_path, capsys, command):
    label = ["--label", 2] if command == "manifold" else []
    assert arrays_of(capsys, tmp_path, command, runs / "conditional", *COMMANDS[command], *label)


def test_conditional_runs_encode_with_the_labels_of_the_images(runs, tmp_path, capsys):
    run = Run(runs / "conditional")
    images, labels, _ = of_run.inputs_of(run, [4, 7])
    np.testing.assert_array_equal(labels, run.data.test.labels[[4, 7]])
    arrays = arrays_of(capsys, tmp_path, "reconstruct", runs / "conditional", "--index", 4, 7)
    own = latent_space.reconstruct(run.model, images, labels)
    np.testing.assert_allclose(arrays["codes"], own.codes, atol=1e-5)
    wrong = latent_space.reconstruct(run.model, images, (labels + 1) % 8)
    assert np.abs(arrays["codes"] - wrong.codes).max() > 1e-3


def test_images_are_read_as_the_model_was_trained_on_them(runs):
    run = Run(runs / "plain")
    images, labels, names = of_run.inputs_of(run, [3, 0])
    assert set(np.unique(images)) <= {0, 1}  # the recipe binarizes
    np.testing.assert_array_equal(images, run.first("test")[0][[3, 0]])
    assert labels is None  # the model takes none
    assert names == ["test 3", "test 0"]


def test_reconstruct_prints_the_error_and_the_bits(runs, tmp_path, capsys):
    lines = done(capsys, "reconstruct", runs / "plain", "--index", 0, 1, "--out", tmp_path / "a.png")
    assert re.fullmatch(r"squared error 0\.\d{4} per element, [\d.]+ nats per image; [\d.]+ bits per code", lines[0])


def test_manifold_takes_the_most_informative_axes_and_says_which(runs, tmp_path, capsys):
    order = of_run.axis_information(Run(runs / "plain")).order
    lines = done(capsys, "manifold", runs / "plain", "--size", 3, "--range", 2, "--out", tmp_path / "a.png")
    assert lines[0] == f"the two most informative of 3 latent axes are z{order[0]} and z{order[1]}"
    with np.load(tmp_path / "a.npz") as arrays:
        assert list(arrays["axes"]) == list(order[:2])
        np.testing.assert_allclose(arrays["values"], [-2, 0, 2])
        assert arrays["codes"][0, 0, order[0]] == -2
        assert arrays["codes"][0, 0, order[1]] == 2
    other = arrays_of(capsys, tmp_path, "manifold", runs / "plain", "--axes", 2, 0, "--size", 5, "--quantile", "--map")
    assert list(other["axes"]) == [2, 0]
    assert other["values"][1] > -2  # quantiles crowd towards the centre


def test_traverse_begins_with_the_most_informative_axis(runs, tmp_path, capsys):
    order = of_run.axis_information(Run(runs / "plain")).order
    arguments = ["traverse", runs / "plain", "--index", 1, "--steps", 5, "--range", 1.5]
    arrays = arrays_of(capsys, tmp_path, *arguments)
    assert list(arrays["axes"]) == list(order)
    assert (np.diff(arrays["information"]) <= 0).all()
    np.testing.assert_allclose(arrays["values"], np.linspace(-1.5, 1.5, 5))
    assert len(arrays_of(capsys, tmp_path, *arguments, "--top", 1)["axes"]) == 1


@pytest.mark.parametrize(("count", "shape"), [(2, (1, 4)), (3, (4, 4)), (4, (4, 4)), (6, (5, 4))])
@pytest.mark.parametrize("options", [[], ["--spherical"]])
def test_interpolate_takes_any_number_of_images(runs, tmp_path, capsys, count, shape, options):
    arguments = ["interpolate", runs / "plain", "--index", *range(count), "--steps", 4, *options]
    assert arrays_of(capsys, tmp_path, *arguments)["examples"].shape == (*shape, 8, 8, 1)


def test_an_interpolation_prints_how_smooth_it_is(runs, tmp_path, capsys):
    lines = done(capsys, "interpolate", runs / "plain", "--index", 3, 17, "--out", tmp_path / "a.png")
    assert re.fullmatch(r"largest step / mean step: \d\.\d\d", lines[0])


def test_edit_moves_towards_the_average_of_the_training_images(runs, tmp_path, capsys):
    run = Run(runs / "plain")
    arguments = ["edit", runs / "plain", "--index", 3, 4, "--toward", "label=5", "--amount", 0, 0.5, 1]
    arrays = arrays_of(capsys, tmp_path, *arguments)
    images, labels = run.first("train")
    average = latent_space.embed(run.model, images[labels == 5]).mean(0)
    np.testing.assert_allclose(arrays["average"], average, atol=1e-5)
    np.testing.assert_allclose(arrays["codes"][:, 2], [average, average], atol=1e-5)
    np.testing.assert_allclose(arrays["codes"][:, 1], (arrays["codes"][:, 0] + average) / 2, atol=1e-5)


def test_averages_are_kept_with_the_run_for_that_model_alone(run_of, tmp_path, capsys, monkeypatch):
    run = run_of("plain")
    arguments = ["edit", run, "--index", 3, "--toward", "label=5"]
    first = arrays_of(capsys, tmp_path, *arguments)["average"]
    monkeypatch.setattr(of_run, "_sum_of_codes", lambda *_: pytest.fail("the average was not kept"))
    np.testing.assert_array_equal(arrays_of(capsys, tmp_path, *arguments)["average"], first)
    monkeypatch.undo()
    # Another model in its place: the old averages are of no use.
    model = vaezoo.load(run)
    model.encoder.layers[-2].set_weights([2 * weight for weight in model.encoder.layers[-2].get_weights()])
    model.save(run / "model.keras")
    assert not np.allclose(arrays_of(capsys, tmp_path, *arguments)["average"], first)
    # A broken file is no obstacle.
    (run / "averages.npz").write_bytes(b"PK broken")
    assert arrays_of(capsys, tmp_path, *arguments)["average"].shape == (3,)


def test_embed_is_the_whole_test_set_or_its_beginning(runs, tmp_path, capsys):
    arrays = arrays_of(capsys, tmp_path, "embed", runs / "plain")
    assert arrays["codes"].shape == (100, 3)
    assert arrays["points"].shape == (100, 2)
    np.testing.assert_array_equal(arrays["labels"], Run(runs / "plain").data.test.labels)
    few = arrays_of(capsys, tmp_path, "embed", runs / "plain", "--count", 7, "--axes", 2, 1)
    np.testing.assert_array_equal(few["points"], few["codes"][:, [2, 1]])
    assert len(few["codes"]) == 7
    assert arrays_of(capsys, tmp_path, "embed", runs / "plain", "--count", 1)["points"].shape == (1, 2)
    assert "labels" not in arrays_of(capsys, tmp_path, "embed", runs / "unlabelled")


def test_own_pictures(runs, tmp_path, capsys):
    path = picture(tmp_path)
    arrays = arrays_of(capsys, tmp_path, "reconstruct", runs / "plain", "--image", path, picture(tmp_path, "b.png", 80))
    assert arrays["inputs"].shape == (2, 8, 8, 1)
    assert set(np.unique(arrays["inputs"])) <= {0, 1}
    turned = arrays_of(capsys, tmp_path, "reconstruct", runs / "plain", "--image", path, "--invert")
    np.testing.assert_array_equal(turned["inputs"][0], 1 - arrays["inputs"][0])
    label = ["--image-label", 3]
    assert arrays_of(capsys, tmp_path, "traverse", runs / "conditional", "--image", path, *label)
    assert arrays_of(capsys, tmp_path, "sample", runs / "conditional", "--image", path, *label)


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        ("plain", ["reconstruct", "--index", 100], "index 100 is outside the test set; its 100 examples are 0 to 99"),
        ("plain", ["reconstruct", "--index", -1], "index -1 is outside the test set"),
        ("plain", ["sample", "--label", 3], "--label is for conditional models"),
        ("plain", ["manifold", "--label", 3], "--label is for conditional models"),
        ("plain", ["sample", "-n", 0], "the number of samples is 0"),
        ("plain", ["sample", "--seed", -1], "the seed -1 is outside 0 to"),
        ("plain", ["sample", "--index", 3], "not conditional"),
        ("conditional", ["sample", "--label", 9], "unknown class '9'. Classes: 0, 1, 2, 3, 4, 5, 6, 7."),
        ("conditional", ["sample", "--label", 1, "--index", 3], "leave one out"),
        ("conditional", ["sample", "-n", 1, "--index", 3], "leave one out"),
        ("conditional", ["sample", "-n", 0], "0 draws from the prior; give at least 1"),
        ("conditional", ["sample", "-n", -2], "-2 draws from the prior; give at least 1"),
        ("conditional", ["manifold"], "give a label from 0 to 7"),
        (
            "conditional",
            ["edit", "--index", 3, "--toward", "label=1"],
            "draws the style of that example in every class",
        ),
        ("plain", ["edit", "--index", 3, "--toward", "label=9"], "unknown class '9'. Classes: 0, 1,"),
        ("plain", ["edit", "--index", 3, "--toward", "size=high"], "unknown factor 'size'. Allowed: label."),
        ("plain", ["edit", "--index", 3, "--toward", "label"], "write FACTOR=VALUE"),
        ("unlabelled", ["edit", "--index", 3, "--toward", "label=1"], "neither labels nor known factors"),
        ("plain", ["interpolate", "--index", 3], "needs at least two examples and was given one"),
        ("plain", ["interpolate", "--index", 3, 4, "--steps", 1], "it takes at least 2"),
        ("plain", ["traverse", "--index", 3, 4], "starts from one example and was given 2"),
        ("plain", ["traverse", "--index", 3, "--top", 4], "--top is 4; it must be from 1 to 3"),
        ("plain", ["traverse", "--index", 3, "--range", 0], "must be a number above 0"),
        ("plain", ["manifold", "--axes", 0, 3], "there is no latent axis 3; this model has 0 to 2"),
        ("plain", ["manifold", "--axes", 1, 1], "two different latent axes"),
        ("plain", ["manifold", "--size", 1], "it takes at least 2"),
        ("plain", ["embed", "--axes", 0, 3], "there is no latent axis 3"),
        ("plain", ["embed", "--count", 0], "give at least 1"),
        ("plain", ["reconstruct", "--image", "none.png"], "'none.png' is not a file"),
        ("plain", ["reconstruct", "--index", 1, "--invert"], "--invert and --image-label apply to --image only"),
        ("plain", ["sample", "--out", "a.txt"], "its name must end in .png, .pdf, .svg"),
        ("nowhere", ["sample"], "holds no run: there is no recipe.yaml in it; `vaezoo train` makes one"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_and_leaves_nothing(runs, tmp_path, capsys, monkeypatch, run, arguments, message):
    monkeypatch.chdir(tmp_path)
    command, *options = arguments
    before = sorted(runs.rglob("*"))
    assert message in refused(capsys, command, runs / run, *options)
    assert sorted(runs.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_own_pictures_that_are_refused(runs, tmp_path, capsys):
    path, before = picture(tmp_path), sorted(runs.rglob("*"))
    Image.fromarray(np.zeros((8, 12), "uint8")).save(tmp_path / "wide.png")
    reconstruct = "reconstruct", runs / "plain", "--image"
    assert "12×8 and the model takes 8×8" in refused(capsys, *reconstruct, tmp_path / "wide.png")
    assert "--image-label is for conditional models" in refused(capsys, *reconstruct, path, "--image-label", 1)
    told = "reconstruct", runs / "conditional", "--image", path
    assert "give the class of each --image as --image-label" in refused(capsys, *told)
    assert "2 classes in --image-label for 1 pictures" in refused(capsys, *told, "--image-label", 1, 2)
    assert "unknown class 'x'" in refused(capsys, *told, "--image-label", "x")
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize("text", ["nan", "inf", "x"])
def test_numbers_that_are_none(runs, capsys, text):
    with pytest.raises(SystemExit) as stopped:
        main(["manifold", str(runs / "plain"), "--range", text])
    assert stopped.value.code == 2
    assert "--range" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_leaves_no_arrays(run_of, tmp_path, capsys, monkeypatch):
    run = run_of("plain")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    assert "No space left on device" in refused(capsys, "sample", run)
    assert list((run / "pictures").iterdir()) == []


# Comparison and animation


@pytest.mark.slow
def test_compare_trains_recipes_and_takes_runs(runs, tiny_recipe, bars_file, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(tiny_recipe.read_text() + "name: other\n")
    arguments = ["compare", other, runs / "plain", "--data", bars_file, "--epochs", 1, "--pairs", 20]
    assert main([str(argument) for argument in [*arguments, "--out", tmp_path / "out"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "model",
        "latents",
        "squared",
        "error",
        "nats",
        "latent",
        "bits",
        "largest/mean",
        "step",
    ]
    assert [line.split()[0] for line in lines[1:3]] == ["other", "plain"]
    files = "comparison.npz", "comparison.csv", "maps.png", "samples.png", "interpolations.png"
    assert lines[3:] == ["", *(str(tmp_path / "out" / name) for name in files)]
    assert all((tmp_path / "out" / name).is_file() for name in files)
    assert Run(tmp_path / "out" / "other").recipe.training.epochs == 1
    rows = (tmp_path / "out" / "comparison.csv").read_text().splitlines()
    assert rows[0] == "model,latents,squared_error,nats,bits,largest_step"
    with np.load(tmp_path / "out" / "comparison.npz") as arrays:
        assert arrays["codes_other"].shape == (100, 3)
        assert arrays["step_ratios"].shape == (2, 20)
        assert arrays["samples"].shape == (2, 36, 8, 8, 1)


def test_compare_refuses_what_does_not_compare(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Did you mean 'kl_only'?" in refused(capsys, "compare", "kl_onli")
    assert "have different data" in refused(capsys, "compare", runs / "plain", runs / "unlabelled")
    assert "have different data" in refused(capsys, "compare", runs / "plain", "ae")
    assert "two of the models to compare are named 'plain'" in refused(capsys, "compare", *[runs / "plain"] * 2)
    assert "only run directories were given" in refused(capsys, "compare", runs / "plain", "--epochs", 3)
    assert "holds no run" in refused(capsys, "compare", tmp_path)
    assert "at least 1" in refused(capsys, "compare", runs / "plain", "--pairs", 0)
    assert "outside 0 to" in refused(capsys, "compare", runs / "plain", "--seed", -1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_animate_keeps_every_epoch_and_leaves_a_film(tiny_recipe, bars_file, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", tiny_recipe, "--data", bars_file, "--epochs", 2, "--animate", "--out", out]
    assert main([str(argument) for argument in [*arguments, "--set", "model.conditional=true"]]) == 0
    run = Run(out)
    with np.load(out / "latent.npz") as kept:
        assert kept["codes"].shape == (3, 100, 3)
        assert list(kept["epochs"]) == [0, 1, 2]
        codes, labels = of_run.embedding_of_test(run)
        np.testing.assert_array_equal(kept["labels"], labels)
        np.testing.assert_allclose(kept["codes"][-1], codes, atol=1e-4)
    with Image.open(out / "latent.gif") as film:
        assert film.n_frames == 3
    assert json.loads((out / "environment.json").read_text())["status"] == "finished"


def test_without_animate_there_is_no_film(runs):
    assert not list(runs.glob("*/latent.*"))

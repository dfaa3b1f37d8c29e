"""`vaezoo score`: a run scores its own test split and new examples, is calibrated once, and refuses bad input."""

import csv
import os
import shutil

import numpy as np
import pytest
from conftest import bars
from consumers.tiny_exports import train_tiny
from PIL import Image

from vaezoo.cli import main
from vaezoo.errors import VaezooError
from vaezoo.runs import Run
from vaezoo.scoring import SCORES, score
from vaezoo.scoring.stored import FILE


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the tiny run: images 8×8 of zeros and ones, 20 of them for validation."""
    return Run(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def no_data(run):
    """A function: the run as it is once its training data are gone."""

    def without():
        recipe = run.path / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace(run.recipe.data.name, "/nowhere/bars.npz"))
        return Run(run.path)

    return without


@pytest.fixture
def new_images(tmp_path):
    """A folder of ten bars and one white image, in grey, with a file that is broken."""
    folder = tmp_path / "new images"
    folder.mkdir()
    images, _ = bars(10, seed=7)
    for number, image in enumerate([*images, np.full((8, 8, 1), 255, "uint8")]):
        Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def read(folder):
    with open(folder / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_new_images_get_a_row_each_in_the_order_of_their_names(run, new_images, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["score", str(run.path), "--data", str(new_images), "--fpr", "0.1", "--explain", "--out", str(out)]) == 0
    )
    rows = read(out)
    assert [row["item"] for row in rows] == [f"{number:02}.png" for number in range(11)]
    assert list(rows[0]) == ["item", "score", "p_value", "anomaly", "reconstruction", "kl", "most_unusual"]
    for row in rows:
        assert (row["anomaly"] == "yes") == (float(row["p_value"]) <= 0.1)
    assert rows[-1]["anomaly"] == "yes"  # the white one
    assert {path.name for path in out.iterdir()} == {
        "scores.csv", "histogram.png", "typical.png", "explanation.png", "explanation.npz",
    }  # fmt: skip
    with np.load(out / "explanation.npz") as found:
        assert found["elements"].shape == (11, 8, 8)
        assert found["latents"].shape == (11, 3)
    said = capsys.readouterr().out
    assert "1 of 12 images are left out, since they cannot be read: 'broken.png'" in said
    assert f"{sum(row['anomaly'] == 'yes' for row in rows)} of 11 examples are anomalies" in said
    assert "1.1 are expected" in said
    assert "calibrated on 20 validation examples; rate on 100 test examples" in said


def test_a_run_scores_its_own_test_split_and_the_rate_is_the_one_reported(run):
    scored = score(run, fpr=0.2)
    assert scored.names[:2] == ["test 0", "test 1"]
    rate, _ = scored.calibration.achieved(0.2)
    assert scored.anomalies.mean() == rate
    np.testing.assert_allclose(scored.scores, scored.calibration.test)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_once_calibrated_a_run_scores_without_its_data(run, no_data, new_images, name):
    before = score(run, new_images, name, fpr=0.1, explained=True)
    after = score(no_data(), new_images, name, fpr=0.1, explained=True)
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.p_values, before.p_values)
    assert after.words == before.words


def spoil(path, **changes):
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


NAN = np.full(20, np.nan)
SPOILERS = {
    "not an archive": lambda path: path.write_bytes(b"PK\x03\x04 no"),
    "another model": lambda path: spoil(path, model="0" * 64),
    "objects": lambda path: spoil(path, mean=np.array([{}], dtype=object)),
    "a missing array": lambda path: spoil(path, covariance=None),
    "another shape": lambda path: spoil(path, mean=np.zeros(7)),
    "no covariance": lambda path: spoil(path, covariance=-np.eye(6)),
    "numbers that are none": lambda path: spoil(path, validation_0=NAN),
    "no scores": lambda path: spoil(path, validation_0=np.zeros(0)),
    "a weight": lambda path: spoil(path, complexity_weight=np.float64(7)),
    "text for entries": lambda path: spoil(path, scores="{}"),
    "integers": lambda path: spoil(path, expected=np.zeros((8, 8), int)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILERS)
def test_a_stale_or_hostile_calibration_is_measured_anew_and_without_data_refused(run, no_data, new_images, how):
    before = score(run, new_images, fpr=0.1)
    path = run.path / FILE
    SPOILERS[how](path)
    with pytest.raises(VaezooError, match=rf"not calibrated .*{FILE}.*/nowhere") as error:
        score(no_data(), new_images, fpr=0.1)
    assert "\n" not in str(error.value)
    after = score(run, new_images, fpr=0.1)
    np.testing.assert_array_equal(after.p_values, before.p_values)


def test_a_run_that_cannot_be_written_is_scored_all_the_same(run, new_images):
    (run.path / FILE).mkdir()
    scored = score(run, new_images, fpr=0.1)
    assert len(scored.scores) == 11


def refused(capsys, *arguments):
    """The one line that a command is refused with."""
    assert main(["score", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("vaezoo: ")
    return said.err


@pytest.mark.slow
def test_bad_input_is_refused_with_one_line(run, tmp_path, capsys):
    def saved(name, array):
        np.save(tmp_path / name, array)
        return tmp_path / name

    path, empty, colour = run.path, tmp_path / "empty", tmp_path / "colour.png"
    empty.mkdir()
    Image.new("RGB", (8, 8), "red").save(colour)
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    images = np.zeros((3, 8, 8, 1), "uint8")
    images[:, 0] = 255
    for data, said in (
        (tmp_path / "missing.npy", "does not exist"),
        (empty, "there are no images in"),
        (colour, "is in colour, and this model takes images of 8×8×1; convert it to grey"),
        (tmp_path / "wide.png", "is 8×9, and this model takes images of 8×8×1; bring it to that size"),
        (saved("large.npy", np.zeros((3, 16, 16))), "holds images of 16×16×1, and this model takes images of 8×8×1"),
        (saved("rgb.npy", images.repeat(3, -1)), "holds images of 8×8×3, and this model"),
        (saved("table.npy", np.zeros((3, 64))), "must be [N, H, W]"),
        (saved("nan.npy", np.full((3, 8, 8), np.nan)), "hold NaN or infinity"),
        (saved("text.npy", np.array(["a"])), "must be integers, floats or bool"),
        (saved("none.npy", images[:0]), "the array is empty"),
        (tmp_path / "nowhere" / "x", "does not exist"),
        ("glyphs", "this model takes [N,8,8,1]"),
    ):
        assert said in refused(capsys, path, "--data", data, "--fpr", 0.1), data
    fine = saved("fine.npy", images)
    for options, said in (
        (
            ["--fpr", 0.01],
            "--fpr is 0.01, which needs at least 99 held-out examples to calibrate on, and there are 20",
        ),
        (["--fpr", 0], "--fpr is"),
        (["--fpr", 1], "--fpr is"),
        (["--fpr", 0.1, "--score", "robusst"], "Did you mean 'robust'?"),
        (["--fpr", 0.1, "--samples", -1], "--samples is -1; give 0 to 10,000"),
        (["--fpr", 0.1, "--score", "evidence", "--samples", 0], "give at least 1"),
    ):
        assert said in refused(capsys, path, "--data", fine, *options), options
    assert not (path / "scores").exists()
    for text in ("nan", "inf", "many"):
        with pytest.raises(SystemExit) as end:
            main(["score", str(path), "--fpr", text])
        assert end.value.code == 2


@pytest.mark.slow
def test_a_run_without_a_validation_split_says_so(tiny_recipe, bars_file, tmp_path):
    path = train_tiny(tiny_recipe, bars_file, tmp_path / "run", data__validation=0.0, training__epochs=1)
    with pytest.raises(VaezooError, match=r"no validation split.*train with data\.validation=0\.1"):
        score(Run(path), fpr=0.1)


def test_classes_of_a_conditional_run_are_matched_by_name(conditional_run, tmp_path):
    images, rows = bars(30, seed=3)
    np.savez(tmp_path / "all.npz", images=images, labels=rows)
    run = Run(shutil.copytree(conditional_run, tmp_path / "run"))
    right = score(run, tmp_path / "all.npz", fpr=0.1)
    # The same from a folder for each class, although it has only some of the classes: "3" is still the fourth.
    for image, row, number in zip(images, rows, range(30), strict=True):
        if row in (3, 5):
            folder = tmp_path / "some" / str(row)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    some = score(run, tmp_path / "some", fpr=0.1)
    places = [int(os.path.basename(name).removesuffix(".png")) for name in some.names]
    np.testing.assert_allclose(some.scores, right.scores[places], rtol=1e-5)
    wrong = np.where(rows == 3, 5, rows)
    np.savez(tmp_path / "wrong.npz", images=images, labels=wrong)
    swapped = score(run, tmp_path / "wrong.npz", fpr=0.1)
    assert (swapped.scores != right.scores).tolist() == (rows == 3).tolist()
    np.savez(tmp_path / "strange.npz", images=images, labels=rows + 1)
    with pytest.raises(VaezooError, match="the class '8'"):
        score(run, tmp_path / "strange.npz", fpr=0.1)
    np.save(tmp_path / "none.npy", images)
    with pytest.raises(VaezooError, match="have no classes"):
        score(run, tmp_path / "none.npy", fpr=0.1)


@pytest.mark.slow
def test_vectors_and_sequences_are_scored_and_explained(vector_run, sequence_run, tmp_path):
    run = Run(shutil.copytree(vector_run, tmp_path / "vectors"))
    x, _ = run.first("test", 20)
    x[3, 4] += 60.0
    np.save(tmp_path / "new.npy", x)
    scored = score(run, tmp_path / "new.npy", fpr=0.1, explained=True)
    assert scored.score == "elbo"
    assert scored.scores.argmax() == 3
    assert scored.words[3].startswith("x4 +")
    assert set(scored.figures) == {"histogram.png", "explanation.png"}
    x[3:9, 4] = 1e25  # its square overflows float32
    np.save(tmp_path / "far.npy", x)
    scored = score(run, tmp_path / "far.npy", fpr=0.1)
    assert not np.isfinite(scored.scores[3:9]).any()
    assert scored.anomalies[3:9].all()
    np.testing.assert_array_equal(scored.anomalies, scored.p_values <= 0.1)
    spoil(run.path / FILE, test_0=np.append(scored.calibration.test, np.inf))  # a test example may be as far out
    scored = score(run, tmp_path / "far.npy", fpr=0.1)
    assert np.isinf(scored.calibration.test).sum() == 1
    assert set(scored.figures) == {"histogram.png"}
    run = Run(shutil.copytree(sequence_run, tmp_path / "sequences"))
    scored = score(run, fpr=0.1, explained=True)
    assert scored.explanation.elements.shape == (100, 5)
    np.save(tmp_path / "tokens.npy", np.full((2, 5), 7))
    np.savez(tmp_path / "tokens.npz", tokens=np.full((2, 5), 7), labels=[0, 1])
    with pytest.raises(VaezooError, match="from 0 to 6"):
        score(run, tmp_path / "tokens.npz", fpr=0.1)

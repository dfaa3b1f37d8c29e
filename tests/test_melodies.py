"""Music as data: windows, splits without leakage, transposition, the user's own files, and the tunes of music21."""

import dataclasses
import importlib.util
import json
import os

import numpy as np
import pytest

from vaezoo import evaluation, latent_space
from vaezoo.cli import main
from vaezoo.config import load_recipe
from vaezoo.data import canonical_name, load_data
from vaezoo.data.melodies import Windows, make_melodies
from vaezoo.errors import VaezooError
from vaezoo.evaluation.disentanglement import disentanglement
from vaezoo.evaluation.report import as_text
from vaezoo.latent_space.editing import characteristic, members
from vaezoo.music import CLASSES, FIRST, notes_of
from vaezoo.music.abc import read_abc
from vaezoo.music.midi import midi_bytes
from vaezoo.music.sound import wav_bytes
from vaezoo.music.tokens import joined
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training import train
from vaezoo.training.setup import prepare

LETTERS = list("CDEFGABcdefg")


def abc(seed, bars=8, key="C", metre="4/4"):
    """A tune of random notes."""
    letters = np.random.default_rng(seed).choice(LETTERS, (bars, 8))
    unit = "1/16" if metre == "2/4" else "1/8"
    music = "|".join("".join(bar) for bar in letters)
    return f"X:{seed + 1}\nT:tune {seed}\nM:{metre}\nL:{unit}\nK:{key}\n{music}|\n\n"


def write_tunes(folder, count, start=0, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        (folder / f"{seed:03}.abc").write_text(abc(seed, **options))
    return folder


def tunes_of(*texts):
    return read_abc("".join(texts))[0]


def rows(split):
    return [row.tobytes() for row in split.first()[0].astype("uint8")]


def refused(name, **options):
    with pytest.raises(VaezooError) as error:
        load_data(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# The spec


def test_a_spec_says_what_its_tokens_mean():
    spec = Spec("sequence", (32,), CLASSES, notation="melody")
    assert str(spec) == "melodies of 32 sixteenths"
    assert Spec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec != Spec("sequence", (32,), CLASSES)
    old = {key: value for key, value in dataclasses.asdict(spec).items() if key != "notation"}
    assert Spec(**old).notation is None  # as in the file of a model before there was music
    for arguments in (("vector", (5,)), ("image", (4, 4, 1))):
        with pytest.raises(
            VaezooError, match=r"the notation 'melody' of '\w+'; allowed: None, or melody for a sequence"
        ):
            Spec(*arguments, notation="melody")
    with pytest.raises(VaezooError, match="the notation 'drums'"):
        Spec("sequence", (32,), CLASSES, notation="drums")
    spec.require_melody("a piano roll")
    with pytest.raises(
        VaezooError, match=r"^a piano roll needs melodies, and these examples are vectors of 5 numbers$"
    ):
        Spec("vector", (5,)).require_melody("a piano roll")


# Windows and splits


def test_windows_are_int32_tokens_with_labels_and_factors(tmp_path):
    for label in ("jigs", "reels"):
        write_tunes(tmp_path / label, 10, start=100 * (label == "reels"))
    data = load_data(tmp_path, bars=4)
    assert data.spec == Spec("sequence", (64,), CLASSES, 2, notation="melody")
    assert data.class_names == ("jigs", "reels")
    assert data.train.x.dtype == "uint8"
    x, labels = data.train.first()
    assert (x.shape[1:], x.dtype, labels.dtype) == ((64,), "int32", "int32")
    np.testing.assert_array_equal(x, data.train.x)
    batch = next(iter(data.train.training_batches(7, 2, labels=True)))
    assert (batch["x"].shape, batch["x"].dtype.name, batch["label"].shape) == ((7, 64), "int32", (7,))
    assert sorted(data.train.factors) == ["contour", "density", "metre", "mode", "range"]
    assert set(data.train.factors["density"]) == {8}
    chosen = data.train.with_factors(mode="major", label=1)
    assert set(chosen.labels) == {1}


def test_every_window_begins_on_a_bar_and_none_is_silent():
    (tune,) = tunes_of("X:1\nM:C\nL:1/4\nK:C\n" + "CDEF|GABc|z4|CDEF|C4-|C4|GABc|FEDC|")
    others = tunes_of(*(abc(seed) for seed in range(12)))
    data = make_melodies("made", [tune, *others], None, Windows(2), 0, 0)
    found = {tuple(note[:2] for note in notes_of(row)) for row in (*data.train.x, *data.test.x)}
    assert ((0, 4), (4, 4), (8, 4), (12, 4), (16, 16)) in found  # the note that goes on after the window
    quarters = tuple((4 * n, 4) for n in range(8))
    assert quarters in found  # GABc FEDC
    assert ((0, 16), (16, 4), (20, 4), (24, 4), (28, 4)) in found  # the tied note begins with the window
    assert not any(len(each) < 2 for each in found)
    assert len(data.train) + len(data.test) == 4 + 12 * 7


def test_no_version_of_a_test_tune_is_in_training():
    # Each tune three times: as it is, in another key and metre under another label, and without its first two bars.
    texts = [abc(seed) for seed in range(30)]
    low = [abc(seed, metre="2/4") for seed in range(30)]
    cut = [text.replace(text.split("\n")[5], text.split("\n")[5][18:]) for text in texts]
    tunes = tunes_of(*texts, *low, *cut)
    assert len(tunes) == 90
    labels = [str(number) for number in range(90)]
    data = make_melodies("made", tunes, labels, Windows(2), 0.1, 0)
    numbers = {
        part: {int(data.class_names[label]) % 30 for label in getattr(data, part).labels}
        for part in ("train", "validation", "test")
    }
    assert [len(found) for found in numbers.values()] == [24, 3, 3]
    assert not numbers["train"] & numbers["test"] | numbers["train"] & numbers["validation"]
    other = make_melodies("made", tunes, labels, Windows(2), 0.1, 5)
    assert rows(other.test) == rows(data.test)  # the same for every seed
    assert rows(other.validation) != rows(data.validation)
    assert "90 tunes in 30 groups of versions" in data.notes[-1]


def test_a_test_window_that_is_in_training_is_left_out():
    # Every tune ends alike: a phrase too short to make two tunes versions of each other.
    ending = "C2E2G2c2|c8|"
    texts = [abc(seed, bars=12).rstrip() + ending + "\n\n" for seed in range(20)]
    data = make_melodies("made", tunes_of(*texts), None, Windows(2), 0.1, 0)
    train = set(rows(data.train))
    assert not train & {*rows(data.validation), *rows(data.test)}
    assert data.notes[-1].endswith("left out since they occur in training: 2 of validation, 2 of test")
    # Transposed, such a window is another one, unless training is transposed at random.
    moved = [text.replace(ending, "D2^F2A2d2|d8|") for text in texts[:1]]
    for mode, count in (("key", 0), ("random", 1)):
        split = np.arange(20) < 1
        tunes = tunes_of(*moved, *texts[1:])
        note = make_melodies("made", tunes, None, Windows(2, mode), 0, 0, given=split).notes[-1]
        assert note.endswith(f"0 of validation, {count} of test"), mode


def test_the_key_is_taken_away_or_kept():
    texts = [abc(seed, key="D") for seed in range(20)]
    written = make_melodies("made", tunes_of(*texts), None, Windows(2, "none"), 0, 0)
    natural = make_melodies("made", tunes_of(*texts), None, Windows(2), 0, 0)
    pitched = written.train.x >= FIRST
    np.testing.assert_array_equal(written.train.x[pitched] - 2, natural.train.x[pitched])
    white = (natural.train.x[pitched].astype(int) - FIRST + 21) % 12
    assert set(white) <= {0, 2, 4, 5, 7, 9, 11}


def test_an_edit_can_ask_for_a_mode_or_a_density():
    data = make_melodies(
        "made", tunes_of(*(abc(n, key="Am" if n % 2 else "C") for n in range(20))), None, Windows(2), 0, 0
    )
    having = members([characteristic("mode=minor")], factors=data.train.factors)
    np.testing.assert_array_equal(having, data.train.factors["mode"] == "minor")
    assert 0 < members([characteristic("contour=high")], factors=data.train.factors).mean() < 0.3
    with pytest.raises(VaezooError, match=r"unknown value of 'mode' 'high'\. Allowed: major, minor\."):
        members([characteristic("mode=high")], factors=data.train.factors)
    codes = np.random.default_rng(0).normal(size=(len(data.train), 3))
    assert set(disentanglement(codes, data.train.factors)["factors"]) >= {"mode", "range"}


# Transposition


@pytest.fixture(scope="module")
def split():
    return make_melodies("made", tunes_of(*(abc(seed) for seed in range(40))), None, Windows(2, "random"), 0, 0).train


def test_training_transposes_every_window_by_one_number_of_semitones(split):
    plain = split.training_batches(50, 4, seed=3).take(12)
    moved = split.training_batches(50, 4, seed=3, transpose=True).take(12)
    found = set()
    for before, after in zip(plain, moved, strict=True):
        before, after = before["x"].numpy(), after["x"].numpy()
        assert after.dtype == "int32"
        pitched = before >= FIRST
        np.testing.assert_array_equal(before[~pitched], after[~pitched])
        shift = [set((b - a)[p]) for a, b, p in zip(before, after, pitched, strict=True)]
        assert all(len(each) == 1 for each in shift)
        found |= set.union(*shift)
    assert found == set(range(-5, 7))


def test_a_resumed_run_sees_the_same_transpositions(split):
    options = {"transpose": True, "seed": 3}
    whole = [batch["x"].numpy() for batch in split.training_batches(50, 4, **options).take(12)]
    resumed = split.training_batches(50, 4, first_epoch=1, first_step=2, **options).take(6)
    np.testing.assert_array_equal([batch["x"].numpy() for batch in resumed], whole[6:])
    other = next(iter(split.training_batches(50, 4, transpose=True, seed=4)))["x"].numpy()
    assert (other != whole[0]).any()


def test_a_transposition_stays_in_the_range(split):
    low, high = np.zeros((2, 1, 32), "uint8")
    low[0, :2], high[0, 3:5] = (FIRST, FIRST + 4), (CLASSES - 1, 1)
    edges = type(split)(np.concatenate([low, high] * 50), split.spec)
    x = next(iter(edges.training_batches(100, 1, transpose=True)))["x"].numpy()
    assert x.min() == 0
    assert x.max() == CLASSES - 1
    lows, highs = x[x[:, 1] > 0], x[x[:, 3] > 0]
    assert len(lows) == len(highs) == 50
    assert set(lows[:, 0]) == set(range(FIRST, FIRST + 7))
    assert set(lows[:, 1] - lows[:, 0]) == {4}
    assert set(highs[:, 3]) == set(range(CLASSES - 6, CLASSES))


def test_only_melodies_are_transposed(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 5)))
    with pytest.raises(VaezooError, match=r"^transpose=True \(instead of False\) needs melodies"):
        load_data(tmp_path / "x.npy").train.training_batches(5, 2, transpose=True)
    recipe = load_recipe("mlp_vae", {"data.name": str(tmp_path / "x.npy"), "data.transpose": "random"})
    with pytest.raises(VaezooError, match=r"^data.transpose=random needs melodies, and these .* rows of 5 columns"):
        prepare(recipe, print)
    load_data(tmp_path / "x.npy", bars=16, transpose="none")  # ignored, as crop is of vectors


# Your own files


def test_a_folder_of_midi_files(tmp_path):
    mido = pytest.importorskip("mido")
    written = [tune.parts[0] for tune in tunes_of(*(abc(seed) for seed in range(20)))]
    for number, tokens in enumerate(written):
        (tmp_path / f"{number:02}.{'mid' if number % 2 else 'MIDI'}").write_bytes(midi_bytes(tokens))
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    # Files 00 and 01 get an octave below each note.
    for file in ("00.MIDI", "01.mid"):
        song = mido.MidiFile(tmp_path / file)
        below = [m.copy(note=m.note - 12) if m.type.startswith("note") else m for m in song.tracks[0]]
        song.tracks.append(mido.MidiTrack(below))
        song.type = 1
        song.save(tmp_path / file)
    (tmp_path / "notes.txt").write_text("read me")
    data = load_data(tmp_path, transpose="none", validation=0)
    assert data.skipped == (("broken.mid", "that cannot be read"),)
    assert data.notes[:3] == (
        "left out 1 .txt: no music files",
        "1 of 21 files are skipped: 1 that cannot be read ('broken.mid')",
        "2 files have several voices: the highest notes of the one with the most are taken",
    )
    expected = {tokens[start : start + 32].tobytes() for tokens in written for start in range(0, 112, 16)}
    assert {*rows(data.train), *rows(data.test)} == expected
    assert data.class_names is None


def test_one_file_of_tunes(tmp_path):
    path = tmp_path / "tunes.abc"
    path.write_text("".join(map(abc, range(20))) + "X:99\nM:6/8\nK:C\nC6|\n")
    (tmp_path / "wrong.abc").write_text(path.read_text().replace("|", "C|", 1))
    assert load_data(tmp_path / "wrong.abc").notes[1] == (
        "left out 1 bars: of another length than their metre says, or in another metre"
    )
    data = load_data(path)
    assert canonical_name(str(path)) == str(path)
    assert data.notes[0] == "left out 1 tunes: 1 in 6/8"
    assert data.notes[1].startswith("20 tunes in 20 groups")


def test_a_file_that_does_not_exist_is_no_data_set():
    assert refused("nowhere.abc").startswith("'nowhere.abc' does not exist: give a folder of images or of music")


def test_a_named_pipe_does_not_block(tmp_path):
    write_tunes(tmp_path, 20)
    os.mkfifo(tmp_path / "pipe.mid")
    assert load_data(tmp_path).skipped == (("pipe.mid", "not a file"),)


def test_splits_of_the_user_are_kept(tmp_path):
    write_tunes(tmp_path / "train", 20)
    write_tunes(tmp_path / "test", 5, start=18)  # two of them are in both
    data = load_data(tmp_path, validation=0)
    assert (len(data.train), len(data.test)) == (20 * 7, 3 * 7)
    assert data.notes[-1].endswith("of 2 bars; left out since they occur in training: 0 of validation, 14 of test")
    assert "25 tunes in 23 groups of versions, divided as the folder is;" in data.notes[-1]


def test_a_validation_folder_of_music_is_the_validation_split(tmp_path):
    write_tunes(tmp_path / "train", 20)
    write_tunes(tmp_path / "test", 5, start=20)
    write_tunes(tmp_path / "val", 3, start=25)
    for validation in (0, 0.5):
        data = load_data(tmp_path, validation=validation)
        assert [len(split) for split in (data.train, data.validation, data.test)] == [20 * 7, 3 * 7, 5 * 7]


def test_a_byte_order_mark_does_not_hide_the_first_tune(tmp_path):
    (tmp_path / "tunes.abc").write_text("".join(map(abc, range(20))), encoding="utf-8-sig")
    assert load_data(tmp_path / "tunes.abc").notes[-1].startswith("20 tunes in 20 groups")


def test_music_that_cannot_be_used(tmp_path):
    assert "there are no images in" in refused(tmp_path)
    write_tunes(tmp_path, 20, bars=2)
    assert f"'{tmp_path}' has too few melodies of 4 bars: of 20 tunes, 0 windows are left" in refused(tmp_path, bars=4)
    assert "needs images, and" in refused(tmp_path, image_size=32)
    assert "bars is 65; it must be a whole number from 1 to 64" in refused(tmp_path, bars=65)
    assert "unknown transpose 'keys'. Did you mean 'key'?" in refused(tmp_path, transpose="keys")
    (tmp_path / "a.png").touch()
    assert refused(tmp_path) == (f"'{tmp_path}' holds 1 images and 20 files of music: give a folder with one kind.")
    jigs = tmp_path / "jigs"
    jigs.mkdir()
    for number in range(9):
        (jigs / f"{number}.abc").write_text("X:1\nM:6/8\nK:C\nC6|" if number else abc(0))
    assert refused(jigs).startswith(
        f"more than half of '{jigs}' cannot be used: 8 of 9 files are skipped: 8 in 6/8 ('1.ab"
    )


@pytest.mark.parametrize(("name", "value"), [("bars", 0), ("bars", 65), ("bars", "2"), ("transpose", "up")])
def test_recipes_that_are_refused(name, value):
    with pytest.raises(VaezooError, match=f"data.{name}"):
        load_recipe("mlp_vae", {f"data.{name}": value})


def test_the_recipe_reaches_the_data_and_the_headline(tmp_path):
    write_tunes(tmp_path, 30)
    changes = {
        "data.name": str(tmp_path),
        "data.bars": 1,
        "data.transpose": "random",
        "model.likelihood": "categorical",
    }
    setup = prepare(load_recipe("mlp_vae", changes), print)
    assert setup.data.spec.shape == (16,)
    assert "melodies of 16 sixteenths" in setup.headline
    assert "data: bars=1, transpose=random" in setup.headline
    assert "transpose" not in setup.batches  # which evaluation reads with


# The tunes of music21


def test_missing_music21_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["train", "mlp_vae", "--data", "folk_melodies", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("which is not installed: pip install 'vaezoo[music]'")
    assert canonical_name("folk_melodies/essen") == "folk_melodies/essen"
    assert "unknown configuration of 'folk_melodies' 'esen'. Did you mean 'essen'?" in refused("folk_melodies/esen")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """An installation of music21 with a few tunes of ours."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    corpus = tmp_path / "music21" / "corpus"
    for number, folder in enumerate(("airdsAirs", "oneills1850", "ryansMammoth", "essenFolksong")):
        (corpus / folder).mkdir(parents=True)
        text = "".join(abc(seed, key="Dm") for seed in range(100 * number, 100 * number + 10))
        (corpus / folder / "tunes.abc").write_text(text + "X:99\nM:6/8\nK:C\nC6|\n")
    found = importlib.util.spec_from_file_location("music21", tmp_path / "music21" / "__init__.py")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: found if name == "music21" else real(name, *more)
    )


def test_folk_melodies_are_prepared_once(installed, monkeypatch, capsys):
    data = load_data("folk_melodies", validation=0)
    assert capsys.readouterr().err.startswith("vaezoo: reading folk_melodies from music21 (once) into ")
    assert data.class_names == ("Aird", "O'Neill", "Ryan")
    assert data.notes[1:] == (
        "left out 3 tunes: 3 in 6/8",
        "30 tunes in 30 groups of versions, divided by group; 210 windows of 2 bars; left out since they occur in "
        "training: 0 of validation, 0 of test",
    )
    assert (len(data.train), len(data.test), set(data.train.factors["mode"])) == (189, 21, {"minor"})
    expected = make_melodies(
        "made", tunes_of(*(abc(seed, key="Dm") for part in (0, 100, 200) for seed in range(part, part + 10))),
        None, Windows(2), 0, 0,
    )  # fmt: skip
    assert rows(data.train) == rows(expected.train)
    monkeypatch.setattr(importlib.util, "find_spec", None)  # on disk, music21 is not needed
    assert rows(load_data("folk_melodies", validation=0).train) == rows(data.train)
    assert "needs images" in refused("folk_melodies", image_size=8)


def test_essen_is_taken_only_if_asked_for_and_shows_its_terms(installed):
    data = load_data("folk_melodies/essen")
    assert data.class_names == ("Essen",)
    assert "non-commercial" in data.notes[0]


@pytest.mark.slow
def test_the_tunes_of_music21(monkeypatch, tmp_path):
    if importlib.util.find_spec("music21") is None:
        pytest.skip("music21 is not installed")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data = load_data("folk_melodies")
    assert 25_000 < len(data.train) < 30_000
    assert 2_500 < len(data.test) < 4_000
    train = set(rows(data.train))
    assert not train & set(rows(data.test))
    assert len(load_data("folk_melodies", bars=16).train) > 2_000


# A run


@pytest.fixture(scope="module")
def melody_run(tmp_path_factory):
    """A melody VAE, trained for an epoch on tunes of random notes."""
    folder = tmp_path_factory.mktemp("melodies")
    write_tunes(folder / "jig", 30)
    write_tunes(folder / "reel", 30, start=30)
    sizes = {"model.encoder": {"name": "bars", "hidden": [16], "dense": 16}, "model.latent_dim": 4}
    sizes |= {"model.decoder": {"name": "conductor", "hidden": [8], "units": 16}, "model.likelihood.units": 8}
    settings = {"data.name": str(folder), "training.epochs": 1, "training.batch_size": 32, **sizes}
    train(load_recipe("melody_vae", settings), folder / "run", quiet=True)
    return Run(folder / "run")


@pytest.mark.slow
def test_a_training_leaves_pictures_of_melodies(melody_run):
    assert {"samples.png", "reconstructions.png", "curves.png"} <= {path.name for path in melody_run.path.iterdir()}


def beside_inputs(arrays):
    """Each input, then what it became: [N,T]."""
    examples = arrays["examples"].reshape(len(arrays["inputs"]), -1, 32)
    return np.concatenate([arrays["inputs"][:, None], examples], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "melodies"),
    [
        (lambda run: latent_space.draw_samples(run, n=3), lambda arrays: arrays["examples"]),
        (lambda run: latent_space.draw_samples(run, temperature=0.8), lambda arrays: arrays["examples"]),
        (lambda run: latent_space.draw_reconstructions(run, index=[0, 2]), beside_inputs),
        (lambda run: latent_space.draw_interpolation(run, index=[3, 5], steps=4), lambda arrays: arrays["examples"]),
        (lambda run: latent_space.draw_interpolation(run, index=[3, 5, 1], steps=3), lambda arrays: arrays["examples"]),
        (lambda run: latent_space.draw_edits(run, "range=high", index=3), beside_inputs),
    ],
)
def test_a_drawing_of_melodies_can_be_heard(melody_run, tmp_path, draw, melodies):
    drawing = draw(melody_run)
    paths = {path.suffix: path for path in drawing.save(tmp_path)}
    assert sorted(paths) == [".mid", ".npz", ".png", ".wav"]
    with np.load(paths[".npz"]) as stored:
        shown = melodies(dict(stored)).reshape(-1, 32)
    assert len(drawing.figure.axes) >= len(shown)
    heard = joined(shown)
    assert paths[".mid"].read_bytes() == midi_bytes(heard, 120)
    assert paths[".wav"].read_bytes() == wav_bytes(heard, 120)


@pytest.mark.slow
def test_a_drawing_of_melodies_is_refused_in_one_line(melody_run):
    for call, message in (
        (lambda: latent_space.draw_samples(melody_run, temperature=0.0), "the temperature is 0.0; it must be"),
        (lambda: latent_space.draw_samples(melody_run, temperature=1.0, index=0), "temperature= is for draws"),
    ):
        with pytest.raises(VaezooError, match=message):
            call()


@pytest.mark.slow
def test_the_accuracy_of_melodies(melody_run):
    report, _ = evaluation.evaluate(melody_run, samples=2, limit=20)
    x, _ = melody_run.first("test", 20)
    shown = np.asarray(melody_run.model(x))
    found = report["accuracy"]
    np.testing.assert_allclose(found["tokens"]["value"], (shown == x).mean())
    np.testing.assert_allclose(found["perfect"]["value"], (shown == x).all(1).mean())
    np.testing.assert_allclose(found["most_common"], (x == np.bincount(x.ravel()).argmax()).mean())
    changes = [(one[two != 0] == two[two != 0]).mean() for one, two in zip(shown, x, strict=True)]
    np.testing.assert_allclose(found["changes"]["value"], np.mean(changes), rtol=1e-6)
    p = melody_run.model.decode(melody_run.model.codes(x))
    np.testing.assert_allclose(found["teacher_forced"]["value"], (np.argmax(p.logits(x), -1) == x).mean(), rtol=1e-6)
    words = as_text(report)
    assert "accuracy: teacher forced" in words
    assert f"{found['most_common']:.3f} for the most common token alone" in words

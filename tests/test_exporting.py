"""What an export holds and refuses, and that a failed one leaves nothing."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from consumers.tiny_exports import newest

from vaezoo.atomic import plain_errors
from vaezoo.cli import main
from vaezoo.errors import VaezooError
from vaezoo.exporting import QUANTIZATIONS, Plan, litert, saved_model, verify
from vaezoo.exporting.artefacts import find, in_batches
from vaezoo.exporting.saved_model import models_config, update_models_config
from vaezoo.exporting.staging import Staging
from vaezoo.exporting.table import difference, exceeds
from vaezoo.runs import Run


@pytest.fixture(scope="module")
def loaded(tiny_export):
    return tf.saved_model.load(str(newest(tiny_export)))


@pytest.fixture(scope="module")
def vae(tiny_run):
    return Run(tiny_run).model


def run(loaded, signature, **inputs):
    outputs = loaded.signatures[signature](**{name: tf.constant(values) for name, values in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


# What is written


def test_an_export_holds_everything(tiny_export):
    names = {path.name for path in tiny_export.path.iterdir()}
    lite = {f"{part}_{kind}.tflite" for part in ("decoder", "encoder") for kind in QUANTIZATIONS}
    reports = {"verify.json", "verify.txt", "verify.png", "verify_inputs.npz", "README.md"}
    assert names == lite | reports | {"decoder.keras", "encoder.keras", "savedmodel"}
    version = newest(tiny_export)
    assert (tiny_export.version, version.name) == (1, "1")
    assert {"README.md", "batching_params.pbtxt", "saved_model.pb"} <= {path.name for path in version.iterdir()}
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    assert not list(tiny_export.path.rglob(".*"))


def test_every_signature_has_plain_names_and_a_batch_axis(loaded):
    shapes = {"z": [None, 3], "image": [None, 8, 8, 1], "seed": [None, 2], "loc": [None, 3], "scale": [None, 3]}
    wanted = {
        "serving_default": ("z", {"image"}),
        "decode": ("z", {"image"}),
        "encode": ("image", {"loc", "scale"}),
        "reconstruct": ("image", {"image"}),
        "sample": ("seed", {"image", "z"}),
    }
    assert set(loaded.signatures) == set(wanted)
    for name, (entry, outputs) in wanted.items():
        function = loaded.signatures[name]
        inputs = function.structured_input_signature[1]
        assert set(inputs) == {entry}
        assert set(function.structured_outputs) == outputs
        for key, spec in {**inputs, **function.structured_outputs}.items():
            assert spec.shape.as_list() == shapes[key], (name, key)
            assert spec.dtype == (tf.int32 if key == "seed" else tf.float32), (name, key)


def test_the_signatures_do_what_the_model_does(loaded, vae):
    rng = np.random.default_rng(0)
    z, image = rng.standard_normal((5, 3), "float32"), rng.random((5, 8, 8, 1), "float32")
    np.testing.assert_allclose(run(loaded, "decode", z=z)["image"], vae.examples(z), atol=1e-6)
    np.testing.assert_allclose(run(loaded, "reconstruct", image=image)["image"], vae(image), atol=1e-6)
    posterior = vae.encode(image)
    encoded = run(loaded, "encode", image=image)
    np.testing.assert_allclose(encoded["loc"], posterior.mean(), atol=1e-6)
    np.testing.assert_allclose(encoded["scale"], posterior.stddev(), atol=1e-6)


def test_a_draw_is_a_function_of_its_own_seed(loaded):
    seeds = np.array([[1, 2], [3, 4], [1, 3], [1, 2]], "int32")
    drawn = run(loaded, "sample", seed=seeds)
    np.testing.assert_array_equal(drawn["z"][0], drawn["z"][3])
    assert len(np.unique(drawn["z"].round(5), axis=0)) == 3
    for row in range(4):  # whatever the server batches it with
        alone = run(loaded, "sample", seed=seeds[row : row + 1])
        np.testing.assert_array_equal(alone["z"][0], drawn["z"][row])
        np.testing.assert_allclose(alone["image"][0], drawn["image"][row], atol=1e-6)
    many = run(loaded, "sample", seed=np.stack([np.arange(4000), np.zeros(4000)], 1).astype("int32"))["z"]
    np.testing.assert_allclose(many.mean(0), 0, atol=0.06)  # 4 standard errors
    np.testing.assert_allclose(np.cov(many.T), np.eye(3), atol=0.1)


@pytest.mark.slow
def test_a_conditional_model_takes_a_label_everywhere(conditional_export):
    loaded = tf.saved_model.load(str(newest(conditional_export)))
    for name, function in loaded.signatures.items():
        label = function.structured_input_signature[1]["label"]
        assert (label.shape.as_list(), label.dtype) == ([None], tf.int32), name
    seeds = np.array([[1, 1], [1, 1]], "int32")
    drawn = run(loaded, "sample", seed=seeds, label=np.array([0, 7], "int32"))
    np.testing.assert_array_equal(drawn["z"][0], drawn["z"][1])
    assert np.abs(drawn["image"][0] - drawn["image"][1]).max() > 1e-3
    assert conditional_export.agreement.passed


# Vectors and sequences


@pytest.mark.slow
def test_a_model_of_vectors_exports(vector_export, vector_run):
    vae, loaded = Run(vector_run).model, tf.saved_model.load(str(newest(vector_export)))
    rng = np.random.default_rng(0)
    z, x = rng.standard_normal((5, 3), "float32"), 8 * rng.standard_normal((5, 6), "float32")
    decoded = run(loaded, "decode", z=z)["vector"]
    np.testing.assert_allclose(decoded, vae.examples(z), rtol=1e-5, atol=1e-5)
    assert np.abs(decoded).max() > 1  # no range is imposed
    encoded = run(loaded, "encode", vector=x)
    np.testing.assert_allclose(encoded["loc"], vae.encode(x).mean(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(loaded, "reconstruct", vector=x)["vector"], vae(x), rtol=1e-5, atol=1e-5)
    drawn = run(loaded, "sample", seed=np.array([[0, 1]], "int32"))
    np.testing.assert_allclose(drawn["vector"], vae.examples(drawn["z"]), rtol=1e-5, atol=1e-5)
    stored = np.load(vector_export.path / "verify_inputs.npz")
    assert {name: (values.dtype, values.shape) for name, values in stored.items()} == {
        "z": (np.float32, (1000, 3)),
        "vector": (np.float32, (100, 6)),
    }
    check_other(vector_export, "vectors of 6 numbers: [F], float32")


@pytest.mark.slow
def test_a_model_of_sequences_exports(sequence_export, sequence_run):
    vae, loaded = Run(sequence_run).model, tf.saved_model.load(str(newest(sequence_export)))
    rng = np.random.default_rng(0)
    z, label = rng.standard_normal((4, 3), "float32"), np.array([0, 1, 2, 2], "int32")
    x = rng.integers(7, size=(4, 5)).astype("int32")
    decoded = run(loaded, "decode", z=z, label=label)["sequence"]
    np.testing.assert_allclose(decoded.sum(-1), np.ones((4, 5)), rtol=1e-5)
    np.testing.assert_array_equal(decoded.argmax(-1), vae.examples(z, label))
    np.testing.assert_allclose(np.log(decoded[..., 2]).sum(-1), vae.decode(z, label).log_prob(np.full((4, 5), 2)), 1e-5)
    encoded = run(loaded, "encode", sequence=x, label=label)
    np.testing.assert_allclose(encoded["loc"], vae.encode(x, label).mean(), atol=1e-5)
    rebuilt = run(loaded, "reconstruct", sequence=x, label=label)["sequence"]
    np.testing.assert_allclose(rebuilt, run(loaded, "decode", z=encoded["loc"], label=label)["sequence"], atol=1e-6)
    stored = np.load(sequence_export.path / "verify_inputs.npz")
    assert {name: (values.dtype, values.shape) for name, values in stored.items()} == {
        "z": (np.float32, (1000, 3)),
        "sequence": (np.int32, (100, 5)),
        "z_label": (np.int32, (1000,)),
        "sequence_label": (np.int32, (100,)),
    }
    assert stored["sequence"].max() == 6
    check_other(sequence_export, "sequences of 5 tokens out of 7: [T], int32 from 0 to 6")


def check_other(exported, words):
    """Check the agreement of an export of vectors or sequences, its files and its card."""
    assert exported.agreement.passed
    by_name = {row["artefact"]: row for row in exported.agreement.report["rows"]}
    assert len(by_name) == 2 + 4 + 4
    for part in ("decoder", "encoder"):
        assert by_name[f"{part}_int8.tflite"]["mean"] > 0
    assert not (exported.path / "verify.png").exists()
    for card in (exported.card, newest(exported) / "README.md"):
        text = card.read_text()
        assert f"| examples | {words} |" in text
        assert not re.search("image|verify.png|binarized|None|nan", text)


# Agreement


def test_the_report_measures_every_artefact(tiny_export):
    report = json.loads((tiny_export.path / "verify.json").read_text())
    assert report["passed"]
    assert (report["codes"], report["examples"], report["threads"]) == (1000, 100, 1)
    artefacts = [artefact for group in find(tiny_export.path).values() for artefact in group]
    assert [row["artefact"] for row in report["rows"]] == [artefact.name for artefact in artefacts]
    assert len(report["rows"]) == 2 + 4 + 8
    for row in report["rows"]:
        assert row["bytes"] > 1000
        assert row["milliseconds_at_1"] > 0
        assert row["examples_per_second_at_64"] > 0
        assert 0 <= row["mean"] <= row["worst_row"] <= row["largest"]
    by_name = {row["artefact"]: row for row in report["rows"]}
    assert by_name["decoder_int8.tflite"]["bytes"] < by_name["decoder_float32.tflite"]["bytes"]
    assert by_name["decoder_int8.tflite"]["mean"] > 0  # it is quantized
    table = (tiny_export.path / "verify.txt").read_text()
    assert table.rstrip() == tiny_export.agreement.text


@pytest.mark.parametrize(
    ("precision", "errors", "passes"),
    [
        ("float32", {"largest": 1e-6, "worst_row": 1e-7}, True),
        ("float32", {"largest": 2e-5, "worst_row": 1e-7}, False),
        ("float16", {"largest": 1e-3, "worst_row": 1e-4}, True),
        ("float16", {"largest": 1e-3, "worst_row": 1e-3}, False),
        ("int8", {"largest": 0.3, "worst_row": 1e-2}, True),
        ("int8", {"largest": 0.3, "worst_row": 4e-2}, False),
        ("int8", {"largest": float("nan"), "worst_row": float("nan")}, False),
        # One melody in a thousand is another one: of tokens that is no fault, of images it would be.
        ("float32", {"largest": 1.0, "mean": 9e-4, "worst_row": 0.9, "tokens": True}, True),
        ("float32", {"largest": 1.0, "mean": 2e-3, "worst_row": 0.9, "tokens": True}, False),
    ],
)
def test_bounds(precision, errors, passes):
    assert (exceeds({"precision": precision, "tokens": False, "other_values": 0.0, **errors}) == "") is passes


def test_the_share_of_other_values_of_a_table_has_a_bound():
    row = {"precision": "float32", "tokens": False, "largest": 1e-7, "worst_row": 1e-7}
    assert exceeds({**row, "other_values": 9e-4}) == ""
    assert exceeds({**row, "other_values": 2e-3}).startswith("the share of other values is 2.0e-03")


def test_a_difference_is_scaled_and_of_tokens_it_is_another_one():
    found = difference(np.array([0.5, 1.0]), np.array([0.25, 1.0]))
    np.testing.assert_allclose(found, [0.25, 0])
    np.testing.assert_allclose(difference(np.array([3.0, -8.0]), np.array([4.0, -8.0])), [1 / 8, 0])
    tokens = difference(np.array([3, 80], "int32"), np.array([3, 2], "int32"))
    np.testing.assert_array_equal(tokens, [0, 1])


@pytest.mark.slow
def test_verify_finds_an_artefact_that_disagrees(tiny_export, tmp_path, capsys):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name in ("decoder.keras", "encoder.keras", "verify_inputs.npz"):
        shutil.copy(tiny_export.path / name, folder)
    shutil.copy(tiny_export.path / "decoder_int8.tflite", folder / "decoder_float32.tflite")
    assert main(["verify", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert "decoder_float32.tflite: the largest error is" in out
    assert err == "vaezoo: 1 of 3 artefacts disagree with Keras\n"
    (folder / "decoder_float32.tflite").write_bytes(b"no model")
    with pytest.raises(VaezooError, match=r"decoder_float32\.tflite could not be run"):
        verify(folder)
    reference = folder / "verify_inputs.npz"
    reference.write_bytes(reference.read_bytes()[:1000])
    with pytest.raises(VaezooError, match="verify_inputs"):
        verify(folder)


def test_a_static_batch_takes_any_number_of_rows():
    seen = []

    def four(inputs):
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    x = np.arange(10.0)
    np.testing.assert_array_equal(in_batches(four, 4)({"x": x})["y"], x * 2)
    assert seen == [4, 4, 4]


# Bad input


def newer(folder):
    path = folder / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vaezoo": "99.0.1"}))


def broken(folder):
    (folder / "model.keras").write_bytes(b"no zip file")


def unreadable(folder):
    (folder / "environment.json").write_text("{")


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        (["{tmp}/nothing", "--to", "{tmp}/out"], None, "holds no run"),
        (["{run}", "--to", "{tmp}/out", "--format", "tflite"], None, "unknown format 'tflite'"),
        (["{run}", "--to", "{tmp}/out", "--format", "saved_model"], None, "Did you mean 'savedmodel'?"),
        (["{run}", "--to", "{tmp}/out", "--quantize", "int4"], None, "Did you mean 'int8'?"),
        (["{run}", "--to", "{tmp}/out", "--batch", "0"], None, "batch is 0"),
        (["{run}", "--to", "{tmp}/out", "--batch", "some"], None, "--batch is 'some'"),
        (["{run}", "--to", "{tmp}/file/below"], None, "cannot write '{tmp}/file/below': Not a directory"),
        (["{run}", "--to", "{tmp}/file"], None, "cannot write '{tmp}/file'"),
        (["{run}", "--to", "/proc/vaezoo/out"], None, "cannot write '/proc/vaezoo/out'"),
        (["{run}", "--to", "{tmp}/out"], newer, "comes from vaezoo 99.0.1, and this is"),
        (["{run}", "--to", "{tmp}/out"], broken, "model.keras' cannot be loaded"),
        (["{run}", "--to", "{tmp}/out"], unreadable, "environment.json' is broken: it is not JSON"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, change, message, tiny_run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    if change:
        change(copy)
    (tmp_path / "file").write_text("")
    filled = [argument.format(run=copy, tmp=tmp_path) for argument in arguments]
    assert main(["export", *filled]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message.format(tmp=tmp_path) in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]


def test_verify_of_no_export_is_one_line(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no export; `vaezoo export RUN --to" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nothing")]) == 2


def test_nothing_that_exists_is_overwritten(tiny_run, tiny_export, tmp_path, capsys):
    (tmp_path / "decoder.keras").write_text("mine")
    assert main(["export", str(tiny_run), "--to", str(tmp_path), "--format", "keras"]) == 2
    assert "an export never overwrites" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("decoder.keras", "mine")]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        VaezooError, match=r"needs ai_edge_litert, which is not installed: pip install 'vaezoo\[export\]'"
    ):
        Plan(formats=("litert",))
    assert not Plan(formats=("keras",)).with_encoder


def test_a_version_leaves_its_reports_unless_they_would_replace_those_of_an_earlier_export(tmp_path):
    for name, shown in (("README.md", "new"), ("decoder.keras", "old")):  # of somebody else; of an earlier export
        target = tmp_path / name
        target.mkdir()
        (target / name).touch()
        (target / "verify.txt").write_text("old")
        with Staging(target) as staging:
            (staging.path / "verify.txt").write_text("new")
            staging.publish()
        assert (target / "verify.txt").read_text() == shown


def test_a_score_needs_a_format_that_holds_it():
    with pytest.raises(VaezooError, match="fpr= asks for a score, which is written as a SavedModel or LiteRT, not as"):
        Plan(formats=("keras",), fpr=0.1)


# The target folder


def test_an_export_that_fails_leaves_no_folder(tmp_path):
    target = tmp_path / "deep" / "down"

    def fail():
        with Staging(target) as staging:
            (staging.path / "half").write_text("written")
            raise VaezooError("no")

    with pytest.raises(VaezooError, match="no"):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("module", [saved_model, litert])
def test_a_full_disk_that_tensorflow_reports_is_one_line(module, tiny_run, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "/x/variables.data; No space left on device\n[Op:Save]")

    monkeypatch.setattr(module, "save", full)
    line = refusal_of_export(capsys, "export", tiny_run, "--to", tmp_path / "out")
    assert re.fullmatch(r"vaezoo: cannot write '[^\n]*': No space left on device; [^\n]*", line)
    assert not (tmp_path / "out").exists()


def test_other_errors_of_tensorflow_stay_as_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError), plain_errors("x"):
        raise tf.errors.InvalidArgumentError(None, None, "a bug")


def refusal_of_export(capsys, *argv):
    """The last line, with which an export ends with exit code 2; those before it are its progress."""
    assert main(list(map(str, argv))) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_publishing_moves_versions_and_files_and_clears_what_was_left(tmp_path):
    (tmp_path / ".writing").mkdir()
    (tmp_path / ".writing" / "left by a killed export").write_text("")
    (tmp_path / "savedmodel" / "a" / "7").mkdir(parents=True)
    (tmp_path / "savedmodel" / "a" / "notes").mkdir()
    with Staging(tmp_path) as staging:
        version = staging.next_version("a")
        assert version.name == "8"
        version.mkdir()
        (version / "saved_model.pb").write_text("graph")
        (staging.path / "decoder.keras").write_text("weights")
        staging.publish()
    assert (tmp_path / "savedmodel" / "a" / "8" / "saved_model.pb").read_text() == "graph"
    assert (tmp_path / "decoder.keras").read_text() == "weights"
    assert not (tmp_path / ".writing").exists()


def test_two_exports_do_not_write_to_one_folder(tmp_path):
    with Staging(tmp_path) as first:
        with pytest.raises(VaezooError, match="another export is writing to"), Staging(tmp_path):
            pass
        assert first.path.is_dir()


def test_models_config_follows_the_models_until_it_is_edited(tmp_path):
    (tmp_path / "a").mkdir()
    assert update_models_config(tmp_path, "a")
    (tmp_path / "b").mkdir()
    assert update_models_config(tmp_path, "b")
    path = tmp_path / "models.config"
    assert path.read_text() == models_config(["a", "b"])
    path.write_text('model_config_list { config { name: "a" } }')
    assert update_models_config(tmp_path, "a")
    (tmp_path / "c").mkdir()
    assert not update_models_config(tmp_path, "c")
    assert path.read_text() == 'model_config_list { config { name: "a" } }'

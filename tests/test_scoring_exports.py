"""The exported score: what a server and a phone compute is what the run computes, calibrated in the same way."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from consumers.stub_servers import Served, grpc_server, rest_server
from consumers.tiny_exports import newest
from scipy import stats

from vaezoo import scoring
from vaezoo.cli import main
from vaezoo.errors import VaezooError
from vaezoo.exporting import export, scores, verify
from vaezoo.runs import Run
from vaezoo.scoring import stored
from vaezoo.serving import DecoderClient

pytestmark = pytest.mark.slow

FPR = 0.1


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """The SavedModel and the LiteRT files of the tiny run, with a score."""
    path = tmp_path_factory.mktemp("scored")
    return export(tiny_run, path / "out", formats=("savedmodel", "litert"), quantizations=("float32",), fpr=FPR)


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(newest(exported)))


def calibration(run, **options):
    validation, test = (run.first(split)[0] for split in ("validation", "test"))
    return scoring.Calibration(*(scoring.elbo(run.model, x, **options) for x in (validation, test)))


def test_the_score_at_the_code_is_the_elbo_there_with_its_p_value_and_its_decision(tiny_run, exported, served):
    run = Run(tiny_run)
    x, known = run.first("test")[0], calibration(run, samples=0)
    wanted = scoring.elbo(run.model, x, samples=0)
    lite = Interpreter(str(exported.path / "score_float32.tflite")).get_signature_runner("score")
    one_by_one = {name: np.concatenate([lite(image=x[i : i + 1])[name] for i in range(20)]) for name in ("score",)}
    np.testing.assert_allclose(one_by_one["score"], wanted[:20], rtol=1e-5)
    for found in (served.signatures["score"](image=tf.constant(x)), lite(image=x)):
        found = {name: np.asarray(value) for name, value in found.items()}
        assert {name: (value.shape, str(value.dtype)) for name, value in found.items()} == {
            "score": ((100,), "float32"), "p_value": ((100,), "float32"), "anomaly": ((100,), "int32"),
        }  # fmt: skip
        np.testing.assert_allclose(found["score"], wanted, rtol=1e-5)
        # Many of the bars are equal, so that their scores are those of calibration examples but for rounding.
        np.testing.assert_allclose(found["p_value"], known.p_values(wanted), rtol=1e-6)
        np.testing.assert_array_equal(found["anomaly"] == 1, found["p_value"] <= FPR + 1e-6)


def test_calibration_examples_are_equally_spaced_where_not_all_are_taken(tiny_run, monkeypatch):
    run = Run(tiny_run)
    monkeypatch.setattr(scores, "MOST", 10)
    monkeypatch.setattr(stored, "REFERENCE_EXAMPLES", 40)
    rows = np.round(np.linspace(0, 19, 10)).astype(int)  # of 20 validation examples, from the first to the last
    wanted = scoring.elbo(run.model, run.first("validation")[0][rows], samples=0)
    np.testing.assert_allclose(scores.Score(run, FPR).calibrations["score"].scores, wanted, rtol=1e-5)
    train = run.first("train")[0]
    rows = np.round(np.linspace(0, len(train) - 1, 40)).astype(int)
    found = stored._measured(run, "latent", 0, None).reference
    np.testing.assert_allclose(found.mean, scoring.reference(run.model, train[rows]).mean, rtol=1e-5, atol=1e-6)


def test_a_draw_is_a_function_of_the_seed_of_its_row_and_on_average_the_elbo(tiny_run, served):
    run, rows = Run(tiny_run), 2000
    x = run.first("test", 1)[0].repeat(rows, 0)
    seeds = np.stack([np.arange(rows), np.full(rows, 3)], axis=1).astype("int32")
    score = served.signatures["score_drawn"]
    found = score(image=tf.constant(x), seed=tf.constant(seeds))["score"].numpy()
    again = score(image=tf.constant(x[:7]), seed=tf.constant(seeds[6::-1]))["score"].numpy()
    np.testing.assert_allclose(again, found[6::-1], rtol=1e-5)
    assert len(np.unique(found)) > rows / 2
    exact = scoring.elbo(run.model, x[:1], samples=5000)[0]
    assert abs(found.mean() - exact) < 5 * found.std() * np.sqrt(1 / rows + 1 / 5000)


def test_p_values_of_normal_examples_are_as_uniform_as_twenty_calibration_examples_allow(tiny_run, served):
    x = Run(tiny_run).first("test")[0]
    seeds = np.stack([np.arange(100), np.zeros(100)], axis=1).astype("int32")
    for name, inputs in (("score", {}), ("score_drawn", {"seed": tf.constant(seeds)})):
        p = served.signatures[name](image=tf.constant(x), **inputs)["p_value"].numpy()
        # Two samples of one distribution: 20 calibration scores and 100 test scores.
        assert stats.kstest(p, stats.uniform.cdf).statistic < 1.95 * np.sqrt(1 / 20 + 1 / 100)


def test_the_agreement_is_measured_and_the_card_says_what_the_score_is(exported):
    report = json.loads((exported.path / "verify.json").read_text())
    names = {row["artefact"].split(": ")[-1]: row for row in report["rows"]}
    for name in ("score", "score_drawn", "score_float32.tflite"):
        assert names[name]["largest"] < 1e-5
    for card in (newest(exported) / "README.md", exported.path / "README.md"):
        text = card.read_text()
        assert "false-positive rate of 0.1; calibrated on 20 validation examples" in text
        assert "| `score` | output | `p_value` | [B] | float32 | above 0, at most 1 |" in text
    assert "score_float32.tflite" in text


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_the_client_scores_at_a_server_and_says_when_the_model_has_no_score(kind, exported, tiny_export, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server, scheme = {"rest": (rest_server, ""), "grpc": (grpc_server, "grpc://")}[kind]
    x = np.eye(8, dtype="float32")[None, :, :, None].repeat(3, 0)
    with server(Served("tiny", newest(exported))) as address, DecoderClient(scheme + address, "tiny") as client:
        found = client.score(x)
        assert {name: value.shape for name, value in found.items()} == {
            "score": (3,), "p_value": (3,), "anomaly": (3,),
        }  # fmt: skip
        assert len(np.unique(found["score"])) == 1
        drawn = client.score(x, seed=5)
        assert len(np.unique(drawn["score"])) == 3
        np.testing.assert_array_equal(client.score(x[:2], seed=5)["score"], drawn["score"][:2])
    with (
        server(Served("tiny", newest(tiny_export))) as address,
        DecoderClient(scheme + address, "tiny") as client,
        pytest.raises(VaezooError, match="no signature 'score'"),
    ):
        client.score(x)


@pytest.mark.slow
def test_a_score_that_disagrees_is_noticed(exported, tmp_path):
    folder = shutil.copytree(exported.path, tmp_path / "export")
    reference = folder / "verify_inputs.npz"
    with np.load(reference) as stored:
        arrays = dict(stored)
    np.savez(reference, **{**arrays, "score": arrays["score"] * 1.01})
    found = verify(folder)
    assert any("score_float32" in failure for failure in found.failures)


def test_a_score_that_cannot_be_calibrated_is_refused_before_anything_is_written(tiny_run, tmp_path, capsys):
    assert main(["export", str(tiny_run), "--to", str(tmp_path / "out"), "--fpr", "0.01"]) == 2
    assert "--fpr is 0.01, which needs at least 99 held-out examples" in capsys.readouterr().err
    with pytest.raises(VaezooError, match="must be in"):
        export(tiny_run, tmp_path / "out", fpr=2.0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["vector_run", "sequence_run"])
@pytest.mark.slow
def test_vectors_and_conditional_sequences_have_a_score_too(name, request, tmp_path):
    run = Run(request.getfixturevalue(name))
    done = export(run.path, tmp_path, formats=("savedmodel", "litert"), quantizations=("float32",), fpr=FPR)
    x, labels = run.first("test", 50)
    label = {"label": labels} if run.model.spec.conditional else {}
    wanted = scoring.elbo(run.model, x, label.get("label"), samples=0)
    inputs = {run.model.spec.kind: x, **label}
    loaded = tf.saved_model.load(str(newest(done)))
    found = loaded.signatures["score"](**{key: tf.constant(value) for key, value in inputs.items()})["score"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    path = tmp_path / "score_float32.tflite"
    if name == "sequence_run":  # LiteRT has no kernel for the log-probability of tokens
        assert not path.exists()
        assert any("score_float32.tflite is left out" in note for note in done.notes)
    else:
        lite = Interpreter(str(path)).get_signature_runner("score")
        np.testing.assert_allclose(lite(**inputs)["score"], wanted, rtol=1e-4)
        far = x.copy()
        far[:6, 4] = 1e25  # its square overflows float32
        for found in (loaded.signatures["score"](vector=tf.constant(far)), lite(vector=far)):
            found = {key: np.asarray(value) for key, value in found.items()}
            assert not np.isfinite(found["score"][:6]).any()
            assert found["anomaly"][:6].all()
            np.testing.assert_array_equal(found["anomaly"] == 1, found["p_value"] <= FPR + 1e-6)

"""The files beside a SavedModel: warm-up records, configuration, the card; and the check of its graph."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from consumers.tiny_exports import newest
from google.protobuf import text_format

from vaezoo.errors import VaezooError
from vaezoo.exporting.graph_check import STATEFUL_RANDOM_OPS, check_saved_model

pytestmark = pytest.mark.slow

KIT = Path(__file__).parent.parent / "export"

# The fields of BatchingParameters in tensorflow_serving/servables/tensorflow/session_bundle_config.proto, a message
# that the package of stubs does not have.
BATCHING_FIELDS = {
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "thread_pool_name",
    "allowed_batch_sizes",
    "pad_variable_length_inputs",
}


# The check of the graph


def python_function(x):
    return tf.numpy_function(np.sin, [x], tf.float32)


def eager_function(x):
    return tf.py_function(tf.sin, [x], tf.float32)


def must_compile(x):
    return tf.function(tf.sin, jit_compile=True)(x)


def stateful_noise(x):
    return x + tf.random.normal(tf.shape(x))


def generator_noise(x):
    return x + tf.random.Generator.from_seed(1).normal([3])


def keras_dropout(x):
    return keras.layers.Dropout(0.5, seed=1)(x, training=True)


def hidden_in_a_loop(x):
    return tf.map_fn(stateful_noise, x)


def half(x):
    return tf.cast(x, tf.float16)


def brain_float(x):
    return tf.cast(x, tf.bfloat16)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (python_function, "holds PyFunc .*calls back into Python"),
        (eager_function, "holds EagerPyFunc .*calls back into Python"),
        (must_compile, "requires XLA .*jit_compile=True"),
        (stateful_noise, "holds RandomStandardNormal .*hidden state"),
        (hidden_in_a_loop, "holds RandomStandardNormal .*hidden state"),
        (half, "output 'y' of signature 'serving_default' is DT_HALF"),
        (brain_float, "output 'y' of signature 'serving_default' is DT_BFLOAT16"),
    ],
)
def test_a_graph_that_a_server_cannot_run_is_refused(function, reason, tmp_path):
    call = tf.function(lambda x: {"y": function(x)}, input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    tf.saved_model.save(tf.Module(), str(tmp_path), signatures=call.get_concrete_function())
    with pytest.raises(VaezooError, match=f"cannot be exported as a SavedModel: .*{reason}"):
        check_saved_model(tmp_path)


def test_the_list_of_stateful_random_ops_is_tensorflows_own():
    from tensorflow.python.framework import op_def_registry

    known = {
        name
        for name in dir(tf.raw_ops)
        if (definition := op_def_registry.get(name)) is not None
        and definition.is_stateful
        and re.search("Random|Normal|Uniform|Rng|Multinomial|Deterministic", name)
        # Queues, file readers and data sets have a state too, but do not draw random numbers for a request.
        and not re.search(
            "Queue|Dataset|Seed|Iterator|ThreadUnsafe|Dummy|Delete|Anonymous|Fixed|Candidate|Stateless", name
        )
    }
    assert known == STATEFUL_RANDOM_OPS


# Beside the graph


def test_the_warm_up_records_are_parsed_and_replayed(tiny_export, conditional_export, sequence_export):
    from tensorflow_serving.apis import prediction_log_pb2

    for exported in (tiny_export, conditional_export, sequence_export):
        folder = newest(exported)
        loaded = tf.saved_model.load(str(folder))
        records = list(tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests")))
        assert 0 < len(records) <= 1000  # the server refuses more
        replayed = set()
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            assert log.WhichOneof("log_type") == "predict_log"
            request = log.predict_log.request
            assert request.model_spec.name == exported.name
            inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            outputs = loaded.signatures[request.model_spec.signature_name](**inputs)
            rows = len(next(iter(inputs.values())))
            assert all(len(value) == rows and np.isfinite(value).all() for value in outputs.values())
            replayed.add((request.model_spec.signature_name, rows))
        assert replayed == {(name, rows) for name in loaded.signatures for rows in (1, 8)}


def text_fields(text):
    """The fields of a text proto, in order: (name, value as text)."""
    body = re.sub("#.*", "", text)
    return re.findall(r"(\w+)\s*(?::\s*|\{\s*value:\s*)(\w+)", body)


def test_the_batching_parameters_are_what_the_server_reads(tiny_export):
    for path in (newest(tiny_export) / "batching_params.pbtxt", KIT / "tf_serving" / "batching.pbtxt"):
        fields = text_fields(path.read_text())
        assert {name for name, _ in fields} <= BATCHING_FIELDS
        sizes = [int(value) for name, value in fields if name == "allowed_batch_sizes"]
        assert sizes == sorted(set(sizes))
        if sizes:
            assert dict(fields)["max_batch_size"] == str(sizes[-1])  # or the server does not start


def test_models_config_is_a_configuration_of_the_server(tiny_export):
    from tensorflow_serving.config import model_server_config_pb2

    for path in (tiny_export.path / "savedmodel" / "models.config", KIT / "tf_serving" / "models.config"):
        config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
        for model in config.model_config_list.config:
            assert model.base_path == f"/models/{model.name}"
            assert model.model_platform == "tensorflow"
    written = (tiny_export.path / "savedmodel" / "models.config").read_text()
    assert 'name: "tiny"' in written


def test_the_cards_say_what_is_needed(tiny_export, conditional_export):
    card = (newest(tiny_export) / "README.md").read_text()
    for text in (
        "# tiny, version 1",
        "[B, 3]",
        "[B, 8, 8, 1]",
        "0 to 1",
        "float32",
        "seed 0",
        "Test metrics, in nats per image",
        "380 train",
    ):
        assert text in card
    for signature in ("decode", "encode", "reconstruct", "sample"):
        assert f"| `{signature}` | input |" in card
        assert f"savedmodel/tiny/1: {signature} |" in card
    assert "label" not in card
    assert "0 to 7" in (newest(conditional_export) / "README.md").read_text()
    files = (tiny_export.path / "README.md").read_text()
    for line in (tiny_export.path / "verify.txt").read_text().splitlines()[3:]:
        assert f"| {line.split('  ')[0].strip()} |" in files
    for text in (card, files):
        assert not re.search(r"\$\w|None|nan", text.replace("$PWD", ""))


@pytest.mark.parametrize(
    ("fixture", "kind", "shape"),
    [
        ("tiny_export", "image", (1, 8, 8, 1)),
        ("conditional_export", "image", (1, 8, 8, 1)),
        ("vector_export", "vector", (1, 6)),
        ("sequence_export", "sequence", (1, 5, 7)),
    ],
)
@pytest.mark.slow
def test_the_python_of_the_files_card_runs(fixture, kind, shape, request, monkeypatch):
    exported = request.getfixturevalue(fixture)
    monkeypatch.chdir(exported.path)
    code = re.search("```python\n(.*?)```", (exported.path / "README.md").read_text(), re.DOTALL)[1]
    names = {}
    exec(code, names)
    assert names[kind].shape == shape

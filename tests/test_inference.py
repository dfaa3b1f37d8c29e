"""A model asked from Python: one graph for each of its networks, whatever the batch, and the numbers of plain calls."""

import contextlib
import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import vaezoo
from vaezoo.models.in_batches import decode, embed
from vaezoo.spec import Spec

SHAPE = (8, 8, 1)
MLP = {"encoder": {"name": "mlp", "hidden": [16]}, "decoder": {"name": "mlp", "hidden": [16]}}
CASES = {
    "conditional, vamp": ("mlp_vae", {**MLP, "conditional": True, "prior": {"name": "vamp", "components": 5}}),
    "flow": ("iaf_vae", MLP),
    "vectors": ("mlp_vae", {**MLP, "likelihood": "normal"}),
    "conditional sequences": ("mlp_vae", {**MLP, "likelihood": "categorical", "conditional": True}),
}
SPECS = {"vectors": Spec("vector", (6,)), "conditional sequences": Spec("sequence", (5,), levels=4, classes=10)}


def tiny():
    return vaezoo.create_model("mlp_vae", SHAPE, **MLP)


def some(model, count):
    """Examples, codes, and classes or None."""
    rng, spec = np.random.default_rng(count), model.spec
    label = np.arange(count) % 10 if spec.conditional else None
    x = rng.random((count, *spec.shape), "float32")
    x = x if spec.levels is None else (x * spec.levels).astype("int32")
    return x, rng.normal(size=(count, model.latent_dim)), label


def costs(model, x, label):
    """The parts of the negative ELBO [2,B] and [B], from two draws that all examples share."""
    batch = model.batch(x, label)
    noise = np.random.default_rng(0).normal(size=(2, model.latent_dim)).astype("float32")
    return model.costs(batch, model.encoder_params(batch), noise)


def answers(model, count):
    """What a user asks of a model, as arrays."""
    x, z, label = some(model, count)
    x_and_label = {"x": x, "label": label} if model.spec.conditional else x
    return {
        "encode": model.encode(x, label).sample(2, seed=(1, 2)),
        "codes": model.codes(x, label),
        "embed": embed(model, x, label),
        "decode": model.decode(z, label).log_prob(x),
        "decode many": model.decode(np.stack([z, 2 * z]), label).log_prob(x),  # [K,B,D]
        "examples": model.examples(z, label),
        "decode in batches": decode(model, z, label),
        "call": model(x_and_label),
        "sample": model.sample(count, seed=count, label=label),
        "prior": model.prior_codes(count),
        "negative log-likelihood": costs(model, x, label)[0],
        "KL": costs(model, x, label)[1],
    }


@contextlib.contextmanager
def without_graphs():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("case", CASES)
def test_every_batch_size_takes_one_trace_and_gives_what_plain_calls_give(case):
    name, overrides = CASES[case]
    model = vaezoo.create_model(name, SPECS.get(case, SHAPE), **overrides)
    found = answers(model, 3)
    for count in range(1, 21):
        x, z, label = some(model, count)
        sizes = map(len, (model.codes(x, label), model.examples(z, label), model.sample(count, 0, label)))
        assert set(sizes) == {count}
        assert [part.shape for part in costs(model, x, label)] == [(2, count), (count,)]
    graphs = model.encoder_graph, model.decoder_graph, model.prior_graph, model.costs_graph
    assert [graph.traces for graph in graphs] == [1, 1, 1, 1]
    with without_graphs():
        plain = answers(model, 3)
    for name, values in plain.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_several_models_give_no_warning_of_retracing(caplog):
    for _ in range(6):  # TensorFlow warns at the fifth function of one definition
        assert tiny().sample(2).shape == (2, *SHAPE)
    assert "retracing" not in caplog.text


def test_a_graph_reads_the_weights_that_are_there_now(tmp_path):
    model, other = tiny(), tiny()
    x = some(model, 3)[0]
    assert np.abs(model(x) - other(x)).max() > 1e-3
    other.save_weights(tmp_path / "other.weights.h5")
    model.load_weights(tmp_path / "other.weights.h5")
    np.testing.assert_array_equal(model(x), other(x))


def test_a_model_is_saved_copied_and_exported_as_before_it_was_asked(tmp_path):
    model = tiny()
    x = some(model, 3)[0]
    expected = model(x)
    model.save(tmp_path / "model.keras")
    for twin in (keras.models.load_model(tmp_path / "model.keras"), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin(x), expected)
    assert keras.models.clone_model(model).get_config() == model.get_config()
    tf.saved_model.save(model, tmp_path / "saved")
    saved = tf.saved_model.load(tmp_path / "saved")
    assert not hasattr(saved, "encoder_graph")


def test_a_gradient_passes_through_a_graph():
    model = tiny()
    x, z, _ = some(model, 3)

    def gradients():
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(model.encode(x).log_prob(z)) + tf.reduce_mean(model.examples(z))
        return tape.gradient(value, model.trainable_variables)

    ours = gradients()
    with without_graphs():
        plain = gradients()
    for gradient, expected in zip(ours, plain, strict=True):
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_within_another_graph_it_is_a_part_of_that_one_and_knows_its_batch():
    model = tiny()

    @tf.function
    def examples(z):
        drawn = model.examples(z)
        assert drawn.shape == (4, *SHAPE)  # the caller's own batch, not None
        return drawn

    z = np.random.default_rng(0).normal(size=(4, model.latent_dim)).astype("float32")
    np.testing.assert_allclose(examples(z), model.examples(z), atol=1e-6)

"""Autoregressive likelihoods and the networks of sequences: exact sums, causality, and files that need Keras alone."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import vaezoo
from vaezoo import likelihoods, networks, objectives
from vaezoo.errors import VaezooError
from vaezoo.exporting.signatures import Functions
from vaezoo.models.standalone import standalone_decoder
from vaezoo.spec import Spec

SMALL = Spec("sequence", (4,), 3)
EVERY = np.array(list(itertools.product(range(3), repeat=4)), "int32")  # the 81 sequences
PLACES = np.array([27, 9, 3, 1])


def likelihood(spec=SMALL, **keywords):
    """An untrained likelihood whose weights are large enough that its tokens differ."""
    keras.utils.set_random_seed(3)
    part = likelihoods.Autoregressive(**{"features": 5, "units": 7, **keywords})
    part.build((None, *part.params_shape(spec)), spec.levels)
    part.set_weights([2.5 * weight for weight in part.get_weights()])
    return part


def features(*batch, spec=SMALL, size=5):
    return tf.constant(np.random.default_rng(1).normal(size=(*batch, *spec.shape, size)), tf.float32)


@pytest.mark.parametrize("span", [None, 2, 1])
def test_the_probabilities_of_every_sequence_sum_to_one(span):
    p = likelihood(span=span).distribution(features(3), SMALL)
    np.testing.assert_allclose(np.exp(p.log_prob(EVERY[:, None])).sum(0), 1, rtol=1e-5)


def test_log_prob_is_the_sum_over_steps_of_a_gru_written_out():
    part, params = likelihood(), features(1)
    kernel, recurrent, bias = (np.float64(weight) for weight in part.gru.get_weights())
    weight, offset = (np.float64(weight) for weight in part.logits.get_weights())
    x, h, before, log_prob = [2, 0, 1, 1], np.zeros(7), np.zeros(3), 0.0
    for f, token in zip(np.float64(params[0]), x, strict=True):
        given, held = np.concatenate([f, before]) @ kernel + bias[0], h @ recurrent + bias[1]
        update, reset = (1 / (1 + np.exp(-(given[i : i + 7] + held[i : i + 7]))) for i in (0, 7))
        h = update * h + (1 - update) * np.tanh(given[14:] + reset * held[14:])
        logits = np.concatenate([h, f]) @ weight + offset
        log_prob += logits[token] - np.log(np.exp(logits).sum())
        before = np.eye(3)[token]
    p = part.distribution(params, SMALL)
    np.testing.assert_allclose(p.log_prob(np.array([x], "int32")), [log_prob], rtol=1e-5)


def test_samples_have_the_probabilities_of_the_sequences():
    p = likelihood(span=2).distribution(features(2), SMALL)
    drawn = p.sample(20_000, seed=(1, 2)).numpy() @ PLACES  # [N,2]
    wanted = np.exp(p.log_prob(EVERY[:, None]))
    for column in range(2):
        found = np.bincount(drawn[:, column], minlength=81) / 20_000
        np.testing.assert_allclose(found, wanted[:, column], atol=5 * 0.5 / np.sqrt(20_000))


def test_a_temperature_is_the_power_of_the_probabilities():
    spec = Spec("sequence", (1,), 3)
    part, params = likelihood(spec), features(1, spec=spec)
    p = np.exp(part.distribution(params, spec).log_prob(np.arange(3)[:, None, None]))[:, 0]
    many = tf.repeat(params, 20_000, axis=0)
    for temperature in (0.5, 2.0):
        found = np.bincount(part.drawn(many, spec, temperature, (0, 1)).numpy()[:, 0], minlength=3) / 20_000
        np.testing.assert_allclose(found, p ** (1 / temperature) / (p ** (1 / temperature)).sum(), atol=0.02)
    cold = part.drawn(features(9), SMALL, 1e-6, (0, 1))
    np.testing.assert_array_equal(cold, part.example(features(9), SMALL))


def test_the_most_likely_path_is_what_teacher_forcing_says_of_it():
    part, params = likelihood(span=2), features(40)
    path = part.example(params, SMALL)
    np.testing.assert_array_equal(np.argmax(part.distribution(params, SMALL).logits(path), axis=-1), path)
    assert len(np.unique(path.numpy() @ PLACES)) > 3, "all paths are alike: this proves little"


def test_a_later_token_changes_no_earlier_step_and_a_span_no_later_one():
    x = np.zeros((1, 4), "int32")
    for span, changed in ((None, [2, 3]), (2, [])):
        logits = likelihood(span=span).distribution(features(1), SMALL).logits
        other = x.copy()
        other[0, 1] = 2
        difference = np.abs(logits(other) - logits(x)).max((0, 2))
        assert [step for step in range(4) if difference[step] > 1e-6] == changed


def test_later_features_change_no_earlier_token_of_the_exported_loop():
    part, inputs = likelihood(), keras.Input((4, 5))
    loop = keras.Model(inputs, part.decoded(inputs, SMALL))
    params = features(200).numpy()
    tokens, others = loop(params).numpy(), params.copy()
    np.testing.assert_array_equal(tokens, part.example(params, SMALL))
    others[:, 2:] += 3 * np.random.default_rng(0).normal(size=others[:, 2:].shape)
    changed = loop(others).numpy() != tokens
    assert not changed[:, :2].any()
    assert changed[:, 2:].any(0).all()


def test_leading_axes_of_draws_are_kept():
    part, params, x = likelihood(), features(3, 2), np.array([[0, 1, 2, 2], [1, 1, 0, 2]], "int32")
    p = part.distribution(params, SMALL)
    assert p.log_prob(x).shape == (3, 2)
    each = [part.distribution(params[k], SMALL).log_prob(x) for k in range(3)]
    np.testing.assert_allclose(p.log_prob(x), each, rtol=1e-5)
    assert p.sample(5, seed=(0, 0)).shape == (5, 3, 2, 4)
    assert p.mode().shape == part.example(params, SMALL).shape == (3, 2, 4)


def test_a_span_that_does_not_divide_the_sequence_is_refused():
    with pytest.raises(VaezooError, match="span to a divisor of 4, or to null"):
        likelihood(span=3)
    with pytest.raises(VaezooError, match=r"decoder\.span to a divisor of 4"):
        networks.conductor_decoder(2, SMALL, (4, 5), span=3)


@pytest.mark.parametrize("name", ["categorical", "autoregressive"])
def test_sampling_with_a_temperature_is_a_function_of_the_seed(name):
    model = vaezoo.create_model("mlp_vae", SMALL, likelihood=name, latent_dim=2)
    drawn = [model.sample(50, seed=seed, temperature=1.0).numpy() for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert drawn[0].shape == (50, 4)
    assert drawn[0].min() >= 0
    assert drawn[0].max() <= 2


def test_a_temperature_is_refused_for_images():
    model = vaezoo.create_model("mlp_vae", (4, 4, 1))
    with pytest.raises(VaezooError, match="a temperature is for sequences"):
        model.sample(2, temperature=1.0)


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("mlp", "mlp"), ("recurrent", {"name": "conductor", "span": 2, "units": 6, "hidden": [8]})]
)
def test_the_standalone_decoder_gives_the_tokens_that_the_model_gives(tmp_path, encoder, decoder):
    model = vaezoo.create_model(
        "mlp_vae", SMALL, encoder=encoder, decoder=decoder, likelihood={"name": "autoregressive", "span": 2}
    )
    standalone_decoder(model).save(tmp_path / "decoder.keras")
    z = 3 * model.prior_codes(200)
    decoder = keras.models.load_model(tmp_path / "decoder.keras")
    wanted = model.examples(z).numpy()
    np.testing.assert_array_equal(decoder(z), wanted)
    np.testing.assert_array_equal(Functions(model).concrete("decode")(z=z)["sequence"], wanted)
    np.testing.assert_array_equal(model.decode(z).mode(), wanted)


@pytest.mark.slow
def test_litert_gives_the_tokens_that_keras_gives(tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from vaezoo.exporting.litert import convert

    spec = Spec("sequence", (32,), 12)
    parts = {"likelihood": {"name": "autoregressive", "span": 16, "units": 24}, "latent_dim": 6}
    model = vaezoo.create_model("melody_vae_16", spec, **parts)
    z = 4 * model.prior_codes(1000).numpy()
    (tmp_path / "decoder.tflite").write_bytes(convert(Functions(model), "decode", "float32"))
    decode = litert.Interpreter(str(tmp_path / "decoder.tflite")).get_signature_runner("decode")
    wanted = model.examples(z).numpy()
    assert len(np.unique(wanted, axis=0)) > 900
    np.testing.assert_array_equal(decode(z=z)["sequence"], wanted)


def test_free_bits_are_free():
    model = vaezoo.create_model("mlp_vae", SMALL, likelihood="categorical", latent_dim=2)
    passed = model.forward(EVERY[:8], seed=(0, 0))
    terms = objectives.BetaELBO(beta=0.5, free_bits=0.1).compute(passed, 0)
    kl, reconstruction = terms["kl"].numpy(), terms["reconstruction"].numpy()
    free = 0.1 * np.log(2)
    assert (kl < free).any() or (kl > free).any()
    np.testing.assert_allclose(terms["loss"], reconstruction + 0.5 * np.maximum(kl - free, 0), rtol=1e-6)
    np.testing.assert_allclose(terms["elbo"], -reconstruction - kl, rtol=1e-6)


def test_a_recurrent_encoder_reads_both_ends():
    encoder = networks.recurrent_encoder(SMALL, 6, units=4)
    x = np.zeros((3, 4), "int32")
    x[1, 0], x[2, 3] = 1, 1
    first, start, end = encoder(x).numpy()
    assert np.abs(first - start).max() > 1e-3
    assert np.abs(first - end).max() > 1e-3

"""The place of a hierarchy: a decoder of two groups in units of their priors, and a posterior that sees its state.

The prior over both groups together is a standard normal over eps [B,D], so every command works on the model as on any
other. Here its terms are compared with those of the same model written out in z, by SciPy in float64.
"""

from typing import ClassVar, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras import ops
from scipy import special, stats

from vaezoo import recipe_schema
from vaezoo.decoding import layers_of
from vaezoo.evaluation import estimate_nll
from vaezoo.keras_files import load_keras_file
from vaezoo.likelihoods import Bernoulli
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_encoder
from vaezoo.objectives import ELBO, IWAE
from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormalDistribution, Posterior
from vaezoo.priors import StandardNormal
from vaezoo.spec import Spec

SPEC = Spec("vector", (6,))
TOP, BOTTOM, STATE = 2, 3, 8  # latents of the two groups, and the size of the state between them
D, K, B = TOP + BOTTOM, 7, 5


def decoder_of_two_groups():
    """eps [B,D] → logits [B,6]: each group in units of its own prior, which a block computes from the state above."""
    top = keras.Input((TOP,))  # the prior of the top group is N(0, I) as it stands
    first = keras.Model(top, keras.layers.Dense(STATE, "tanh")(top), name="top")
    state, eps = keras.Input((STATE,)), keras.Input((BOTTOM,))
    loc, raw = keras.layers.Dense(BOTTOM, name="loc")(state), keras.layers.Dense(BOTTOM, name="raw_scale")(state)
    z = loc + (ops.softplus(raw) + 0.1) * eps
    h = keras.layers.Dense(STATE, "tanh")(keras.layers.Concatenate()([state, z]))
    second = keras.Model([state, eps], keras.layers.Dense(SPEC.shape[0])(h), name="bottom")
    both = keras.Input((D,), name="z")
    return keras.Model(both, second([first(both[:, :TOP]), both[:, TOP:]]), name="decoder")


def prior_of_bottom(block, state):
    """The location and the scale of p(z_bottom | state), of the block's own layers."""
    raw = block.get_layer("raw_scale")(state)
    return np.asarray(block.get_layer("loc")(state), "float64"), np.asarray(tf.nn.softplus(raw) + 0.1, "float64")


def _hierarchy():
    """The posterior of two groups; made in a function, and taken out of the list of parts again."""

    class TwoGroups(recipe_schema.Posterior):
        name: Literal["two_groups"] = "two_groups"
        normal: ClassVar[bool] = False

    del recipe_schema.Posterior.parts["two_groups"]

    class TwoGroupsPosterior(Posterior):
        """q(eps_top | x) q(eps_bottom | x, eps_top), each a diagonal normal."""

        def build(self, params_shape, state_shapes=()):
            """A head for each group: features, and for the lower one the state above it → loc and raw scale."""
            features, state = keras.Input((params_shape[-1],)), keras.Input(state_shapes[0][1:])
            joined = keras.layers.Concatenate()([state, features])
            self.heads = [
                keras.Model(features, keras.layers.Dense(2 * TOP, dtype="float32")(features)),
                keras.Model([state, features], keras.layers.Dense(2 * BOTTOM, dtype="float32")(joined)),
            ]

        def params_size(self, latent_dim):
            """As many features as you like."""
            return 4

        def walk(self, features, decoder, draw):
            """From the top down: draw(loc, scale, group) → eps of each group; and the parameters of p(x|z)."""
            first, second = decoder.blocks
            loc, scale = _loc_scale(self.heads[0](features))
            top = draw(loc, scale, 0)
            state = first(top)
            below = _loc_scale(self.heads[1]([state, features]))
            bottom = draw(*below, 1)
            joined = [ops.concatenate(pair, axis=-1) for pair in ((top, bottom), (loc, below[0]), (scale, below[1]))]
            return *joined, second([state, bottom])

        def draw(self, params, noise, decoder):
            """One walk gives the draws, the density along the way, and what they decode to."""
            samples = tf.shape(noise)[0]
            features = tf.repeat(params[tf.newaxis], samples, axis=0)  # [K,B,P]
            rows = [tf.reshape(t, [-1, t.shape[-1]]) for t in (features, noise)]
            parts = tf.split(rows[1], [TOP, BOTTOM], axis=-1)
            walked = self.walk(rows[0], decoder, lambda loc, scale, group: loc + scale * parts[group])
            eps, loc, scale, decoded = (tf.reshape(t, [samples, -1, t.shape[-1]]) for t in walked)
            return DiagonalNormalDistribution(loc, scale), eps, decoded

        def parameters(self, params, decoder=None):
            """The code without noise."""
            return {"loc": self.walk(params, decoder, lambda loc, scale, group: loc)[0]}

    TwoGroupsPosterior.describe(TwoGroups)
    return TwoGroupsPosterior


def _loc_scale(params):
    loc, raw = ops.split(params, 2, axis=-1)
    return loc, ops.softplus(raw) + SMALLEST_SCALE


@pytest.fixture(scope="module")
def build():
    posterior = _hierarchy()

    def build(objective, seed=0):
        keras.utils.set_random_seed(seed)
        model = VAE(
            SPEC, mlp_encoder(SPEC, 4, hidden=(8,)), posterior(), StandardNormal(), decoder_of_two_groups(),
            Bernoulli(), objective, latent_dim=D,
        )  # fmt: skip
        for number, weight in enumerate(model.weights):  # biases begin at zero, which would hide a wrong one
            weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (seed, number)))
        return model

    yield build
    keras.saving.get_custom_objects().pop("vaezoo>TwoGroupsPosterior")


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).integers(0, 2, (B, *SPEC.shape)).astype("float32")


def by_hand(model, x, eps):
    """log p(x|z), log q(z|x), log p(z) [K,B] and the KL of both groups [K,B], in z and float64."""
    first, second = (layer for layer in model.decoder.layers if isinstance(layer, keras.Model))
    features = np.repeat(model.encoder(x)[None], len(eps), axis=0).reshape(-1, 4)
    flat = eps.reshape(-1, D)
    top, bottom_eps = flat[:, :TOP], flat[:, TOP:]
    loc, scale = (np.asarray(t, "float64") for t in _loc_scale(model.posterior.heads[0](features)))
    state = np.asarray(first(top))
    prior_loc, prior_scale = prior_of_bottom(second, state)
    eps_loc, eps_scale = (np.asarray(t, "float64") for t in _loc_scale(model.posterior.heads[1]([state, features])))
    bottom = prior_loc + prior_scale * bottom_eps
    q_loc, q_scale = prior_loc + prior_scale * eps_loc, prior_scale * eps_scale  # the residual posterior, in z
    log_q = stats.norm.logpdf(top, loc, scale).sum(1) + stats.norm.logpdf(bottom, q_loc, q_scale).sum(1)
    log_p = stats.norm.logpdf(top).sum(1) + stats.norm.logpdf(bottom, prior_loc, prior_scale).sum(1)
    kl = _kl(loc, scale, 0, 1).sum(1) + _kl(q_loc, q_scale, prior_loc, prior_scale).sum(1)
    logits = np.asarray(second([state, bottom_eps]), "float64")
    log_x = -np.logaddexp(0, np.where(np.tile(x, (len(eps), 1)) == 1, -logits, logits)).sum(1)
    return [values.reshape(len(eps), -1) for values in (log_x, log_q, log_p, kl)]


def _kl(loc, scale, other_loc, other_scale):
    return np.log(other_scale / scale) + (scale**2 + (loc - other_loc) ** 2) / (2 * other_scale**2) - 0.5


def test_the_terms_in_eps_are_those_in_z(build, x):
    model = build(ELBO())
    passed = model.forward(x, samples=K, seed=(1, 2))
    log_x, log_q, log_p, kl = by_hand(model, x, np.asarray(passed.z))
    np.testing.assert_allclose(passed.log_likelihood, log_x, rtol=1e-5)
    np.testing.assert_allclose(passed.log_ratio, log_q - log_p, atol=2e-5)
    np.testing.assert_allclose(passed.kl("monte_carlo"), (log_q - log_p).mean(0), atol=2e-5)
    np.testing.assert_allclose(passed.kl("closed_form"), kl.mean(0), atol=2e-5)


@pytest.mark.parametrize("method", ["closed_form", "monte_carlo"])
def test_the_elbo_in_eps_is_that_in_z(build, x, method):
    model = build(ELBO(samples=K, kl=method))
    seed = tf.constant([3, 4])
    log_x, log_q, log_p, kl = by_hand(model, x, np.asarray(model.forward(x, K, seed).z))
    expected = (log_x - (kl if method == "closed_form" else log_q - log_p)).mean(0)
    np.testing.assert_allclose(model.terms(x, seed, 0)["elbo"], expected, rtol=1e-5, atol=2e-5)


def test_the_importance_weighted_bound_in_eps_is_that_in_z(build, x):
    model = build(IWAE(samples=K))
    seed = tf.constant([5, 6])
    log_x, log_q, log_p, _ = by_hand(model, x, np.asarray(model.forward(x, K, seed).z))
    expected = special.logsumexp(log_x + log_p - log_q, axis=0) - np.log(K)
    np.testing.assert_allclose(-model.terms(x, seed, 0)["loss"], expected, rtol=1e-5, atol=2e-5)


def test_the_nll_is_that_of_sampling_from_the_prior_in_z(build, x):
    # log p(x) = log E_p(z) p(x|z), here by 200,000 draws from the prior; the errors are those of the delta method.
    model = build(ELBO(samples=8))
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, batch_size=B, epochs=200, verbose=0)  # a posterior far from the true one would take more samples
    found = estimate_nll(model, x, samples=2000)
    eps = np.random.default_rng(1).standard_normal((200_000, D)).astype("float32")
    weights = np.exp(np.asarray(model.decode(eps[:, None]).log_prob(x), "float64"))  # [200000,B]
    variance = 1 / found.effective_samples + weights.var(0) / weights.mean(0) ** 2 / len(eps)
    assert variance.max() < 0.05**2
    assert (np.abs(-found.nll - np.log(weights.mean(0))) < 4 * np.sqrt(variance)).all()


def test_a_training_step_walks_down_once(build, x, monkeypatch):
    model = build(ELBO(samples=3))
    calls = []
    block = model.decoder.get_layer("top")
    original = type(block).call
    monkeypatch.setattr(
        type(block), "call", lambda self, *a, **k: (calls.append(self.name), original(self, *a, **k))[1]
    )
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)  # variables made in the first trace would make for a second
    before = model.evaluate(x, verbose=0, return_dict=True)["loss"]
    calls.clear()
    model.fit(x, batch_size=B, epochs=60, verbose=0)
    assert calls.count("top") == 1  # when the step was traced, and never again
    assert model.evaluate(x, verbose=0, return_dict=True)["loss"] < before - 0.5


def test_every_weight_of_both_groups_is_trained(build, x):
    model = build(ELBO())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.terms(x, tf.constant([1, 2]), 0)["loss"])
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path


def test_it_is_saved_and_its_networks_need_keras_alone(build, x, tmp_path):
    model = build(ELBO())
    model.save(tmp_path / "model.keras")
    loaded = load_keras_file(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert len(loaded.weights) == len(model.weights)
    encoder, decoder = standalone_encoder(model), standalone_decoder(model)
    for network in (encoder, decoder):
        network.save(tmp_path / f"{network.name}.keras")
        load_keras_file(tmp_path / f"{network.name}.keras")
    np.testing.assert_allclose(encoder(x)["loc"], model.codes(x), atol=1e-6)
    np.testing.assert_allclose(decoder(encoder(x)["loc"]), model(x), atol=1e-6)


def test_samples_come_from_the_prior_as_those_of_any_model(build):
    model = build(ELBO())
    np.testing.assert_allclose(model.prior_codes(4000).numpy().std(0), np.ones(D), atol=0.05)
    assert isinstance(model.prior_distribution(), tfp.distributions.MultivariateNormalDiag)
    assert model.sample(3).shape == (3, *SPEC.shape)


def test_the_layers_of_its_blocks_are_found(build):
    # The rule of compilation, the fused activations and the memory of the NLL look at every layer.
    names = {layer.name for layer in layers_of(build(ELBO()).decoder)}
    assert {"loc", "raw_scale", "top", "bottom"} <= names

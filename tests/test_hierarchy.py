"""A hierarchy: a decoder of groups in units of their priors, and a posterior that sees its state.

The prior over all groups together is a standard normal over eps [B,D], so every command works on the model as on any
other. Here the terms of two dense groups are compared with those of the same model written out in z, by SciPy in
float64, and its evidence with that of a linear-Gaussian hierarchy, which is known.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import small_recipe
from keras import ops
from scipy import special, stats

from vaezoo import create_model
from vaezoo.config import load_recipe
from vaezoo.decoding import group_shapes, layers_of
from vaezoo.errors import VaezooError
from vaezoo.evaluation import estimate_nll, evaluate
from vaezoo.evaluation.latent_code import kl_per_latent
from vaezoo.evaluation.report import as_text
from vaezoo.keras_files import load_keras_file
from vaezoo.latent_space import draw_traversal, resample_groups
from vaezoo.likelihoods import Bernoulli, Normal
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_encoder
from vaezoo.objectives import ELBO, IWAE
from vaezoo.posteriors import SMALLEST_SCALE, UNIT, ResidualNormal
from vaezoo.priors import StandardNormal
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training import train
from vaezoo.zoo import build_model

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


def _loc_scale(params):
    loc, raw = ops.split(params, 2, axis=-1)
    return loc, ops.softplus(raw + UNIT) + SMALLEST_SCALE


def build(objective, seed=0):
    keras.utils.set_random_seed(seed)
    model = VAE(
        SPEC, mlp_encoder(SPEC, 4, hidden=(8,)), ResidualNormal(), StandardNormal(), decoder_of_two_groups(),
        Bernoulli(), objective, latent_dim=D,
    )  # fmt: skip
    return moved(model, seed)


def moved(model, seed=0):
    """The model with every weight moved: biases begin at zero, which would hide a wrong one."""
    for number, weight in enumerate(model.weights):
        weight.assign(weight + 0.3 * tf.random.stateless_normal(weight.shape, (seed, number)))
    return model


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


def test_the_terms_in_eps_are_those_in_z(x):
    model = build(ELBO())
    passed = model.forward(x, samples=K, seed=(1, 2))
    log_x, log_q, log_p, kl = by_hand(model, x, np.asarray(passed.z))
    np.testing.assert_allclose(passed.log_likelihood, log_x, rtol=1e-5)
    np.testing.assert_allclose(passed.log_ratio, log_q - log_p, atol=2e-5)
    np.testing.assert_allclose(passed.kl("monte_carlo"), (log_q - log_p).mean(0), atol=2e-5)
    np.testing.assert_allclose(passed.kl("closed_form"), kl.mean(0), atol=2e-5)


@pytest.mark.parametrize("method", ["closed_form", "monte_carlo"])
def test_the_elbo_in_eps_is_that_in_z(x, method):
    model = build(ELBO(samples=K, kl=method))
    seed = tf.constant([3, 4])
    log_x, log_q, log_p, kl = by_hand(model, x, np.asarray(model.forward(x, K, seed).z))
    expected = (log_x - (kl if method == "closed_form" else log_q - log_p)).mean(0)
    np.testing.assert_allclose(model.terms(x, seed, 0)["elbo"], expected, rtol=1e-5, atol=2e-5)


def test_the_importance_weighted_bound_in_eps_is_that_in_z(x):
    model = build(IWAE(samples=K))
    seed = tf.constant([5, 6])
    log_x, log_q, log_p, _ = by_hand(model, x, np.asarray(model.forward(x, K, seed).z))
    expected = special.logsumexp(log_x + log_p - log_q, axis=0) - np.log(K)
    np.testing.assert_allclose(-model.terms(x, seed, 0)["loss"], expected, rtol=1e-5, atol=2e-5)


@pytest.mark.slow
def test_the_nll_is_that_of_sampling_from_the_prior_in_z(x):
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


@pytest.mark.slow
def test_a_training_step_walks_down_once(x, monkeypatch):
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


def test_every_weight_of_both_groups_is_trained(x):
    model = build(ELBO())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.terms(x, tf.constant([1, 2]), 0)["loss"])
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path


def test_it_is_saved_and_its_networks_need_keras_alone(x, tmp_path):
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


def test_samples_come_from_the_prior_as_those_of_any_model():
    model = build(ELBO())
    np.testing.assert_allclose(model.prior_codes(4000).numpy().std(0), np.ones(D), atol=0.05)
    assert isinstance(model.prior_distribution(), tfp.distributions.MultivariateNormalDiag)
    assert model.sample(3).shape == (3, *SPEC.shape)


def test_the_layers_of_its_blocks_are_found():
    # The rule of compilation, the fused activations and the memory of the NLL look at every layer.
    names = {layer.name for layer in layers_of(build(ELBO()).decoder)}
    assert {"loc", "raw_scale", "top", "bottom"} <= names


@pytest.mark.slow
def test_the_evidence_of_a_linear_gaussian_hierarchy():
    # x = C z_2 + c + noise, z_2 = A z_1 + a + s eps, z_1 ~ N(0, I): a normal, whose density SciPy has.
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    top = keras.Input((TOP,))
    first = keras.Model(top, keras.layers.Dense(STATE, use_bias=True, name="A")(top), name="top")
    state, eps = keras.Input((STATE,)), keras.Input((STATE,))
    second = keras.layers.Dense(SPEC.shape[0], name="C")(state + 0.4 * eps)
    second = keras.Model([state, eps], second, name="bottom")
    both = keras.Input((TOP + STATE,), name="z")
    decoder = keras.Model(both, second([first(both[:, :TOP]), both[:, TOP:]]), name="decoder")
    encoder = mlp_encoder(SPEC, 4, hidden=(8,))
    model = VAE(
        SPEC, encoder, ResidualNormal(), StandardNormal(), decoder, Normal(scale=0.5), ELBO(), latent_dim=TOP + STATE
    )
    moved(model)
    (A, a), (C, c) = (first.get_layer("A").get_weights(), second.get_layer("C").get_weights())
    covariance = C.T @ (A.T @ A + 0.4**2 * np.eye(STATE)) @ C + 0.5**2 * np.eye(SPEC.shape[0])
    x = rng.multivariate_normal(a @ C + c, covariance, B).astype("float32")
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(np.repeat(x, 40, axis=0), batch_size=100, epochs=60, verbose=0)  # else importance weights vary too much
    (A, a), (C, c) = (first.get_layer("A").get_weights(), second.get_layer("C").get_weights())
    covariance = C.T @ (A.T @ A + 0.4**2 * np.eye(STATE)) @ C + 0.5**2 * np.eye(SPEC.shape[0])
    expected = stats.multivariate_normal(a @ C + c, covariance).logpdf(x)
    found = estimate_nll(model, x, samples=20_000)
    assert found.effective_samples.min() > 100
    assert (np.abs(-found.nll - expected) < 4 / np.sqrt(found.effective_samples)).all()


# The convolutional hierarchy

SIDE = 16  # groups of 6 numbers, of 4×4×4 and of 8×8×1


def small_ladder(conditional=False, **overrides):
    keras.utils.set_random_seed(0)
    sides = {side: {"name": "ladder", "width": 8, "dense": 8} for side in ("encoder", "decoder")}
    spec = overrides.pop("spec", (SIDE, SIDE, 1))
    return create_model("ladder_vae", spec, 3, **{"latent_dim": 6, **sides, "conditional": conditional, **overrides})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 2, (B, SIDE, SIDE, 1)).astype("float32")


def test_an_untrained_posterior_is_nearly_the_prior(images):
    passed = small_ladder().forward(images, samples=K, seed=(1, 2))
    np.testing.assert_allclose(passed.kl(), np.zeros(B), atol=0.01)
    np.testing.assert_allclose(passed.log_ratio, np.zeros((K, B)), atol=0.2)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_posterior_is_that_of_the_pass(conditional, images):
    model = moved(small_ladder(conditional))
    batch = {"x": images, "label": np.arange(B) % 3} if conditional else images
    passed = model.forward(batch, samples=K, seed=(1, 2))
    q = model.encode(images, np.arange(B) % 3 if conditional else None)
    assert (q.batch_shape, q.event_shape) == ((B,), (6 + 4 * 4 * 4 + 8 * 8,))
    np.testing.assert_allclose(q.log_prob(passed.z), passed.q.log_prob(passed.z), rtol=1e-5)
    drawn = q.sample(3, seed=(1, 2))
    np.testing.assert_array_equal(drawn, q.sample(3, seed=(1, 2)))
    np.testing.assert_allclose(q.log_prob(drawn[:, None])[:, 0], q.log_prob(drawn), rtol=1e-6)
    label = np.arange(B) % 3 if conditional else None
    np.testing.assert_allclose(
        model.decode(passed.z, label).log_prob(images), passed.log_likelihood, rtol=1e-5, atol=1e-3
    )


def test_a_group_depends_on_those_above_it_alone(images):
    model = moved(small_ladder())
    sizes = [size for _, size in group_shapes(model.decoder)]
    assert sizes == [6, 64, 64]
    params, decoder = model.encoder_params(model.batch(images)), model.decoder_of(model.batch(images))
    eps = tf.random.stateless_normal([1, B, sum(sizes)], (0, 1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(eps)
        q = model.posterior.given(params, decoder, eps)
        groups = [tf.reduce_sum(part**2) for part in tf.split(q.mean(), sizes, axis=-1)]
    for number, group in enumerate(groups):
        gradient = tape.gradient(group, eps, unconnected_gradients="zero")
        parts = [float(tf.reduce_max(tf.abs(part))) for part in tf.split(gradient, sizes, axis=-1)]
        assert (min(parts[:number], default=1) > 0, max(parts[number:])) == (True, 0)


@pytest.mark.parametrize("spec", [(8, 8, 1), (28, 28, 1), (20, 50, 3), (64, 64, 3)])
def test_a_ladder_takes_images_of_any_size(spec):
    model = small_ladder(spec=spec)
    assert model.decoder.output_shape == (None, *spec)
    assert len(group_shapes(model.decoder)) == 1 + len(model.encoder.outputs[1:])
    assert model.sample(2).shape == (2, *spec)


def test_several_groups_at_each_resolution(images):
    model = small_ladder(decoder={"name": "ladder", "width": 8, "dense": 8, "groups": 2, "channels": 2})
    assert [size for _, size in group_shapes(model.decoder)] == [6, 32, 32, 64, 64]
    assert np.isfinite(model.forward(images).log_likelihood).all()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_heads_keep_the_precision_of_the_model(policy, images, tmp_path):
    sides = {f"model.{side}": {"name": "ladder", "width": 8, "dense": 8} for side in ("encoder", "decoder")}
    recipe = load_recipe("ladder_vae", {**sides, "training.precision": policy})
    model = build_model(recipe, Spec("image", (SIDE, SIDE, 1)))
    model.save(tmp_path / "model.keras")
    for each in (model, load_keras_file(tmp_path / "model.keras")):
        policies = {layer.dtype_policy.name for layer in each.posterior.heads[1].layers if "conv" in layer.name}
        assert policies == {policy, "float32"}  # the last layers are float32
        assert each.posterior.heads[1].output.dtype == "float32"
    reference = standalone_encoder(model)(images)["loc"]
    np.testing.assert_allclose(model.codes(images), reference, atol=0.05)


def test_a_hierarchy_needs_all_three_parts():
    for overrides in ({"posterior": "diagonal_normal"}, {"encoder": "conv"}, {"decoder": "pyramid"}):
        with pytest.raises(VaezooError, match=r"needs all three of model.encoder=ladder, model.posterior=residual_"):
            create_model("ladder_vae", **overrides)


def test_the_kl_of_the_latents_adds_up_to_that_of_the_pass(images):
    model = moved(small_ladder())
    expected = np.mean(model.forward(images, seed=(0, 0)).kl("closed_form"))
    np.testing.assert_allclose(kl_per_latent(model, images).sum(), expected, rtol=1e-5)


def test_resampling_a_group_leaves_the_others(images):
    model = moved(small_ladder())
    found = resample_groups(model, images[0], count=3, seed=1)
    assert found.examples.shape == (3, 3, SIDE, SIDE, 1)
    code, start = model.codes(images[:1]), 0
    for row, size in enumerate(found.sizes):
        own = np.zeros(model.latent_dim, bool)
        own[start : start + size] = True
        np.testing.assert_allclose(found.codes[row][:, ~own], np.repeat(code, 3, 0)[:, ~own], rtol=1e-5)
        np.testing.assert_array_equal(found.codes[row][:, own], np.asarray(model.prior_codes(3, 1))[:, own])
        start += size
    for count, seed, message in ((0, 0, "0 draws from the prior"), (1, -1, "the seed -1 is outside")):
        with pytest.raises(VaezooError, match=message):
            resample_groups(model, images[0], count=count, seed=seed)


@pytest.mark.slow
def test_a_trained_ladder_is_evaluated_and_drawn_by_groups(bars_file, tmp_path):
    run = Run(train(small_recipe("ladder_vae", bars_file), tmp_path / "run", quiet=True).path)
    report, _ = evaluate(run, samples=5)
    groups = report["code"]["groups"]
    assert [group["latents"] for group in groups] == [32, 64, 64]  # of 8×8 images: the top, and two of 4×4
    assert sum(group["kl"] for group in groups) == pytest.approx(report["bound"]["kl"]["value"], rel=0.05)
    assert sum(group["active_units"] for group in groups) == report["code"]["active_units"]
    assert "group 2" in as_text(report)
    assert draw_traversal(run, index=0).arrays["examples"].shape == (3, 11, 8, 8, 1)
    assert draw_traversal(run, index=0, top=3).arrays["axes"].shape == (3,)

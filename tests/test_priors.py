"""Priors against SciPy, and the prior of pseudo-inputs against the explicit mixture of their posteriors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from vaezoo.exporting import signatures
from vaezoo.exporting.graph_check import check_saved_model
from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormal
from vaezoo.priors import Mixture, StandardNormal, VampPrior
from vaezoo.registry import PRIORS
from vaezoo.zoo import create_model

IMAGE_SHAPE = (4, 4, 1)


def built(latent_dim, prior=None):
    prior = prior or StandardNormal()
    prior.build((None, latent_dim))
    return prior


def mixture(latent_dim, components):
    """A mixture of unequal normals, and its weights, locations and scales as float64."""
    rng = np.random.default_rng(0)
    weights, loc = rng.dirichlet(np.ones(components)), rng.normal(0, 2, (components, latent_dim))
    scale = rng.uniform(0.1, 2, (components, latent_dim))
    prior = built(latent_dim, Mixture(components=components))
    prior.logits.assign(np.log(weights) + 1.5)  # logits mean the same with a constant added
    prior.loc.assign(loc)
    prior.raw_scale.assign(np.log(np.expm1(scale - SMALLEST_SCALE)))
    return prior, weights, loc, scale


@pytest.mark.parametrize("latent_dim", [1, 3, 50])
def test_log_prob_of_the_standard_normal_is_scipys_for_any_leading_axes(latent_dim):
    z = np.random.default_rng(0).normal(0, 2, (4, 5, latent_dim)).astype("float32")  # [K,B,D]
    distribution = built(latent_dim).distribution()
    assert distribution.event_shape == (latent_dim,)
    assert distribution.batch_shape == ()
    log_prob = distribution.log_prob(z)
    assert log_prob.dtype == tf.float32
    expected = stats.multivariate_normal.logpdf(z.astype("float64"), np.zeros(latent_dim))
    np.testing.assert_allclose(log_prob, expected.reshape(4, 5), rtol=1e-6, atol=1e-6)


def one_standard_component():
    prior = built(3, Mixture(components=1))
    prior.loc.assign(np.zeros((1, 3)))  # the scale is 1 from the start
    return prior


@pytest.mark.parametrize("make", [lambda: built(3), one_standard_component], ids=["standard_normal", "mixture"])
def test_samples_of_the_standard_normal_follow_its_law_and_their_seed(make):
    distribution = make().distribution()
    z = distribution.sample(3000, seed=(1, 2)).numpy()
    assert z.shape == (3000, 3)
    assert all(stats.kstest(z[:, d], stats.norm.cdf).pvalue > 1e-3 for d in range(3))
    correlation = np.corrcoef(z.T)[np.triu_indices(3, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(3000)
    np.testing.assert_array_equal(z, distribution.sample(3000, seed=(1, 2)))
    assert (z != distribution.sample(3000, seed=(1, 3)).numpy()).all()


def test_a_mixture_of_one_standard_component_has_the_density_of_the_standard_normal():
    z = np.random.default_rng(0).normal(0, 2, (4, 5, 3)).astype("float32")
    expected = built(3).distribution().log_prob(z)
    np.testing.assert_allclose(one_standard_component().distribution().log_prob(z), expected, rtol=1e-6)


@pytest.mark.parametrize(("latent_dim", "components"), [(1, 2), (3, 7), (40, 5)])
def test_log_prob_of_a_mixture_is_scipys(latent_dim, components):
    prior, weights, loc, scale = mixture(latent_dim, components)
    z = np.random.default_rng(1).normal(0, 2, (4, 5, latent_dim)).astype("float32")
    log_prob = prior.distribution().log_prob(z)
    assert log_prob.dtype == tf.float32
    each = stats.norm.logpdf(z[..., np.newaxis, :].astype("float64"), loc, scale).sum(-1)  # [K,B,components]
    np.testing.assert_allclose(log_prob, special.logsumexp(each, axis=-1, b=weights), rtol=1e-5)


def test_samples_of_a_mixture_follow_its_law():
    prior, weights, loc, scale = mixture(2, 3)
    z = prior.distribution().sample(4000, seed=(1, 2)).numpy()
    for d in range(2):
        law = stats.Mixture(
            [stats.Normal(mu=m, sigma=s) for m, s in zip(loc[:, d], scale[:, d], strict=True)], weights=weights
        )
        assert stats.kstest(z[:, d], law.cdf).pvalue > 1e-3


def test_components_begin_apart_and_are_a_function_of_the_seed():
    def begun():
        keras.utils.set_random_seed(5)
        return built(3, Mixture(components=4)).loc.numpy()

    loc = begun()
    np.testing.assert_array_equal(loc, begun())
    assert len(np.unique(loc)) == loc.size
    assert 0.3 < loc.std() < 3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_mixture_draws_for_each_seed_of_a_request_and_passes_gradients_in_a_graph(jit_compile):
    prior, *_ = mixture(2, 3)

    @tf.function(jit_compile=jit_compile)
    def draw(seeds):  # as the exported `sample` does
        return tf.map_fn(lambda s: prior.distribution().sample(seed=s), seeds, fn_output_signature=tf.float32)

    seeds = tf.constant([[1, 2], [3, 4], [1, 2]])
    z = draw(seeds)
    assert z.shape == (3, 2)
    np.testing.assert_array_equal(z[0], z[2])
    assert (z[0] != z[1]).numpy().all()

    @tf.function(jit_compile=jit_compile)
    def gradients(z):
        with tf.GradientTape() as tape:
            log_prob = prior.distribution().log_prob(z)
        return tape.gradient(log_prob, [weight.value for weight in prior.trainable_weights])

    found = gradients(z[:2])
    assert len(found) == 3
    assert all(np.isfinite(gradient).all() and np.abs(gradient).max() > 0 for gradient in found)


def vamp_model(components, **overrides):
    keras.utils.set_random_seed(0)
    small = {"name": "mlp", "hidden": [8]}
    prior = {"name": "vamp", "components": components}
    overrides = {"latent_dim": 2, "encoder": small, "decoder": small, "prior": prior, **overrides}
    return create_model("mlp_vae", IMAGE_SHAPE, classes=3, **overrides)


@pytest.mark.parametrize("posterior", ["diagonal_normal", "full_normal"])
@pytest.mark.parametrize("conditional", [False, True])
def test_vamp_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs(posterior, conditional):
    model = vamp_model(5, posterior=posterior, conditional=conditional)
    u = 1 / (1 + np.exp(-model.prior.logits.numpy().astype("float64")))  # [K,H,W,C]
    assert u.shape == (5, *IMAGE_SHAPE)
    z = np.random.default_rng(1).normal(size=(4, 6, 2)).astype("float32")
    classes = [0, 1, 2, 0, 1] if conditional else [None] * 5  # the classes take turns
    each = [model.encode(u[k : k + 1], classes[k]).log_prob(z) for k in range(5)]
    expected = special.logsumexp(np.asarray(each, "float64"), axis=0) - np.log(5)
    log_prob = model.prior_distribution().log_prob(z)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    draws = model.prior_distribution().sample(4000, seed=(1, 2)).numpy()
    centre = np.mean([model.encode(u[k : k + 1], classes[k]).mean()[0] for k in range(5)], axis=0)
    assert (np.abs(draws.mean(0) - centre) < 4 * draws.std(0) / np.sqrt(4000)).all()


def test_vamp_with_one_pseudo_input_is_its_posterior():
    model = vamp_model(1)
    q = model.encode(model.prior.pseudo_inputs)
    z = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")
    np.testing.assert_allclose(model.prior_distribution().log_prob(z), q.log_prob(z), rtol=1e-6)
    draws = model.prior_distribution().sample(2000, seed=(1, 2)).numpy()
    for d in range(2):
        law = stats.norm(q.mean()[0, d].numpy(), q.stddev()[0, d].numpy())
        assert stats.kstest(draws[:, d], law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_reaches_the_pseudo_inputs_and_the_encoder(jit_compile):
    model = vamp_model(4)
    z = tf.constant(np.random.default_rng(1).normal(size=(6, 2)), tf.float32)
    weights = [*model.prior.trainable_weights, *model.encoder.trainable_weights]

    @tf.function(jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            log_prob = model.prior_distribution().log_prob(z)
        return tape.gradient(log_prob, [weight.value for weight in weights])

    found = gradients()
    assert all(np.isfinite(gradient).all() and np.abs(gradient).max() > 0 for gradient in found)
    assert (np.abs(found[0]).max((1, 2, 3)) > 0).all()  # every pseudo-input


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_a_learned_prior_is_sampled_by_the_served_model_as_by_the_model(prior, tmp_path):
    model = vamp_model(None, prior={"name": prior, "components": 3})
    signatures.save(signatures.Functions(model), tmp_path / "served", ["sample"])
    check_saved_model(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["sample"]
    z = served(seed=tf.constant([[1, 2], [3, 4]]))["z"]
    distribution = model.prior_distribution()
    np.testing.assert_allclose(z, [distribution.sample(seed=(1, 2)), distribution.sample(seed=(3, 4))], rtol=1e-5)


def test_vamp_is_float32_under_mixed_precision(tmp_path):
    recipe = tmp_path / "half.yaml"
    recipe.write_text(
        "model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli, prior: vamp}\n"
        "training: {precision: mixed_bfloat16}\n"
    )
    model = create_model(recipe, IMAGE_SHAPE)
    assert model.encoder.layers[2].compute_dtype == "bfloat16"
    assert model.prior_distribution().log_prob(np.zeros(2, "float32")).dtype == tf.float32


@pytest.mark.parametrize("name", PRIORS.names())
def test_a_prior_comes_back_from_its_configuration_with_its_shapes(name):
    prior = PRIORS[name]()
    prior.build((None, 4), IMAGE_SHAPE)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    twin.set_weights(prior.get_weights())

    def encode(u):
        return DiagonalNormal().distribution(tf.reshape(u, [-1, 16])[:, :8])

    z = np.ones(4, "float32")
    np.testing.assert_array_equal(twin.distribution(encode).log_prob(z), prior.distribution(encode).log_prob(z))
    assert [w.shape for w in twin.weights] == [w.shape for w in prior.weights]
    assert bool(prior.weights) == (name != "standard_normal")
    assert isinstance(prior, VampPrior) == (name == "vamp")

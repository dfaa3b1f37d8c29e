"""Priors against SciPy, and the prior of pseudo-inputs against the explicit mixture of their posteriors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from vaezoo.exporting import signatures
from vaezoo.exporting.graph_check import check_saved_model
from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormal
from vaezoo.priors import FlowPrior, Mixture, StandardNormal, VampPrior, fit_mixture
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


def full_mixture(latent_dim, components):
    """A mixture with full covariances, and its weights, locations and triangular factors as float64."""
    rng = np.random.default_rng(0)
    weights, loc = rng.dirichlet(np.ones(components)), rng.normal(0, 2, (components, latent_dim))
    tril = np.tril(rng.normal(0, 0.4, (components, latent_dim, latent_dim)), -1)
    tril += rng.uniform(0.3, 2, (components, latent_dim, 1)) * np.eye(latent_dim)
    prior = built(latent_dim, Mixture(components=components, covariance="full"))
    prior.logits.assign(np.log(weights) + 1.5)
    prior.loc.assign(loc)
    prior.raw_scale.assign(np.log(np.expm1(np.diagonal(tril, axis1=1, axis2=2) - SMALLEST_SCALE)))
    prior.below.assign(tril[(slice(None), *np.tril_indices(latent_dim, -1))])
    return prior, weights, loc, tril


@pytest.mark.parametrize(("latent_dim", "components"), [(1, 2), (3, 7), (40, 5)])
def test_log_prob_of_a_mixture_with_full_covariances_is_scipys(latent_dim, components):
    prior, weights, loc, tril = full_mixture(latent_dim, components)
    z = np.random.default_rng(1).normal(0, 2, (4, 5, latent_dim)).astype("float32")
    log_prob = prior.distribution().log_prob(z)
    assert log_prob.dtype == tf.float32
    each = np.stack(
        [
            stats.multivariate_normal.logpdf(z.astype("float64"), m, factor @ factor.T).reshape(4, 5)
            for m, factor in zip(loc, tril, strict=True)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(log_prob, special.logsumexp(each, axis=-1, b=weights), rtol=2e-5)


def test_samples_and_moments_of_a_mixture_with_full_covariances_follow_its_law():
    prior, weights, loc, tril = full_mixture(3, 2)
    distribution = prior.distribution()
    z = distribution.sample(20_000, seed=(1, 2)).numpy()
    mean = weights @ loc
    covariance = np.einsum("k,kij->ij", weights, tril @ tril.transpose(0, 2, 1))
    covariance += np.einsum("k,ki,kj->ij", weights, loc - mean, loc - mean)
    np.testing.assert_allclose(distribution.mean(), mean, rtol=1e-5)
    np.testing.assert_allclose(distribution.stddev(), np.sqrt(np.diag(covariance)), rtol=1e-5)
    np.testing.assert_allclose(z.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.05 * np.abs(covariance).max())


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_one_normal_is_fitted_in_closed_form(covariance):
    codes = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.2], [0, 0, 0.1]]) + 2
    weights, loc, tril = fit_mixture(codes, 1, covariance)
    moments = np.cov(codes.T, bias=True)
    if covariance == "diagonal":
        moments = np.diag(np.diag(moments))
    assert weights == 1
    np.testing.assert_allclose(loc[0], codes.mean(0))
    np.testing.assert_allclose(tril[0] @ tril[0].T, (500 * moments + 3 * np.diag(codes.var(0))) / 503, rtol=1e-9)


def test_a_mixture_is_found_again():
    prior, *_ = full_mixture(2, 3)
    codes = prior.distribution().sample(20_000, seed=(3, 4)).numpy()
    fitted = built(2, Mixture(components=3, covariance="full"))
    fitted.start(codes, None)
    fresh = prior.distribution().sample(5000, seed=(5, 6))
    lost = np.mean(prior.distribution().log_prob(fresh) - fitted.distribution().log_prob(fresh))
    assert -0.01 < lost < 0.01  # KL of the fit from the truth, in nats


def test_a_component_does_not_collapse_onto_few_codes():
    codes = np.concatenate([np.random.default_rng(0).normal(size=(200, 4)), np.full((3, 4), 9.0)])
    _, _, tril = fit_mixture(codes, 40)
    assert np.diagonal(tril, axis1=1, axis2=2).min() > 0.05


def bent_flow(latent_dim):
    """A flow prior whose networks are not at their start."""
    keras.utils.set_random_seed(3)
    prior = built(latent_dim, FlowPrior(blocks=3, hidden=(16,)))
    for weight in prior.weights:
        weight.assign(weight + 0.5 * keras.random.normal(weight.shape))
    return prior


@pytest.mark.parametrize("latent_dim", [2, 3, 8])
def test_the_density_of_a_flow_is_that_of_a_change_of_variables(latent_dim):
    distribution = bent_flow(latent_dim).distribution()
    u = tf.random.stateless_normal([6, latent_dim], (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = distribution.bijector.forward(u)
    jacobian = tape.batch_jacobian(z, u).numpy().astype("float64")
    expected = stats.norm.logpdf(u.numpy().astype("float64")).sum(-1) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(distribution.log_prob(tf.identity(z)), expected, rtol=2e-4, atol=2e-4)
    assert np.abs(z - u).max() > 0.5


def test_a_flow_begins_as_the_standard_normal_and_starts_at_the_moments_of_the_codes():
    prior = built(5, FlowPrior(blocks=3, hidden=(16,)))
    z = np.random.default_rng(0).normal(0, 2, (4, 5, 5)).astype("float32")
    np.testing.assert_allclose(prior.distribution().log_prob(z), built(5).distribution().log_prob(z), rtol=1e-5)
    codes = z.reshape(-1, 5) * [1, 2, 3, 4, 5] + 7
    prior.start(codes, None)
    expected = stats.norm.logpdf(codes, codes.mean(0), codes.std(0)).sum(-1)
    np.testing.assert_allclose(prior.distribution().log_prob(codes.astype("float32")), expected, rtol=1e-4)


def test_samples_of_a_flow_follow_its_density():
    distribution = bent_flow(2).distribution()
    z = distribution.sample(20_000, seed=(1, 2)).numpy()
    # E_p [g(z) / p(z)] is the integral of g; g is the density of a normal within the samples, so it is 1.
    law = stats.multivariate_normal(z.mean(0), np.cov(z.T) / 4)
    ratio = np.exp(law.logpdf(z) - np.asarray(distribution.log_prob(z), "float64"))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(z))
    assert ratio.std() < 10


def test_components_begin_apart_and_are_a_function_of_the_seed():
    def begun():
        keras.utils.set_random_seed(5)
        return built(3, Mixture(components=4)).loc.numpy()

    loc = begun()
    np.testing.assert_array_equal(loc, begun())
    assert len(np.unique(loc)) == loc.size
    assert 0.3 < loc.std() < 3


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("make", "weights"),
    [(lambda: mixture(3, 2)[0], 3), (lambda: full_mixture(3, 2)[0], 4), (lambda: bent_flow(3), 14)],
    ids=["diagonal", "full", "flow"],
)
def test_a_prior_draws_for_each_seed_of_a_request_and_passes_gradients_in_a_graph(make, weights, jit_compile):
    prior = make()

    @tf.function(jit_compile=jit_compile)
    def draw(seeds):  # as the exported `sample` does
        return tf.map_fn(lambda s: prior.distribution().sample(seed=s), seeds, fn_output_signature=tf.float32)

    z = draw(tf.constant([[1, 2], [3, 4], [1, 2]]))
    assert z.shape == (3, 3)
    np.testing.assert_array_equal(z[0], z[2])
    assert (z[0] != z[1]).numpy().all()

    @tf.function(jit_compile=jit_compile)
    def gradients(z):
        with tf.GradientTape() as tape:
            log_prob = prior.distribution().log_prob(z)
        return tape.gradient(log_prob, [weight.value for weight in prior.trainable_weights])

    found = gradients(z[:2])
    assert len(found) == weights
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [
        {"name": "mixture", "components": 3},
        {"name": "mixture", "components": 3, "covariance": "full"},
        {"name": "vamp", "components": 3},
        {"name": "flow", "blocks": 2},
    ],
    ids=["mixture", "full", "vamp", "flow"],
)
def test_a_learned_prior_is_sampled_by_the_served_model_as_by_the_model(prior, tmp_path):
    model = vamp_model(None, prior=prior)
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

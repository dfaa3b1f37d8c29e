"""Objectives: the identities between their terms, the estimates against closed forms, the gradients that they give."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

from vaezoo.errors import VaezooError
from vaezoo.likelihoods import Normal
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_decoder, mlp_encoder
from vaezoo.objectives import ELBO, IWAE, BetaELBO, Reconstruction, kl_divergence
from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormal, FullNormal, Point
from vaezoo.priors import StandardNormal

tfd = tfp.distributions

K, B, D = 5, 3, 2
LOC = np.array([[0.3, -1.0], [2.0, 0.0], [-0.5, 0.7]], "float32")  # [B,D]
SCALE = np.array([[0.5, 1.2], [0.1, 1.0], [1.5, 0.8]], "float32")
KL = 0.5 * (LOC.astype("float64") ** 2 + SCALE.astype("float64") ** 2 - 1 - 2 * np.log(SCALE)).sum(1)  # [B]


def q():
    return tfd.MultivariateNormalDiag(LOC, SCALE)


def prior():
    return tfd.MultivariateNormalDiag(tf.zeros([D]), tf.ones([D]))


def mixture_prior():
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.3, 0.7]),
        tfd.MultivariateNormalDiag(np.array([[-1.0, 0.0], [1.0, 0.5]], "float32"), np.full((2, 2), 0.7, "float32")),
    )


def sigma_points(loc, scale):
    """loc ± scale in every combination of signs: their mean of any quadratic is its exact expectation under q."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=loc.shape[-1])), "float32")  # [2^D,D]
    return loc + signs[:, None] * scale  # [2^D,B,D]


def batch(samples=K):
    """x [B,H,W,C], z [K,B,D], z → p(x|z), and log p(x|z) [K,B] by SciPy."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(B, 2, 2, 1)).astype("float32")
    params = rng.normal(0.5, 0.3, (samples, B, 2, 2, 1)).astype("float32")
    z = q().sample(samples, seed=(7, 8))
    log_prob = stats.norm.logpdf(x.astype("float64"), params.astype("float64"), 0.2).sum((-3, -2, -1))
    return x, z, lambda _: Normal(scale=0.2).distribution(params), log_prob


# KL


def test_the_closed_kl_is_the_formula():
    np.testing.assert_allclose(kl_divergence(q(), prior(), z=None, method="closed_form"), KL, rtol=1e-6)
    np.testing.assert_allclose(kl_divergence(q(), prior(), z=None), KL, rtol=1e-6)


def test_the_monte_carlo_kl_is_unbiased():
    # log q - log p is quadratic in z, so the mean of the estimator over the sigma points is its exact expectation.
    estimate = kl_divergence(q(), prior(), sigma_points(LOC, SCALE), method="monte_carlo")
    np.testing.assert_allclose(estimate, KL, rtol=1e-5)


@pytest.mark.parametrize("samples", [1000, 16000])
def test_the_monte_carlo_kl_is_within_its_standard_error_of_the_closed_one(samples):
    z = q().sample(samples, seed=(1, 2))
    estimate = kl_divergence(q(), prior(), z, method="monte_carlo")
    # Var(log q - log p) = sum over the dimensions of (s^2 - 1)^2 / 2 + (m s)^2, for a standard normal prior
    variance = ((SCALE**2 - 1) ** 2 / 2 + (LOC * SCALE) ** 2).sum(1)
    assert (np.abs(estimate - KL) < 4 * np.sqrt(variance / samples)).all()


def test_the_monte_carlo_kl_is_the_mean_of_scipys_log_ratio():
    z = q().sample(K, seed=(3, 4))
    ratio = stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)  # [K,B]
    np.testing.assert_allclose(kl_divergence(q(), prior(), z, "monte_carlo"), ratio.mean(0), rtol=1e-4, atol=1e-5)


def test_without_a_closed_form_auto_estimates_and_closed_form_says_so_on_one_line():
    z = q().sample(K, seed=(3, 4))
    estimate = kl_divergence(q(), mixture_prior(), z, "monte_carlo")
    np.testing.assert_array_equal(kl_divergence(q(), mixture_prior(), z, "auto"), estimate)
    with pytest.raises(VaezooError, match=r"no closed-form KL .*model.objective.kl=monte_carlo") as error:
        kl_divergence(q(), mixture_prior(), z, "closed_form")
    assert "\n" not in str(error.value)
    assert error.value.__suppress_context__  # no TFP traceback above it


@pytest.mark.parametrize("method", ["auto", "closed_form", "monte_carlo"])
def test_a_point_has_no_kl(method):
    point = Point().distribution(LOC)
    with pytest.raises(VaezooError, match=r"infinite.*objective=reconstruction"):
        kl_divergence(point, prior(), point.sample(1, seed=(1, 2)), method)


# The terms


@pytest.mark.parametrize("samples", [1, K])
@pytest.mark.parametrize("kl", ["auto", "closed_form", "monte_carlo"])
def test_the_elbo_is_minus_reconstruction_minus_kl_averaged_over_the_samples(kl, samples):
    x, z, decode, log_prob = batch(samples)
    terms = ELBO(samples=samples, kl=kl)(x, q(), z, prior(), decode, step=0)
    assert set(terms) == set(ELBO.term_names)
    expected = KL
    if kl == "monte_carlo":
        expected = (stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)).mean(0)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], expected, rtol=1e-4)
    np.testing.assert_allclose(terms["elbo"], log_prob.mean(0) - expected, rtol=1e-5)
    np.testing.assert_array_equal(terms["loss"], -terms["elbo"].numpy())


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_beta_weighs_the_kl_in_the_loss_and_leaves_the_elbo_alone(beta):
    x, z, decode, _ = batch()
    terms = BetaELBO(beta=beta, samples=K)(x, q(), z, prior(), decode, step=3)
    true = ELBO(samples=K)(x, q(), z, prior(), decode, step=3)
    assert set(terms) == set(BetaELBO.term_names)
    for name in ("elbo", "reconstruction", "kl"):
        np.testing.assert_array_equal(terms[name], true[name])
    np.testing.assert_allclose(terms["loss"], true["reconstruction"] + beta * KL, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_reconstruction_weight_changes_the_loss_and_leaves_the_elbo_alone(weight):
    x, z, decode, log_prob = batch()
    terms = BetaELBO(beta=2.0, reconstruction_weight=weight, samples=K)(x, q(), z, prior(), decode, step=3)
    np.testing.assert_allclose(terms["loss"], -weight * log_prob.mean(0) + 2.0 * KL, rtol=1e-5)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], log_prob.mean(0) - KL, rtol=1e-5)


WARM_UP = {"start": 0.5, "end": 2.0, "steps": 200}


@pytest.mark.parametrize(
    ("step", "weight"), [(0, 0.5), (1, 0.5075), (100, 1.25), (199, 1.9925), (200, 2.0), (201, 2.0), (10**9, 2.0)]
)
@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_the_warm_up_is_linear_and_then_stays(step, weight, jit_compile):
    x, z, decode, _ = batch()
    objective = BetaELBO(beta=WARM_UP, samples=K)

    def call(step):
        return objective(x, q(), z, prior(), decode, step)

    # The optimizer's step is an integer tensor, so one traced function must serve every step.
    function = call if jit_compile is None else tf.function(call, jit_compile=jit_compile)
    terms = function(tf.constant(step, tf.int64))
    np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + weight * KL, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - KL, rtol=1e-5)


def test_a_warm_up_goes_from_nothing_to_the_elbo_unless_told_otherwise():
    weights = [float(BetaELBO(beta={"steps": 10}).kl_weight(tf.constant(step))) for step in (0, 5, 10, 11)]
    np.testing.assert_allclose(weights, [0.0, 0.5, 1.0, 1.0])


def test_a_warm_up_may_go_down():
    objective = BetaELBO(beta={"start": 4.0, "end": 1.0, "steps": 30})
    np.testing.assert_allclose([objective.kl_weight(step) for step in (0, 10, 30, 40)], [4.0, 3.0, 1.0, 1.0])


def test_reconstruction_is_the_negative_log_likelihood_and_knows_no_kl():
    x, z, decode, log_prob = batch(samples=1)
    point = Point().distribution(LOC)
    terms = Reconstruction()(x, point, z, prior(), decode, step=0)
    assert set(terms) == set(Reconstruction.term_names) == {"loss", "reconstruction"}
    for value in terms.values():
        np.testing.assert_allclose(value, -log_prob[0], rtol=1e-5)


@pytest.mark.parametrize("doubly", [False, True])
@pytest.mark.parametrize("samples", [1, K])
def test_the_importance_weighted_bound_is_the_mean_of_the_weights_in_logarithms(samples, doubly):
    x, z, decode, log_prob = batch(samples)
    terms = IWAE(samples, doubly)(x, q(), z, prior(), decode, step=0)
    assert set(terms) == set(IWAE.term_names)
    log_ratio = stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)  # [K,B]
    bound = special.logsumexp(log_prob - log_ratio, axis=0) - np.log(samples)
    np.testing.assert_allclose(terms["loss"], -bound, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], (log_prob - log_ratio).mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], log_ratio.mean(0), rtol=1e-4)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)


def test_the_importance_weighted_bound_of_one_sample_is_the_elbo_with_a_monte_carlo_kl():
    x, z, decode, _ = batch(samples=1)
    one, elbo = IWAE(1)(x, q(), z, prior(), decode, 0), ELBO(kl="monte_carlo")(x, q(), z, prior(), decode, 0)
    for name in elbo:
        np.testing.assert_allclose(one[name], elbo[name], rtol=1e-6)


def test_the_importance_weighted_bound_survives_weights_that_no_float_holds():
    x, z, decode, _ = batch()
    far = IWAE(K)(x + 100, q(), z, prior(), decode, 0)["loss"]  # log weights of about -10^6
    assert np.isfinite(far).all()
    assert (np.asarray(far) > 1e5).all()


@pytest.mark.parametrize("objective", [ELBO, BetaELBO, IWAE])
def test_an_objective_without_samples_is_refused(objective):
    with pytest.raises(VaezooError, match="at least 1 sample"):
        objective(samples=0)


@pytest.mark.parametrize("objective", [ELBO, BetaELBO])
def test_an_unknown_kl_is_refused(objective):
    with pytest.raises(VaezooError, match=r"unknown kl 'exact'.*closed_form"):
        objective(kl="exact")


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(samples=K, kl="monte_carlo"),
        BetaELBO(beta=WARM_UP, samples=K),
        BetaELBO(3.0, 0.5),
        IWAE(K),
        IWAE(K, True),
        Reconstruction(),
    ],
)
def test_an_objective_comes_back_from_its_configuration(objective):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    assert type(twin) is type(objective)
    x, z, decode, _ = batch()
    original, restored = (each(x, q(), z, prior(), decode, tf.constant(50)) for each in (objective, twin))
    assert twin.samples == objective.samples
    for name in original:
        np.testing.assert_array_equal(restored[name], original[name])


# Gradients


def linear_vae(posterior, objective, pixels=4, seed=0):
    """Linear encoder and decoder with weights drawn by NumPy, and a normal likelihood of scale 0.4."""
    shape, rng = (2, pixels // 2, 1), np.random.default_rng(seed)
    vae = VAE(
        encoder=mlp_encoder(shape, posterior.params_size(D), hidden=()),
        posterior=posterior,
        prior=StandardNormal(),
        decoder=mlp_decoder(D, shape, 1, hidden=()),
        likelihood=Normal(scale=0.4),
        objective=objective,
    )
    for network in (vae.encoder, vae.decoder):
        network.set_weights([rng.normal(0, 0.5, w.shape).astype("float32") for w in network.get_weights()])
    return vae


def closed_gradient(vae, x, beta):
    """d/d(kernel, bias) of E[loss], for a diagonal posterior, by hand.

    E[loss] = |x - b - W m|^2 / 2 t^2 + sum_d (W^T W)_dd s_d^2 / 2 t^2 + beta sum_d (m_d^2 + s_d^2 - 1 - 2 log s_d) / 2
    """
    (kernel, bias), (weights, offset) = (
        [w.astype("float64") for w in network.get_weights()] for network in (vae.encoder, vae.decoder)
    )
    flat = x.reshape(len(x), -1).astype("float64")
    loc, raw = np.split(flat @ kernel + bias, 2, axis=1)
    scale, variance = np.logaddexp(0, raw) + SMALLEST_SCALE, 0.4**2
    by_loc = -(flat - offset - loc @ weights) @ weights.T / variance + beta * loc  # weights [D,HWC] is W^T
    by_scale = (weights**2).sum(1) * scale / variance + beta * (scale - 1 / scale)
    by_params = np.concatenate([by_loc, by_scale * special.expit(raw)], axis=1)  # [B,2D]
    return flat.T @ by_params / len(x), by_params.mean(0)


@pytest.mark.parametrize(
    ("objective", "beta"),
    [
        (ELBO(samples=20), 1.0),
        (ELBO(samples=20, kl="monte_carlo"), 1.0),
        (BetaELBO(beta=3.0, samples=20), 3.0),
        (BetaELBO(beta={"start": 0.0, "end": 4.0, "steps": 100}, samples=20), 2.0),  # at step 50
    ],
    ids=["closed_kl", "monte_carlo_kl", "beta", "warm_up"],
)
def test_the_encoders_gradient_is_the_closed_one_in_expectation(objective, beta):
    vae = linear_vae(DiagonalNormal(), objective)
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")

    @tf.function
    def gradient(seed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(vae.terms(x, seed, step=50)["loss"])
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, vae.encoder.trainable_variables)]

    draws = [gradient(tf.constant([1, i])) for i in range(200)]
    for drawn, closed in zip(zip(*draws, strict=True), closed_gradient(vae, x, beta), strict=True):
        drawn = np.array(drawn, "float64")  # [draws,...]
        error = drawn.std(0) / np.sqrt(len(drawn))
        assert (np.abs(drawn.mean(0) - closed) < 4 * error + 1e-5).all()
        assert (np.abs(closed) > 10 * error).any()  # the errors are small enough to tell


@pytest.mark.parametrize(
    ("posterior", "objective"),
    [
        (DiagonalNormal(), ELBO()),
        (FullNormal(), ELBO()),
        (FullNormal(), BetaELBO()),
        (FullNormal(), IWAE(K)),
        (FullNormal(), IWAE(K, True)),
        (Point(), Reconstruction()),
    ],
    ids=["diagonal", "full", "full_beta", "full_iwae", "full_iwae_doubly", "point"],
)
def test_the_gradient_reaches_every_parameter_of_the_posterior_and_of_the_decoder(posterior, objective):
    vae = linear_vae(posterior, objective)
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(vae.terms(x, (1, 2), step=0)["loss"])
    for gradient in tape.gradient(loss, vae.trainable_variables):
        assert (np.asarray(gradient) != 0).all()


def gradients(vae, x, draws):
    """The gradient of the loss by every variable [draws,...], for draws of the noise."""

    @tf.function
    def gradient(seed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(vae.terms(x, seed, step=0)["loss"])
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, vae.trainable_variables)]

    return [np.array(g, "float64") for g in zip(*(gradient(tf.constant([1, i])) for i in range(draws)), strict=True)]


@pytest.mark.parametrize("posterior", [DiagonalNormal, FullNormal])
def test_the_doubly_reparameterized_gradient_is_the_plain_one_in_expectation(posterior):
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    plain, doubly = (gradients(linear_vae(posterior(), IWAE(K, choice)), x, 4000) for choice in (False, True))
    spread = []
    for one, other in zip(plain, doubly, strict=True):
        error = np.sqrt((one.var(0) + other.var(0)) / len(one))
        assert (np.abs(one.mean(0) - other.mean(0)) < 4.5 * error + 1e-5).all()
        assert (np.abs(one.mean(0)) > 10 * error).any()  # the errors are small enough to tell
        spread.append(other.var(0).mean() / one.var(0).mean())
    assert max(spread[:2]) < 0.9  # the encoder's: what it is for
    np.testing.assert_allclose(spread[2:], 1, atol=0.15)  # the decoder's is the plain one


def test_the_gradient_of_a_reconstruction_is_that_of_the_squared_error():
    vae = linear_vae(Point(), Reconstruction())
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    flat = x.reshape(6, -1)
    (kernel, bias), (weights, offset) = vae.encoder.get_weights(), vae.decoder.get_weights()
    by_code = -(flat - offset - (flat @ kernel + bias) @ weights) @ weights.T / 0.4**2
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(vae.terms(x, (1, 2), step=0)["loss"])
    by_kernel, by_bias = tape.gradient(loss, vae.encoder.trainable_variables)
    np.testing.assert_allclose(by_kernel, flat.T @ by_code / 6, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_bias, by_code.mean(0), rtol=1e-4, atol=1e-5)

"""Objectives: the identities between their terms, the estimates against closed forms, the gradients that they give."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import D as EXACT_D
from linear_gaussian import inverse_softplus, some_model, vae_of
from scipy import special, stats
from small_passes import LOC, SCALE, B, D, K, batch, given_pass, linear_vae, pass_of, prior, q

from vaezoo.errors import VaezooError
from vaezoo.evaluation import gradient_noise
from vaezoo.objectives import CIWAE, ELBO, IWAE, MIWAE, PIWAE, BetaELBO, Reconstruction
from vaezoo.objectives.aggregated import FactorELBO
from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormal, FullNormal, Point
from vaezoo.seeds import TRAINING, fold_seed

tfd = tfp.distributions

KL = 0.5 * (LOC.astype("float64") ** 2 + SCALE.astype("float64") ** 2 - 1 - 2 * np.log(SCALE)).sum(1)  # [B]


def mixture_prior():
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.3, 0.7]),
        tfd.MultivariateNormalDiag(np.array([[-1.0, 0.0], [1.0, 0.5]], "float32"), np.full((2, 2), 0.7, "float32")),
    )


def sigma_points(loc, scale):
    """loc ± scale in every combination of signs: their mean of any quadratic is its exact expectation under q."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=loc.shape[-1])), "float32")  # [2^D,D]
    return loc + signs[:, None] * scale  # [2^D,B,D]


# KL


def test_the_closed_kl_is_the_formula():
    for method in ("closed_form", "auto"):
        np.testing.assert_allclose(pass_of(q(), None, prior()).kl(method), KL, rtol=1e-6)
    np.testing.assert_allclose(pass_of(q(), None, prior()).kl(), KL, rtol=1e-6)


def test_the_monte_carlo_kl_is_unbiased():
    # log q - log p is quadratic in z, so the mean of the estimator over the sigma points is its exact expectation.
    estimate = pass_of(q(), sigma_points(LOC, SCALE), prior()).kl("monte_carlo")
    np.testing.assert_allclose(estimate, KL, rtol=1e-5)


@pytest.mark.parametrize("samples", [1000, 16000])
def test_the_monte_carlo_kl_is_within_its_standard_error_of_the_closed_one(samples):
    z = q().sample(samples, seed=(1, 2))
    estimate = pass_of(q(), z, prior()).kl("monte_carlo")
    # Var(log q - log p) = sum over the dimensions of (s^2 - 1)^2 / 2 + (m s)^2, for a standard normal prior
    variance = ((SCALE**2 - 1) ** 2 / 2 + (LOC * SCALE) ** 2).sum(1)
    assert (np.abs(estimate - KL) < 4 * np.sqrt(variance / samples)).all()


def test_the_monte_carlo_kl_is_the_mean_of_scipys_log_ratio():
    z = q().sample(K, seed=(3, 4))
    ratio = stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)  # [K,B]
    np.testing.assert_allclose(pass_of(q(), z, prior()).kl("monte_carlo"), ratio.mean(0), rtol=1e-4, atol=1e-5)


def test_without_a_closed_form_auto_estimates_and_closed_form_says_so_on_one_line():
    passed = pass_of(q(), q().sample(K, seed=(3, 4)), mixture_prior())
    np.testing.assert_array_equal(passed.kl("auto"), passed.kl("monte_carlo"))
    with pytest.raises(VaezooError, match=r"no closed-form KL .*model.objective.kl=monte_carlo") as error:
        passed.kl("closed_form")
    assert "\n" not in str(error.value)
    assert error.value.__context__ is None  # no TFP traceback above it


@pytest.mark.parametrize("method", ["auto", "closed_form", "monte_carlo"])
def test_a_point_has_no_kl(method):
    point = Point().distribution(LOC)
    with pytest.raises(VaezooError, match=r"infinite.*objective=reconstruction"):
        pass_of(point, point.sample(1, seed=(1, 2)), prior(), posterior=Point()).kl(method)


# The terms


@pytest.mark.parametrize("samples", [1, K])
@pytest.mark.parametrize("kl", ["auto", "closed_form", "monte_carlo"])
def test_the_elbo_is_minus_reconstruction_minus_kl_averaged_over_the_samples(kl, samples):
    _, z, _, log_prob = batch(samples)
    terms = ELBO(samples=samples, kl=kl).compute(given_pass(samples), step=0)
    assert set(terms) == set(ELBO.terms)
    expected = KL
    if kl == "monte_carlo":
        expected = (stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)).mean(0)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], expected, rtol=1e-4)
    np.testing.assert_allclose(terms["elbo"], log_prob.mean(0) - expected, rtol=1e-5)
    np.testing.assert_array_equal(terms["loss"], -terms["elbo"].numpy())


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_beta_weighs_the_kl_in_the_loss_and_leaves_the_elbo_alone(beta):
    terms = BetaELBO(beta=beta, samples=K).compute(given_pass(), step=3)
    true = ELBO(samples=K).compute(given_pass(), step=3)
    assert set(terms) == set(BetaELBO.terms)
    for name in ("elbo", "reconstruction", "kl"):
        np.testing.assert_array_equal(terms[name], true[name])
    np.testing.assert_allclose(terms["loss"], true["reconstruction"] + beta * KL, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_reconstruction_weight_changes_the_loss_and_leaves_the_elbo_alone(weight):
    log_prob = batch()[-1]
    terms = BetaELBO(beta=2.0, reconstruction_weight=weight, samples=K).compute(given_pass(), step=3)
    np.testing.assert_allclose(terms["loss"], -weight * log_prob.mean(0) + 2.0 * KL, rtol=1e-5)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], log_prob.mean(0) - KL, rtol=1e-5)


WARM_UP = {"start": 0.5, "end": 2.0, "steps": 200}


@pytest.mark.parametrize(
    ("step", "weight"), [(0, 0.5), (1, 0.5075), (100, 1.25), (199, 1.9925), (200, 2.0), (201, 2.0), (10**9, 2.0)]
)
@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_the_warm_up_is_linear_and_then_stays(step, weight, jit_compile):
    objective = BetaELBO(beta=WARM_UP, samples=K)

    def call(step):
        return objective.compute(given_pass(), step)

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
    x, z, params, log_prob = batch(samples=1)
    point = Point().distribution(LOC)
    terms = Reconstruction().compute(pass_of(point, z, prior(), x, params, posterior=Point()), step=0)
    assert set(terms) == set(Reconstruction.terms) == {"loss", "reconstruction"}
    for value in terms.values():
        np.testing.assert_allclose(value, -log_prob[0], rtol=1e-5)


@pytest.mark.parametrize("doubly", [False, True])
@pytest.mark.parametrize("samples", [1, K])
def test_the_importance_weighted_bound_is_the_mean_of_the_weights_in_logarithms(samples, doubly):
    _, z, _, log_prob = batch(samples)
    terms = IWAE(samples=samples, doubly_reparameterized=doubly).compute(given_pass(samples), step=0)
    assert set(terms) == set(IWAE.terms)
    log_ratio = stats.norm.logpdf(z, LOC, SCALE).sum(-1) - stats.norm.logpdf(z).sum(-1)  # [K,B]
    bound = special.logsumexp(log_prob - log_ratio, axis=0) - np.log(samples)
    np.testing.assert_allclose(terms["loss"], -bound, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], (log_prob - log_ratio).mean(0), rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], log_ratio.mean(0), rtol=1e-4)
    np.testing.assert_allclose(terms["reconstruction"], -log_prob.mean(0), rtol=1e-5)


def test_the_importance_weighted_bound_of_one_sample_is_the_elbo_with_a_monte_carlo_kl():
    one, elbo = (each.compute(given_pass(1), 0) for each in (IWAE(samples=1), ELBO(kl="monte_carlo")))
    for name in elbo:
        np.testing.assert_allclose(one[name], elbo[name], rtol=1e-6)


def log_weights(samples):
    _, z, _, log_prob = batch(samples)
    return log_prob - stats.norm.logpdf(z, LOC, SCALE).sum(-1) + stats.norm.logpdf(z).sum(-1)  # [K,B]


@pytest.mark.parametrize("doubly", [False, True])
def test_the_mixtures_of_bounds_are_those_of_their_definitions(doubly):
    # Rainforth et al. 2018, equations 12 to 14, from the weights by SciPy.
    weights = log_weights(6)
    small = special.logsumexp(weights.reshape(2, 3, B), axis=1) - np.log(3)  # [M,B]
    large = special.logsumexp(weights, axis=0) - np.log(6)
    keywords = {"doubly_reparameterized": doubly}
    found = MIWAE(samples=3, bounds=2, **keywords).compute(given_pass(6), step=0)
    np.testing.assert_allclose(found["loss"], -small.mean(0), rtol=1e-5)
    found = CIWAE(samples=6, elbo_weight=0.3, **keywords).compute(given_pass(6), step=0)
    np.testing.assert_allclose(found["loss"], -0.3 * weights.mean(0) - 0.7 * large, rtol=1e-5)
    found = PIWAE(samples=3, bounds=2, **keywords).compute(given_pass(6), step=0)
    assert set(found) == set(PIWAE.terms)
    np.testing.assert_allclose(found["loss"], -large, rtol=1e-5)
    np.testing.assert_allclose(found["inference"], -small.mean(0), rtol=1e-5)


@pytest.mark.parametrize("doubly", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_piwae_the_encoder_alone_minimizes_the_smaller_bounds(doubly):
    vae = linear_vae(DiagonalNormal(), PIWAE(samples=3, bounds=2, doubly_reparameterized=doubly))
    assert {term: len(weights) for term, weights in vae.players().items()} == {"loss": 2, "inference": 2}
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    vae.compile(keras.optimizers.SGD(1.0))
    before = [weight.numpy() for weight in vae.trainable_variables]
    seed = fold_seed(vae.seed, TRAINING, 0)
    expected = []
    for objective in (MIWAE(samples=3, bounds=2, doubly_reparameterized=doubly), IWAE(samples=6)):
        twin = linear_vae(DiagonalNormal(), objective)
        twin.set_weights(vae.get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(twin.terms(x, seed, 0)["loss"])
        expected.append(tape.gradient(loss, twin.trainable_variables))
    vae.fit(x, batch_size=6, shuffle=False, verbose=0)
    for weight, old, miwae, iwae in zip(vae.trainable_variables, before, *expected, strict=True):
        ours = miwae if any(weight is own for own in vae.encoder.weights) else iwae
        np.testing.assert_allclose(weight, old - ours, rtol=1e-4, atol=1e-5)


def test_the_importance_weighted_bound_survives_weights_that_no_float_holds():
    far = IWAE(samples=K).compute(given_pass(shift=100), 0)["loss"]  # log weights of about -10^6
    assert np.isfinite(far).all()
    assert (np.asarray(far) > 1e5).all()


@pytest.mark.parametrize("objective", [ELBO, BetaELBO, IWAE])
def test_an_objective_without_samples_is_refused(objective):
    with pytest.raises(VaezooError, match="'samples' should be greater than or equal to 1, not 0"):
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
        BetaELBO(beta=3.0, reconstruction_weight=0.5),
        FactorELBO(gamma=2.0, hidden=(4,), samples=2),
        IWAE(samples=K),
        IWAE(samples=K, doubly_reparameterized=True),
        Reconstruction(),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_an_objective_comes_back_from_its_configuration(objective):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    assert type(twin) is type(objective)
    for each in (objective, twin):
        each.build((None, D))
    twin.set_weights(objective.get_weights())
    original, restored = (each.compute(given_pass(), tf.constant(50)) for each in (objective, twin))
    assert twin.samples == objective.samples
    for name in original:
        np.testing.assert_array_equal(restored[name], original[name])


# Gradients


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
        (FullNormal(), IWAE(samples=K)),
        (FullNormal(), IWAE(samples=K, doubly_reparameterized=True)),
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


@pytest.mark.parametrize(
    ("posterior", "make"),
    [
        (DiagonalNormal, functools.partial(IWAE, samples=K)),
        (FullNormal, functools.partial(IWAE, samples=K)),
        (DiagonalNormal, functools.partial(MIWAE, samples=K, bounds=2)),
        (DiagonalNormal, functools.partial(CIWAE, samples=K, elbo_weight=0.3)),
    ],
    ids=["diagonal", "full", "miwae", "ciwae"],
)
@pytest.mark.slow
def test_the_doubly_reparameterized_gradient_is_the_plain_one_in_expectation(posterior, make):
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    plain, doubly = (
        gradients(linear_vae(posterior(), make(doubly_reparameterized=choice)), x, 4000) for choice in (False, True)
    )
    spread = []
    for one, other in zip(plain, doubly, strict=True):
        error = np.sqrt((one.var(0) + other.var(0)) / len(one))
        assert (np.abs(one.mean(0) - other.mean(0)) < 4.5 * error + 1e-5).all()
        assert (np.abs(one.mean(0)) > 10 * error).any()  # the errors are small enough to tell
        spread.append(other.var(0).mean() / one.var(0).mean())
    assert max(spread[:2]) < 0.9  # the encoder's: what it is for
    np.testing.assert_allclose(spread[2:], 1, atol=0.15)  # the decoder's is the plain one


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_doubly_reparameterized_gradient_of_a_mixture_is_the_mixture_of_both_gradients(weight):
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")

    def gradient(objective):
        vae = linear_vae(DiagonalNormal(), objective)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(vae.terms(x, (1, 2), step=0)["loss"])
        return tape.gradient(loss, vae.trainable_variables)

    mixture = gradient(CIWAE(samples=K, elbo_weight=weight, doubly_reparameterized=True))
    elbo = gradient(ELBO(samples=K, gradient="sticking_the_landing"))
    bound = gradient(IWAE(samples=K, doubly_reparameterized=True))
    for found, one, other in zip(mixture, elbo, bound, strict=True):
        np.testing.assert_allclose(found, weight * one + (1 - weight) * other, rtol=1e-4, atol=1e-5)
        assert np.abs(one - other).max() > 0.1


def test_a_draw_without_any_weight_leaves_the_doubly_reparameterized_gradient_finite():
    z, wide = tf.Variable(np.stack([LOC, LOC + 40])), tfd.MultivariateNormalDiag(LOC, 2 * tf.ones([B, D]))
    for weight in (0.0, 0.5):
        with tf.GradientTape() as tape:
            passed = pass_of(wide, z, prior(), np.zeros((B, 1, 1, 1), "float32"), tf.zeros([2, B, 1, 1, 1]))
            objective = CIWAE(samples=2, elbo_weight=weight, doubly_reparameterized=True)
            loss = objective.compute(passed, 0)["loss"]
        gradient = tape.gradient(loss, z).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient[1]).max() > 0) == (weight > 0)


@pytest.mark.parametrize("estimator", ["sticking_the_landing", "score_function"])
def test_which_examples_pay_for_their_bits_does_not_depend_on_the_draws(estimator):
    vae, x = linear_vae(DiagonalNormal(), ELBO()), np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    kl = vae.forward(x).closed_form_kl.numpy()
    free = float(np.median(kl))

    def gradient(chosen, **keywords):
        objective = BetaELBO(samples=2, gradient=estimator, **keywords)
        with tf.GradientTape() as tape:
            terms = objective.compute(vae.forward(x, 2, (1, 2)), 0)
            loss = tf.reduce_sum(tf.boolean_mask(terms["loss"], chosen))
        return tape.gradient(loss, vae.trainable_variables), terms["kl"] > free

    found, of_draws = gradient(kl > 0, beta=3.0, free_bits=free / np.log(2))
    paid, nothing = gradient(kl > free, beta=3.0)[0], gradient(kl <= free, beta=0.0)[0]
    for ours, one, other in zip(found, paid, nothing, strict=True):
        np.testing.assert_allclose(ours, one + other, rtol=1e-4, atol=1e-4)
    assert (of_draws.numpy() != (kl > free)).any()


@pytest.mark.parametrize("posterior", [DiagonalNormal, FullNormal])
@pytest.mark.parametrize("estimator", ["sticking_the_landing", "score_function"])
@pytest.mark.slow
def test_every_estimator_has_the_gradient_of_the_closed_form_in_expectation(estimator, posterior):
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    plain, other = (
        gradients(linear_vae(posterior(), ELBO(samples=4, gradient=choice)), x, 4000)
        for choice in ("reparameterized", estimator)
    )
    for one, two in zip(plain, other, strict=True):
        error = np.sqrt((one.var(0) + two.var(0)) / len(one))
        assert (np.abs(one.mean(0) - two.mean(0)) < 4.5 * error + 1e-5).all()
        assert (np.abs(one.mean(0)) > 10 * error).any()  # the errors are small enough to tell
    spread = [two.var(0).mean() / one.var(0).mean() for one, two in zip(plain, other, strict=True)]
    if estimator == "score_function":
        assert min(spread[:2]) > 10  # the encoder's: why it is not what VAEs are trained with


def test_at_the_true_posterior_sticking_the_landing_has_no_noise():
    exact = some_model()
    encoder, shift = exact.posterior_map()
    tril = np.linalg.cholesky(exact.posterior_covariance)
    raw = np.concatenate([inverse_softplus(np.diag(tril)), tril[np.tril_indices(EXACT_D, -1)]])
    weights = [np.concatenate([encoder, np.zeros((len(encoder), len(raw)))], 1), np.concatenate([shift, raw])]
    x = exact.sample(6, seed=0)
    for estimator, quiet in (("sticking_the_landing", True), ("reparameterized", False)):
        vae = vae_of(
            exact, FullNormal(), weights, ELBO(samples=2, kl="monte_carlo" if not quiet else "auto", gradient=estimator)
        )
        of_encoder = [gradient.std(0).max() for gradient in gradients(vae, x, 50)[:2]]
        assert max(of_encoder) < 1e-4 if quiet else max(of_encoder) > 1e-1


@pytest.mark.slow
def test_the_noise_of_a_gradient_is_that_of_its_draws():
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    vae = linear_vae(DiagonalNormal(), ELBO(samples=4))
    scores = ELBO(samples=4, gradient="score_function")
    found = gradient_noise(
        vae, x, {"plain": ELBO(samples=4), "score": scores, "piwae": PIWAE(samples=2, bounds=2)}, draws=400
    )
    for name, objective in (("plain", ELBO(samples=4)), ("score", scores)):
        kernel, bias = gradients(linear_vae(DiagonalNormal(), objective), x, 400)[:2]  # other draws of the noise
        drawn = np.concatenate([kernel.reshape(400, -1), bias], axis=1)
        assert found[name].variance == pytest.approx(drawn.var(0, ddof=1).sum(), rel=0.3)
        assert found[name].squared_mean == pytest.approx((drawn.mean(0) ** 2).sum(), rel=0.3)
    assert found["score"].variance > 10 * found["plain"].variance
    assert found["piwae"].variance > 0  # of the encoder's own term
    with pytest.raises(VaezooError, match="takes at least 2"):
        gradient_noise(vae, x, {"plain": ELBO()}, draws=1)


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


def test_one_player_minimizes_the_loss_where_an_objective_has_no_weights():
    vae = linear_vae(DiagonalNormal(), ELBO())
    ((term, weights),) = vae.players().items()
    assert term == "loss"
    assert [id(w) for w in weights] == [id(w) for w in vae.trainable_variables]

"""Posteriors against SciPy and closed formulas: densities, divergences, samples, and the layout of the parameters."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from small_passes import pass_of

from vaezoo.posteriors import SMALLEST_SCALE, DiagonalNormal, FullNormal, Point
from vaezoo.priors import StandardNormal

DIMENSIONS = (1, 2, 3, 6)


def standard_normal(latent_dim):
    prior = StandardNormal()
    prior.build((None, latent_dim))
    return prior.distribution()


def inverse_softplus(scale):
    return np.log(np.expm1(scale - SMALLEST_SCALE))


def gaussians(batch, latent_dim, seed=0):
    """Locations [B,D] and Cholesky factors [B,D,D] with scales on both sides of 1."""
    rng = np.random.default_rng(seed)
    tril = np.tril(rng.normal(0, 0.5, (batch, latent_dim, latent_dim)), -1)
    tril += np.eye(latent_dim) * rng.uniform(0.05, 2.0, (batch, latent_dim, 1))
    return rng.normal(0, 1.5, (batch, latent_dim)), tril


def diagonal_params(loc, tril):
    """params [B,2D] as the docstring lays them out; what lies below the diagonal is left out."""
    scale = np.diagonal(tril, axis1=1, axis2=2)
    return np.concatenate([loc, inverse_softplus(scale)], axis=1).astype("float32")


def full_params(loc, tril):
    """params [B,P]: the locations, the diagonal, then the rows below it."""
    rows = [tril[:, i, :i] for i in range(loc.shape[1])]
    scale = np.diagonal(tril, axis1=1, axis2=2)
    return np.concatenate([loc, inverse_softplus(scale), *rows], axis=1).astype("float32")


def keep_diagonal(tril):
    return tril * np.eye(tril.shape[-1])


# For each posterior: its class, the layout of its parameters, and the Cholesky factor that it can express
NORMALS = {
    "diagonal": (DiagonalNormal, diagonal_params, keep_diagonal),
    "full": (FullNormal, full_params, lambda tril: tril),
}
every_normal = pytest.mark.parametrize(("posterior", "params_of", "expressed"), NORMALS.values(), ids=NORMALS)


def kl_to_standard_normal(loc, tril):
    """1/2 (tr(S) + m^T m - D - log det S), S = L L^T."""
    trace = (tril**2).sum((1, 2))
    log_det = 2 * np.log(np.diagonal(tril, axis1=1, axis2=2)).sum(1)
    return 0.5 * (trace + (loc**2).sum(1) - loc.shape[1] - log_det)


@every_normal
@pytest.mark.parametrize("latent_dim", DIMENSIONS)
def test_kl_to_the_standard_normal_is_the_closed_formula(posterior, params_of, expressed, latent_dim):
    loc, tril = gaussians(5, latent_dim)
    q = posterior().distribution(params_of(loc, tril))
    kl = pass_of(q, None, standard_normal(latent_dim)).kl("closed_form")
    assert kl.shape == (5,)
    np.testing.assert_allclose(kl, kl_to_standard_normal(loc, expressed(tril)), rtol=3e-6)


def test_kl_is_zero_at_the_prior_and_nowhere_else():
    loc = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]])
    tril = np.eye(2) * np.array([1.0, 1.0, 1.1])[:, None, None]
    for posterior, params_of, _ in NORMALS.values():
        kl = pass_of(posterior().distribution(params_of(loc, tril)), None, standard_normal(2)).kl().numpy()
        assert abs(kl[0]) < 1e-6
        assert (kl[1:] > 4e-3).all()


@every_normal
@pytest.mark.parametrize("latent_dim", DIMENSIONS)
def test_log_prob_is_scipys_for_every_sample(posterior, params_of, expressed, latent_dim):
    loc, tril = gaussians(3, latent_dim, seed=1)
    z = np.random.default_rng(2).normal(0, 2, (4, 3, latent_dim)).astype("float32")  # [K,B,D]
    q = posterior().distribution(params_of(loc, tril))
    assert q.batch_shape == (3,)
    assert q.event_shape == (latent_dim,)
    log_prob = q.log_prob(z)
    assert log_prob.dtype == tf.float32
    for b, factor in enumerate(expressed(tril)):
        expected = stats.multivariate_normal.logpdf(z[:, b].astype("float64"), loc[b], factor @ factor.T)
        np.testing.assert_allclose(log_prob[:, b], expected, rtol=1e-5, atol=1e-5)


@every_normal
@pytest.mark.parametrize("latent_dim", DIMENSIONS)
def test_named_parameters_are_those_that_the_layout_says(posterior, params_of, expressed, latent_dim):
    loc, tril = gaussians(3, latent_dim)
    parameters = posterior().parameters(params_of(loc, tril))
    np.testing.assert_allclose(parameters["loc"], loc, rtol=1e-6)
    if posterior is FullNormal:
        np.testing.assert_allclose(parameters["scale_tril"], tril, rtol=1e-5, atol=1e-7)
    else:
        np.testing.assert_allclose(parameters["scale"], np.diagonal(tril, axis1=1, axis2=2), rtol=1e-5)


@every_normal
def test_samples_have_the_mean_and_the_covariance_of_the_named_parameters(posterior, params_of, expressed):
    n, latent_dim = 20_000, 3
    params = params_of(*gaussians(2, latent_dim, seed=3))
    z = posterior().distribution(params).sample(n, seed=(5, 6)).numpy().astype("float64")  # [n,B,D]
    parameters = {name: np.asarray(value) for name, value in posterior().parameters(params).items()}
    for b in range(2):
        factor = parameters["scale_tril"][b] if posterior is FullNormal else np.diag(parameters["scale"][b])
        covariance = factor @ factor.T
        variances = np.diag(covariance)
        mean_error = np.sqrt(variances / n)
        np.testing.assert_array_less(np.abs(z[:, b].mean(0) - parameters["loc"][b]), 4.5 * mean_error)
        # the variance of an empirical covariance of normals, Wishart's
        covariance_error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
        np.testing.assert_array_less(np.abs(np.cov(z[:, b].T) - covariance), 4.5 * covariance_error)


@every_normal
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_samples_are_a_function_of_the_seed_wherever_they_are_compiled(posterior, params_of, expressed, jit_compile):
    params = tf.constant(params_of(*gaussians(2, 3, seed=3)))

    @tf.function(jit_compile=jit_compile)
    def draw(seed):
        q = posterior().distribution(params)
        return q.sample(seed=seed), q.sample((4, 5), seed=seed)

    one, many = draw(tf.constant([5, 6]))
    assert one.shape == (2, 3)
    assert many.shape == (4, 5, 2, 3)
    np.testing.assert_array_equal(draw(tf.constant([5, 6]))[1], many)
    assert not np.isin(draw(tf.constant([5, 7]))[1], many).any()


@every_normal
def test_a_draw_is_the_sample_of_the_seed_of_its_noise(posterior, params_of, expressed):
    params = params_of(*gaussians(3, 4, seed=3))
    noise = posterior().noise([5, 3, 4], tf.constant([5, 6]))
    assert noise.shape == (5, 3, 4)
    q, z, decoded = posterior().draw(params, noise, decoder=None)
    assert decoded is None
    twin = posterior().distribution(params)
    sample = twin.sample(5, seed=(5, 6))
    np.testing.assert_array_equal(z, sample)
    np.testing.assert_array_equal(q.log_prob(z), twin.log_prob(sample))


@every_normal
def test_noise_is_moved_and_scaled_by_the_named_parameters(posterior, params_of, expressed):
    loc, tril = gaussians(3, 4, seed=3)
    noise = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")
    _, z, _ = posterior().draw(params_of(loc, tril), noise, decoder=None)
    expected = loc + np.einsum("bij,kbj->kbi", expressed(tril), noise)
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5)


def test_a_draw_of_a_point_is_the_code_whatever_the_noise():
    code = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    q, z, decoded = Point().draw(code, tf.random.stateless_normal((5, 3, 4), (1, 2)), decoder=None)
    np.testing.assert_array_equal(z, np.broadcast_to(code, (5, 3, 4)))
    np.testing.assert_array_equal(q.mean(), code)
    assert decoded is None


def test_the_full_normal_expresses_correlation_that_the_diagonal_one_cannot():
    loc, tril = np.zeros((1, 2)), np.array([[[1.0, 0.0], [-0.9, 0.4]]])
    q = FullNormal().distribution(full_params(loc, tril))
    np.testing.assert_allclose(q.covariance()[0], [[1.0, -0.9], [-0.9, 0.97]], rtol=1e-5)


@pytest.mark.parametrize("latent_dim", [1, 2, 3, 7, 50, 200])
def test_params_size_counts_what_the_parameters_need(latent_dim):
    assert DiagonalNormal().params_size(latent_dim) == latent_dim + latent_dim
    assert FullNormal().params_size(latent_dim) == latent_dim + len(np.tril_indices(latent_dim)[0])
    assert Point().params_size(latent_dim) == latent_dim
    for posterior in (DiagonalNormal(), FullNormal(), Point()):
        params = np.zeros((2, posterior.params_size(latent_dim)), "float32")
        assert posterior.mean(params).shape == (2, latent_dim)
        assert posterior.distribution(params).event_shape == (latent_dim,)


@every_normal
@pytest.mark.parametrize("raw", [-1e4, -100.0, 100.0, 1e4])
def test_kl_and_log_prob_and_their_gradients_are_finite_for_extreme_raw_scales(posterior, params_of, expressed, raw):
    params = params_of(np.array([[0.5, -2.0]]), np.eye(2)[None])
    params[:, 2:4] = raw
    scale = max(raw, SMALLEST_SCALE)
    params = tf.constant(params)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(params)
        q = posterior().distribution(params)
        kl = pass_of(q, None, standard_normal(2)).kl()
        log_prob = q.log_prob(q.sample(seed=(1, 2)))
    np.testing.assert_allclose(kl, kl_to_standard_normal(np.array([[0.5, -2.0]]), np.eye(2)[None] * scale), rtol=1e-5)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(kl, params)).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()


@every_normal
def test_the_mean_is_that_of_the_distribution(posterior, params_of, expressed):
    loc, tril = gaussians(4, 3)
    params = params_of(loc, tril)
    np.testing.assert_allclose(posterior().mean(params), loc, rtol=1e-6)
    np.testing.assert_array_equal(posterior().mean(params), posterior().distribution(params).mean())


def test_every_sample_of_a_point_is_the_code():
    code = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    q = Point().distribution(code)
    z = q.sample(5, seed=(1, 2)).numpy()
    assert z.shape == (5, 3, 4)
    np.testing.assert_array_equal(z, np.broadcast_to(code, z.shape))
    np.testing.assert_array_equal(Point().mean(code), code)
    np.testing.assert_array_equal(Point().parameters(code)["loc"], code)


def test_the_gradient_passes_through_every_sample_to_the_parameters():
    loc, tril = gaussians(2, 3)
    cases = [(posterior(), params_of(loc, tril)) for posterior, params_of, _ in NORMALS.values()]
    for posterior, params in [*cases, (Point(), loc.astype("float32"))]:
        params = tf.constant(params)
        with tf.GradientTape() as tape:
            tape.watch(params)
            z = posterior.distribution(params).sample(2, seed=(1, 2))
            loss = tf.reduce_sum(z**2)
        gradient = tape.gradient(loss, params).numpy()
        # each parameter moves some z; the one of a location moves both samples by as much
        assert (gradient != 0).all()
        np.testing.assert_allclose(gradient[:, :3], 2 * z.numpy().sum(0), rtol=1e-5)


@pytest.mark.parametrize("posterior", [DiagonalNormal, FullNormal, Point])
def test_a_posterior_comes_back_from_its_configuration_and_stays_in_float32(posterior):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        original = posterior()
        twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(original))
    finally:
        keras.config.set_dtype_policy("float32")
    for each in (original, twin):
        assert type(each) is posterior
        assert each.compute_dtype == "float32"

"""Objectives about the aggregated posterior: their terms against closed forms of normals, and against NumPy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats
from small_passes import LOC, SCALE, B, D, K, given_pass, linear_vae, pass_of, prior, q

from vaezoo.keras_files import load_keras_file
from vaezoo.objectives import ELBO, BetaELBO, Reconstruction, RegularizedReconstruction
from vaezoo.objectives.aggregated import (
    DIPELBO,
    KERNELS,
    AdversarialELBO,
    CapacityELBO,
    FactorELBO,
    InfoELBO,
    TotalCorrelationELBO,
    _log_weights,
    _permuted,
    _squared_mmd,
)
from vaezoo.posteriors import DiagonalNormal, Point
from vaezoo.seeds import TRAINING, fold_seed

tfd = tfp.distributions


def built(objective):
    """The objective, with its weights for codes of D numbers, drawn by the same seed every time."""
    keras.utils.set_random_seed(0)
    objective.build((None, D))
    return objective


@pytest.mark.parametrize(
    "neutral",
    [
        CapacityELBO(gamma=1.0, capacity=0.0, samples=K),
        TotalCorrelationELBO(alpha=1.0, beta=1.0, gamma=1.0, samples=K),
        FactorELBO(gamma=0.0, hidden=(4,), samples=K),
        DIPELBO(off_diagonal=0.0, diagonal=0.0, samples=K),
        InfoELBO(alpha=0.0, divergence=1.0, samples=K),
        AdversarialELBO(beta=1.0, weight=0.0, hidden=(4,), samples=K),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_at_its_neutral_strength_each_is_the_elbo(neutral):
    terms, true = built(neutral).compute(given_pass(), 5), ELBO(samples=K).compute(given_pass(), 5)
    assert set(terms) == set(neutral.terms)
    np.testing.assert_allclose(np.mean(terms["loss"]), np.mean(true["loss"]), rtol=2e-7)
    for name in ("elbo", "reconstruction", "kl"):
        np.testing.assert_array_equal(terms[name], true[name])
    for values in terms.values():
        assert values.shape == (B,)


# Capacity


def test_the_capacity_is_what_the_kl_is_drawn_to():
    true = ELBO(samples=K).compute(given_pass(), 0)
    kl = np.mean(true["kl"])
    warm_up = {"start": 1.0, "end": 9.0, "steps": 80}
    for step, capacity in ((0, 1.0), (20, 3.0), (1000, 9.0)):
        terms = CapacityELBO(gamma=30.0, capacity=warm_up, samples=K).compute(given_pass(), step)
        np.testing.assert_allclose(terms["loss"], true["reconstruction"] + 30.0 * abs(kl - capacity), rtol=1e-6)
    loc, x = tf.Variable(LOC), tf.zeros([B, 1, 1, 1])
    for capacity, sign in ((kl - 1, 1), (kl + 1, -1)):  # above its capacity the KL falls, below it rises
        with tf.GradientTape(persistent=True) as tape:
            law = tfd.MultivariateNormalDiag(loc, SCALE)
            terms = CapacityELBO(capacity=float(capacity)).compute(pass_of(law, LOC[np.newaxis], prior(), x, x), 0)
            losses = {name: tf.reduce_mean(terms[name]) for name in ("loss", "kl")}
        by_loss, by_kl = (tape.gradient(losses[name], loc) for name in ("loss", "kl"))
        np.testing.assert_allclose(by_loss, sign * 1000.0 * by_kl, rtol=1e-5)
        assert np.abs(by_kl).max() > 0.1


# The parts of the KL


def linear_law(n):
    """Posteriors N(A x, diag(s^2)) of examples x ~ N(0, I), the covariance of all their codes, and s."""
    a, s = np.array([[0.9, 0.4], [0.7, 0.8]]), np.array([0.4, 0.6])
    loc = np.random.default_rng(0).normal(size=(n, 2)) @ a.T
    law = tfd.MultivariateNormalDiag(loc.astype("float32"), np.tile(s, (n, 1)).astype("float32"))
    return law, a @ a.T + np.diag(s**2), s


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_parts_of_the_kl_are_the_closed_forms_of_a_normal(estimator):
    n = 2000
    law, covariance, s = linear_law(n)
    z, standard = law.sample(1, seed=(1, 2)), tfd.MultivariateNormalDiag(tf.zeros([2]), tf.ones([2]))
    x = tf.zeros([n, 1, 1, 1])
    terms = TotalCorrelationELBO(estimator=estimator).compute(pass_of(law, z, standard, x, x), 0)
    variance = np.diag(covariance)
    closed = {
        "mutual_information": 0.5 * np.log(np.linalg.det(covariance) / np.prod(s**2)),
        "total_correlation": 0.5 * np.log(np.prod(variance) / np.linalg.det(covariance)),
        "dimension_kl": 0.5 * (variance - 1 - np.log(variance)).sum(),
    }
    assert closed["total_correlation"] > 0.1
    for name, expected in closed.items():
        # The weighted estimate of the density is N times too low where the batch is all examples.
        of_density = {"mutual_information": 1, "total_correlation": 1, "dimension_kl": -2}[name]
        found = terms[name] - of_density * np.log(n) * (estimator == "weighted")
        assert abs(np.mean(found) - expected) < 5 * np.std(found) / np.sqrt(n) + 0.01


def test_the_parts_add_up_to_the_monte_carlo_kl_and_have_their_own_weights():
    terms = TotalCorrelationELBO(alpha=2.0, beta=5.0, gamma=0.5, samples=K, dataset_size=1000).compute(given_pass(), 0)
    true = ELBO(samples=K).compute(given_pass(), 0)
    names = ("mutual_information", "total_correlation", "dimension_kl")
    np.testing.assert_allclose(sum(terms[name] for name in names), given_pass().kl("monte_carlo"), rtol=1e-5, atol=1e-5)
    extra = terms[names[0]] + 4.0 * terms[names[1]] - 0.5 * terms[names[2]]
    np.testing.assert_allclose(terms["loss"], true["loss"] + extra, rtol=1e-5)


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_the_stratified_estimate_of_the_density_is_without_bias_and_the_weighted_one_too_low(batch):
    n, own = 5, 2
    densities = np.random.default_rng(0).uniform(0.1, 3.0, n)  # of one code, under the posterior of each of N examples
    others = [index for index in range(n) if index != own]
    batches = [[own, *rest] for rest in itertools.permutations(others, batch - 1)]

    def mean(stratified):
        weights = np.exp(_log_weights(tf.constant(batch), n, stratified))[0]
        return np.mean([weights @ densities[chosen] for chosen in batches])

    np.testing.assert_allclose(mean(True), densities.mean(), rtol=1e-6)
    chosen = np.mean([densities[chosen].sum() for chosen in batches])
    np.testing.assert_allclose(mean(False), chosen / (n * batch), rtol=1e-6)
    assert mean(False) < densities.mean()


def test_a_batch_of_one_example_has_finite_terms():
    law = tfd.MultivariateNormalDiag(LOC[:1], SCALE[:1])
    x = tf.zeros([1, 1, 1, 1])
    for size in (None, 100):
        passed = pass_of(law, law.sample(1, seed=(1, 2)), prior(), x, x)
        terms = TotalCorrelationELBO(dataset_size=size).compute(passed, 0)
        assert all(np.isfinite(values).all() for values in terms.values())


# DIP


def full_normal():
    lower = np.array([[[0.5, 0.0], [0.2, 1.2]], [[0.3, 0.0], [-0.4, 0.6]], [[1.5, 0.0], [0.9, 0.8]]], "float32")
    return tfd.MultivariateNormalTriL(LOC, lower), lower @ lower.transpose(0, 2, 1)


@pytest.mark.parametrize("of", ["means", "codes"])
@pytest.mark.parametrize("full", [False, True])
def test_the_penalty_of_dip_is_that_of_a_covariance_by_numpy(of, full):
    law, own = full_normal() if full else (q(), np.stack([np.diag(scale**2) for scale in SCALE]))
    z, x = law.sample(1, seed=(1, 2)), np.zeros((B, 1, 1, 1), "float32")
    passed = pass_of(law, z, prior(), x, x)
    terms = DIPELBO(of=of, off_diagonal=3.0, diagonal=7.0).compute(passed, 0)
    covariance = np.cov(LOC.T, bias=True) + (own.mean(0) if of == "codes" else 0)
    expected = 3.0 * 2 * covariance[0, 1] ** 2 + 7.0 * ((np.diag(covariance) - 1) ** 2).sum()
    np.testing.assert_allclose(terms["dip"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], ELBO().compute(passed, 0)["loss"] + terms["dip"], rtol=1e-6)


# The maximum mean discrepancy


def expected_rbf(mean, variance, bandwidth):
    """E exp(-|d|^2 / (2 D bandwidth^2)) of d ~ N(mean [D], variance I)."""
    square = len(mean) * bandwidth**2
    return (square / (square + variance)) ** (len(mean) / 2) * np.exp(-(mean @ mean) / (2 * (square + variance)))


def expected_imq(mean, variance, bandwidth):
    """The same of 1 / (1 + s), which is the mean of exp(-t s) over t ~ Exp(1)."""
    part = lambda t: np.exp(-t) * expected_rbf(mean, variance, bandwidth / np.sqrt(t))  # noqa: E731
    return integrate.quad(part, 0, np.inf)[0]


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("kernel", "expected"), [("rbf", expected_rbf), ("imq", expected_imq)])
def test_the_mmd_of_two_normals_is_its_closed_form(kernel, expected, bandwidth):
    mean, scale, n = np.array([0.6, -0.3, 0.0]), 0.7, 400
    closed = expected(0 * mean, 2 * scale**2, bandwidth) + expected(0 * mean, 2.0, bandwidth)
    closed -= 2 * expected(mean, scale**2 + 1, bandwidth)
    rng = np.random.default_rng(0)
    found = [
        _squared_mmd(
            tf.constant(mean + scale * rng.normal(size=(n, 3)), tf.float32),
            tf.constant(rng.normal(size=(n, 3)), tf.float32),
            KERNELS[kernel],
            bandwidth,
        )
        for _ in range(60)
    ]
    assert closed > 0.01
    assert abs(np.mean(found) - closed) < 4.5 * np.std(found) / np.sqrt(len(found))


def test_the_mmd_of_equal_laws_is_zero_on_average_and_can_be_below():
    rng = np.random.default_rng(0)
    draws = lambda: tf.constant(rng.normal(size=(20, 2)), tf.float32)  # noqa: E731
    found = [_squared_mmd(draws(), draws(), KERNELS["imq"], 1.0) for _ in range(400)]
    assert abs(np.mean(found)) < 4.5 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_the_mmd_is_the_mean_over_pairs_by_numpy():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    kernel = lambda x, y: 1 / (1 + ((x - y) ** 2).sum() / (2 * 3 * 0.8**2))  # noqa: E731
    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(codes, 2)]) for codes in (a, b)]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    np.testing.assert_allclose(_squared_mmd(tf.constant(a), tf.constant(b), KERNELS["imq"], 0.8), expected, rtol=1e-5)


def test_info_pays_for_a_part_of_the_kl_and_for_the_distance_to_the_prior():
    terms = InfoELBO(alpha=0.3, divergence=20.0).compute(given_pass(1), 0)
    true = ELBO().compute(given_pass(1), 0)
    expected = true["reconstruction"] + 0.7 * true["kl"] + 19.3 * terms["mmd"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-6)
    assert np.ptp(terms["mmd"]) == 0
    assert abs(terms["mmd"][0]) > 1e-3


@pytest.mark.parametrize("estimator", ["reparameterized", "sticking_the_landing", "score_function"])
def test_info_pays_for_a_part_of_the_kl_whatever_estimates_the_gradient(estimator):
    x = np.random.default_rng(0).uniform(size=(5, 2, 2, 1)).astype("float32")

    def gradient(objective, term="loss"):
        vae = linear_vae(DiagonalNormal(), objective)
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(vae.terms(x, (1, 2), 0)[term])
        return tape.gradient(value, vae.encoder.trainable_weights)

    keywords = {"samples": 3, "gradient": estimator}
    info = InfoELBO(alpha=0.75, divergence=20.0, **keywords)
    found, mmd = gradient(info), gradient(info, "mmd")
    paid = gradient(BetaELBO(beta=0.25, **keywords))
    for ours, own, distance in zip(found, paid, mmd, strict=True):
        np.testing.assert_allclose(ours, own + 19.75 * distance, rtol=1e-4, atol=1e-5)


# The adversarial autoencoder


def test_a_critic_of_the_prior_reaches_the_known_ratio_of_the_densities():
    """Codes from N(m, I) against a prior N(0, I): log p(z) - log q(z) = |m|^2 / 2 - m z, which is linear."""
    mean = np.array([0.8, -0.4], "float32")
    objective = built(AdversarialELBO(hidden=()))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 400))
    optimizer.build(objective.trainable_variables)
    (weights,) = objective.players(None).values()
    x = tf.zeros([2000, 1, 1, 1])

    @tf.function
    def step(seed):
        z = mean + tf.random.stateless_normal((1, 2000, D), seed)
        law = tfd.MultivariateNormalDiag(z[0], tf.ones([D]))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective.compute(pass_of(law, z, prior(), x, x, seed=seed), 0)["critic"])
        optimizer.apply(tape.gradient(loss, weights), weights)

    for i in range(400):
        step(tf.constant([1, i]))
    kernel, bias = objective.critic.get_weights()
    np.testing.assert_allclose(kernel[:, 0], -mean, atol=0.04)
    np.testing.assert_allclose(bias, mean @ mean / 2, atol=0.04)


def test_the_adversarial_terms_follow_from_the_logits():
    objective, passed = built(AdversarialELBO(beta=0.5, weight=3.0, hidden=(8,), samples=K)), given_pass()
    terms, true = objective.compute(passed, 0), ELBO(samples=K).compute(passed, 0)
    logit = logits_by_numpy(objective, passed.z[0])
    np.testing.assert_allclose(terms["adversarial"], -special.log_expit(logit), rtol=1e-4)
    expected = true["reconstruction"] + 0.5 * true["kl"] + 3.0 * terms["adversarial"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-6)
    of_prior = terms["critic"] + special.log_expit(-logit)  # what is left is the cross-entropy of draws of the prior
    assert (np.asarray(of_prior) > 0).all()


def test_the_draws_of_the_prior_are_others_than_those_of_the_posterior():
    vae = linear_vae(DiagonalNormal(), built(AdversarialELBO(hidden=(4,))))
    seen = []
    critic = vae.objective.critic
    vae.objective.critic = lambda z: seen.append(np.asarray(z)) or critic(z)
    x = np.random.default_rng(0).uniform(size=(500, 2, 2, 1)).astype("float32")
    vae.terms(x, (1, 2), 0)
    codes, drawn = seen
    noise = np.asarray((codes - vae.encode(x).mean()) / vae.encode(x).stddev())
    assert np.abs(np.corrcoef(noise.T, drawn.T)[:D, D:]).max() < 4.5 / np.sqrt(500)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3


# The regularized autoencoder


def test_the_terms_of_a_regularized_autoencoder_are_those_of_numpy():
    plain = linear_vae(Point(), Reconstruction())
    x = np.random.default_rng(0).uniform(size=(4, 2, 2, 1)).astype("float32")
    true = plain.terms(x, (1, 2), 0)["reconstruction"]
    terms = linear_vae(Point(), RegularizedReconstruction(code_weight=0.3, decoder_weight=0.2)).terms(x, (1, 2), 0)
    code = (plain.codes(x).numpy() ** 2).sum(1) / 2
    decoder = sum((weight**2).sum() for weight in plain.decoder.get_weights()) / 2
    np.testing.assert_allclose(terms["code"], code, rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], true + 0.3 * code + 0.2 * decoder, rtol=1e-5)
    np.testing.assert_array_equal(terms["reconstruction"], true)


# The total correlation


def factor(**keywords):
    """A `FactorELBO` of a small critic, built for codes of D numbers."""
    return built(FactorELBO(**{"hidden": (16, 16), **keywords}))


def logits_by_numpy(objective, z):
    """The critic by hand [N], leaky ReLU with Keras's slope of 0.2 below zero."""
    h, weights = np.asarray(z, "float64"), objective.critic.get_weights()
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in hidden:
        h = h @ kernel + bias
        h = np.where(h > 0, h, 0.2 * h)
    return (h @ last[0] + last[1])[:, 0]


def test_the_factor_terms_are_the_elbo_the_logit_and_the_cross_entropy_of_both_kinds_of_code():
    objective, passed = factor(gamma=3.0, samples=K), given_pass()
    terms, true = objective.compute(passed, 0), ELBO(samples=K).compute(passed, 0)
    assert set(terms) == set(FactorELBO.terms) == {"total_correlation", "critic", *true}
    z = passed.z[0]
    logit = logits_by_numpy(objective, z)
    permuted = logits_by_numpy(objective, _permuted(z, passed.seed))
    np.testing.assert_allclose(terms["total_correlation"], logit, rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], true["loss"] + 3.0 * logit, rtol=1e-5)
    np.testing.assert_allclose(terms["critic"], -special.log_expit(logit) - special.log_expit(-permuted), rtol=1e-4)
    for name in ("elbo", "reconstruction", "kl"):
        np.testing.assert_array_equal(terms[name], true[name])


@pytest.mark.parametrize("latent_dim", [2, 3, 6])
def test_permuted_codes_have_the_same_marginals_and_nothing_else_in_common(latent_dim):
    n, seed = 4000, tf.constant([3, 4])
    cholesky = np.linalg.cholesky(np.full((latent_dim, latent_dim), 0.9) + 0.1 * np.eye(latent_dim))
    # Noise from that very seed, as in a pass
    z = (tf.random.stateless_normal((n, latent_dim), seed, alg="philox") @ cholesky.T.astype("float32")).numpy()
    permuted = _permuted(z, seed).numpy()
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(z, axis=0))
    assert (permuted != z).any(axis=0).all()
    pairs = np.triu_indices(latent_dim, 1)
    assert np.corrcoef(z.T)[pairs].min() > 0.8
    for seen in (permuted, np.abs(permuted), permuted**2):  # standard errors of 1 / sqrt(n)
        assert np.abs(np.corrcoef(seen.T)[pairs]).max() < 4.5 / np.sqrt(n)
    sources = [
        np.argsort(column)[np.searchsorted(np.sort(column), shuffled)]
        for column, shuffled in zip(z.T, permuted.T, strict=True)
    ]
    assert (sources[0] == sources[1]).sum() < 6  # one is expected; unpermuted, all n
    assert (_permuted(z, tf.constant([3, 5])).numpy() != permuted).any()
    np.testing.assert_array_equal(_permuted(z, seed), permuted)


def test_the_estimate_of_an_optimal_critic_is_the_closed_form_of_a_correlated_normal():
    correlation = 0.8
    closed = -0.5 * np.log(1 - correlation**2)  # -1/2 log det R = 0.511 nats
    cholesky = tf.constant([[1.0, 0.0], [correlation, np.sqrt(1 - correlation**2)]], tf.float32)
    objective = factor(hidden=(32, 32))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 600))
    optimizer.build(objective.trainable_variables)
    (weights,) = objective.players(None).values()

    def terms(seed, count):
        seed = tf.convert_to_tensor(seed)
        z = tf.random.stateless_normal((1, count, D), seed, alg="philox") @ tf.transpose(cholesky)
        q, x = tfd.MultivariateNormalDiag(z[0], tf.ones([D])), tf.zeros([count, 1, 1, 1])  # any will do
        return objective.compute(pass_of(q, z, prior(), x, x, seed=seed), 0)

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(terms(seed, 512)["critic"])
        optimizer.apply(tape.gradient(loss, weights), weights)

    for i in range(600):
        step(tf.constant([1, i]))
    found = terms((2, 0), 50_000)
    estimate = np.mean(found["total_correlation"])
    assert abs(estimate - closed) < 0.03  # seen with three seeds: at most 0.014
    # An indifferent critic has 2 log 2 = 1.386; the best one has 1.119.
    assert 1.11 < np.mean(found["critic"]) < 1.13


@pytest.mark.parametrize(
    "objective", [lambda: factor(gamma=5.0), lambda: built(AdversarialELBO(hidden=(8,), weight=5.0))]
)
def test_each_weight_is_moved_by_the_gradient_of_its_own_player_alone(objective):
    rate, x = 0.01, np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    vae = linear_vae(DiagonalNormal(), objective())
    seed = fold_seed(vae.seed, TRAINING, 0)

    def gradients_of(term):
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(vae.terms(x, seed, 0)[term])
        weights = vae.trainable_variables
        return {w.path: g for w, g in zip(weights, tape.gradient(mean, weights), strict=True)}

    by_loss, by_critic = gradients_of("loss"), gradients_of("critic")
    critic = {weight.path for weight in vae.objective.trainable_variables}
    model = {weight.path for weight in vae.encoder.trainable_variables + vae.decoder.trainable_variables}
    assert {term: {w.path for w in weights} for term, weights in vae.players().items()} == {
        "loss": model,
        "critic": critic,
    }
    before = {weight.path: weight.numpy() for weight in vae.trainable_variables}
    vae.compile(keras.optimizers.SGD(rate), jit_compile=False)
    vae.fit(x, batch_size=6, shuffle=False, verbose=0)
    for weight in vae.trainable_variables:
        own, other = (by_critic, by_loss) if weight.path in critic else (by_loss, by_critic)
        expected = before[weight.path] - rate * own[weight.path]
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6, err_msg=weight.path)
        if other[weight.path] is not None:  # the decoder has no part in the critic's term
            both = expected - rate * other[weight.path]
            assert np.abs(weight - both).max() > 1e-5
    assert sum(by_loss[path] is not None for path in critic) == len(critic)
    assert sum(by_critic[w.path] is not None for w in vae.encoder.trainable_variables) == 2


@pytest.mark.slow
def test_a_critic_is_saved_with_the_model_and_goes_on_learning(tmp_path):
    vae = linear_vae(DiagonalNormal(), factor())
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    x = np.random.default_rng(1).uniform(size=(6, 2, 2, 1)).astype("float32")
    vae.fit(x, batch_size=6, epochs=2, verbose=0)
    vae.save(tmp_path / "model.keras")
    loaded = load_keras_file(tmp_path / "model.keras")
    assert vae.objective.weights
    for found, expected in ((loaded.weights, vae.weights), (loaded.optimizer.variables, vae.optimizer.variables)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=other.path)
    for model in (vae, loaded):
        model.fit(x, batch_size=6, shuffle=False, verbose=0)
    for one, other in zip(loaded.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)

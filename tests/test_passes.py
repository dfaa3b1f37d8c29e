"""One pass over a batch: its terms against SciPy, its noise, and that nothing is computed which is not read."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats
from small_passes import pass_of

from vaezoo.decoding import Decoder
from vaezoo.errors import VaezooError
from vaezoo.likelihoods import Normal
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_decoder, mlp_encoder
from vaezoo.objectives import ELBO, IWAE, BetaELBO, Objective, Reconstruction
from vaezoo.objectives.aggregated import DIPELBO, AdversarialELBO, FactorELBO, InfoELBO, TotalCorrelationELBO
from vaezoo.passes import Pass
from vaezoo.posteriors import DiagonalNormal, Flow, FullNormal, Point
from vaezoo.priors import Mixture, StandardNormal
from vaezoo.spec import Spec

tfd = tfp.distributions

K, B, D = 4, 3, 2
SCALE = 0.4  # of the likelihood
POSTERIORS = {
    "diagonal_normal": DiagonalNormal,
    "full_normal": FullNormal,
    "flow": lambda: Flow(blocks=2, hidden=(5,), context=3),
    "point": Point,
}
every_posterior = pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
normals = pytest.mark.parametrize("posterior", [DiagonalNormal, FullNormal])


def vae_of(posterior, prior=None, objective=None, classes=0):
    """A VAE of images 2×3 with small networks, whose weights and biases are drawn by NumPy."""
    spec, rng = Spec("image", (2, 3, 1), classes=classes), np.random.default_rng(0)
    vae = VAE(
        spec=spec,
        encoder=mlp_encoder(spec, posterior.params_size(D), hidden=(5,), activation="tanh"),
        posterior=posterior,
        prior=prior or StandardNormal(),
        decoder=mlp_decoder(D, spec, spec.shape, hidden=(5,), activation="tanh"),
        likelihood=Normal(scale=SCALE),
        objective=objective or Reconstruction(),
        latent_dim=D,
    )
    for network in (vae.encoder, vae.decoder):
        network.set_weights([rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    return vae


def some(classes=0):
    x = np.random.default_rng(1).uniform(size=(B, 2, 3, 1)).astype("float32")
    return {"x": x, "label": np.arange(B) % classes} if classes else x


def terms_of(passed):
    """Everything that a pass has, by name; without a density there is less."""
    found = {name: getattr(passed, name) for name in ("x", "z", "params", "log_likelihood")}
    if passed.model.posterior.has_density:
        found |= {"log_ratio": passed.log_ratio, "auto": passed.kl(), "monte_carlo": passed.kl("monte_carlo")}
    return found


# The terms


@every_posterior
@pytest.mark.parametrize("classes", [0, 3])
def test_the_log_likelihood_is_scipys_of_the_decoded_draws(posterior, classes):
    vae = vae_of(posterior(), classes=classes)
    batch = some(classes)
    passed = vae.forward(batch, K, seed=(1, 2))
    assert passed.z.shape == (K, B, D)
    z, x = passed.z.numpy(), np.asarray(passed.x)
    for k in range(K):
        decoded = vae.decoder({"z": z[k], "label": batch["label"]} if classes else z[k])
        np.testing.assert_allclose(passed.params[k], decoded, rtol=1e-5, atol=1e-6)
        expected = stats.norm.logpdf(x.astype("float64"), decoded, SCALE).sum((1, 2, 3))
        np.testing.assert_allclose(passed.log_likelihood[k], expected, rtol=1e-5)
    assert (passed.likelihood.batch_shape, passed.likelihood.event_shape) == ((K, B), (2, 3, 1))


def gaussians(vae, batch):
    """The mean [B,D] and the covariance [B,D,D] of q(z|x), in float64."""
    named = vae.posterior.parameters(vae.encoder(batch))
    named = {name: np.asarray(value, "float64") for name, value in named.items()}
    tril = named["scale_tril"] if "scale_tril" in named else named["scale"][:, :, None] * np.eye(D)
    return named["loc"], tril @ tril.transpose(0, 2, 1)


@normals
@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
def test_the_log_ratio_and_its_mean_are_scipys(posterior, prior):
    vae = vae_of(posterior(), Mixture(components=3) if prior == "mixture" else StandardNormal())
    passed = vae.forward(some(), K, seed=(1, 2))
    z = passed.z.numpy().astype("float64")
    if prior == "mixture":
        loc = vae.prior.loc.numpy().astype("float64")
        scale = np.asarray(tf.nn.softplus(vae.prior.raw_scale.value) + 1e-4, "float64")
        each = stats.norm.logpdf(z[..., np.newaxis, :], loc, scale).sum(-1)  # [K,B,components]
        log_prior = special.logsumexp(each, axis=-1) - np.log(3)
    else:
        log_prior = stats.norm.logpdf(z).sum(-1)
    log_q = np.stack(
        [
            stats.multivariate_normal.logpdf(z[:, b], mean, covariance)
            for b, (mean, covariance) in enumerate(zip(*gaussians(vae, some()), strict=True))
        ],
        axis=1,
    )
    np.testing.assert_allclose(passed.log_ratio, log_q - log_prior, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(passed.kl("monte_carlo"), (log_q - log_prior).mean(0), rtol=1e-4, atol=1e-5)
    if prior == "mixture":
        np.testing.assert_array_equal(passed.kl(), passed.kl("monte_carlo"))
        assert passed.closed_form_kl is None


@normals
def test_the_closed_form_kl_is_the_formula(posterior):
    vae = vae_of(posterior())
    passed = vae.forward(some(), K, seed=(1, 2))
    loc, covariance = gaussians(vae, some())
    trace, log_det = np.trace(covariance, axis1=1, axis2=2), np.linalg.slogdet(covariance)[1]
    expected = 0.5 * (trace + (loc**2).sum(1) - D - log_det)
    for method in ("auto", "closed_form"):
        np.testing.assert_allclose(passed.kl(method), expected, rtol=1e-5)
    assert np.abs(passed.kl("monte_carlo") - expected).max() > 1e-2  # so that the methods are told apart


@pytest.mark.parametrize("method", ["auto", "closed_form", "monte_carlo"])
def test_where_each_draw_has_its_own_posterior_the_kl_is_the_mean_over_the_draws(method):
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(K, B, D)).astype("float32"), rng.uniform(0.3, 2, (K, B, D)).astype("float32")
    z = (loc + scale * rng.normal(size=(K, B, D))).astype("float32")
    prior = tfd.MultivariateNormalDiag(tf.zeros([D]), tf.ones([D]))
    passed = pass_of(tfd.MultivariateNormalDiag(loc, scale), z, prior)
    log_ratio = (stats.norm.logpdf(z, loc, scale) - stats.norm.logpdf(z)).sum(-1)  # [K,B]
    closed = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum(-1)  # [K,B]
    kl = passed.kl(method)
    assert kl.shape == (B,)
    np.testing.assert_allclose(kl, (log_ratio if method == "monte_carlo" else closed).mean(0), rtol=1e-4)
    np.testing.assert_allclose(passed.log_ratio, log_ratio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("read", ["log_ratio", "kl"])
def test_a_pass_of_points_has_no_density_and_says_so_on_one_line(read):
    passed = vae_of(Point()).forward(some(), K)
    with pytest.raises(VaezooError, match=r"model\.objective=reconstruction") as error:
        passed.kl() if read == "kl" else passed.log_ratio
    assert "\n" not in str(error.value)


# The noise


@every_posterior
@pytest.mark.parametrize("classes", [0, 3])
def test_the_noise_of_a_seed_gives_the_pass_of_that_seed_to_the_bit(posterior, classes):
    vae = vae_of(posterior(), classes=classes)
    noise = vae.posterior.noise([K, B, D], tf.constant([1, 2]))
    drawn, given = vae.forward(some(classes), K, seed=(1, 2)), vae.forward(some(classes), noise=noise)
    assert given.z.shape == (K, B, D)
    for (name, values), again in zip(terms_of(drawn).items(), terms_of(given).values(), strict=True):
        np.testing.assert_array_equal(again, values, err_msg=name)


@every_posterior
def test_draws_are_a_function_of_the_seed_and_differ_from_each_other(posterior):
    vae = vae_of(posterior())
    one, again, other = (vae.forward(some(), K, seed).z.numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(one, again)
    if isinstance(vae.posterior, Point):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one[0], one[1])
    else:
        assert (one != other).all()
        assert len(np.unique(one)) == one.size


@every_posterior
def test_the_output_of_the_encoder_may_be_given(posterior, monkeypatch):
    vae = vae_of(posterior())
    params = vae.encoder_params(vae.batch(some()))
    expected = terms_of(vae.forward(some(), K, seed=(1, 2)))
    monkeypatch.setattr(VAE, "encoder_params", lambda self, batch: pytest.fail("it encodes again"))
    for name, values in terms_of(vae.forward(some(), K, seed=(1, 2), params=params)).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@every_posterior
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_pass_within_a_graph_has_the_same_terms(posterior, jit_compile):
    vae = vae_of(posterior())
    noise = vae.posterior.noise([K, B, D], tf.constant([1, 2]))  # XLA draws other noise

    @tf.function(jit_compile=jit_compile, autograph=False)
    def terms(x, noise):
        return terms_of(vae.forward(x, noise=noise))

    found = terms(some(), noise)
    for name, values in terms_of(vae.forward(some(), noise=noise)).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


# What is not read is not computed


@pytest.fixture
def decoded(monkeypatch):
    """The shape of the codes of every call of a decoder."""
    shapes, call = [], Decoder.__call__

    def counted(self, z):
        shapes.append(tuple(z.shape))
        return call(self, z)

    monkeypatch.setattr(Decoder, "__call__", counted)
    return shapes


def read(passed, *names):
    return [getattr(passed, name) for name in names]


@every_posterior
def test_a_pass_decodes_once_and_only_when_that_is_read(posterior, decoded):
    vae = vae_of(posterior())
    passed = vae.forward(some(), K)
    if vae.posterior.has_density:
        read(passed, "log_ratio", "closed_form_kl", "extra_terms")
    assert not decoded
    read(passed, "log_likelihood", "likelihood", "params", "log_likelihood")
    assert decoded == [(K, B, D)]


def test_a_pass_whose_draw_has_decoded_does_not_decode_again(decoded):
    vae = vae_of(DiagonalNormal())
    plain = vae.forward(some(), K)
    passed = Pass(plain.x, plain.q, plain.z, plain.prior, vae, vae.decoder_of(vae.batch(some())), 2 * plain.params)
    del decoded[:]
    expected = stats.norm.logpdf(some().astype("float64"), 2 * plain.params.numpy(), SCALE).sum((-3, -2, -1))
    np.testing.assert_allclose(passed.log_likelihood, expected, rtol=1e-5)
    assert not decoded


@pytest.mark.parametrize(
    ("objective", "unread"),
    [
        (ELBO(samples=2), "log_ratio"),
        (BetaELBO(samples=2), "log_ratio"),
        (ELBO(samples=2, kl="monte_carlo"), "closed_form_kl"),
        (IWAE(samples=2), "closed_form_kl"),
        (Reconstruction(), "closed_form_kl"),
        (Reconstruction(), "log_ratio"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_objective_decodes_once_and_computes_one_kl_at_most(objective, unread, decoded, monkeypatch):
    monkeypatch.setattr(Pass, unread, property(lambda self: pytest.fail(f"{unread} is computed")))
    vae = vae_of(DiagonalNormal(), objective=objective)
    terms = vae.terms(some(), (1, 2), step=0)
    assert set(terms) == set(objective.terms)
    assert decoded == [(objective.samples, B, D)]


def test_terms_are_computed_once(monkeypatch):
    calls, vae = [], vae_of(DiagonalNormal())
    log_prob = Normal.distribution

    def counted(*arguments):
        calls.append(1)
        return log_prob(*arguments)

    monkeypatch.setattr(Normal, "distribution", counted)
    passed = vae.forward(some(), K)
    for name in ("log_likelihood", "log_ratio", "closed_form_kl", "params"):
        assert getattr(passed, name) is getattr(passed, name)
    assert len(calls) == 1


def test_a_pass_with_other_draws_decodes_those_and_has_the_same_examples(decoded):
    vae = vae_of(DiagonalNormal(), classes=3)
    passed = vae.forward(some(3), K, seed=(1, 2))
    other = vae.forward(some(3), K, seed=(1, 3))
    moved = passed.with_draws(other.q, other.z)
    np.testing.assert_array_equal(moved.log_likelihood, other.log_likelihood)  # of the same labels
    np.testing.assert_array_equal(moved.log_ratio, other.log_ratio)
    assert (passed.log_likelihood.numpy() != other.log_likelihood.numpy()).all()
    np.testing.assert_array_equal(moved.seed, passed.seed)


# What a posterior adds


class Committed(DiagonalNormal):
    """A diagonal normal that adds two terms to the loss, of the draws and of the decoded parameters."""

    def extra_terms(self, passed):
        """The terms."""
        return {
            "commitment": 0.25 * tf.reduce_sum(passed.z[0] ** 2, axis=-1),
            "size": tf.reduce_mean(passed.params**2, axis=[0, 2, 3, 4]),
        }


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(samples=K),
        BetaELBO(beta=3.0, reconstruction_weight=0.5),
        lambda: FactorELBO(hidden=(4,), gamma=2.0),
        lambda: AdversarialELBO(hidden=(4,), beta=1.0),
        TotalCorrelationELBO(),
        DIPELBO(),
        InfoELBO(),
        IWAE(samples=K),
        Reconstruction(),
    ],
    ids=["elbo", "beta", "factor", "adversarial", "total_correlation", "dip", "info", "iwae", "reconstruction"],
)
def test_the_terms_of_a_posterior_enter_the_loss_and_leave_the_elbo_alone(objective):
    keras.utils.set_random_seed(0)
    objective = objective if isinstance(objective, Objective) else objective()
    plain, committed = vae_of(DiagonalNormal(), objective=objective), vae_of(Committed(), objective=objective)
    true, terms = (vae.terms(some(), (1, 2), step=0) for vae in (plain, committed))
    extra = committed.forward(some(), objective.samples, (1, 2)).extra_terms
    assert set(extra) == {"commitment", "size"}
    added = sum(np.asarray(term) for term in extra.values())
    assert (added > 1e-2).all()
    np.testing.assert_allclose(terms["loss"], true["loss"] + added, rtol=1e-5)
    for name in set(terms) - {"loss"}:
        np.testing.assert_array_equal(terms[name], true[name], err_msg=name)


def test_the_posteriors_of_the_zoo_add_nothing():
    for posterior in POSTERIORS.values():
        assert vae_of(posterior()).forward(some(), K).extra_terms == {}

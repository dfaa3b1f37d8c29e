"""The linear-Gaussian model, where everything is known: p(x), the true posterior, and the best that training can reach.

With z ~ N(0, I) and x|z ~ N(W z + b, s^2 I), p(x) = N(x; b, W W^T + s^2 I) and the posterior is
N(z; S W^T (x - b) / s^2, S), S = (I + W^T W / s^2)^-1 (Tipping & Bishop 1999; Bishop 2006, equations 12.36 and 12.42).
A VAE of the zoo's own parts with linear networks is this model.
"""

import itertools

import numpy as np
from scipy import stats

from vaezoo.likelihoods import Normal
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_decoder, mlp_encoder
from vaezoo.objectives import ELBO
from vaezoo.posteriors import SMALLEST_SCALE
from vaezoo.priors import StandardNormal
from vaezoo.spec import Spec

SHAPE, PIXELS, D = (4, 4, 1), 16, 3
NOISE = 0.1


class LinearGaussian:
    """The exact model in float64: weights W [16,D], offset b [16], noise s."""

    def __init__(self, weights, offset, noise):
        self.weights, self.offset, self.noise = weights, offset, noise
        self.marginal = stats.multivariate_normal(offset, weights @ weights.T + noise**2 * np.eye(len(offset)))
        self.posterior_covariance = np.linalg.inv(np.eye(weights.shape[1]) + weights.T @ weights / noise**2)

    def log_prob(self, x):
        """log p(x) [B] of images [B,H,W,C]."""
        return self.marginal.logpdf(x.reshape(len(x), -1).astype("float64"))

    def posterior_map(self):
        """The linear map from x to the true posterior's mean: (A [16,D], c [D])."""
        matrix = self.weights @ self.posterior_covariance / self.noise**2
        return matrix, -self.offset @ matrix

    def sample(self, n, seed):
        """Images [n,H,W,C]."""
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, self.weights.shape[1])) @ self.weights.T + self.offset
        return (x + rng.normal(0, self.noise, x.shape)).astype("float32").reshape(n, *SHAPE)


def some_model(seed=0):
    rng = np.random.default_rng(seed)
    return LinearGaussian(rng.normal(0, 0.15, (PIXELS, D)), rng.uniform(0.3, 0.7, PIXELS), NOISE)


def model_within_the_unit_interval():
    """One whose pixels are mid-grey within 0.11, one standard deviation, so that thousands of images stay in [0, 1]."""
    rng = np.random.default_rng(0)
    return LinearGaussian(rng.normal(0, 0.04, (PIXELS, D)), np.full(PIXELS, 0.5), 0.04)


def inverse_softplus(scale):
    return np.log(np.expm1(scale - SMALLEST_SCALE))


def vae_of(model, posterior, encoder_weights, objective=None):
    """The zoo's parts with the exact model's decoder and the given encoder [kernel, bias]."""
    vae = linear_vae(posterior, Normal(scale=model.noise), objective or ELBO())
    vae.decoder.set_weights([model.weights.T, model.offset])
    vae.encoder.set_weights(encoder_weights)
    return vae


def linear_vae(posterior, likelihood, objective):
    spec = Spec.of(SHAPE)
    return VAE(
        spec=spec,
        encoder=mlp_encoder(spec, posterior.params_size(D), hidden=(), activation="relu"),
        posterior=posterior,
        prior=StandardNormal(),
        decoder=mlp_decoder(D, spec, likelihood.params_shape(spec), hidden=(), activation="relu"),
        likelihood=likelihood,
        objective=objective,
        latent_dim=D,
    )


def drawn_encoder(posterior, model, spread, seed, wider=1.0):
    """An encoder near the exact one (spread 0.1) or far from it (spread 1), its scales some times as wide."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, spread, (PIXELS, posterior.params_size(D)))
    kernel[:, :D] += model.posterior_map()[0]
    bias = rng.normal(0, spread, posterior.params_size(D))
    bias[:D] += model.posterior_map()[1]
    bias[D : 2 * D] += inverse_softplus(wider * np.sqrt(np.diag(model.posterior_covariance)))
    return [kernel, bias]


def exact_encoder(model):
    """Weights for a FullNormal that is the true posterior: its Cholesky factor is in the bias."""
    tril = np.linalg.cholesky(model.posterior_covariance)
    matrix, constant = model.posterior_map()
    below = tril[np.tril_indices(D, -1)]
    bias = np.concatenate([constant, inverse_softplus(np.diag(tril)), below])
    kernel = np.zeros((PIXELS, len(bias)))
    kernel[:, :D] = matrix
    return [kernel, bias]


def posterior_gaussians(vae, x):
    """The mean [B,D] of q(z|x) and the Cholesky factor [B,D,D] of its covariance, in float64."""
    parameters = vae.posterior.parameters(vae.encoder(x))
    named = {name: np.asarray(value, "float64") for name, value in parameters.items()}
    tril = named["scale_tril"] if "scale_tril" in named else named["scale"][:, :, None] * np.eye(D)
    return named["loc"], tril


def kl_between_gaussians(mean, tril, true_mean, true_covariance):
    precision = np.linalg.inv(true_covariance)
    gap = mean - true_mean
    mahalanobis = np.einsum("bi,ij,bj->b", gap, precision, gap)
    trace = np.einsum("ij,bjk,bik->b", precision, tril, tril)
    log_det = np.linalg.slogdet(true_covariance)[1] - 2 * np.linalg.slogdet(tril)[1]
    return 0.5 * (trace + mahalanobis - D + log_det)


def exact_elbo(vae, x):
    """The ELBO [B] without Monte-Carlo error: log p(x|z) is quadratic in z, and z = mean ± L's columns, in every
    combination of signs, has the mean and the covariance of q, so averages any quadratic exactly."""
    mean, tril = posterior_gaussians(vae, x)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=D)))
    z = mean + np.einsum("bij,kj->kbi", tril, signs)  # [8,B,D]
    log_likelihood = np.asarray(vae.decode(z.astype("float32")).log_prob(x), "float64").mean(0)
    return log_likelihood - np.asarray(vae.encode(x).kl_divergence(vae.prior_distribution()))

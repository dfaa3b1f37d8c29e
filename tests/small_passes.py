"""A `Pass` of a given posterior, given draws and given parameters of p(x|z), and a VAE of linear networks."""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from vaezoo.likelihoods import Normal
from vaezoo.models.vae import VAE
from vaezoo.networks import mlp_decoder, mlp_encoder
from vaezoo.passes import Pass
from vaezoo.posteriors import DiagonalNormal
from vaezoo.priors import StandardNormal
from vaezoo.spec import Spec

tfd = tfp.distributions

K, B, D = 5, 3, 2
LOC = np.array([[0.3, -1.0], [2.0, 0.0], [-0.5, 0.7]], "float32")  # [B,D]
SCALE = np.array([[0.5, 1.2], [0.1, 1.0], [1.5, 0.8]], "float32")


def q():
    return tfd.MultivariateNormalDiag(LOC, SCALE)


def prior():
    return tfd.MultivariateNormalDiag(tf.zeros([D]), tf.ones([D]))


def pass_of(q, z, prior, x=None, params=None, likelihood=None, posterior=None, seed=(5, 6)):
    """The pass of q and z [K,B,D]: whatever z is, it is decoded to `params` [K,B,...]. Without x it has a KL alone."""
    model = SimpleNamespace(
        spec=None if x is None else Spec.of(x.shape[1:]),
        posterior=posterior or DiagonalNormal(),
        likelihood=likelihood or Normal(scale=0.2),
    )
    return Pass(x, q, z, prior, model, decoder=lambda z: params, seed=seed)


def batch(samples=K):
    """x [B,H,W,C], z [K,B,D], params of p(x|z) [K,B,H,W,C], and log p(x|z) [K,B] by SciPy."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(B, 2, 2, 1)).astype("float32")
    params = rng.normal(0.5, 0.3, (samples, B, 2, 2, 1)).astype("float32")
    z = q().sample(samples, seed=(7, 8))
    log_prob = stats.norm.logpdf(x.astype("float64"), params.astype("float64"), 0.2).sum((-3, -2, -1))
    return x, z, params, log_prob


def given_pass(samples=K, shift=0.0):
    """The pass of that batch; `shift` moves x."""
    x, z, params, _ = batch(samples)
    return pass_of(q(), z, prior(), x + shift, params)


def linear_vae(posterior, objective, pixels=4, seed=0):
    """Linear encoder and decoder with weights drawn by NumPy, and a normal likelihood of scale 0.4."""
    spec, rng = Spec("image", (2, pixels // 2, 1)), np.random.default_rng(seed)
    vae = VAE(
        spec=spec,
        encoder=mlp_encoder(spec, posterior.params_size(D), hidden=()),
        posterior=posterior,
        prior=StandardNormal(),
        decoder=mlp_decoder(D, spec, spec.shape, hidden=()),
        likelihood=Normal(scale=0.4),
        objective=objective,
        latent_dim=D,
    )
    for network in (vae.encoder, vae.decoder):
        network.set_weights([rng.normal(0, 0.5, w.shape).astype("float32") for w in network.get_weights()])
    return vae

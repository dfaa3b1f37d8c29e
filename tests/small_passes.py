"""A `Pass` of a given posterior, given draws and given parameters of p(x|z): for the mathematics, without a model."""

from types import SimpleNamespace

from vaezoo.likelihoods import Normal
from vaezoo.passes import Pass
from vaezoo.posteriors import DiagonalNormal
from vaezoo.spec import Spec


def pass_of(q, z, prior, x=None, params=None, likelihood=None, posterior=None, seed=(5, 6)):
    """The pass of q and z [K,B,D]: whatever z is, it is decoded to `params` [K,B,...]. Without x it has a KL alone."""
    model = SimpleNamespace(
        spec=None if x is None else Spec.of(x.shape[1:]),
        posterior=posterior or DiagonalNormal(),
        likelihood=likelihood or Normal(scale=0.2),
    )
    return Pass(x, q, z, prior, model, decoder=lambda z: params, seed=seed)

"""Likelihoods: the parameters that the decoder puts out → p(x|z).

`distribution` gives the log-probability in nats. `mean` uses Keras operations alone, so the same lines also make the
standalone decoder.
"""

from vaezoo.likelihoods.base import Likelihood
from vaezoo.likelihoods.columns import Mixed, NegativeBinomial, Poisson, StudentT
from vaezoo.likelihoods.elements import (
    Autoregressive,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    IndependentBernoulli,
    LogisticMixture,
    Normal,
)

__all__ = [
    "Autoregressive",
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "IndependentBernoulli",
    "Likelihood",
    "LogisticMixture",
    "Mixed",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "StudentT",
]

# Keras files name the module of a class, and are refused if the class is elsewhere: this name must not change.
for _name in __all__:
    globals()[_name].__module__ = __name__

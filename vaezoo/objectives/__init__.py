"""Objectives: one pass over a batch → the loss to minimize and the terms to watch, in nats.

Every term is [B]: one number an example, averaged over the Monte-Carlo samples. `reconstruction` is -E_q[log p(x|z)],
`kl` is KL(q(z|x) || p(z)), and `elbo` is always the true bound, -(reconstruction + kl), whatever is minimized.
"""

from vaezoo.objectives.aggregated import (
    DIPELBO,
    AdversarialELBO,
    CapacityELBO,
    FactorELBO,
    InfoELBO,
    TotalCorrelationELBO,
)
from vaezoo.objectives.bounds import (
    CIWAE,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    BetaELBO,
    Objective,
    Reconstruction,
    RegularizedReconstruction,
)

__all__ = [
    "CIWAE",
    "DIPELBO",
    "ELBO",
    "IWAE",
    "MIWAE",
    "PIWAE",
    "AdversarialELBO",
    "BetaELBO",
    "CapacityELBO",
    "FactorELBO",
    "InfoELBO",
    "Objective",
    "Reconstruction",
    "RegularizedReconstruction",
    "TotalCorrelationELBO",
]

# Keras files name the module of a class, and are refused if the class is elsewhere: this name must not change.
for _name in __all__:
    globals()[_name].__module__ = __name__

"""Anomaly detection: scores of examples, calibrated on held-out normal ones, and what is unusual about each.

known = scoring.reference(model, x_train)
calibration = scoring.Calibration(scoring.robust(model, x_validation, reference=known))
calibration.p_values(scoring.robust(model, x_new, reference=known))         # small for what does not belong

scoring.score(Run("runs/conv_vae"), "./new_images").save("scores")         # the same for a run
"""

from vaezoo.scoring.calibration import Calibration, p_values, threshold
from vaezoo.scoring.explain import Explanation, element_costs, explain
from vaezoo.scoring.of_run import Scored, score
from vaezoo.scoring.scores import (
    SCORES,
    Reference,
    complexity,
    default_score,
    elbo,
    evidence,
    features,
    latent,
    parts,
    reconstruction,
    reference,
    robust,
)

__all__ = [
    "SCORES",
    "Calibration",
    "Explanation",
    "Reference",
    "Scored",
    "complexity",
    "default_score",
    "elbo",
    "element_costs",
    "evidence",
    "explain",
    "features",
    "latent",
    "p_values",
    "parts",
    "reconstruction",
    "reference",
    "robust",
    "score",
    "threshold",
]

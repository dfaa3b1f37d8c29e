"""Evaluating a trained model: the bound, the evidence, the code and the samples, each figure with its error.

report, per_image = evaluation.evaluate(Run("runs/mlp_vae"), samples=1000)
found = evaluation.log_evidence(model, images, samples=5000)        # found.log_evidence [N], found.curve [P,N]
"""

from vaezoo.evaluation.evidence import Evidence, log_evidence
from vaezoo.evaluation.features import FeatureSpace, feature_space
from vaezoo.evaluation.figures import evaluate
from vaezoo.evaluation.latent_code import (
    AggregatedPosterior,
    active_units,
    aggregated_posterior,
    closed_form_kl,
    kl_per_latent,
)
from vaezoo.evaluation.sample_quality import frechet_distance, precision_recall

__all__ = [
    "AggregatedPosterior",
    "Evidence",
    "FeatureSpace",
    "active_units",
    "aggregated_posterior",
    "closed_form_kl",
    "evaluate",
    "feature_space",
    "frechet_distance",
    "kl_per_latent",
    "log_evidence",
    "precision_recall",
]

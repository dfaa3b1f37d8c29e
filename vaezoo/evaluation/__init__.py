"""Evaluating a trained model: the bound, the NLL, the code and the samples, each metric with its standard error.

report, per_example = evaluation.evaluate(Run("runs/mlp_vae"), samples=1000)
found = evaluation.estimate_nll(model, x, samples=5000)        # found.nll [N], found.curve [P,N]
found = evaluation.disentanglement.mig(codes, factors)         # of any model: codes [N,D], factors by name, each [N]
"""

from vaezoo.evaluation import disentanglement
from vaezoo.evaluation.encoded import Encoded
from vaezoo.evaluation.features import FeatureSpace, feature_space, inception_space
from vaezoo.evaluation.gradients import GradientNoise, gradient_noise
from vaezoo.evaluation.latent_code import (
    AggregatedPosterior,
    active_units,
    aggregated_posterior,
    closed_form_kl,
    kl_per_latent,
)
from vaezoo.evaluation.metrics import evaluate
from vaezoo.evaluation.nll import NLL, estimate_nll
from vaezoo.evaluation.sample_quality import (
    UndefinedMetricError,
    frechet_distance,
    kernel_distance,
    memorization,
    precision_recall,
)

__all__ = [
    "NLL",
    "AggregatedPosterior",
    "Encoded",
    "FeatureSpace",
    "GradientNoise",
    "UndefinedMetricError",
    "active_units",
    "aggregated_posterior",
    "closed_form_kl",
    "disentanglement",
    "estimate_nll",
    "evaluate",
    "feature_space",
    "frechet_distance",
    "gradient_noise",
    "inception_space",
    "kernel_distance",
    "kl_per_latent",
    "memorization",
    "precision_recall",
]

"""Evaluating a trained model: the bound, the evidence, the code and the samples, each figure with its error."""

from vaezoo.evaluation.evidence import Evidence, log_evidence

__all__ = ["Evidence", "log_evidence"]

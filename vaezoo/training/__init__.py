"""Training: from a recipe to a run directory."""

from vaezoo.training.fit import Trained, train
from vaezoo.training.run_directory import Run

__all__ = ["Run", "Trained", "train"]

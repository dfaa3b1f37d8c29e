"""Training: from a recipe to a run directory, however often it is broken off."""

from vaezoo.training.fit import Trained, resume, train
from vaezoo.training.run_directory import Run

__all__ = ["Run", "Trained", "resume", "train"]

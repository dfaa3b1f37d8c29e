"""The input of every program that trains, and the clock that measures it: the same code for all."""

import contextlib
import dataclasses
import json
import resource
import statistics
import sys
import time


@dataclasses.dataclass(frozen=True)
class Case:
    """What to train.

    Attributes:
        network: the name of a recipe.
        width: the factor on every hidden width.
        model: the recipe's `model` section with that width, as plain JSON.
        data: an .npz whose `x_train` holds the images, bool [N,H,W,C].
        batch: images a step.
        epochs: at least two; the first only warms up.
        learning_rate: of Adam.
        started: `time.time()` when the process was started.
    """

    network: str
    width: int
    model: dict
    data: str
    batch: int
    epochs: int
    learning_rate: float = 1e-3
    started: float = 0.0

    def images(self):
        """The training images, float32 [N,H,W,C] of zeros and ones."""
        import numpy as np

        with np.load(self.data) as arrays:
            return arrays["x_train"].astype("float32")


class Clock:
    """The time from the start of the process to the end of its first step, then the rate of each epoch."""

    def __init__(self, started):
        self.started, self.first_step, self.rates = started, None, []

    def step(self):
        """A step has ended, with its results; only the first one counts."""
        if self.first_step is None:
            self.first_step = time.time() - self.started

    def begin(self):
        """An epoch begins."""
        self.epoch_began = time.perf_counter()

    def end(self, images):
        """An epoch of that many images has ended."""
        self.rates.append(images / (time.perf_counter() - self.epoch_began))

    @contextlib.contextmanager
    def epoch(self, images):
        """The same two as a context."""
        self.begin()
        yield
        self.end(images)


def main(train):
    """Run a program's script: `python -m benchmarking.NAME CASE [MODE]`, where CASE is JSON.

    Args:
        train: (case, clock[, mode]) → (number of parameters, mean loss of the last epoch in nats an image).
    """
    case = Case(**json.loads(sys.argv[1]))
    clock = Clock(case.started)
    parameters, loss = train(case, clock, *sys.argv[2:])
    answer(
        images_per_second=statistics.median(clock.rates[1:]),
        first_step_seconds=clock.first_step,
        loss=float(loss),
        parameters=int(parameters),
    )


def answer(**measured):
    """Print the measurements and the peak memory of this process as the last line, the only one that is read."""
    print(json.dumps({**measured, "peak_bytes": peak_bytes()}), flush=True)


def peak_bytes():
    """The largest memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

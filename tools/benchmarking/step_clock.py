"""A Keras callback that measures the steps of a training for some seconds and then ends it."""

import time

import keras


class Enough(Exception):  # noqa: N818, since it is no error
    """The steps have been measured."""


class StepClock(keras.callbacks.Callback):
    """Measures steps for so many seconds after the first call, within epochs, and then ends the training."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.first, self.last = limit, None, None
        self.steps, self.seconds = 0, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """What happens between two epochs does not count."""
        self.last = (-1, time.perf_counter()) if self.first else None

    def on_train_batch_end(self, batch, logs=None):
        """A call of several steps has ended; the first one, which is compiled, does not count."""
        now = time.perf_counter()
        if self.last is None:
            self.first = now
        else:
            self.steps += batch - self.last[0]
            self.seconds += now - self.last[1]
        self.last = batch, now
        if self.seconds >= self.limit:
            raise Enough

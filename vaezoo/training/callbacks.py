"""What happens at the end of an epoch: a row in metrics.csv, the model on disk, a line on the screen."""

import math
import signal
import sys
import threading
import time

import keras

from vaezoo.errors import VaezooError


class Recorder(keras.callbacks.Callback):
    """Keep the last finished epoch on disk: its model, and a row of metrics for every epoch so far.

    Args:
        run: the `RunDirectory`.
        images_per_epoch: for the column of images a second.
    """

    def __init__(self, run, images_per_epoch):
        super().__init__()
        self.run, self.images_per_epoch = run, images_per_epoch
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.started = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Validation begins: training has taken this long."""
        self.seconds = time.perf_counter() - self.started

    def on_epoch_end(self, epoch, logs=None):
        """Refuse an epoch that broke; keep one that did not."""
        if not math.isfinite(logs["loss"]):
            raise VaezooError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}; lower training.learning_rate, "
                "or train in float32"
            )
        if "val_loss" not in logs:
            self.seconds = time.perf_counter() - self.started
        terms = {name: float(value) for name, value in logs.items()}
        rate = {"seconds": round(self.seconds, 3), "images_per_second": round(self.images_per_epoch / self.seconds)}
        self.run.model("model.keras", self.model)
        self.rows.append({"epoch": epoch + 1, **terms, **rate})
        self.run.table("metrics.csv", self.rows)


class Interruption(keras.callbacks.Callback):
    """Let Ctrl-C end training between two calls of the step, after the `Recorder`, which must come before this.

    Python raises KeyboardInterrupt wherever the process is; in the middle of HDF5's writing that can crash it. This is
    a context around `fit`. A second Ctrl-C is not held back.
    """

    def __enter__(self):
        self.asked, self.before = False, None
        if threading.current_thread() is threading.main_thread():  # only there can Python handle a signal
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, _signal, _frame):
        self.asked = True
        signal.signal(signal.SIGINT, self.before)

    def on_train_batch_end(self, batch, logs=None):
        """End the training if that was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        """The same, after an epoch was kept."""
        self.on_train_batch_end(0)


class Progress(keras.callbacks.Callback):
    """A line an epoch, which on a terminal fills as the epoch goes.

    Args:
        recorder: the `Recorder`, which must come before this among the callbacks.
        epochs: how many there will be.
        steps: how many steps each has.
        stream: where to write; by default standard error.
    """

    def __init__(self, recorder, epochs, steps, stream=None):
        super().__init__()
        self.recorder, self.epochs, self.steps = recorder, epochs, steps
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()

    def on_epoch_begin(self, epoch, logs=None):
        """A new line."""
        self.head = f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        self.drawn = 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Redraw the line, at most ten times a second."""
        if self.live and time.monotonic() - self.drawn > 0.1:
            self.drawn = time.monotonic()
            done = round(16 * (batch + 1) / self.steps)
            self._draw(f"{self.head}  {'━' * done}{'·' * (16 - done)}  {self._terms(logs)}")

    def on_epoch_end(self, epoch, logs=None):
        """The finished line: training terms, the validation bound, the speed."""
        bound = "elbo" if "elbo" in logs else "loss"
        validation = f"   validation {bound} {logs['val_' + bound]:.2f}" if f"val_{bound}" in logs else ""
        rate = self.recorder.rows[-1]["images_per_second"]
        self._draw(f"{self.head}  {self._terms(logs)}{validation}   {rate:,} images/s", end="\n")

    def _terms(self, logs):
        names = ("elbo", "reconstruction", "kl") if "elbo" in logs else ("reconstruction",)
        return "  ".join(f"{name} {float(logs[name]):.2f}" for name in names)

    def _draw(self, line, end=""):
        # On a terminal the line is drawn over the one before: return, the text, clear to the end.
        self.stream.write(f"\r{line}\x1b[K{end}" if self.live else f"{line}{end}")
        self.stream.flush()

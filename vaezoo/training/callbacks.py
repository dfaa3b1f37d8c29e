"""What happens between two calls of the step: checkpoints, a row in metrics.csv, a line on the screen, the end."""

import signal
import sys
import threading
import time

import keras

from vaezoo.errors import Terminated


class Recorder(keras.callbacks.Callback):
    """Keep on disk where training stands: a checkpoint, model.keras and the rows of metrics after every epoch.

    Args:
        run: the `RunDirectory`.
        state: the `TrainingState` to go on from.
        setup: the `Setup`, whose `Watch` must come before this among the callbacks.
        started: `time.perf_counter()` when this process began with the training.
        every: seconds between checkpoints within an epoch; None for none.
    """

    def __init__(self, run, state, setup, started, every=None):
        super().__init__()
        self.run, self.state, self.watch, self.devices = run, state, setup.watch, setup.devices
        self.steps, self.every = setup.steps, every
        self.images_per_epoch = setup.steps * setup.recipe.training.batch_size
        self.begun = started - state.seconds
        self.kept = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock; an epoch that was broken off goes on with its sums."""
        self.started = time.perf_counter() - self.state.epoch_seconds
        for name, values in self.state.sums.items():
            for variable, value in zip(self.model.trackers[name].variables, values, strict=True):
                variable.assign(value)
        self.watch.skipped.assign(self.state.skipped)
        self.watch.in_a_row.assign(self.state.skipped_in_a_row)

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the call; write a checkpoint if it is time."""
        self.state.step += self.model.steps_per_execution
        if self.every and self.state.step < self.steps:
            due = time.perf_counter() - self.kept >= self.every
            if self.devices.any(due):  # every worker takes part: the terms are summed up over all
                self.checkpoint()

    def on_test_begin(self, logs=None):
        """Validation begins: training has taken this long."""
        self.state.epoch_seconds = time.perf_counter() - self.started

    def on_epoch_end(self, epoch, logs=None):
        """Keep the epoch."""
        state = self.state
        if "val_loss" not in logs:
            self.on_test_begin()
        rate = round(self.images_per_epoch / state.epoch_seconds)
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row |= {"seconds": round(state.epoch_seconds, 3), "images_per_second": rate}
        if self.watch.patience > 1:
            row["skipped"] = int(self.watch.skipped.numpy())
        state.rows.append(row)
        state.epoch, state.step, state.epoch_seconds, state.sums, state.skipped = epoch + 1, 0, 0.0, {}, 0
        state.skipped_in_a_row = int(self.watch.in_a_row.numpy())
        self._write()
        self.run.show_epoch(state)

    def checkpoint(self):
        """Write a checkpoint in the middle of an epoch; call it between two calls of the step."""
        state = self.state
        state.epoch_seconds = time.perf_counter() - self.started
        state.sums = {
            name: [float(variable.numpy()) for variable in tracker.variables]
            for name, tracker in self.model.trackers.items()
        }
        state.skipped, state.skipped_in_a_row = int(self.watch.skipped.numpy()), int(self.watch.in_a_row.numpy())
        self._write()

    def _write(self):
        self.kept = time.perf_counter()
        self.state.seconds = self.kept - self.begun
        self.run.checkpoints.write(self.model, self.state)


class Interruption(keras.callbacks.Callback):
    """Let Ctrl-C and SIGTERM end training between two calls of the step, with a checkpoint.

    Python raises KeyboardInterrupt wherever the process is; in the middle of HDF5's writing that can crash it. This is
    a context around `fit`, and the last of its callbacks. A second signal is not held back.

    Args:
        recorder: the `Recorder`.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder
        self.asked, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # only there can Python handle a signal
            self.before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number, _frame):
        self.asked = number
        self.__exit__()

    def end_if_asked(self, keep=lambda: None):
        """Call `keep` and raise KeyboardInterrupt or Terminated if a signal has come, to any of the workers."""
        if self.recorder.devices.any(self.asked is not None):
            keep()
            raise KeyboardInterrupt if self.asked == signal.SIGINT else Terminated

    def on_train_batch_end(self, batch, logs=None):
        """End the training here if that was asked for; after an epoch's last step, once the epoch is kept."""
        if self.recorder.state.step < self.recorder.steps:
            self.end_if_asked(self.recorder.checkpoint)

    def on_epoch_end(self, epoch, logs=None):
        """The same, after an epoch was kept."""
        self.end_if_asked()


class Progress(keras.callbacks.Callback):
    """A line an epoch, which on a terminal fills as the epoch goes.

    Args:
        recorder: the `Recorder`, which must come before this among the callbacks.
        epochs: how many there will be.
        stream: where to write; by default standard error.
    """

    def __init__(self, recorder, epochs, stream=None):
        super().__init__()
        self.recorder, self.epochs = recorder, epochs
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
            share = self.recorder.state.step / self.recorder.steps
            rate = share * self.recorder.images_per_epoch / (time.perf_counter() - self.recorder.started)
            bar = "━" * round(16 * share)
            self._draw(f"{self.head}  {bar:·<16}  {self._terms(logs)}   {rate:,.0f} images/s")

    def on_epoch_end(self, epoch, logs=None):
        """The finished line: training terms, the validation bound, the speed."""
        bound = "elbo" if "elbo" in logs else "loss"
        validation = f"   validation {bound} {logs['val_' + bound]:.2f}" if f"val_{bound}" in logs else ""
        row = self.recorder.state.rows[-1]
        skipped = f"   {row['skipped']} broken steps skipped" if row.get("skipped") else ""
        rate = f"   {row['images_per_second']:,} images/s"
        self._draw(f"{self.head}  {self._terms(logs)}{validation}{rate}{skipped}", end="\n")

    def _terms(self, logs):
        names = ("elbo", "reconstruction", "kl") if "elbo" in logs else ("reconstruction",)
        return "  ".join(f"{name} {float(logs[name]):.2f}" for name in names)

    def _draw(self, line, end=""):
        # On a terminal the line is drawn over the one before: return, the text, clear to the end.
        self.stream.write(f"\r{line}\x1b[K{end}" if self.live else f"{line}{end}")
        self.stream.flush()

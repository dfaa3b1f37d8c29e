"""Callbacks between two calls of the step: checkpoints, metrics.csv, progress on the screen, interruption."""

import contextlib
import signal
import threading
import time

import keras
import numpy as np
import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TextColumn

from vaezoo.errors import Terminated
from vaezoo.optimizer import averaged


class Recorder(keras.callbacks.Callback):
    """Write the state of the training to disk: a checkpoint, model.keras and metrics.csv after every epoch.

    Args:
        run: the `RunDirectory`.
        state: the `TrainingState` to continue from.
        setup: the `Setup`, whose `Watch` must come before this among the callbacks.
        started: `time.perf_counter()` at the start of the training in this process.
        every: seconds between checkpoints within an epoch; None for none.
        others: whether callbacks of the caller come after this one, which may set weights.
    """

    def __init__(self, run, state, setup, started, every=None, others=False):
        super().__init__()
        self.run, self.state, self.watch, self.devices = run, state, setup.watch, setup.devices
        self.counts_skipped = self.watch.patience > 1 or any("skipped" in row for row in state.rows)
        if self.counts_skipped:  # a resumed training may begin or end to skip
            for row in state.rows:
                row.setdefault("skipped", 0)
        self.steps, self.every, self.keep = setup.steps, every, setup.recipe.training.keep
        self.images_per_epoch = setup.steps * setup.recipe.training.batch_size
        self.begun = started - state.seconds
        self.kept = time.perf_counter()
        self.validated = contextlib.ExitStack()
        self.others, self.weights = others, None

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock; an interrupted epoch continues with its sums."""
        self.started = time.perf_counter() - self.state.epoch_seconds
        for name, values in self.state.sums.items():
            for variable, value in zip(self.model.trackers[name].variables, values, strict=True):
                variable.assign(value)
        self.watch.skipped.assign(self.state.skipped)
        self.watch.in_a_row.assign(self.state.skipped_in_a_row)

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the call; write a checkpoint if one is due."""
        self.state.step += self.model.steps_per_execution
        if self.every and self.state.step < self.steps:
            due = time.perf_counter() - self.kept >= self.every
            if self.devices.any(due):  # all workers take part: the terms are summed over them
                self.checkpoint()

    def on_test_begin(self, logs=None):
        """Stop the clock of the epoch before validation, which is of the averaged weights."""
        self.state.epoch_seconds = time.perf_counter() - self.started
        self.validated.enter_context(averaged(self.model))

    def on_test_end(self, logs=None):
        """Continue with the weights of training."""
        self.validated.close()

    def on_epoch_end(self, epoch, logs=None):
        """Add the row of metrics and write a checkpoint."""
        state = self.state
        if "val_loss" not in logs:
            state.epoch_seconds = time.perf_counter() - self.started
        rate = round(self.images_per_epoch / state.epoch_seconds)
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row |= {"seconds": round(state.epoch_seconds, 3), "images_per_second": rate}
        if self.counts_skipped:
            row["skipped"] = int(self.watch.skipped.numpy())
        state.rows.append(row)
        state.epoch, state.step, state.epoch_seconds, state.sums, state.skipped = epoch + 1, 0, 0.0, {}, 0
        state.skipped_in_a_row = int(self.watch.in_a_row.numpy())
        self.weights = self.model.get_weights() if self.others else None
        self._write()
        self.run.show_epoch(state, self.model, self.keep)

    def weights_differ(self):
        """Whether other callbacks have set other weights than those at the end of the last epoch of this process."""
        if self.weights is None:
            return False
        return not all(map(np.array_equal, self.weights, self.model.get_weights()))

    def checkpoint(self):
        """Write a checkpoint within an epoch; call it between two calls of the step."""
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
    """Let Ctrl-C and SIGTERM end the training between two calls of the step, with a checkpoint.

    Python raises KeyboardInterrupt at any point; while HDF5 writes a file, that can crash the process. This is a
    context around `fit`, and the last of its callbacks. A second signal takes effect at once.

    Args:
        recorder: the `Recorder`.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder
        self.asked, self.before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Python handles signals only there
            self.before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number, _frame):
        self.asked = number
        self.__exit__()

    def end_if_asked(self, keep=lambda: None):
        """Call `keep` and raise KeyboardInterrupt or Terminated if any worker has received a signal."""
        if self.recorder.devices.any(self.asked is not None):
            keep()
            raise KeyboardInterrupt if self.asked == signal.SIGINT else Terminated

    def on_train_batch_end(self, batch, logs=None):
        """End the training if that was asked for; after the last step of an epoch, `on_epoch_end` does so."""
        if self.recorder.state.step < self.recorder.steps:
            self.end_if_asked(self.recorder.checkpoint)

    def on_epoch_end(self, epoch, logs=None):
        """End the training if that was asked for, now that the epoch is written."""
        self.end_if_asked()


class Progress(keras.callbacks.Callback):
    """A line for each epoch; on a terminal also a bar while the epoch runs.

    It is a context around `fit`, and one of its callbacks.

    Args:
        recorder: the `Recorder`, which must come before this among the callbacks.
        epochs: the number of epochs of the training.
        quiet: show nothing.
        stream: where to write; by default standard error.
    """

    def __init__(self, recorder, epochs, quiet=False, stream=None):
        super().__init__()
        self.recorder, self.epochs = recorder, epochs
        self.console = Console(file=stream, stderr=True, quiet=quiet, force_jupyter=False)
        # Refreshed by the callback: a thread of its own would take time from the training.
        live = self.console.is_terminal and not quiet
        columns = TextColumn("{task.description}"), BarColumn(16), TextColumn("{task.fields[terms]}")
        self.bar = rich.progress.Progress(
            *columns, console=self.console, transient=True, auto_refresh=False, disable=not live
        )

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        """Start a bar."""
        self.head = f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        self.task = self.bar.add_task(self.head, total=self.recorder.steps, terms="")
        self.drawn = 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Redraw the bar, at most ten times a second."""
        if not self.bar.disable and time.monotonic() - self.drawn > 0.1:
            self.drawn = time.monotonic()
            step = self.recorder.state.step
            seconds = time.perf_counter() - self.recorder.started
            rate = step / self.recorder.steps * self.recorder.images_per_epoch / seconds
            terms = f"{self._terms(logs)}   {rate:,.0f} examples/s"
            self.bar.update(self.task, completed=step, terms=terms, refresh=True)

    def on_epoch_end(self, epoch, logs=None):
        """Print the terms, the validation bound and the speed."""
        bound = "elbo" if "elbo" in self.model.objective.shown else "loss"
        validation = f"   validation {bound} {logs['val_' + bound]:.2f}" if f"val_{bound}" in logs else ""
        row = self.recorder.state.rows[-1]
        skipped = f"   {row['skipped']} broken steps skipped" if row.get("skipped") else ""
        rate = f"   {row['images_per_second']:,} examples/s"
        self.bar.remove_task(self.task)
        self.bar.refresh()
        self.console.out(f"{self.head}  {self._terms(logs)}{validation}{rate}{skipped}", highlight=False)

    def _terms(self, logs):
        return "  ".join(f"{name} {float(logs[name]):.2f}" for name in self.model.objective.shown)

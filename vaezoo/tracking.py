"""Trackers of a training: TensorBoard, Weights & Biases, MLflow. Each is a Keras callback."""

import contextlib
import importlib.util
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from vaezoo.atomic import write_text
from vaezoo.errors import VaezooError, printable, unknown
from vaezoo.latent_space import of_run
from vaezoo.runs import Run

PROJECTED = 2000  # test examples in TensorBoard's projector


class Tracker(keras.callbacks.Callback):
    """Hands the metrics of every epoch to a tracker, and at the end the test metrics and the pictures of the run.

    Args:
        run: the folder of the run.
        recipe: its `Recipe`.
    """

    def __init__(self, run, recipe):
        super().__init__()
        self.run, self.recipe, self.opened, self.epoch = Path(run), recipe, False, 0

    def on_train_begin(self, logs=None):
        """Begin to track, once: a training that was resumed within an epoch calls this twice."""
        if not self.opened:
            try:
                self.open()
            except Exception as error:  # the trackers' own errors have no common base
                reason = printable(str(error).strip()) or type(error).__name__
                raise VaezooError(f"{type(self).__name__} cannot begin to track: {reason}") from error
            self.opened = True

    def on_epoch_end(self, epoch, logs=None):
        """Hand over the metrics of an epoch; the first epoch is 1."""
        self.epoch = epoch + 1
        self.metrics({name: float(value) for name, value in logs.items()}, self.epoch)

    def finish(self, test):
        """Hand over the test metrics and the pictures of the finished run, if this process trained it."""
        self.metrics({f"test_{name}": value for name, value in test.items()}, self.epoch)
        for path in sorted(self.run.glob("*.png")):
            self.picture(path)

    def open(self):
        """Begin to track."""
        raise NotImplementedError

    def close(self):
        """Write what is left, however the training ended."""
        raise NotImplementedError

    def metrics(self, values, epoch):
        """Take numbers by name."""
        raise NotImplementedError

    def picture(self, path):
        """Take a PNG file."""
        raise NotImplementedError


class TensorBoard(Tracker):
    """Scalars, pictures, and codes for the projector, in RUN/tensorboard: `tensorboard --logdir runs`."""

    def open(self):
        """Open a file of events."""
        self.writer = tf.summary.create_file_writer(str(self.run / "tensorboard"))

    def metrics(self, values, epoch):
        """Write scalars."""
        with self.writer.as_default(epoch):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def picture(self, path):
        """Write an image."""
        with Image.open(path) as image, self.writer.as_default(self.epoch):
            tf.summary.image(path.stem, np.asarray(image.convert("RGB"))[None])

    def finish(self, test):
        """Also write the codes of test examples and their classes, as the text that the projector reads."""
        super().finish(test)
        run, folder = Run(self.run), self.run / "tensorboard"
        codes, labels = of_run.embedding_of_test(run, PROJECTED)
        write_text(folder / "codes.tsv", "".join("\t".join(f"{z:.5g}" for z in code) + "\n" for code in codes))
        config = 'tensor_name: "means of q(z|x)" tensor_path: "codes.tsv"'
        if labels is not None:
            names = [printable(str(name)) for name in run.class_names]
            write_text(folder / "classes.tsv", "".join(f"{names[label]}\n" for label in labels))
            config += ' metadata_path: "classes.tsv"'
        write_text(folder / "projector_config.pbtxt", f"embeddings {{ {config} }}\n")

    def close(self):
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases(Tracker):
    """A run of the project "vaezoo", or of WANDB_PROJECT; WANDB_MODE=offline keeps it on this machine."""

    def open(self):
        """Begin a run whose configuration is the recipe."""
        import wandb

        self.image = wandb.Image
        self.tracked = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vaezoo"),
            name=self.run.name,
            dir=str(self.run),
            config=self.recipe.model_dump(mode="json"),
        )

    def metrics(self, values, epoch):
        """Log numbers."""
        self.tracked.log({**values, "epoch": epoch})

    def picture(self, path):
        """Log an image."""
        self.tracked.log({path.stem: self.image(str(path))})

    def close(self):
        """End the run."""
        self.tracked.finish()


class MLflow(Tracker):
    """A run of the experiment "vaezoo", or of MLFLOW_EXPERIMENT_NAME, at MLFLOW_TRACKING_URI."""

    def open(self):
        """Begin a run with the recipe beside it."""
        import mlflow

        self.mlflow = mlflow
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "vaezoo"))
        mlflow.start_run(run_name=self.run.name)
        mlflow.log_dict(self.recipe.model_dump(mode="json"), "recipe.json")

    def metrics(self, values, epoch):
        """Log numbers."""
        self.mlflow.log_metrics(values, step=epoch)

    def picture(self, path):
        """Log an image."""
        self.mlflow.log_artifact(str(path))

    def close(self):
        """End the run."""
        self.mlflow.end_run()


TRACKERS = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow}


@contextlib.contextmanager
def trackers(names, run, recipe):
    """The trackers of a training, which are closed however it ends.

    Args:
        names: some of TRACKERS.
        run: the folder of the run.
        recipe: its `Recipe`.

    Yields:
        A list of `Tracker`s: pass them to `train` as callbacks, and call `finish` on each that was opened.

    Raises:
        VaezooError: for another name, or a package that is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown("callback", name, TRACKERS)
        if importlib.util.find_spec(name) is None:
            raise VaezooError(f"--callback {name} needs {name}, which is not installed: pip install 'vaezoo[{name}]'")
    chosen = [TRACKERS[name](run, recipe) for name in names]
    try:
        yield chosen
    finally:
        for each in chosen:
            if each.opened:
                each.close()

"""A script: train a recipe on one device and on two logical CPUs, and compare the two.

It is a process of its own, because TensorFlow makes logical devices only before its first use. Prints the differences
as JSON.

    on_two_devices.py RECIPE BARS_FILE FOLDER SETTINGS     where the settings are JSON, by dotted key
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from vaezoo.config import load_recipe  # noqa: E402
from vaezoo.errors import VaezooError  # noqa: E402
from vaezoo.models.vae import VAE  # noqa: E402
from vaezoo.training import fit, resume, train  # noqa: E402

fit.leave_results = lambda *_: None  # pictures take longer than these trainings


def numbers(trained):
    """All numbers of a training: weights, moments, rows of metrics, test metrics."""
    table = np.genfromtxt(trained.path / "metrics.csv", delimiter=",", names=True)
    times = ("seconds", "images_per_second")
    return {
        "weights": trained.model.get_weights(),
        "moments": [variable.numpy() for variable in trained.model.optimizer.variables],
        "metrics": [table[name] for name in table.dtype.names if name not in times],
        "skipped": [table["skipped"]],
        "test": list(trained.test.values()),
    }


def break_a_step(number, real=VAE.terms):
    """Make the KL of a step NaN, on the second of two devices only."""

    def terms(self, inputs, *arguments):
        result = real(self, inputs, *arguments)
        if self.watch is None:
            return result
        context = tf.distribute.get_replica_context()
        broken = (self.watch.steps + 1 == number) & (
            context.replica_id_in_sync_group == context.num_replicas_in_sync - 1
        )
        return {**result, "kl": tf.where(broken, np.nan, result["kl"])}

    VAE.terms = terms


def main(recipe, bars_file, folder, settings):
    """Train on one device, then on two in two parts: the epochs but the last, and the last."""
    settings = {"data.name": bars_file, "data.binarize": "dynamic", "training.compilation": "graph", **settings}
    # A norm that every gradient exceeds, and a NaN step: both depend on the complete batch.
    settings |= {"training.clip_norm": 0.1, "training.on_nonfinite": "skip"}
    break_a_step(3)
    recipe = load_recipe(recipe, settings)
    one = numbers(train(recipe, folder / "one", quiet=True))
    two = train(recipe, folder / "two", quiet=True, strategy="mirrored")
    if recipe.training.epochs > 1:
        for path in (folder / "two/checkpoints").glob(f"epoch-{recipe.training.epochs}-*"):
            path.unlink()
        two = resume(folder / "two", quiet=True, strategy="mirrored")
    two = numbers(two)
    report = {
        name: max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(one[name], two[name], strict=True))
        for name in one
    }
    report["skipped"] = np.atleast_1d(two["skipped"][0]).tolist()
    for change in ({"training.batch_size": 39}, {"training.compilation": "xla"}):
        try:
            train(load_recipe(sys.argv[1], {**settings, **change}), folder / "refused", strategy="mirrored")
        except VaezooError as error:
            report[next(iter(change))] = str(error)
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]), json.loads(sys.argv[4]))

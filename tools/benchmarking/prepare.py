"""The inputs of the programs, made once: `images` for those that train, `export` for those that decode."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from benchmarking.clock import answer
from vaezoo.data import load_data
from vaezoo.errors import VaezooError


def images(name, count, path):
    """Write training images of a set in black and white, and a few test images, which vaezoo needs."""
    data = load_data(name, validation=0)
    if len(data.train) < int(count):
        raise VaezooError(
            f"'{name}' has {len(data.train)} training images, fewer than {count}; give a smaller --images"
        )
    (x_train, _), (x_test, _) = data.train.first(int(count)), data.test.first(100)
    np.savez(path, x_train=x_train > 0.5, x_test=x_test > 0.5)
    return {"image_shape": data.spec.shape}


def export_run(network, data, folder):
    """Train a network for one epoch and export it."""
    from vaezoo.config import load_recipe
    from vaezoo.exporting import export
    from vaezoo.training import train

    settings = {"data.name": data, "data.validation": 0, "data.binarize": "none", "training.epochs": 1}
    folder = Path(folder)
    run = train(load_recipe(network, settings), out=folder / "run", quiet=True)
    formats = ["savedmodel", "litert"] if importlib.util.find_spec("ai_edge_litert") else ["savedmodel"]
    export(run.path, folder / "export", formats=formats, quantizations=["float32"])
    return {}


if __name__ == "__main__":
    answer(**{"images": images, "export": export_run}[sys.argv[1]](*sys.argv[2:]))

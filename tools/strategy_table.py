"""What training on several devices costs beside the computation: one device against two that share the same cores.

    python tools/strategy_table.py                  # a CSV
    taskset -c 0 python tools/strategy_table.py     # on one core, where one device cannot gain from a second thread

`mirrored` has two logical CPUs in one process, `multi_worker` two processes on this machine. Each computes half of
every batch, so without a cost of their own all three would train as many images a second.
"""

import argparse
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import run, write_csv

from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError

RECIPES = ("mlp_vae", "conv_vae")
STRATEGIES = {"one": 1, "mirrored": 1, "multi_worker": 2}  # processes


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--data", default="glyphs", metavar="DATA")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="the fastest one counts")
    parser.add_argument("--out", type=Path, default=Path("runs/strategies.csv"), metavar="FILE")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)  # strategy and folder, of one process
    options = parser.parse_args(argv)
    if options.case:
        return train_with(options.recipes[0], options, *options.case)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.recipes:
        alone = None
        for strategy in STRATEGIES:
            rate, batch = measure(name, strategy, options)
            alone = alone or rate
            rows.append(
                {
                    "recipe": name,
                    "strategy": strategy,
                    "batch_size": batch,
                    "images_per_second": rate,
                    "of_one_device": round(rate / alone, 3),
                    "milliseconds_more_a_step": round(1000 * batch * (1 / rate - 1 / alone), 1),
                }
            )
            write_csv(options.out, rows)
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)


def measure(name, strategy, options):
    """The images a second of the fastest epoch under a strategy, and the size of a batch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--recipes", name, "--data", options.data]
        command += ["--epochs", str(options.epochs), "--case", strategy, str(Path(folder) / "run")]
        processes = [
            subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
            for variables in environments(STRATEGIES[strategy])
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            raise VaezooError(f"'{name}' failed under '{strategy}', as it says above")
        rows = list(csv.DictReader((Path(folder) / "run/metrics.csv").read_text().splitlines()))
    return max(int(row["images_per_second"]) for row in rows), load_recipe(name).training.batch_size


def environments(processes):
    """The TF_CONFIG of each process; of a single one nothing."""
    if processes == 1:
        return [{}]
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in listening]
    for each in listening:
        each.close()
    tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}} for i in range(processes)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks]


def train_with(name, options, strategy, folder):
    """Train; the compilation is that of several devices, where there is no XLA."""
    import tensorflow as tf  # a cluster must be joined before TensorFlow is used

    from vaezoo.training import train

    if strategy == "mirrored":
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    settings = {"data.name": options.data, "training.epochs": options.epochs, "training.compilation": "graph"}
    train(load_recipe(name, settings), folder, quiet=True, strategy=strategy)


if __name__ == "__main__":
    run(main)

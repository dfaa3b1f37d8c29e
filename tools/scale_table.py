"""What a training costs as the data and the networks grow: images a second, peak memory, and the start.

python tools/scale_table.py           # a CSV and a picture; the same command resumes after an interruption

Each case trains in a process of its own for a few seconds, on random black-and-white pictures in an .npy file.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarking.clock import peak_bytes
from benchmarking.networks import layers, load_network, training_flops
from benchmarking.step_clock import Enough, StepClock
from measured import run, write_csv

from vaezoo.atomic import write_file, write_text
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.plots.style import DPI, PALETTE, Figure, style_axes
from vaezoo.training import train

FLAT = ("mlp_vae", "conv_vae")  # the cost of an image is the same for all numbers of images
CASES = [
    *(("images", name, count, 32, 1) for name in FLAT for count in (10_000, 100_000, 1_000_000)),
    *(("side", "image_vae", 5_000, side, 1) for side in (32, 64, 128, 256)),
    *(("width", name, 10_000, 32, width) for name in FLAT for width in (1, 2, 4, 8)),
]
CHUNK = 1000  # images that are written at once


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=AXES, help="what grows (all)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of training, after the first call")
    parser.add_argument("--out", type=Path, default=Path("runs/scale"), metavar="DIR")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # what a process of one case is given
    options = parser.parse_args(argv)
    if options.case:
        return print(json.dumps(measure(*json.loads(options.case), options.seconds)), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for axis, *case in CASES:
        if axis in options.axes:
            rows.append({"axis": axis, **stored(case, options)})
            write_csv(options.out / "table.csv", rows)
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    write_file(options.out / "scale.png", picture(rows).savefig)


def stored(case, options):
    """The row of a case: measured once, in a process of its own."""
    path = options.out / f"{'-'.join(map(str, case))}.json"
    if not path.exists():
        command = [sys.executable, __file__, "--case", json.dumps(case), "--seconds", str(options.seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise VaezooError(f"the case {' '.join(map(str, case))} failed, as it says above")
        write_text(path, done.stdout.splitlines()[-1] + "\n")
    return json.loads(path.read_text())


def measure(name, images, side, width, seconds):
    """Train a recipe on so many square pictures, with layers so many times as wide."""
    started = time.perf_counter()
    channels = 3 if name == "image_vae" else 1
    clock = StepClock(seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pictures.npy")
        write_pictures(path, (images, side, side, channels))
        written = time.perf_counter()
        model = load_network(name, width)
        parts = {f"model.{end}": getattr(model, end).model_dump() for end in ("encoder", "decoder")}
        settings = {"data.name": path, "data.binarize": "none" if channels == 3 else "threshold"}
        settings |= {"training.epochs": 1000, "data.validation": 0}
        settings["training.optimizer"] = "adam"  # so that the operations counted are those of the networks
        recipe = load_recipe(name, {**parts, **settings})
        with contextlib.suppress(Enough):
            train(recipe, os.path.join(folder, "run"), quiet=True, callbacks=[clock])
    rate = clock.steps * recipe.training.batch_size / clock.seconds
    flops = None if channels == 3 else training_flops(layers(model, (side, side, channels)))
    return {
        "recipe": name,
        "images": images,
        "side": side,
        "width": width,
        "batch_size": recipe.training.batch_size,
        "images_per_second": round(rate, 1),
        "megapixels_per_second": round(rate * side * side / 1e6, 3),
        "gigaflops": None if flops is None else round(rate * flops / 1e9, 1),
        "peak_gigabytes": round(peak_bytes() / 1e9, 2),
        "first_call_seconds": round(clock.first - written, 1),
        "written_in_seconds": round(written - started, 1),
    }


def write_pictures(path, shape):
    """Write random black-and-white pictures [N,H,W,C], uint8; few at once, so that they take no memory."""
    rng = np.random.default_rng(0)
    pictures = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for start in range(0, len(pictures), CHUNK):
        part = pictures[start : start + CHUNK]
        bits = np.frombuffer(rng.bytes(-(-part.size // 8)), np.uint8)
        part[:] = 255 * np.unpackbits(bits)[: part.size].reshape(part.shape)


# What grows: its label, the measurement that should then be flat, and the label of that.
AXES = {
    "images": ("images in the data set", "images_per_second", "images a second"),
    "side": ("side of a picture, pixels", "megapixels_per_second", "million pixels a second"),
    "width": ("width of every layer", "gigaflops", "GFLOP/s in layers"),
}


def picture(rows):
    """What should be flat above, and the peak memory below, for everything that grows."""
    axes_of = {axis: [row for row in rows if row["axis"] == axis] for axis in AXES}
    shown = {axis: own for axis, own in axes_of.items() if own}
    figure = Figure(figsize=(3.6 * len(shown), 5.2), dpi=DPI, layout="constrained")
    columns = figure.subplots(2, len(shown), squeeze=False).T
    for (axis, own), column in zip(shown.items(), columns, strict=True):
        label, *above = AXES[axis]
        for axes, (key, title) in zip(column, (above, ("peak_gigabytes", "peak memory, GB")), strict=True):
            style_axes(axes, title, label, "")
            for number, recipe in enumerate(dict.fromkeys(row["recipe"] for row in own)):
                points = [(row[axis], row[key]) for row in own if row["recipe"] == recipe]
                axes.plot(*zip(*points, strict=True), "o-", color=PALETTE[number], label=recipe, markersize=4)
            values = sorted({row[axis] for row in own})
            axes.set_xscale("log")
            axes.set_xticks(values, [f"×{value}" if axis == "width" else f"{value:,}" for value in values])
            axes.minorticks_off()
            axes.set_ylim(0, 1.3 * max(row[key] for row in own if row[key]))
            axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    return figure


if __name__ == "__main__":
    run(main)

"""Measure every artefact of a folder in its own process: `python -m vaezoo.exporting.measuring FOLDER THREADS`.

It is a separate process because the number of threads can be set only once in a process, and because a runtime that
crashes must not stop the export. It prints the name of each artefact before it runs it, and writes verify.json,
verify.txt and, where the model is one of images, verify.png. It ends at the end of its standard input, which the export
holds open, so that it does not outlast an export that is killed.
"""

import importlib.metadata
import json
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

import vaezoo
from vaezoo import plots
from vaezoo.atomic import write_file, write_text
from vaezoo.exporting.artefacts import find, load
from vaezoo.exporting.inputs import by_signature, kind_of
from vaezoo.exporting.plan import SCORES
from vaezoo.exporting.table import as_text, difference, difference_of_rows, exceeds
from vaezoo.quiet import quick_tensorflow
from vaezoo.regular_files import broken

SHOWN = 8  # codes in the picture


def measure(folder: Path, threads: int) -> dict:
    """Run every artefact on the codes and examples that were kept with it.

    Args:
        folder: an export, or one that is being written.
        threads: for every runtime.

    Returns:
        The report: the conditions of the measurement, and a row for each artefact.
    """
    rows, pictures, labels, counts = [], [], [], {}
    for reference, artefacts in find(folder).items():
        kept = reference / "verify_inputs.npz"
        with broken(kept), np.load(kept) as stored:
            kind, inputs, columns = kind_of(stored), by_signature(dict(stored)), stored.get("columns")
            scores = {name: stored[name] for name in SCORES if name in stored.files}
        counts = {"codes": len(inputs["decode"]["z"]), "examples": len(inputs["encode"][kind])}
        keras = {artefact.signature: load(artefact, threads) for artefact in artefacts[:2]}
        for artefact in artefacts:
            print(artefact.name, flush=True)
            run = load(artefact, threads)
            outputs, wanted = _outputs(run, artefact.signature, inputs[artefact.signature], keras, scores)
            row = {"artefact": artefact.name, "runtime": artefact.runtime, "precision": artefact.precision}
            row |= {"signature": artefact.signature, "bytes": artefact.size, **_errors(outputs, wanted, columns)}
            row |= _speed(run, inputs[artefact.signature])
            rows.append({**row, "exceeds": exceeds(row)})
            if kind == "image" and artefact.signature == "decode":
                shown = outputs["image"][:SHOWN]
                if not pictures or shown.shape == pictures[0].shape:  # one picture has images of one size
                    pictures.append(shown)
                    labels.append(artefact.label)
    report = {**_environment(threads), **counts, "rows": rows, "passed": not any(row["exceeds"] for row in rows)}
    if pictures:
        title = "The same eight codes through every artefact"
        figure = plots.image_grid(np.concatenate(pictures), pictures[0].shape[0], title, row_labels=labels)
        write_file(folder / "verify.png", figure.savefig)
    write_text(folder / "verify.txt", as_text(report) + "\n")
    write_text(folder / "verify.json", json.dumps(report, indent=2) + "\n")
    return report


def _outputs(run, signature, inputs, keras, scores):
    """The outputs of the artefact, and those of the Keras files for the same inputs; of a score those kept with it."""
    outputs = run(inputs)
    if signature in scores:  # the p-value and the decision are steps of the score
        return {"score": outputs["score"]}, {"score": scores[signature]}
    label = {"label": inputs["label"]} if "label" in inputs else {}
    if signature == "sample":
        # The draw must be a function of the seed: the rows in reverse give the same codes in reverse.
        again = run({name: values[::-1] for name, values in inputs.items()})["z"][::-1]
        return {**outputs, "again": again}, {**keras["decode"]({"z": outputs["z"], **label}), "again": outputs["z"]}
    if signature == "reconstruct":
        code = keras["encode"](inputs)["loc"]
        return outputs, keras["decode"]({"z": code, **label})
    return outputs, keras[signature](inputs)


def _errors(outputs, wanted, columns=None):
    """The largest and the mean difference, the largest of the mean differences of each example, and whether of tokens.

    See `table.difference`; of rows of a table `table.difference_of_rows`.
    """
    found, others = {}, 0.0
    for name, values in wanted.items():
        if name == "vector" and columns is not None:
            found[name], others = difference_of_rows(outputs[name], values, columns)
        else:
            found[name] = difference(outputs[name], values)
    rows = {name: values.reshape(len(values), -1) for name, values in found.items()}
    return {
        "largest": float(max(values.max() for values in rows.values())),
        "mean": float(max(values.mean() for values in rows.values())),
        "worst_row": float(max(values.mean(1).max() for values in rows.values())),
        "other_values": others,
        "tokens": any(values.dtype.kind == "i" for values in wanted.values()),
    }


def _speed(run, inputs):
    """The median milliseconds of a call with one example, and the examples per second in calls with 64."""
    one = {name: values[:1] for name, values in inputs.items()}
    many = {name: values[np.arange(64) % len(values)] for name, values in inputs.items()}
    return {
        "milliseconds_at_1": 1e3 * _median_seconds(run, one, calls=50),
        "examples_per_second_at_64": 64 / _median_seconds(run, many, calls=10),
    }


def _median_seconds(run, inputs, calls):
    for _ in range(3):
        run(inputs)
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        run(inputs)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _environment(threads):
    packages = ("tensorflow", "keras", "ai-edge-litert", "onnxruntime", "numpy")
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "vaezoo": vaezoo.__version__,
        "versions": found,
        "machine": f"{platform.machine()}, {platform.system()}",
        "threads": threads,
    }


def _end_with_input():
    while os.read(0, 1):  # unlike sys.stdin, this holds no lock when Python exits
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    with quick_tensorflow():
        import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[2]))
    tf.config.threading.set_inter_op_parallelism_threads(int(sys.argv[2]))
    measure(Path(sys.argv[1]), int(sys.argv[2]))

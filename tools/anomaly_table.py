"""Compare the anomaly scores of VAEs with other detectors on the same splits, and write the tables.

python tools/anomaly_table.py                                            # everything; the same command goes on
python tools/anomaly_table.py --sets wine --models mlp_vae --seeds 0     # a small part of it, in a minute
python tools/anomaly_table.py --speed RUN                                # examples that a run scores in a second

A task trains on normal examples alone and tells the anomalies of a test set from its normal examples:

out      all classes but one are normal, and that one is the anomaly
in       one class is normal, and all others are anomalies
strange  the complete set is normal; anomalies are images of another set, and images that are changed

DIR holds a run for each task, a file with its rows, table.csv with all rows, and table.md with the means.
"""

import argparse
import json
import time
import zlib
from pathlib import Path

import numpy as np
from measured import check_settings, run, trained, write_csv
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.svm import OneClassSVM

from vaezoo import scoring
from vaezoo.atomic import write_arrays, write_text
from vaezoo.config import load_recipe
from vaezoo.data import load_data
from vaezoo.data.indexed import ArraySplit
from vaezoo.evaluation.encoded import encode
from vaezoo.runs import Run
from vaezoo.scoring.of_run import SAMPLES_OF
from vaezoo.scoring.scores import SAMPLES
from vaezoo.scoring.stored import known

TABLES = {"breast_cancer": (1,), "wine": (0, 1, 2), "digits": tuple(range(10))}  # the normal, or the anomalous, classes
IMAGES = {"mnist": "glyphs", "glyphs": "mnist"}  # and the set whose images are strange to it
KINDS = ("out", "in", "strange")
RATES = (0.01, 0.05)  # of false alarms, asked for
MOST_OF_SVM = 5000  # training examples; it takes time with their square
# The likelihood of a table has one learned scale: its columns are standardized.
OF_TABLES = {
    "model.likelihood": {"name": "normal", "scale": 0.5, "learned": True},
    "model.encoder": {"name": "mlp", "hidden": [128, 128]},
    "model.decoder": {"name": "mlp", "hidden": [128, 128]},
    "model.latent_dim": 8,
    "data.validation": 0.25,
    "training.epochs": 150,
    "training.batch_size": 16,
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=[*IMAGES, *TABLES], choices=[*IMAGES, *TABLES])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--classes", nargs="+", type=int, metavar="C", help="of out and in (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--models", nargs="+", default=["conv_vae", "mlp_vae"], help="recipes; conv_vae for images only"
    )
    parser.add_argument("--scores", nargs="+", default=list(scoring.SCORES), choices=list(scoring.SCORES))
    parser.add_argument("--epochs", type=int, metavar="N", help="of every training (those of the recipe)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N training and N test examples (all)")
    parser.add_argument("--no-baselines", action="store_true", help="only the VAEs")
    parser.add_argument("--out", type=Path, default=Path("runs/anomaly_table"), metavar="DIR")
    parser.add_argument("--speed", type=Path, metavar="RUN", help="measure only how fast that run scores")
    options = parser.parse_args(argv)
    if options.speed:
        return speed(Run(options.speed))
    rows = []
    for task in tasks(options):
        rows += _rows(task, options)
        write_csv(options.out / "table.csv", rows)
        write_text(options.out / "table.md", markdown(rows))
    print(markdown(rows))


def tasks(options):
    """(set, kind, class or None, seed), the small ones first."""
    for seed in options.seeds:
        for name in options.sets:
            classes = TABLES.get(name, range(10))
            for kind in options.kinds:
                if kind == "strange":
                    if name in IMAGES:
                        yield name, kind, None, seed
                elif not (name == "breast_cancer" and kind == "out"):  # of two classes: the benign one is normal
                    yield from ((name, kind, c, seed) for c in classes if c in (options.classes or classes))


def _rows(task, options):
    """The rows of a task, from its file or measured now."""
    name, kind, label, seed = task
    folder = options.out / "-".join(str(part) for part in (name, kind, label, seed) if part is not None)
    check_settings(folder, {"epochs": options.epochs, "limit": options.limit, "scores": sorted(options.scores)})
    train, normal, anomalies = _splits(task, options.limit)
    rows = []
    for model in options.models:
        if model == "conv_vae" and name in TABLES:
            continue
        path = folder / f"{model}.json"
        if not path.exists():
            found = _of_vae(model, folder, seed, train, normal, anomalies, name in TABLES, options)
            write_text(path, json.dumps([row(task, f"{model} {score}", *each) | more for score, *each, more in found]))
        rows += json.loads(path.read_text())
    path = folder / "others.json"
    if not options.no_baselines:
        if not path.exists():
            found = _of_others(seed, train, normal, anomalies)
            write_text(path, json.dumps([row(task, *each) for each in found]))
        rows += json.loads(path.read_text())
    return [{"achieved_0.01": None, "achieved_0.05": None, "seconds": None, **each} for each in rows]


def row(task, method, group, normal, anomalous):
    """The row of a method: how well its scores of normal examples [N] and of a group of anomalies [M] are separated."""
    name, kind, label, seed = task
    truth, scores = np.repeat([0, 1], [len(normal), len(anomalous)]), np.concatenate([normal, anomalous])
    # What scores that know nothing get: the same ones, with the truth shuffled.
    shuffled = roc_auc_score(np.random.default_rng(seed).permutation(truth), scores)
    return {
        "set": name,
        "kind": kind,
        "class": label,
        "anomalies": group,
        "seed": seed,
        "method": method,
        "auroc": roc_auc_score(truth, scores),
        "average_precision": average_precision_score(truth, scores),
        "auroc_shuffled": shuffled,
        "normal": len(normal),
        "anomalous": len(anomalous),
    }


# The splits


def _splits(task, limit):
    """Training examples, normal test examples, and anomalies: group → examples; images as uint8."""
    name, kind, label, seed = task
    (x, y), (test, test_y) = _table(name, seed) if name in TABLES else _images(name)
    if kind == "strange":
        other = _images(IMAGES[name])[1][0]
        return x[:limit], test[:limit], {group: each[:limit] for group, each in _strange(test, other, seed).items()}
    is_normal = (lambda y: y != label) if kind == "out" else (lambda y: y == label)
    if name in TABLES:
        # Standardized by normal training examples alone: what is seen of the anomalies must not help.
        kept = x[is_normal(y)]
        mean, scale = kept.mean(0), np.maximum(kept.std(0), 1e-6)
        x, test = ((each - mean) / scale for each in (x, test))
    return x[is_normal(y)][:limit], test[is_normal(test_y)][:limit], {"class": test[~is_normal(test_y)][:limit]}


def _images(name):
    """((training images uint8, labels), (test images, labels))."""
    data = load_data(name, validation=0.0)
    found = [split.first() for split in (data.train, data.test)]
    return [(np.round(x * 255).astype("uint8"), y) for x, y in found]


def _table(name, seed):
    """The same of a table, six tenths of its rows for training."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(x))
    x, y, count = x[order].astype("float32"), y[order], round(0.6 * len(x))
    return (x[:count], y[:count]), (x[count:], y[count:])


def _strange(test, other, seed):
    """Anomalies by name: images of another set, simple images, and changed ones, each of as many pixels as `test`."""
    rng, n, half = np.random.default_rng(seed), min(1000, len(test) // 2), test.shape[1] // 2
    first, second, empty = test[:n], test[n : 2 * n], np.zeros_like(test[:n])
    constant = empty + rng.integers(256, size=(n, 1, 1, 1)).astype("uint8")
    return {
        "other": other[:n],
        "empty": empty,
        "constant": constant,
        "noise": rng.integers(256, size=first.shape).astype("uint8"),
        "dots": 255 * (rng.random(first.shape) < 0.01).astype("uint8"),
        "inverted": 255 - first,
        "flipped": first[:, ::-1],
        "upper half": np.concatenate([first[:, :half], empty[:, half:]], 1),
        "two halves": np.concatenate([first[:, :half], second[:, half:]], 1),
        "two at once": np.maximum(first, second),
    }


# The detectors


def _of_vae(model, folder, seed, train, normal, anomalies, is_table, options):
    """(score, group, scores of normal examples, of anomalies, further columns) of a trained VAE."""
    data = folder / "data.npz"
    if not data.exists():
        names = ("x", "x_test") if is_table else ("images", "test_images")
        write_arrays(data, dict(zip(names, (train, normal), strict=True)))
    settings = {"data.name": str(data), "training.seed": seed, **(OF_TABLES if is_table else {})}
    if options.epochs:
        settings["training.epochs"] = options.epochs
    found = trained(load_recipe(model, settings), folder / model)
    groups = {"normal": normal, **anomalies}
    examples = {group: encode(found.model, _as_trained(found, x)) for group, x in groups.items()}
    for score in options.scores:
        if score == "robust" and is_table:
            continue
        samples = SAMPLES_OF.get(score, SAMPLES)
        about = known(found, score, samples)
        calibration, started, scores = about.calibrations[score, samples], time.perf_counter(), {}
        for group, encoded in examples.items():
            scores[group] = scoring.SCORES[score](found.model, encoded, samples=samples, reference=about.reference)
        more = {"seconds": time.perf_counter() - started}
        for rate in RATES:
            if rate * (len(calibration.scores) + 1) >= 1:
                more[f"achieved_{rate}"] = calibration.achieved(rate)[0]
        for group in anomalies:
            yield score, group, scores["normal"], scores[group], more


def _as_trained(found: Run, x):
    split = ArraySplit(x, found.model.spec.with_classes(0))
    return split.first(binarize=found.recipe.data.binarize, seed=found.recipe.training.seed)[0]


def _of_others(seed, train, normal, anomalies):
    """(method, group, scores of normal examples, of anomalies) of detectors that are no VAE of this zoo."""

    def flat(x):
        return x.reshape(len(x), -1).astype("float32") / (255 if x.dtype == np.uint8 else 1)

    x, rng = flat(train), np.random.default_rng(seed)
    few = x[rng.permutation(len(x))[:MOST_OF_SVM]]
    pca = PCA(min(20, *x.shape), random_state=seed).fit(x) if x.shape[1] > 64 else PCA(0.9).fit(x)
    detectors = {
        "random": lambda x: np.random.default_rng(len(x)).random(len(x)),
        "PCA reconstruction": lambda x: np.square(x - pca.inverse_transform(pca.transform(x))).sum(1),
        "IsolationForest": _negative(IsolationForest(n_estimators=200, random_state=seed).fit(x)),
        "OneClassSVM": _negative(OneClassSVM(nu=0.1).fit(few)),
    }
    try:
        from pyod.models.vae import VAE

        other = VAE(latent_dim=min(8, x.shape[1] - 1), epoch_num=20, verbose=0, random_state=seed).fit(few)
        detectors["PyOD VAE"] = other.decision_function
    except ImportError as error:  # it needs torch
        print(f"left out PyOD's VAE: {error}", flush=True)
    for method, score in detectors.items():
        scores = score(flat(normal))
        for group, each in anomalies.items():
            yield method, group, scores, score(flat(each))


def _negative(detector):
    return lambda x: -detector.score_samples(x)


def speed(run):
    """Print how many test examples each score takes a second, one by one and 1,000 at once: medians of five calls."""
    x, _ = run.first("test", 1000)
    for score in scoring.SCORES:
        if score == "robust" and not run.model.spec.is_image:
            continue
        samples = SAMPLES_OF.get(score, SAMPLES)
        about = known(run, score, samples)
        for size in (1, len(x)):
            seconds = []
            for call in range(6):  # the first compiles
                batch = x[call % len(x) : call % len(x) + 1] if size == 1 else x
                started = time.perf_counter()
                scoring.SCORES[score](run.model, batch, samples=samples, reference=about.reference)
                seconds.append(time.perf_counter() - started)
            print(
                f"{score}, {samples} draws, batch {size}: {size / np.median(seconds[1:]):,.1f} examples/s", flush=True
            )


# The tables


def markdown(rows):
    """The mean AUROC and average precision of each method, over classes, groups and seeds, for each set and kind."""
    tables = sorted({(row["set"], row["kind"]) for row in rows})
    parts = []
    for place in tables:
        own = [row for row in rows if (row["set"], row["kind"]) == place]
        seeds, classes = ({row[key] for row in own} for key in ("seed", "class"))
        lines = [f"{place[0]}, {place[1]}: {len(classes)} classes, {len(seeds)} seeds", ""]
        lines += ["| method | AUROC | worst | average precision | rate for 0.01 | for 0.05 |", "|-|-:|-:|-:|-:|-:|"]
        for method in dict.fromkeys(row["method"] for row in own):
            these = [row for row in own if row["method"] == method]
            cells = [_mean(these, "auroc"), f"{min(row['auroc'] for row in these):.3f}"]
            cells += [_mean(these, key) for key in ("average_precision", "achieved_0.01", "achieved_0.05")]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _mean(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return f"{np.mean(values):.3f}" if values else ""


if __name__ == "__main__":
    run(main)

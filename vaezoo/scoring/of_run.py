"""Score new examples with a run: scores, p-values, decisions and what is unusual about each.

scored = score(Run("runs/conv_vae"), "./new_images", fpr=0.01, explained=True)
scored.table                    # rows for a CSV
scored.save("scores")           # scores.csv, pictures, arrays
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vaezoo import plots
from vaezoo.atomic import plain_errors, write_arrays, write_file, write_text
from vaezoo.data import is_path, load_data
from vaezoo.data.items import Items, load_items
from vaezoo.data.preparation import Preparation
from vaezoo.errors import VaezooError, unknown
from vaezoo.evaluation.encoded import encode
from vaezoo.scoring.calibration import Calibration, check_rate
from vaezoo.scoring.explain import Explanation, element_names, explain, in_words
from vaezoo.scoring.scores import SAMPLES, SCORES, default_score, parts
from vaezoo.scoring.stored import known
from vaezoo.tables import as_csv

SHOWN = 20  # the most and the least typical examples in a picture
EXPLAINED = 8  # of the least typical, with heat maps or bars
SAMPLES_OF = {"evidence": 100, "latent": 0}  # of a score, where it does not take SAMPLES


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The scores of some examples.

    Attributes:
        score: the name of the score.
        fpr: the rate of false alarms that was asked for.
        names: of the examples.
        scores: [N], in nats; higher is less typical.
        p_values: [N].
        anomalies: [N], bool: p_values <= fpr.
        reconstruction: [N], -E log p(x|z).
        kl: [N], or None for a posterior without a density.
        calibration: the `Calibration`.
        explanation: an `Explanation`, or None.
        words: what is most unusual about each example, [N] texts; empty without an explanation.
        figures: file name → matplotlib Figure.
        lines: a summary, and notes on the data.
    """

    score: str
    fpr: float
    names: list[str]
    scores: np.ndarray
    p_values: np.ndarray
    anomalies: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray | None
    calibration: Calibration
    explanation: Explanation | None
    words: list[str]
    figures: dict[str, Figure]
    lines: tuple[str, ...]

    @property
    def table(self):
        """A row for each example, for `as_csv`."""
        columns = {
            "item": self.names,
            "score": [f"{value:.6g}" for value in self.scores],
            "p_value": [f"{value:.6g}" for value in self.p_values],
            "anomaly": ["yes" if anomaly else "no" for anomaly in self.anomalies],
            "reconstruction": [f"{value:.6g}" for value in self.reconstruction],
        }
        if self.kl is not None:
            columns["kl"] = [f"{value:.6g}" for value in self.kl]
        if self.words:
            columns["most_unusual"] = self.words
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def save(self, folder):
        """Write scores.csv, the pictures and, where examples are explained, explanation.npz; returns their paths."""
        folder = Path(folder)
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        written = [write_text(folder / "scores.csv", as_csv(self.table))]
        if self.explanation is not None:
            written.append(write_arrays(folder / "explanation.npz", self.explanation._asdict()))
        return written + [write_file(folder / name, figure.savefig) for name, figure in self.figures.items()]


def score(run, data=None, score=None, fpr=0.01, samples=None, explained=False):
    """Score examples with a run, calibrated on its validation split.

    Args:
        run: a `Run`.
        data: new examples: a path as in `load_items`, or the name of a data set, whose test split is taken; None for
            the run's own test split. They are prepared as the run's own data are.
        score: one of SCORES; None for `default_score`.
        fpr: the rate of false alarms, in (0, 1).
        samples: K, the draws of each code; None for 5, and for 100 of the score "evidence".
        explained: whether to find what is unusual about each example.

    Returns:
        The `Scored`.

    Raises:
        VaezooError: for an unknown score, or one that the model has not; data that do not fit; a run that cannot be
            calibrated, or not to that rate.
    """
    model = run.model
    if score is not None and score not in SCORES:
        raise unknown("score", score, SCORES)
    name = score or default_score(model)
    samples = SAMPLES_OF.get(name, SAMPLES) if samples is None else samples
    if not 0 < fpr < 1:
        check_rate(0, fpr)
    items, x, labels = _examples(run, data)
    found = known(run, name, samples)
    calibration = found.calibrations[name, samples]
    check_rate(len(calibration.scores), fpr)
    encoded = encode(model, x, labels)
    cost, kl = parts(model, encoded, samples=SAMPLES if name in SAMPLES_OF else samples)
    scores = SCORES[name](model, encoded, samples=samples, reference=found.reference, found=(cost, kl))
    explanation, words = None, []
    if explained:
        explanation = explain(model, encoded, reference=found.reference, expected=found.expected)
        words = in_words(explanation, model.spec)
    scored = Scored(
        name, fpr, items.names, scores, calibration.p_values(scores), calibration.anomalies(scores, fpr), cost, kl,
        calibration, explanation, words, {}, (),
    )  # fmt: skip
    figures = _figures(run, scored, encoded, own_test=data is None)
    return dataclasses.replace(scored, figures=figures, lines=(*items.notes, *_summary(scored, own_test=data is None)))


def _examples(run, data):
    """The `Items`, the examples [N,...] as the model was trained on them, and their classes [N] or None."""
    recipe, spec, options = run.recipe, run.model.spec, run.recipe.data
    if data is None:
        x, labels = run.first("test")
        names = [f"test {place}" for place in range(len(x))]
        return Items(run.data.test, names), x, labels if spec.conditional else None
    if is_path(data):
        preparation = Preparation(options.image_size, options.crop, options.background)
        further, classes = options.columns or (), run.environment.get("class_names")
        items = load_items(data, spec, preparation, further, options.label, classes)
    else:
        loaded = load_data(data, **options.preparation)
        classes = loaded.class_names and [loaded.class_names[each] for each in loaded.test.first()[1]]
        items = Items(loaded.test, [f"test {place}" for place in range(len(loaded.test))], classes)
    x, _ = items.split.first(binarize=options.binarize, seed=recipe.training.seed)
    return items, x, _labels(run, data, items.classes) if spec.conditional else None


def _labels(run, data, classes):
    """The number of each class of new examples among those of a conditional run."""
    names = run.class_names
    if classes is None:
        raise VaezooError(
            f"this model is conditional, and the examples of '{data}' have no classes; give a folder for each class, "
            "or an .npz with labels"
        )
    if strange := sorted(set(classes) - set(names)):
        raise VaezooError(
            f"'{data}' has the class '{strange[0]}', which the run has not; its classes: {', '.join(names)}"
        )
    return np.array([list(names).index(each) for each in classes], "int32")


def _summary(scored, own_test):
    count, flagged = len(scored.scores), int(scored.anomalies.sum())
    rate, error = scored.calibration.achieved(scored.fpr)
    yield (
        f"{flagged:,} of {count:,} examples are anomalies ({flagged / count:.2%}); of normal examples "
        f"{scored.fpr * count:,.1f} are expected at a false-positive rate of {scored.fpr:g}"
    )
    yield (
        f"score {scored.score}: threshold {scored.calibration.threshold(scored.fpr):.2f} nats, calibrated on "
        f"{len(scored.calibration.scores):,} validation examples; rate on {len(scored.calibration.test):,} test "
        f"examples: {rate:.4f} ± {error:.4f}"
    )


def _figures(run, scored, encoded, own_test):
    """File name → Figure."""
    spec, title = run.model.spec, f"{run.recipe.name}, score '{scored.score}'"
    groups = {"validation": scored.calibration.scores, "test": scored.calibration.test}
    if not own_test:
        groups["new"] = scored.scores
    threshold = scored.calibration.threshold(scored.fpr)
    asked = f"false-positive rate {scored.fpr:g}"
    figures = {"histogram.png": plots.score_histogram(groups, threshold, f"{title}, {asked}")}
    order = np.argsort(-scored.scores, kind="stable")
    least, most = order[:SHOWN], order[::-1][:SHOWN]
    if spec.is_image:
        panels = [("the least typical", encoded.x[least]), ("the most typical", encoded.x[most])]
        figures["typical.png"] = plots.panels_of_images(panels, 5, title)
    elif spec.notation == "melody":
        labels = [f"{scored.names[place]}: p = {scored.p_values[place]:.2g}" for place in least]
        figures["typical.png"] = plots.piano_roll(encoded.x[least], labels, f"{title}: the least typical")
    if scored.explanation is not None:
        places = order[:EXPLAINED]
        labels = [_short(scored.names[place]) for place in places]
        elements, heading = scored.explanation.elements[places], f"{title}: what is unusual about the least typical"
        if spec.is_image:
            x = encoded.x[places]
            code = encode(run.model, x, None if encoded.labels is None else encoded.labels[places])
            decoded = np.concatenate([decoded for _, decoded in code.reconstructions()])
            figures["explanation.png"] = plots.heat_maps(x, decoded, elements, labels, heading)
        else:
            figures["explanation.png"] = plots.element_bars(elements, element_names(spec), labels, heading)
    return figures


def _short(name):
    """The end of a long name."""
    return name if len(name) <= 18 else f"...{name[-15:]}"

"""One function for each command of the latent space: what it computes from a run, and its picture.

    drawing = draw_traversal(Run("runs/conv_vae"), index=5, top=8)
    drawing.figure                  # a matplotlib Figure
    drawing.save("pictures")        # writes pictures/traverse.png and its arrays, pictures/traverse.npz

Melodies are drawn as piano rolls, and can be heard: `save` writes them one after the other as .mid and .wav. Rows of a
table are written as .csv or .parquet.
`run` is a `vaezoo.runs.Run`. `index`, `image`, `invert` and `image_label` are the examples that a picture starts from,
as in `of_run.inputs_of`.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vaezoo import plots
from vaezoo.atomic import plain_errors, write_arrays, write_file, write_text
from vaezoo.errors import VaezooError, unknown
from vaezoo.latent_space.comparison import Comparison, as_text, compare
from vaezoo.latent_space.drawing import Drawing
from vaezoo.latent_space.editing import characteristic, edit
from vaezoo.latent_space.generation import (
    checked_axes,
    checked_seed,
    manifold,
    positive,
    prior_codes,
    sample,
    style_by_class,
)
from vaezoo.latent_space.of_run import (
    axes_by_factor,
    axis_information,
    cached_average,
    class_of,
    embedding_of_test,
    inputs_of,
    own_rows,
    run_table,
)
from vaezoo.latent_space.paths import interpolate, resample_groups, step_ratio, tour, traverse
from vaezoo.latent_space.reconstruction import impute, reconstruct
from vaezoo.models.in_batches import embed
from vaezoo.music.tokens import joined
from vaezoo.tables import as_csv

SAMPLES, SAMPLED_MELODIES, SAMPLED_ROWS = 64, 8, 1000  # how many are drawn by default
COMPARED_ROWS = 10_000  # of the data, in a picture
UNUSED = 0.1  # bits, or variance without them: the decoder has learned nothing from an axis with less
MOST_CLASSES = 10  # a number with more values is a colour scale on a map


def draw_samples(
    run, n=None, seed=0, label=None, temperature=None, index=None, image=None, invert=False, image_label=None
):
    """Examples from the prior. Of a conditional model without `label`: every style in every class.

    Of a table they are rows drawn from p(x|z) too, as a table like that of the training; without `label`, a conditional
    model draws the classes as often as the training rows have them.

    Args:
        run: a `Run`.
        n: how many examples (64, of melodies 8, of rows 1,000), or styles of a conditional model (8).
        seed: 0 <= seed < 2^31.
        label: the class, by its name or as an integer, for a conditional model.
        temperature: of sequences, draw the tokens too, at this temperature; see `generation.sample`.
        index, image, invert, image_label: examples of a conditional model, whose styles are drawn in every class.

    Returns:
        A `Drawing`.
    """
    model, given = run.model, index is not None or image is not None or invert or image_label is not None
    if model.spec.columns is not None and not given:
        return _sampled_rows(run, SAMPLED_ROWS if n is None else n, seed, label, temperature)
    if given and label is not None:
        raise VaezooError("label= draws one class; with index= or image= every class is drawn: leave one out")
    if given and n is not None:
        raise VaezooError("n= counts draws from the prior, and index= or image= replaces these draws: leave one out")
    if label is not None or not (given or model.spec.conditional):
        index_of_class = None if label is None else class_of(run, label)
        if n is None:
            n = SAMPLED_MELODIES if model.spec.notation == "melody" else SAMPLES
        result = sample(model, n, seed, index_of_class, temperature)
        title = _title(run, "samples from the prior" if label is None else f"samples of class {label}")
        columns = max(1, round(len(result.examples) ** 0.5))

        def rolls():
            return plots.piano_roll(result.examples, title=title), result.examples

        return _drawing(run, "sample", result, lambda: plots.image_grid(result.examples, columns, title), rolls=rolls)
    if temperature is not None:
        raise VaezooError("temperature= is for draws from the prior, of one class: give label=, or leave it out")
    names = None
    if given:
        inputs = inputs_of(run, index, image, invert, image_label)
        names, codes = inputs.names, embed(model, inputs.x, inputs.labels)
    else:
        codes = prior_codes(model, 8 if n is None else n, seed)
    result = style_by_class(model, codes)

    def draw():
        title = _title(run, "one style in each row, one class in each column")
        return plots.image_grid(_flat(run, result), model.spec.classes, title, names, list(run.class_names))

    def rolls():
        title, classes = _title(run, "one style in each row, one class in each column"), list(run.class_names)
        melodies = _flat(run, result)
        return plots.piano_roll(melodies, classes * len(codes), title, len(classes)), melodies

    return _drawing(run, "styles", result, draw, rolls=rolls)


def _sampled_rows(run, n, seed, label, temperature):
    """Rows drawn from the prior and from p(x|z), beside the training rows."""
    model, classes = run.model, None
    if label is not None:
        classes = np.full(positive(n, "number of samples"), class_of(run, label))
    elif model.spec.conditional:
        random = np.random.default_rng(checked_seed(seed))
        classes = random.choice(run.first("train")[1], positive(n, "number of samples"))
    result = sample(model, n, seed, classes, 1.0 if temperature is None else temperature)
    title = _title(run, f"{n:,} rows" + f" of class {label}" * (label is not None))
    rows, labels = run.first("train", COMPARED_ROWS)
    if label is not None:
        rows = rows[labels == classes[0]]
    figure = plots.row_samples(rows, result.examples, model.spec.columns, title)
    table = run_table(run, result.examples, result.labels)
    return Drawing("sample", result._asdict(), figure, table=table)


def draw_reconstructions(run, index=None, image=None, invert=False, image_label=None, data=None):
    """Examples and their decoded posterior means, with the error and the bits that the codes cost.

    Rows of a table also come back with their missing cells filled in (`reconstruction.impute`).

    Args:
        run: a `Run`.
        index, image, invert, image_label: the examples.
        data: the path of a table, instead: its columns are matched by name.

    Returns:
        A `Drawing`.
    """
    given = None
    if data is not None:
        if index is not None or image is not None:
            raise VaezooError("give one of index=, image= and data=")
        given, x, labels, names = own_rows(run, data)
    else:
        x, labels, names = inputs_of(run, index, image, invert, image_label)
    result = reconstruct(run.model, x, labels)
    spec = run.model.spec
    kind = "row" if spec.columns is not None else spec.kind
    error = f"squared error {result.squared_error.mean():.4f} per element"
    if spec.levels is not None:
        error = f"{1 - result.squared_error.mean():.1%} of the tokens are right"
    line = f"{error}, {result.nats.mean():.1f} nats per {kind}"
    if result.bits is not None:
        line += f"; {result.bits.mean():.1f} bits per code"
    if spec.columns is not None:
        complete = impute(run.model, x, labels)
        table, lines = run_table(run, complete, labels, given), [line]
        if missing := int(np.isnan(x).sum()):
            lines.append(f"filled in {missing:,} of {x.size:,} cells")
        title = _title(run, "cells, across, and their reconstructions") + f"\n{line}"
        figure = plots.row_reconstructions(x, result.examples, spec.columns, title)
        return Drawing("reconstruct", {**result._asdict(), "filled": complete}, figure, tuple(lines), table=table)

    def draw():
        title = _title(run, "images and their decoded posterior means") + f"\n{line}"
        return plots.reconstructions(result.inputs, result.examples, title)

    def rolls():
        title = _title(run, "melodies and their reconstructions") + f"\n{line}"
        pairs = np.stack([result.inputs, result.examples], axis=1).reshape(-1, *result.inputs.shape[1:])
        labels = [text for name in names for text in (name, "reconstructed")]
        return plots.piano_roll(pairs, labels, title, 2), pairs

    return _drawing(run, "reconstruct", result, draw, (line,), rolls=rolls)


def draw_manifold(run, span=3.0, size=20, axes=None, quantile=False, label=None, with_map=False):
    """A grid over two latent axes, decoded; the other axes are 0.

    Args:
        run: a `Run`.
        span: the grid covers [-span, span].
        size: examples along each axis.
        axes: the two latent axes; by default the most informative.
        quantile: space the grid by the quantiles of a standard normal.
        label: the class, by its name or as an integer, for a conditional model.
        with_map: draw the test set in the same two axes beside it.

    Returns:
        A `Drawing`.
    """
    model, lines = run.model, ()
    if with_map and model.latent_dim == 1:
        raise VaezooError("with_map= needs two latent axes, and this model has one; leave it out")
    label = None if label is None else class_of(run, label)
    if axes is None and model.latent_dim > 2:
        axes = axis_information(run).order[:2]
        lines = (f"the two most informative of {model.latent_dim} latent axes are z{axes[0]} and z{axes[1]}",)
    result = manifold(model, span, size, axes, quantile, label)

    def draw():
        names = [f"z{axis}" for axis in result.axes]
        what = "the plane of" if len(names) == 2 else "the line of"
        title = _title(run, f"{what} {' and '.join(names)}, decoded{', the others at 0' * (model.latent_dim > 2)}")
        if with_map:
            points, labels = embedding_of_test(run)
            points, classes = points[:, result.axes], run.data.class_names
            return plots.manifold_and_map(result.examples, result.values, points, labels, classes, names, title)
        rows = result.values[::-1] if len(names) == 2 else [0]
        return plots.axis_grid(_flat(run, result), size, result.values, rows, names[0], "".join(names[1:]), title)

    return _drawing(run, "manifold", result, draw, lines)


def draw_traversal(
    run,
    index=None,
    image=None,
    invert=False,
    image_label=None,
    span=3.0,
    steps=11,
    top=None,
    by="information",
    gif=False,
):
    """Each latent axis of one example varied in turn, the most informative axis first.

    Of a hierarchy, which has hundreds of axes, each group is drawn anew in turn; with `top`, its axes are varied.

    Args:
        run: a `Run`.
        index, image, invert, image_label: the example.
        span: from -span to span.
        steps: examples for each axis.
        top: only this many of the most informative axes; by default all, and of a hierarchy its groups.
        by: "information", or "factors" to put the axes in the order of the known factors that they hold, and those that
            hold nearly nothing last.
        gif: make an animation too.

    Returns:
        A `Drawing`.
    """
    x, labels, names = inputs_of(run, index, image, invert, image_label)
    if len(x) != 1:
        raise VaezooError(f"a traversal starts from one example and was given {len(x)}; give one")
    if by not in ("information", "factors"):
        raise unknown("by", by, ["information", "factors"])
    if top is None and by == "information" and run.model.posterior.hierarchical:
        return _groups(run, x[0], None if labels is None else labels[0], names[0], steps, gif)
    found = axis_information(run)
    if top is not None and not 1 <= top <= len(found.order):
        raise VaezooError(f"top= is {top}; it must be from 1 to {len(found.order)}, the number of latent axes")
    axes = found.order[:top]
    unit = {"bits": "bits", "variance": "var."}[found.unit]
    rows = [f"z{axis}  {found.values[axis]:.2f} {unit}" for axis in axes]
    if by == "factors":
        unused = set(np.flatnonzero(found.values < UNUSED))
        held = sorted((each for each in axes_by_factor(run) if each[0] in axes), key=lambda each: each[0] in unused)
        axes = np.array([axis for axis, _, _ in held])
        texts = {axis: "unused" if axis in unused else f"{factor} {nats:.2f} nats" for axis, factor, nats in held}
        rows = [f"z{axis}  {text}" for axis, text in texts.items()]
    result = traverse(run.model, x[0], None if labels is None else labels[0], span, steps, axes)
    title = _title(run, f"latent axes of {names[0]}, from −{plots.number(span)} to {plots.number(span)}")
    arrays = {**result._asdict(), "input": x[0], "information": found.values[axes]}

    def draw():
        return plots.image_grid(_flat(run, result), steps, title, rows, plots.ticks(result.values))

    def film():
        return plots.round_trip(plots.sweep_film(result.examples, [f"z{axis}" for axis in axes], title))

    return _drawing(run, "traverse", arrays, draw, film=film if gif else None, seconds=0.12)


def _groups(run, x, label, name, count, gif):
    result = resample_groups(run.model, x, label, count)
    title = _title(run, f"groups of latents of {name}, each drawn {count} times; the others as they are")
    rows = [f"{size} latents" for size in result.sizes]

    def draw():
        return plots.image_grid(_flat(run, result), count, title, rows)

    def film():
        return plots.sweep_film(result.examples, rows, title)

    return _drawing(run, "traverse", {**result._asdict(), "input": x}, draw, film=film if gif else None, seconds=0.4)


def draw_interpolation(
    run, index=None, image=None, invert=False, image_label=None, steps=9, spherical=False, gif=False
):
    """Examples between two or more examples, and how even the steps between them are.

    Args:
        run: a `Run`.
        index, image, invert, image_label: the examples.
        steps: examples from one to the next.
        spherical: follow arcs around the origin, not straight lines.
        gif: make an animation too.

    Returns:
        A `Drawing`.
    """
    x, labels, names = inputs_of(run, index, image, invert, image_label)
    method = "spherical" if spherical else "linear"
    result = interpolate(run.model, x, labels, steps, method)
    square, pairs = len(x) in (3, 4), list(itertools.pairwise(names))
    ratios = [] if square else step_ratio(result.examples, run.model.spec)

    def draw():
        rows = None
        if square:
            below = " and ".join(names[2:])
            what = f"between {len(x)} images ({method})\n{names[0]} and {names[1]} above, {below} below"
        elif len(pairs) == 1:
            what = f"from {names[0]} to {names[1]} ({method})"
        else:
            what, rows = f"{len(x)} images ({method})", [f"{one} to {other}" for one, other in pairs]
        return plots.image_grid(_flat(run, result), steps, _title(run, what), rows)

    def film():
        return plots.image_film(tour(run.model, x, labels, max(12, steps), method)[:, None], cell=280)

    def rolls():
        melodies = _flat(run, result)
        if square:
            return plots.piano_roll(melodies, title=_title(run, f"between {', '.join(names)}"), columns=steps), melodies
        title = _title(run, f"from {' to '.join(names)} ({method})")
        weights = np.tile(np.linspace(0, 1, steps), len(pairs))
        return plots.piano_roll_path(melodies, weights, title), melodies

    lines = tuple(f"largest step / mean step: {ratio:.2f}" for ratio in ratios)
    return _drawing(run, "interpolate", result, draw, lines, film if gif else None, 0.08, rolls)


def draw_edits(run, toward, index=None, image=None, invert=False, image_label=None, amount=(0, 0.25, 0.5, 0.75, 1)):
    """Examples moved towards the average code of the training examples that have a characteristic.

    Args:
        run: a `Run`.
        toward: the target, as in "label=7" or "thickness=high", or several that apply together.
        index, image, invert, image_label: the examples.
        amount: how far, one or more numbers; 0 is the reconstruction, 1 the average.

    Returns:
        A `Drawing`.
    """
    x, labels, names = inputs_of(run, index, image, invert, image_label)
    targets = [characteristic(text) for text in ([toward] if isinstance(toward, str) else toward)]
    average, count = cached_average(run, targets)
    wanted = " and ".join(map(str, targets))
    result = edit(run.model, x, average, amount, labels)

    def draw():
        columns = ["input", *map(plots.number, result.amounts)]
        images = np.concatenate([result.inputs[:, None], result.examples], axis=1)  # [N,1+A,H,W,C]
        flat = images.reshape(-1, *images.shape[2:])
        return plots.image_grid(flat, len(columns), _title(run, f"towards {wanted}, by amount"), names, columns)

    def rolls():
        melodies = np.concatenate([result.inputs[:, None], result.examples], axis=1)  # [N,1+A,T]
        labels = [text for name in names for text in (name, *map(plots.number, result.amounts))]
        flat = melodies.reshape(-1, *melodies.shape[2:])
        return plots.piano_roll(flat, labels, _title(run, f"towards {wanted}, by amount"), melodies.shape[1]), flat

    line = f"the average code of {count:,} training examples with {wanted}"
    return _drawing(run, "edit", result, draw, (line,), rolls=rolls)


def draw_embedding(run, axes=None, count=None, by=None):
    """The map of the posterior means of the test set, for every kind of example.

    Args:
        run: a `Run`.
        axes: two latent axes to draw; by default two latents as they are, more through a PCA.
        count: the first so many test examples; by default all.
        by: the known factor that colours the map, as "metre" or "thickness"; by default the label.

    Returns:
        A `Drawing`.

    Raises:
        VaezooError: for an axis or a factor that does not exist, or no examples.
    """
    axes = None if axes is None else checked_axes(run.model, axes)
    factors = run.data.test.factors if by not in (None, "label") else {}
    if by not in (None, "label", *factors):
        raise unknown("by", by, ["label", *factors])
    codes, labels = embedding_of_test(run, count)
    plane = plots.plane_of(codes, axes)
    points = plane.project(codes)
    title = _title(run, f"{len(codes):,} test examples" + (f", by {by}" if factors else ""))
    if not factors:
        figure = plots.latent_map(points, labels, run.data.class_names, title, plane.names)
        return Drawing("embed", {"codes": codes, "labels": labels, "points": points}, figure)
    values = factors[by][: len(codes)]
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > MOST_CLASSES and values.dtype.kind in "iuf":
        figure = plots.graded_map(points, values, by, title, plane.names)
    else:
        figure = plots.latent_map(points, numbers, [f"{kind}" for kind in kinds], title, plane.names)
    return Drawing("embed", {"codes": codes, "values": values, "points": points}, figure)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnComparison:
    """Models on the same test examples.

    Attributes:
        result: the `Comparison`.
        arrays: name → array; None is left out of the file.
        figures: file name → matplotlib Figure.
        lines: what to print with them.
    """

    result: Comparison
    arrays: dict[str, Any]
    figures: dict[str, Figure]
    lines: tuple[str, ...]

    def save(self, folder: str | Path) -> list[Path]:
        """Write comparison.npz, comparison.csv and the pictures into a folder; returns their paths."""
        folder = Path(folder)
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return [
            write_arrays(folder / "comparison.npz", self.arrays),
            write_text(folder / "comparison.csv", as_csv(self.result.table)),
            *(write_file(folder / name, figure.savefig) for name, figure in self.figures.items()),
        ]


def draw_comparison(runs, pairs=500, seed=0):
    """Maps, samples and interpolations of several models, and a table of how well they reconstruct.

    Args:
        runs: name → `Run`, all on the same data; `compared.compared_runs` makes them.
        pairs: how many random pairs of test examples the smoothness is measured on.
        seed: of the samples and the pairs.

    Returns:
        A `DrawnComparison`.
    """
    first = next(iter(runs.values()))
    spec, class_names, on = first.model.spec, first.data.class_names, f"on {Path(first.recipe.data.name).name}"
    x, labels = first.first("test")
    result = compare({name: run.model for name, run in runs.items()}, x, labels, pairs, seed=seed)
    lines = (*as_text(result.table).splitlines(), "")
    codes = dict(zip(runs, result.codes, strict=True))
    maps = []
    for name in runs:
        plane = plots.plane_of(codes[name])
        maps.append((name, plane.project(codes[name]), labels, plane.names))
    figures = {"maps.png": plots.latent_maps(maps, class_names, f"Posterior means of the test examples {on}")}
    if spec.is_image:
        samples = list(zip(runs, result.samples, strict=True))
        paths = [(name, np.concatenate(each[:, ::2])) for name, each in zip(runs, result.paths, strict=True)]
        figures["samples.png"] = plots.panels_of_images(samples, 6, f"Samples from the prior, {on}", cell=75)
        figures["interpolations.png"] = plots.panels_of_images(
            paths, 6, f"From one test image to another, {on}", cell=75
        )
    else:
        lines += (f"no pictures of samples and interpolations: the examples are {spec}",)
    arrays = {"samples": result.samples, "paths": result.paths, "step_ratios": result.step_ratios, "labels": labels}
    arrays |= {f"codes_{name}": each for name, each in codes.items()}
    return DrawnComparison(result, arrays, figures, lines)


def _drawing(run, name, result, draw, lines=(), film=None, seconds=0.1, rolls=None):
    """The `Drawing` of a result; without its figure and frames if there is no picture of such examples.

    Args:
        run: a `Run`.
        name: of the files.
        result: a named tuple, or a mapping, of arrays.
        draw: makes the figure of images.
        lines: what to print.
        film: makes the frames of images; None for no animation.
        seconds: how long each frame is shown.
        rolls: makes the figure of melodies, and gives the melodies [N,T] to hear; None where there is none.
    """
    arrays, spec = result if isinstance(result, dict) else result._asdict(), run.model.spec
    if spec.is_image:
        return Drawing(name, arrays, draw(), lines, film() if film else None, seconds)
    if spec.notation == "melody" and rolls:
        figure, melodies = rolls()
        return Drawing(name, arrays, figure, lines, melody=joined(melodies))
    table = None
    if spec.columns is not None:
        table = run_table(run, arrays["examples"].reshape(-1, *spec.shape), places=arrays["examples"].shape[:-1])
    return Drawing(name, arrays, None, (*lines, f"no picture: the examples are {spec}"), table=table)


def _flat(run, result):
    """The examples of a result, whatever its leading axes [N,...]."""
    return result.examples.reshape(-1, *run.model.spec.shape)


def _title(run, text):
    """The title of a picture: the model, the data, and what is shown."""
    return f"{run.recipe.name} on {Path(run.recipe.data.name).name}: {text}"

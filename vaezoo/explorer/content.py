"""What the page of a run shows, read from the run: its codes, its plane, its axes, and its networks as LiteRT files."""

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaezoo.decoding import group_slices
from vaezoo.errors import VaezooError
from vaezoo.exporting import litert
from vaezoo.exporting.artefacts import in_batches
from vaezoo.exporting.signatures import Functions
from vaezoo.latent_space import prior_codes
from vaezoo.latent_space.codes import Information
from vaezoo.latent_space.of_run import axis_information, embedding_of_test, labels_for
from vaezoo.plots import Plane, plane_of
from vaezoo.plots.latent_map import frame
from vaezoo.plots.style import CLASS_COLOURS

POINTS = 2000  # test codes on the plane
EXAMPLES = 40  # test examples to start from
DRAWS = 100  # codes of the prior
AXES = 8  # sliders
MOST_KINDS = 12  # different values of a factor that are shown as classes
LEAST_BITS = 0.05  # an axis with less information does nothing that can be seen
LARGEST_ERROR = 1e-3  # of a pixel; float16 weights that miss it become float32
LARGEST_DRAWN = 64  # pixels; on a larger canvas a stroke of a mouse is no longer like the data


class Network(NamedTuple):
    """One network of the page.

    Attributes:
        content: the LiteRT file.
        precision: of its weights, "float16" or "float32".
        error: the largest difference from Keras in float32; of tokens, the share that differs.
    """

    content: bytes
    precision: str
    error: float

    @property
    def width(self) -> int:
        """The bytes of a weight."""
        return {"float16": 2, "float32": 4}[self.precision]


@dataclasses.dataclass(frozen=True, eq=False)
class Content:
    """What a page shows.

    Attributes:
        data: numbers and texts, which become JSON.
        arrays: name → array: `codes` float32 [E,D] and `examples` uint8 [E,...] of test examples, `draws` float32 [N,D]
            of the prior.
        networks: "decode" and, where the page has a canvas to draw on, "encode".
        notes: what the page lacks, a line each.
    """

    data: dict[str, Any]
    arrays: dict[str, np.ndarray]
    networks: dict[str, Network]
    notes: list[str] = dataclasses.field(default_factory=list)


def content_of(run) -> Content:
    """Read what the page of a run shows.

    Args:
        run: a `Run` of images or melodies.

    Returns:
        The `Content`.

    Raises:
        VaezooError: for other examples, or a decoder that LiteRT has no kernels for.
    """
    model, spec = run.model, run.model.spec
    if not spec.is_image and spec.notation != "melody":
        raise VaezooError(f"the explorer shows images and melodies, and these examples are {spec}")
    codes, labels = embedding_of_test(run, POINTS)  # [N,D], [N] or None
    x = run.first("test", len(codes))[0]
    chosen = _balanced(labels, len(codes))
    plane, points = _plane(codes)
    centre, half = frame(points)
    drawn = spec.is_image and spec.shape[2] == 1 and max(spec.shape) <= LARGEST_DRAWN
    data = {
        **_texts(run),
        "kind": "image" if spec.is_image else "melody",
        "shape": spec.shape,
        "latentDim": model.latent_dim,
        "classes": _class_names(run, spec.classes) if spec.conditional else None,
        "plane": {
            "origin": _short(plane.origin),
            "directions": _short(plane.directions.T),
            "names": plane.names,
            "centre": _short(centre),
            "half": _short(half),
        },
        "points": _short(points),
        "colourings": _colourings(run, labels, len(codes)),
        "palette": CLASS_COLOURS,
        "axes": _axes(run, codes),
        "groups": [{"start": own.start, "stop": own.stop} for own in group_slices(model.decoder)],
        "exampleLabels": None if labels is None else [int(label) for label in labels[chosen]],
        "exampleClasses": None if labels is None else _class_names(run, int(labels.max()) + 1),
        "pad": _pad(x, run.recipe.data.binarize) if drawn else None,
    }
    examples = np.round(x[chosen] * 255) if spec.is_image else x[chosen]
    draws = prior_codes(model, DRAWS).astype("float32")
    arrays = {"codes": codes[chosen].astype("float32"), "examples": examples.astype("uint8"), "draws": draws}
    functions = Functions(model)
    tried = np.concatenate([arrays["codes"], draws])
    label = np.resize(np.arange(spec.classes), len(tried)) if spec.conditional else None
    networks, notes = {"decode": _network(functions, "decode", {"z": tried, "label": label})}, []
    if drawn:
        label = labels_for(model, None if labels is None else labels[chosen])
        try:
            networks["encode"] = _network(functions, "encode", {"image": x[chosen], "label": label})
        except VaezooError as error:
            notes.append(f"no canvas to draw on: {error}")
            data["pad"] = None
    data["networks"] = {name: {"precision": each.precision, "error": each.error} for name, each in networks.items()}
    return Content(data, arrays, networks, notes)


def _network(functions, name, inputs):
    """A network with weights in half precision, or in single precision where that is not exact enough.

    Args:
        functions: the `Functions` of the model.
        name: "decode" or "encode".
        inputs: name → array [N,...] to compare with Keras on; None is left out.
    """
    inputs = {key: np.asarray(values, _TYPES[key]) for key, values in inputs.items() if values is not None}
    wanted = {key: np.asarray(values) for key, values in getattr(functions, name)(inputs).items()}
    for precision in ("float16", "float32"):
        content = litert.convert(functions, name, precision, batch=1)
        error = _error(content, name, inputs, wanted)
        if error <= LARGEST_ERROR:
            break
    return Network(content, precision, error)


_TYPES = {"z": "float32", "image": "float32", "label": "int32"}


def _error(content, name, inputs, wanted):
    """The largest difference between the outputs of a LiteRT file and those of Keras; of tokens, how many differ."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # the default one prints that it was made
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    runner = interpreter.get_signature_runner(name)
    found = in_batches(lambda batch: runner(**batch), 1)(inputs)
    if found.keys() == {"sequence"} and found["sequence"].dtype == "int32":
        return float((found["sequence"] != wanted["sequence"]).mean())
    return max(float(np.abs(found[key] - values).max()) for key, values in wanted.items())


def _plane(codes):
    """The plane of the map with two directions, and the codes in it [N,2]."""
    plane = plane_of(codes)
    points = plane.project(codes)
    if points.shape[1] == 2:
        return plane, points
    # One latent: the height of a point means nothing.
    height = np.random.default_rng(0).uniform(-1, 1, len(codes))
    plane = Plane(plane.origin, np.array([[1.0, 0.0]]), (*plane.names, ""))
    return plane, np.stack([points[:, 0], height], 1)


def _balanced(labels, count):
    """The indices of EXAMPLES examples, as many of each class as there are: one of each class, and so on."""
    if labels is None:
        return np.arange(min(EXAMPLES, count))
    seen = {}
    rank = [seen[label] for label in labels.tolist() if seen.update({label: seen.get(label, -1) + 1}) is None]
    return np.lexsort((labels, rank))[:EXAMPLES]


def _class_names(run, count):
    names = run.data.class_names
    return [str(names[each]) if names and each < len(names) else str(each) for each in range(count)]


def _colourings(run, labels, count):
    """The ways to colour the points: the class, and each known factor."""
    found = []
    if labels is not None:
        names = _class_names(run, int(labels.max()) + 1)
        found.append({"name": "class", "names": names, "values": [int(each) for each in labels]})
    for name, values in run.data.test.factors.items():
        values = np.asarray(values)[:count]
        kinds, numbers = np.unique(values, return_inverse=True)
        if len(kinds) < 2 or name == "label":
            continue
        if len(kinds) > MOST_KINDS and values.dtype.kind in "iuf":
            found.append({"name": name, "names": None, "values": _short(values)})
        else:
            found.append({"name": name, "names": [f"{kind}" for kind in kinds], "values": numbers.tolist()})
    return found


def _axes(run, codes):
    """The most informative axes, each with the range that the test codes have on it."""
    if run.model.posterior.hierarchical:  # whose information takes samples of every group: minutes, and gigabytes
        found = Information(codes.var(0, dtype="float64"), "variance")
    else:
        found = axis_information(run)
    telling = [axis for axis in found.order if found.unit != "bits" or found.values[axis] >= LEAST_BITS]
    axes = []
    for axis in telling[:AXES] or found.order[:1]:
        low, high = np.percentile(codes[:, axis], [0.5, 99.5])
        beyond = max((high - low) / 4, 1e-3)
        bounds = {"low": _short(low - beyond), "high": _short(high + beyond)}
        axes.append({"axis": int(axis), "information": _short(found.values[axis]), "unit": found.unit, **bounds})
    return axes


def _pad(x, binarize):
    """Where the examples have their ink, so that a drawing can have it there too.

    Args:
        x: grey images [N,H,W,1].
        binarize: how the model's images were binarized, or "none".
    """
    border = np.concatenate([x[:, [0, -1]].ravel(), x[:, :, [0, -1]].ravel()])
    paper = float(border.mean() > 0.5)
    inked = np.abs(x[..., 0] - paper) > 0.5  # [N,H,W]
    box = []
    for axis, size in ((1, x.shape[1]), (2, x.shape[2])):
        along = inked.any(3 - axis)  # [N,size]
        along = along[along.any(1)]
        first, last = along.argmax(1), size - along[:, ::-1].argmax(1)
        box.append([_short(first.mean() / size), _short(last.mean() / size)] if len(along) else [0, 1])
    return {"paper": paper, "box": box, "threshold": binarize != "none"}


def _texts(run):
    """The texts of the page."""
    recipe, test = run.recipe, run.test
    facts = []
    for name, label, unit in (
        ("elbo", "ELBO", "nats"), ("reconstruction", "reconstruction", "nats"), ("kl", "KL", "nats"),
        ("loss", "loss", ""),
    ):  # fmt: skip
        value = test.get(name)
        if value is not None and math.isfinite(value) and (name != "loss" or "elbo" not in test):
            facts.append({"label": label, "value": f"{value:,.1f}".replace("-", "−"), "unit": unit})
    if "images" in test:
        facts.append({"label": "test examples", "value": f"{test['images']:,.0f}", "unit": ""})
    return {
        "model": recipe.name,
        "summary": recipe.summary or "",
        "set": Path(recipe.data.name).name,
        "run": run.path.name,
        "facts": facts,
    }


def _short(values):
    """Numbers of five digits, as lists."""
    if np.ndim(values) == 0:
        return float(f"{float(values):.5g}") if np.isfinite(values) else 0.0
    return [_short(each) for each in values]

"""The model cards: one in each version of the SavedModel, for operators, and one beside the files, for app teams."""

import dataclasses
import datetime
import string
import typing
from pathlib import Path

import vaezoo
from vaezoo.exporting.plan import SCORES
from vaezoo.exporting.table import as_markdown, conditions


@dataclasses.dataclass(frozen=True)
class Described:
    """The content of the cards; see `describe`."""

    name: str
    facts: dict[str, str]
    metrics: dict[str, float]
    tensors: dict[str, dict[str, dict[str, tuple]]]
    latent_dim: int
    spec: object
    words: "_Words"
    plan: object
    report: dict
    version: int | None


def describe(run, functions, plan, report, gap, version) -> Described:
    """Gather the content of the cards.

    Args:
        run: the `Run`.
        functions: its `Functions`.
        plan: the `Plan` of the export.
        report: from `verify`.
        gap: the largest difference between the exported decoder and the trained model.
        version: of the SavedModel, or None.
    """
    recipe, model, spec = run.recipe, run.model, run.model.spec
    words = _words(spec, model.likelihood.autoregressive)
    environment, metrics = run.environment, run.test
    precision = recipe.training.precision
    data = [Path(recipe.data.name).name, *[f"binarized: {recipe.data.binarize}"] * spec.is_image]
    counts = ", ".join(f"{count:,} {split}" for split, count in environment.get("images", {}).items())
    facts = {
        "model": f"{recipe.name}: {recipe.summary}" if recipe.summary else recipe.name,
        "paper": recipe.paper,
        "data": "; ".join([", ".join(data), *[counts] * bool(counts)]),
        "examples": f"{spec}: {words.example}",
        "code": f"D = {model.latent_dim}, prior {recipe.model.prior.name}, posterior {recipe.model.posterior.name}",
        "columns": "; ".join(map(_column, spec.columns or ())),
        "classes": ", ".join(environment.get("class_names") or []) if spec.conditional else "",
        "parameters": f"{model.count_params():,}",
        "training": f"{recipe.training.epochs} epochs, seed {recipe.training.seed}, {precision}",
        "exported": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, in float32, by vaezoo {vaezoo.__version__}",
    }
    if functions.calibrated:
        facts["anomalies"] = "; ".join(_calibration(functions.calibrated)) + (
            ". The score is the negative ELBO: images simpler than those of the training may score as typical"
            if spec.is_image
            else ""
        )
    if precision != "float32":
        if model.likelihood.autoregressive:
            facts["exported"] += f"; {gap:.1%} of the tokens are others than those of the {precision} model"
        else:
            facts["exported"] += f"; {spec.kind}s differ from those of the {precision} model by at most {gap:.0e}"
    return Described(
        recipe.name,
        {name: fact for name, fact in facts.items() if fact},
        {name: metrics[name] for name in model.objective.terms if name in metrics},
        _tensors(model, functions, recipe.data.binarize != "none", words),
        model.latent_dim,
        spec,
        words,
        plan,
        report,
        version,
    )


_SCORE = {
    "score": (["B"], "float32", "nats; higher is less typical"),
    "p_value": (["B"], "float32", "above 0, at most 1"),
    "anomaly": (["B"], "int32", "1 for an anomaly, else 0"),
}


def _calibration(score):
    """What the scores are calibrated to, a sentence for each."""
    for name, calibration in score.calibrations.items():
        rate, error = calibration.achieved(score.fpr)
        yield (
            f"`{name}`: an anomaly is above {calibration.threshold(score.fpr):.2f} nats, for a false-positive rate of "
            f"{score.fpr:g}; calibrated on {len(calibration.scores):,} validation examples, achieved {rate:.4f} ± "
            f"{error:.4f} on {len(calibration.test):,} test examples"
        )


def _column(column):
    """A column in words: its name, its type and, of values, their indices."""
    values = ", ".join(f"{index} = {value}" for index, value in enumerate(column.values))
    return f"{column.name} ({column.type}{': ' * bool(values)}{values})".replace("|", "\\|")


class _Words(typing.NamedTuple):
    """How the cards describe one kind of example."""

    example: str  # its axes and type
    taken: str  # its range where a signature takes it
    returned: str  # its range where a signature returns it
    shape: str  # the shape and range of a returned example, after the batch axis
    unchecked: str  # inputs that the model should not be given, and does not refuse


def _words(spec, autoregressive):
    tokens = f"0 to {(spec.levels or 0) - 1}"
    image = _Words(
        example="[H, W, C], float32 in [0, 1]",
        taken="0 to 1",
        returned="0 to 1",
        shape="H, W, C] in [0, 1]",
        unchecked="images outside [0, 1]",
    )
    vector = _Words(
        example="[F], float32",
        taken="any",
        returned="any; the mean of p(x\\|z)",
        shape="F]",
        unchecked="vectors unlike those of the training",
    )
    if spec.columns is not None:
        vector = _Words(
            example="[F], float32: numbers as in the table, the index of a value, NaN for a missing cell",
            taken="as in the table; NaN is missing",
            returned="the mean of a number, the most likely index of a value",
            shape="F]",
            unchecked="rows unlike those of the training",
        )
    sequence = _Words(
        example=f"[T], int32 from {tokens}",
        taken=tokens,
        returned=f"{tokens}, int32" if autoregressive else "0 to 1; the probability of each token",
        shape="T], int32" if autoregressive else "T, V] in [0, 1]",
        unchecked=f"tokens outside {tokens}",
    )
    return {"image": image, "vector": vector, "sequence": sequence}[spec.kind]


def _tensors(model, functions, binarized, words):
    """Signature → "input" or "output" → name → (shape, type, range)."""
    spec, code = model.spec, ["B", model.latent_dim]
    span = words.taken + "; trained on zeros and ones" * binarized
    taken = {
        "z": (code, "float32", "any; the model was trained for codes of the prior"),
        spec.kind: (["B", *spec.shape], spec.dtype, span),
        "seed": (["B", 2], "int32", "any; the same two numbers give the same output"),
        "label": (["B"], "int32", f"0 to {spec.classes - 1}; not checked"),
    }
    decoded = functions.decoder.output
    example = {spec.kind: (["B", *decoded.shape[1:]], decoded.dtype, words.returned)}
    parameters = {key: (["B", *value.shape[1:]], "float32", "any") for key, value in functions.encoder.output.items()}
    if "scale" in parameters:
        parameters["scale"] = (*parameters["scale"][:2], "above 0")
    outputs = {
        "decode": example,
        "encode": parameters,
        "reconstruct": example,
        "sample": {**example, "z": (code, "float32", "a draw from the prior")},
        **dict.fromkeys(SCORES, _SCORE),
    }
    return {
        signature: {"input": {key: taken[key] for key in specs}, "output": outputs[signature]}
        for signature, specs in functions.specs.items()
    }


def serving_card(described: Described) -> str:
    """README.md of a version, for a platform engineer who does not know vaezoo."""
    rows = [row for row in described.report["rows"] if row["runtime"] in ("TensorFlow", "Keras")]
    return _filled(
        "serving_card.md",
        described,
        version=described.version,
        signatures=_signature_table(described.tensors),
        curl=_curl(described),
        python=_python(described),
        agreement=_agreement(described, rows),
    )


def files_card(described: Described) -> str:
    """README.md of the target folder, for a team that uses the decoder in an app."""
    lite = ("decode", "encode", *["score"] * _has_lite_score(described))
    return _filled(
        "files_card.md",
        described,
        files="| file | what it is |\n| - | - |\n"
        + "\n".join(f"| `{name}` | {text} |" for name, text in _files(described)),
        signatures=_signature_table({key: value for key, value in described.tensors.items() if key in lite}),
        usage=_lite_usage(described) if "litert" in described.plan.formats else "",
        picture="\n![The same eight codes through every artefact](verify.png)\n" if described.spec.is_image else "",
        agreement=_agreement(described, described.report["rows"]),
    )


def _filled(template, described, **parts):
    text = (Path(__file__).parent / template).read_text(encoding="utf-8")
    about, limits = _about(described), _limits(described)
    return string.Template(text).substitute(name=described.name, about=about, limits=limits, **parts)


def _files(described):
    """(name, what it is) of everything in the folder."""
    plan, kind = described.plan, described.spec.kind
    yield "decoder.keras", f'z → {kind}, for any Keras 3 backend: `keras.saving.load_model("decoder.keras")`'
    yield "encoder.keras", f"{kind} → the parameters of q(z\\|x), also for any backend"
    if "litert" in plan.formats:
        yield "decoder_*.tflite", "the decoder for LiteRT; its inputs and outputs have the same types in each precision"
        if plan.with_encoder:
            yield "encoder_*.tflite", "the encoder for LiteRT"
        if _has_lite_score(described):
            yield "score_float32.tflite", f"{kind} → score, p_value and anomaly for LiteRT"
    if "onnx" in plan.formats:
        yield "decoder.onnx", "the decoder for ONNX Runtime"
    if described.version:
        yield f"savedmodel/{described.name}/{described.version}/", "for TensorFlow Serving; see its README.md"
    if described.spec.is_image:
        yield "verify.png", "the agreement below as a picture"
    yield "verify.txt, verify.json", "the agreement below: table, numbers"
    yield "verify_inputs.npz", f"the codes and {kind}s it was measured on; `vaezoo verify .` measures it again"


def _has_lite_score(described):
    return any(row["artefact"] == "score_float32.tflite" for row in described.report["rows"])


def _lite_usage(described):
    plan, rows, kind = described.plan, described.plan.batch or 1, described.spec.kind
    label = f', label=np.zeros({rows}, "int32")' if described.spec.conditional else ""
    batch = "any batch" if plan.batch is None else f"a batch of exactly {rows}"
    return f"""
LiteRT files take {batch}. From Python, with ai-edge-litert and NumPy:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

decode = Interpreter("decoder_{plan.quantizations[0]}.tflite").get_signature_runner("decode")
z = np.random.default_rng(0).standard_normal(({rows}, {described.latent_dim}), "float32")
{kind} = decode(z=z{label})["{kind}"]  # [{rows}, {described.words.shape}
```

For Android and C++, see `export/litert/README.md` in vaezoo's repository.
"""


def _about(described):
    facts = "| | |\n| - | - |\n" + "\n".join(f"| {name} | {fact} |" for name, fact in described.facts.items())
    if not described.metrics:
        return facts
    metrics = ", ".join(f"{name} {value:.2f}" for name, value in described.metrics.items())
    return f"{facts}\n\nTest metrics, in nats per {described.spec.kind}: {metrics}."


def _signature_table(tensors):
    lines = ["| signature | | name | shape | type | range |", "| - | - | - | - | - | - |"]
    for signature, sides in tensors.items():
        for side, named in sides.items():
            for name, (shape, dtype, span) in named.items():
                sizes = ", ".join(map(str, shape))
                lines.append(f"| `{signature}` | {side} | `{name}` | [{sizes}] | {dtype} | {span} |")
    return "\n".join(lines)


def _curl(described):
    label = ', "label": [0]' if described.spec.conditional else ""
    url = f"http://localhost:8501/v1/models/{described.name}:predict"
    zeros = ", ".join(["0"] * described.latent_dim)
    return "\n".join(
        [
            f'curl -s {url} -d \'{{"signature_name": "sample", "inputs": {{"seed": [[1, 2]]{label}}}}}\'',
            f'curl -s {url} -d \'{{"inputs": {{"z": [[{zeros}]]{label}}}}}\'',
        ]
    )


def _python(described):
    label = ", label=[0]" if described.spec.conditional else ""
    kind, shape = described.spec.kind, described.words.shape
    return (
        "from vaezoo.serving import DecoderClient\n\n"
        f'client = DecoderClient("http://localhost:8501", model="{described.name}")\n'
        f"{kind} = client.decode([[0.0] * {described.latent_dim}]{label})  # [1, {shape}"
    )


def _agreement(described, rows):
    report = {**described.report, "rows": rows}
    return (
        f"Absolute difference from the Keras files: {conditions(report)}.\nOutputs are divided by their largest "
        "absolute value where it is above 1. *Worst example*: the largest of the mean differences of each example.\n\n"
        f"{as_markdown(report)}"
    )


def _limits(described):
    kind = described.spec.kind
    unchecked = [
        described.words.unchecked,
        "codes far from the prior",
        *["labels that are no class"] * described.spec.conditional,
    ]
    return (
        f"The model describes {kind}s like those it was trained on, and no others; a sample is not evidence of\n"
        "anything in the world. Inputs are not checked: the model also returns an output for\n"
        f"{', '.join(unchecked[:-1])} and {unchecked[-1]}."
    )

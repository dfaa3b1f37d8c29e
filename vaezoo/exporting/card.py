"""The model cards: one in each version of the SavedModel for whoever serves it, one beside the files for app teams."""

import dataclasses
import datetime
import json
import string
from pathlib import Path

import vaezoo
from vaezoo.exporting.table import as_markdown, conditions


@dataclasses.dataclass(frozen=True)
class Described:
    """What the cards speak of; see `describe`."""

    name: str
    facts: dict[str, str]
    figures: dict[str, float]
    tensors: dict[str, dict[str, tuple[str, str, str]]]
    latent_dim: int
    classes: int
    plan: object
    report: dict
    version: int | None


def describe(run, functions, plan, report, gap, version) -> Described:
    """Gather what the cards say.

    Args:
        run: the `Run`.
        functions: its `Functions`.
        plan: the `Plan` of the export.
        report: what `verify` measured.
        gap: the largest difference between the exported decoder and the trained model.
        version: of the SavedModel, or None.
    """
    recipe, model = run.recipe, run.model
    environment = _json(run.path / "environment.json")
    images = environment.get("images", {})
    precision = recipe.training.precision
    counted = ", ".join(f"{count:,} {split}" for split, count in images.items())
    facts = {
        "model": f"{recipe.name}: {recipe.summary}" if recipe.summary else recipe.name,
        "paper": recipe.paper,
        "data": f"{Path(recipe.data.name).name}, binarized: {recipe.data.binarize}"
        + (f"; {counted}" if counted else ""),
        "image": f"{_shape(model.image_shape)} (H, W, C), float32 in [0, 1]",
        "code": f"D = {model.latent_dim}, prior {recipe.model.prior.name}, posterior {recipe.model.posterior.name}",
        "classes": ", ".join(environment.get("class_names") or []) if model.conditional else "",
        "parameters": f"{model.count_params():,}",
        "training": f"{recipe.training.epochs} epochs, seed {recipe.training.seed}, {precision}",
        "exported": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, in float32, by vaezoo {vaezoo.__version__}",
    }
    if precision != "float32":
        facts["exported"] += f"; images differ from those of the {precision} model by at most {gap:.0e}"
    tensors = _tensors(model, functions, recipe.data.binarize != "none")
    return Described(
        recipe.name,
        {name: fact for name, fact in facts.items() if fact},
        {k: v for k, v in _json(run.path / "test.json").items() if k not in ("images", "training_seconds")},
        tensors,
        model.latent_dim,
        model.classes,
        plan,
        report,
        version,
    )


def _json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _shape(sizes):
    return "×".join(map(str, sizes))


def _tensors(model, functions, binarized):
    """Signature → "input" or "output" → [(name, shape and type, range)]."""
    image, code = ["B", *model.image_shape], ["B", model.latent_dim]
    described = {
        "z": (code, "float32", "any; the prior's codes are the ones it was trained for"),
        "image": (image, "float32", "0 to 1"),
        "seed": (["B", 2], "int32", "any; the same two numbers give the same image"),
        "label": (["B"], "int32", f"0 to {model.classes - 1}; others give an image of no class"),
    }
    span = "0 to 1; it was trained on zeros and ones" if binarized else "0 to 1"
    taken = {**described, "image": (image, "float32", span)}
    parameters = {key: (["B", *value.shape[1:]], "float32", "any") for key, value in functions.encoder.output.items()}
    if "scale" in parameters:
        parameters["scale"] = (*parameters["scale"][:2], "above 0")
    outputs = {
        "decode": {"image": described["image"]},
        "encode": parameters,
        "reconstruct": {"image": described["image"]},
        "sample": {"image": described["image"], "z": (code, "float32", "a draw from the prior")},
    }
    return {
        signature: {"input": {key: taken[key] for key in specs}, "output": outputs[signature]}
        for signature, specs in functions.specs.items()
    }


def serving_card(described: Described) -> str:
    """README.md of a version: for a platform engineer who has never seen vaezoo."""
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
    """README.md of the target folder: for a team that puts a decoder into an app."""
    return _filled(
        "files_card.md",
        described,
        files="| file | what it is |\n| - | - |\n"
        + "\n".join(f"| `{name}` | {text} |" for name, text in _files(described)),
        signatures=_signature_table({key: described.tensors[key] for key in ("decode", "encode")}),
        usage=_lite_usage(described) if "litert" in described.plan.formats else "",
        agreement=_agreement(described, described.report["rows"]),
    )


def _filled(template, described, **parts):
    text = (Path(__file__).parent / template).read_text(encoding="utf-8")
    about, limits = _about(described), _limits(described)
    return string.Template(text).substitute(name=described.name, about=about, limits=limits, **parts)


def _files(described):
    """(name, what it is) of everything in the folder."""
    plan = described.plan
    yield "decoder.keras", 'z → image, for any Keras 3 backend: `keras.saving.load_model("decoder.keras")`'
    yield "encoder.keras", "image → the parameters of q(z\\|x), likewise"
    if "litert" in plan.formats:
        yield "decoder_*.tflite", "the decoder for LiteRT; float32 in and out, whatever the precision inside"
        if plan.with_encoder:
            yield "encoder_*.tflite", "the encoder for LiteRT, likewise"
    if "onnx" in plan.formats:
        yield "decoder.onnx", "the decoder for ONNX Runtime"
    if described.version:
        yield f"savedmodel/{described.name}/{described.version}/", "for TensorFlow Serving; its README.md says how"
    yield "verify.png, verify.txt, verify.json", "the agreement below: pictures, table, numbers"
    yield "verify_inputs.npz", "the codes and images it was measured on; `vaezoo verify .` measures again"


def _lite_usage(described):
    plan, rows = described.plan, described.plan.batch or 1
    label = f', label=np.zeros({rows}, "int32")' if described.classes else ""
    batch = "any batch" if plan.batch is None else f"a batch of exactly {rows}"
    return f"""
LiteRT files take {batch}. From Python, with ai-edge-litert and NumPy:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

decode = Interpreter("decoder_{plan.quantizations[0]}.tflite").get_signature_runner("decode")
z = np.random.default_rng(0).standard_normal(({rows}, {described.latent_dim}), "float32")
image = decode(z=z{label})["image"]  # [{rows}, H, W, C] in [0, 1]
```

On Android and in C++: `export/litert/README.md` in vaezoo's repository.
"""


def _about(described):
    facts = "| | |\n| - | - |\n" + "\n".join(f"| {name} | {fact} |" for name, fact in described.facts.items())
    if not described.figures:
        return facts
    figures = ", ".join(f"{name} {value:.2f}" for name, value in described.figures.items())
    return f"{facts}\n\nTest figures, in nats an image: {figures}."


def _signature_table(tensors):
    lines = ["| signature | | name | shape | type | range |", "| - | - | - | - | - | - |"]
    for signature, sides in tensors.items():
        for side, named in sides.items():
            for name, (shape, dtype, span) in named.items():
                sizes = ", ".join(map(str, shape))
                lines.append(f"| `{signature}` | {side} | `{name}` | [{sizes}] | {dtype} | {span} |")
    return "\n".join(lines)


def _curl(described):
    label = ', "label": [0]' if described.classes else ""
    url = f"http://localhost:8501/v1/models/{described.name}:predict"
    zeros = ", ".join(["0"] * described.latent_dim)
    return "\n".join(
        [
            f'curl -s {url} -d \'{{"signature_name": "sample", "inputs": {{"seed": [[1, 2]]{label}}}}}\'',
            f'curl -s {url} -d \'{{"inputs": {{"z": [[{zeros}]]{label}}}}}\'',
        ]
    )


def _python(described):
    label = ", label=[0]" if described.classes else ""
    return (
        "from vaezoo.serving import DecoderClient\n\n"
        f'client = DecoderClient("http://localhost:8501", model="{described.name}")\n'
        f"image = client.decode([[0.0] * {described.latent_dim}]{label})  # [1, H, W, C] in [0, 1]"
    )


def _agreement(described, rows):
    report = {**described.report, "rows": rows}
    return (
        f"Absolute difference from the Keras files: {conditions(report)}.\nParameters of q(z|x) are divided by their "
        f"largest value. *Worst image*: the mean difference over the image that fares worst.\n\n{as_markdown(report)}"
    )


def _limits(described):
    text = (
        "It knows images like those it was trained on, and nothing else: what it draws is evidence of nothing in the\n"
        "world. Inputs are not checked; images outside [0, 1] and codes far from the prior get an answer all the same."
    )
    return text + ("\nSo does a label that is no class." if described.classes else "")

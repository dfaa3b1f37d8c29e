"""Export a run: write everything to a staging folder, measure it, publish it."""

import dataclasses
from pathlib import Path

import tensorflow as tf

import vaezoo
from vaezoo.atomic import plain_errors, write_arrays, write_file, write_text
from vaezoo.errors import VaezooError
from vaezoo.exporting import card, litert, onnx, saved_model
from vaezoo.exporting.agreement import Agreement, verify
from vaezoo.exporting.artefacts import REFERENCE
from vaezoo.exporting.inputs import by_signature, calibration_inputs, measured_columns, measured_inputs
from vaezoo.exporting.plan import SCORES, Plan
from vaezoo.exporting.scores import Score
from vaezoo.exporting.signatures import Functions
from vaezoo.exporting.staging import Staging
from vaezoo.exporting.table import BOUNDS, BOUNDS_OF_TOKENS, difference, difference_of_rows
from vaezoo.presets import open_run
from vaezoo.runs import Run


@dataclasses.dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        path: the folder.
        name: of the model.
        version: of the SavedModel, or None without one.
        agreement: the measurement, which has passed.
        card: the model card to read first.
        notes: for the user, a line each.
    """

    path: Path
    name: str
    version: int | None
    agreement: Agreement
    card: Path
    notes: list[str]


def export(
    run: str | Path,
    to: str | Path,
    formats=None,
    quantizations=None,
    with_encoder: bool = False,
    batch: int | None = None,
    fpr: float | None = None,
    threads: int = 1,
    say=lambda line: None,
) -> Exported:
    """Turn a run into artefacts that do not need vaezoo, and check that they agree with the Keras files.

    Args:
        run: the run directory, or a preset.
        to: the folder to write; a SavedModel in it becomes the next version, and no other file is overwritten.
        formats: some of "savedmodel", "litert", "keras", "onnx"; by default the first three.
        quantizations: some of "float32", "float16", "dynamic_range", "int8"; by default all, of rows of a table all
            but float16.
        with_encoder: write the encoder as LiteRT too.
        batch: the static batch of LiteRT and ONNX files; None for any.
        fpr: add a score for anomalies to the SavedModel and, in float32, as LiteRT, calibrated to this rate of false
            alarms, in (0, 1); None for no score.
        threads: of the measurement.
        say: called with a line for each step.

    Returns:
        The `Exported`: what was written, and how well it agrees.

    Raises:
        VaezooError: for bad input, a model that a format cannot hold, or an artefact that disagrees. Nothing is written
            to the folder then.
    """
    choices = {"formats": formats, "quantizations": quantizations, "with_encoder": with_encoder, "batch": batch}
    choices["fpr"] = fpr
    plan = Plan(**{name: choice for name, choice in choices.items() if choice is not None})
    run = checked_run(run)
    plan = _without_float16(plan, quantizations) if run.model.spec.columns else plan
    name, notes = run.recipe.name, []
    with Staging(to) as staging:
        if plan.flat:
            staging.refuse_existing([*_flat_names(plan), "README.md"])
        say("reading the run and its data")
        functions = Functions(run.model, None if plan.fpr is None else Score(run, plan.fpr))
        gap = _gap(run, functions)
        version = _write(staging, run, plan, functions, say, notes)
        say("measuring every artefact against Keras")
        agreement = verify(staging.path, threads)
        if not agreement.passed:
            failures = "; ".join(agreement.failures)
            raise VaezooError(f"not kept, since it disagrees with Keras: {failures}; leave it out, or train longer")
        described = card.describe(run, functions, plan, agreement.report, gap, version and int(version.name))
        if version:
            write_text(version / "README.md", card.serving_card(described))
        if plan.flat:
            write_text(staging.path / "README.md", card.files_card(described))
        staging.publish()
        if version and not saved_model.update_models_config(Path(to) / "savedmodel", name):
            notes.append(f"{to}/savedmodel/models.config was edited by hand and does not name '{name}'; add it there")
    folder = Path(to) if plan.flat else Path(to) / version.relative_to(staging.path)
    return Exported(Path(to), name, version and int(version.name), agreement, folder / "README.md", notes)


def _without_float16(plan, quantizations):
    """The plan for rows of a table, whose units are weights too: 16 bits are too few for a mean of 2,000 or 70,000."""
    if "float16" in (quantizations or ()):
        raise VaezooError(
            "float16 is for images, vectors and sequences: it rounds the units of a table's columns; choose from "
            "float32, dynamic_range, int8"
        )
    return dataclasses.replace(plan, quantizations=tuple(name for name in plan.quantizations if name != "float16"))


def checked_run(path: str | Path) -> Run:
    """Open a run directory or a preset and read its recipe and model.

    Args:
        path: the folder, or the name of a preset.

    Raises:
        VaezooError: if it is no run directory, is broken, or was written by a newer vaezoo.
    """
    run = open_run(path)
    made_with = run.environment.get("vaezoo", "")
    if _numbers(made_with) > _numbers(vaezoo.__version__):
        raise VaezooError(
            f"'{path}' comes from vaezoo {made_with}, and this is {vaezoo.__version__}; update vaezoo to export it"
        )
    _ = run.recipe, run.model, run.test  # read now, so that a broken file is reported before anything is written
    return run


def _numbers(version):
    """The leading numbers of a version: "0.10.1rc1" → (0, 10)."""
    parts = version.split(".")
    count = next((index for index, part in enumerate(parts) if not part.isdecimal()), len(parts))
    return tuple(int(part) for part in parts[:count])


def _gap(run, functions):
    """The largest difference between the float32 decoder and the trained model, which may compute in half precision.

    It is measured as in `verify`; of tokens it is the share that are others.
    """
    model = run.model
    with tf.device("CPU:0"):  # a GPU may round float32 products to 10 bits, in either of the two
        z = model.prior_distribution().sample(64, seed=(0, 0))
        label = {"label": tf.range(64) % model.spec.classes} if model.spec.conditional else {}
        wanted = model.likelihood.decoded(model.decoder_of(label)(z), model.spec).numpy()
        decoded = functions.decode({"z": z, **label})[functions.example].numpy()
    found, tokens = difference(decoded, wanted), wanted.dtype.kind == "i"
    if model.spec.columns is not None:
        found, _ = difference_of_rows(decoded, wanted, measured_columns(model.spec.columns))
    gap = float(found.mean() if tokens else found.max())
    bound = BOUNDS_OF_TOKENS["float32"]["mean"] if tokens else BOUNDS["float32"]["largest"]
    if run.recipe.training.precision == "float32" and not gap <= bound:
        raise VaezooError(f"the standalone decoder differs from the trained model by {gap:.1e}, a bug in vaezoo")
    return gap


def _lite_names(plan):
    """(file name, signature, quantization) of each LiteRT file."""
    parts = [("decoder", "decode")] + [("encoder", "encode")] * plan.with_encoder
    if "litert" not in plan.formats:
        return []
    score = [("score_float32.tflite", "score", "float32")] * (plan.fpr is not None)  # fewer bits would move the scores
    parts = [(f"{part}_{kind}.tflite", signature, kind) for part, signature in parts for kind in plan.quantizations]
    return parts + score


def _flat_names(plan):
    """The files in the target folder itself. The Keras files are always among them: the others are compared to them."""
    return [*REFERENCE, *(name for name, _, _ in _lite_names(plan)), *["decoder.onnx"] * ("onnx" in plan.formats)]


def _write(staging, run, plan, functions, say, notes):
    """Write every artefact into the staging folder; returns the folder of the SavedModel's version, or None."""
    folder = staging.path if plan.flat else staging.path / "reference"
    with plain_errors(folder):
        folder.mkdir(exist_ok=True)
    inputs = measured_inputs(run)
    if functions.calibrated:
        given = by_signature(inputs)
        with tf.device("CPU:0"):  # where `verify` computes them too
            inputs |= {name: getattr(functions, name)(given[name])["score"].numpy() for name in SCORES}
    write_file(folder / "decoder.keras", functions.decoder.save)
    write_file(folder / "encoder.keras", functions.encoder.save)
    write_arrays(folder / "verify_inputs.npz", inputs)
    calibration = calibration_inputs(run) if "litert" in plan.formats and "int8" in plan.quantizations else {}
    for name, signature, kind in _lite_names(plan):
        say(f"writing {name}")
        try:
            content = litert.convert(functions, signature, kind, plan.batch, calibration.get(signature))
        except VaezooError as error:
            if signature != "score" or "savedmodel" not in plan.formats:  # something must hold the score
                raise
            notes.append(f"{name} is left out: {error}")
            continue
        write_file(folder / name, lambda path, content=content: path.write_bytes(content))
    if "onnx" in plan.formats:
        say("writing decoder.onnx")
        onnx.write(functions, folder / "decoder.onnx", plan.batch)
    if "savedmodel" not in plan.formats:
        return None
    version = staging.next_version(run.recipe.name)
    say(f"writing savedmodel/{run.recipe.name}/{version.name}")
    reference = {name: folder / name for name in REFERENCE}
    saved_model.write(functions, version, run.recipe.name, reference, inputs)
    return version

"""The inputs that artefacts are measured and calibrated with: codes of the prior, test examples, training codes."""

import numpy as np

from vaezoo.columns import units_of
from vaezoo.seeds import EXPORT, fold_seed
from vaezoo.spec import AXES

COUNT = 1000  # codes, and test examples, of a measurement
CALIBRATION = 2000  # training examples whose codes set the ranges of int8
CALIBRATION_DRAWS = 4000  # codes of the prior that do so too; more than COUNT, so that their range is as wide


def measured_inputs(run, seed=0):
    """What `verify` sends through every artefact. The export keeps it, so that it can be measured again anywhere.

    Args:
        run: a `Run`.
        seed: of the codes and of their labels.

    Returns:
        "z" [1000,D] float32 from the prior, and test examples [<=1000,...] by their kind: "image" as uint8,
        "vector" as float32 or "sequence" as int32. For a conditional model also "z_label" and "{kind}_label", int32; of
        rows of a table "columns" [3,F], what each column holds (0 a number, 1 a count, 2 the index of a value), its
        middle and its spread.
    """
    model, spec = run.model, run.model.spec
    z = model.prior_distribution().sample(COUNT, seed=fold_seed(seed, EXPORT, 0)).numpy()
    x, labels = run.spaced("test", COUNT)
    # 256 grey levels: any image serves for a comparison, and these need little space on disk.
    inputs = {"z": z, spec.kind: np.round(x * 255).astype("uint8") if spec.is_image else x}
    if spec.columns is not None:
        inputs["columns"] = measured_columns(spec.columns)
    if spec.conditional:
        drawn = np.random.default_rng([seed, EXPORT]).integers(0, spec.classes, COUNT)
        inputs |= {"z_label": drawn.astype("int32"), f"{spec.kind}_label": labels}
    return inputs


def measured_columns(columns):
    """What each column holds, its middle and its spread, float32 [3,F]: see `measured_inputs`."""
    contents = np.array([{"continuous": 0, "count": 1}.get(column.type, 2) for column in columns], "float32")
    return np.stack([contents, *units_of(columns)])


def kind_of(stored):
    """The kind of the examples among the arrays of `measured_inputs`, which is also the name of their tensor."""
    return next(kind for kind in AXES if kind in stored)


def by_signature(stored):
    """The arrays of `measured_inputs` as what each signature takes.

    Args:
        stored: arrays by name.

    Returns:
        Signature → arrays by name [N,...], those of the scores too where the export has none. The seeds are (row, 0).
    """
    kind, rows = kind_of(stored), len(stored["z"])
    x = stored[kind].astype("float32") / 255 if kind == "image" else stored[kind]
    code_label = {"label": stored["z_label"]} if "z_label" in stored else {}
    example = {kind: x, **({"label": stored[f"{kind}_label"]} if code_label else {})}

    def seeds(rows):
        return np.stack([np.arange(rows), np.zeros(rows)], axis=1).astype("int32")

    return {
        "decode": {"z": stored["z"], **code_label},
        "encode": example,
        "reconstruct": example,
        "sample": {"seed": seeds(rows), **code_label},
        "score": example,
        "score_drawn": {**example, "seed": seeds(len(x))},
    }


def calibration_inputs(run, seed=0):
    """What int8 takes its ranges from: training examples, and the codes that a decoder meets in use.

    The codes are drawn from the posteriors of those examples (the aggregated posterior) and from the prior, which has
    a wider range: a value outside the range of a quantized tensor is clipped.

    Args:
        run: a `Run`.
        seed: of the draws.

    Returns:
        {"decode": inputs by name, "encode": inputs by name}; the arrays of each have equally many rows.
    """
    model, spec = run.model, run.model.spec
    x, labels = run.spaced("train", CALIBRATION)
    codes = model.forward({"x": x, "label": labels}, seed=fold_seed(seed, EXPORT, 1)).z[0]
    draws = model.prior_distribution().sample(CALIBRATION_DRAWS, seed=fold_seed(seed, EXPORT, 2))
    z = np.concatenate([codes, draws]).astype("float32")
    inputs = {"decode": {"z": z}, "encode": {spec.kind: x}}
    if spec.conditional:
        drawn = np.arange(CALIBRATION_DRAWS, dtype="int32") % spec.classes
        inputs["decode"]["label"], inputs["encode"]["label"] = np.concatenate([labels, drawn]), labels
    return inputs

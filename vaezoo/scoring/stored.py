"""What a run knows about normal examples: measured once on its own data, kept in the run, read without the data.

RUN/calibration.npz belongs to one model file, whose checksum it holds. It is checked like any file that a stranger may
have written; one that is broken or of another model is measured anew.
"""

import contextlib
import dataclasses
import hashlib
import json

import numpy as np
from typing_extensions import TypedDict

from vaezoo.atomic import write_arrays
from vaezoo.errors import VaezooError, unknown
from vaezoo.evaluation.encoded import encode
from vaezoo.reading import Count, parse_json, read_arrays
from vaezoo.regular_files import open_regular
from vaezoo.scoring.calibration import Calibration
from vaezoo.scoring.explain import element_costs
from vaezoo.scoring.scores import SCORES, Reference, features, reference

FILE = "calibration.npz"
LARGEST = 2**28  # bytes of the file, unpacked
REFERENCE_EXAMPLES = 5000  # of the training split


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """What a run knows about normal examples.

    Attributes:
        reference: the `Reference` of its training examples.
        expected: the mean of `element_costs` over its validation examples.
        calibrations: (name of a score, samples) → `Calibration`: scores of its validation and test examples.
    """

    reference: Reference
    expected: np.ndarray
    calibrations: dict[tuple[str, int], Calibration]


def known(run, score, samples):
    """What a run knows for a score; measured on its data where it is not yet known, and kept in the run.

    Args:
        run: a `Run`.
        score: one of SCORES.
        samples: of the score.

    Returns:
        The `Known`, with the calibration of that score.

    Raises:
        VaezooError: for an unknown score, or if it has to be measured and the data are missing, or have no validation
            split.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    found, problem = _read(run)
    if found and (score, samples) in found.calibrations:
        return found
    try:
        found = _measured(run, score, samples, found)
    except VaezooError as error:
        reason = f" ({problem})" if problem else ""
        raise VaezooError(f"the score '{score}' of '{run.path}' is not calibrated{reason}: {error}") from None
    # If the run directory cannot be written, the scores are right all the same; only the next call takes as long.
    with contextlib.suppress(VaezooError):
        _write(run, found)
    return found


def _measured(run, score, samples, before):
    """The same with the calibration of one more score, from the run's own examples."""
    model = run.model
    if run.data.validation is None:
        raise VaezooError(
            "the data have no validation split, and neither training nor test examples can stand in for it; train with "
            "data.validation=0.1"
        )

    def encoded(split, count=None):
        x, labels = run.spaced(split, count)
        return encode(model, x, labels if model.spec.conditional else None)

    validation = encoded("validation")
    if before is None:
        before = Known(
            reference(model, encoded("train", REFERENCE_EXAMPLES)), element_costs(model, validation).mean(0), {}
        )

    def scores(examples):
        found = SCORES[score](model, examples, samples=samples, reference=before.reference)
        return np.where(np.isnan(found), np.inf, found)  # of an example so far out that float32 overflows

    calibration = Calibration(scores(validation), scores(encoded("test")))
    return dataclasses.replace(before, calibrations={**before.calibrations, (score, samples): calibration})


def fingerprint(run):
    """The checksum of the model file of a run."""
    with open_regular(run.model_file) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Entry(TypedDict):
    """A calibration in the file: of a score with so many draws."""

    score: str
    samples: Count


def _read(run):
    """(what the file of a run holds, None), or (None, why it cannot be used: None where there is no file)."""
    path = run.path / FILE
    if not path.exists():
        return None, None
    try:
        return _checked(run, read_arrays(path, LARGEST)), None
    except (VaezooError, KeyError, ValueError, TypeError) as error:
        return None, f"'{path}' cannot be used: {error}"


def _checked(run, arrays):
    """The arrays of a file as `Known`; a ValueError or KeyError for anything that this module does not write."""
    if str(arrays["model"]) != fingerprint(run):
        raise ValueError("it belongs to another model file")
    model = run.model
    places = model.spec.shape[:2] if model.spec.is_image else model.spec.shape
    size = len(features(model, *_one_example(model))[0])
    mean = _numbers(arrays, "mean", (size,))
    covariance = _numbers(arrays, "covariance", (size, size))
    if (
        not np.allclose(covariance, covariance.T)
        or np.linalg.eigvalsh(covariance)[0] < -1e-6 * np.abs(covariance).max()
    ):
        raise ValueError("'covariance' is no covariance")
    weight = None
    if "complexity_weight" in arrays:
        weight = float(_numbers(arrays, "complexity_weight", ()))
        if not 0 <= weight <= 1:
            raise ValueError(f"'complexity_weight' is {weight:g}")
    calibrations = {}
    for place, entry in enumerate(parse_json(str(arrays["scores"]), list[Entry])):
        found = [_numbers(arrays, f"{split}_{place}", None) for split in ("validation", "test")]
        calibrations[entry["score"], entry["samples"]] = Calibration(*found)
    return Known(Reference(mean, covariance, weight), _numbers(arrays, "expected", places), calibrations)


def _numbers(arrays, name, shape):
    """A finite array of floats of that shape; for None scores of any length [n] >= 1, which may overflow."""
    array = arrays[name]
    if array.dtype.kind != "f" or (np.isnan(array) if shape is None else ~np.isfinite(array)).any():
        raise ValueError(f"'{name}' does not hold finite numbers")
    if array.shape != shape if shape is not None else array.ndim != 1 or not len(array):
        raise ValueError(f"'{name}' has the shape {list(array.shape)}")
    return array


def _one_example(model):
    """An example of zeros, and its label: for the size of the features."""
    x = np.zeros((1, *model.spec.shape), model.spec.dtype)
    return x, np.zeros(1, "int32") if model.spec.conditional else None


def _write(run, found):
    entries = [{"score": score, "samples": samples} for score, samples in found.calibrations]
    arrays = {
        "model": fingerprint(run),
        "mean": found.reference.mean,
        "covariance": found.reference.covariance,
        "complexity_weight": found.reference.complexity_weight,
        "expected": found.expected,
        "scores": json.dumps(entries),
    }
    for place, calibration in enumerate(found.calibrations.values()):
        arrays |= {f"validation_{place}": calibration.scores, f"test_{place}": calibration.test}
    write_arrays(run.path / FILE, arrays)

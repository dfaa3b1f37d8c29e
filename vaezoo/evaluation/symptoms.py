"""The numbers of a run that tell whether something is wrong with it; `doctor` judges them."""

import contextlib
import dataclasses
import os

import numpy as np

from vaezoo.data.binarization import fitting
from vaezoo.evaluation.encoded import encode
from vaezoo.evaluation.latent_code import active_units, aggregated_posterior
from vaezoo.evaluation.report import COLLAPSED
from vaezoo.evaluation.sample_quality import UndefinedMetricError, frechet_distance
from vaezoo.models.in_batches import decode
from vaezoo.part_schema import WarmUp
from vaezoo.reading import read_table
from vaezoo.recipe_schema import Recipe
from vaezoo.seeds import IMPORTANCE, fold_seed
from vaezoo.spec import Spec

MOST = 1000  # examples of a split
DIRECTIONS = 20  # principal components of the reconstructions
CHANCES = 10  # draws that say how far codes of one distribution are apart


@dataclasses.dataclass(frozen=True)
class Measured:
    """The numbers of a run that the checks read, from at most 1,000 examples of a split; None where undefined.

    Attributes:
        path: the run directory, for commands to try.
        recipe: the resolved `Recipe`.
        spec: what an example is.
        steps: that the optimizer took; None if the file of the model does not say.
        rows: of metrics.csv, from the end of a warm-up of the KL on.
        fitting: how the images could become zeros and ones: see `data.binarization.fitting`.
        train, test: the bound of N training and of N test examples [N], in nats; of an autoencoder log p(x|z).
        reconstruction, kl: of the test examples, in nats.
        information: I(x; z), in nats; see `aggregated_posterior`.
        active: the number of active units.
        latents: D.
        explained: the share of the variance of the test examples that their reconstructions explain.
        expected_error, made_error: the root mean square of the standard deviation of p(x|z), and of x minus its mean.
        one_scale: the standard deviation of p(x|z), where it is one number for all elements.
        apart, apart_error: see `_apart`; of the codes and of what a critic tells them from, in nats.
        unlike, floor: see `_unlike`; of samples from the prior, and of reconstructions of training examples.
    """

    path: object
    recipe: Recipe
    spec: Spec
    steps: int | None
    rows: list[dict[str, float]]
    fitting: str | None
    train: np.ndarray
    test: np.ndarray
    reconstruction: float
    kl: float | None
    information: float | None
    active: int
    latents: int
    apart: float | None
    apart_error: float | None
    explained: float | None
    expected_error: float | None
    made_error: float | None
    one_scale: float | None
    unlike: float | None
    floor: float | None

    @property
    def collapsed(self):
        """Whether the code says nothing about the example."""
        return self.kl is not None and (
            self.active == 0 or (self.information is not None and self.information < COLLAPSED)
        )

    @property
    def kl_weight(self):
        """The weight of the KL in the loss at the end of training; see `Objective.kl_weight` of `part_schema`."""
        return self.recipe.model.objective.kl_weight(self.steps)


def measure(run, seed=0):
    """The `Measured` numbers of a run; arguments and errors as of `diagnose`."""
    model, spec = run.model, run.data.spec
    count = min(MOST, len(run.data.train), len(run.data.test))  # equal, so that training and test compare
    encoded = {}
    for split in ("train", "test"):
        x, labels = run.spaced(split, count)
        encoded[split] = encode(model, x, labels if model.spec.conditional else None)
    terms = {split: _terms(examples, seed) for split, examples in encoded.items()}
    bounds = {split: -sum(values for values in both if values is not None) for split, both in terms.items()}
    reconstruction, kl = terms["test"]
    aggregated = aggregated_posterior(model, encoded["test"], seed=seed)
    apart, apart_error = _told_apart(encoded["test"], run.recipe.model.objective.critic_of, seed)
    steps = int(model.optimizer.iterations) if model.compiled else None
    measured = Measured(
        path=run.path,
        recipe=run.recipe,
        spec=spec,
        steps=steps,
        rows=_rows(run, steps),
        fitting=fitting(run.data.test.spaced(count).first()[0]) if spec.is_image else None,
        **bounds,
        reconstruction=float(reconstruction.mean()),
        kl=None if kl is None else float(kl.mean()),
        information=aggregated and float(aggregated.mutual_information.mean()),
        active=active_units(encoded["test"].means()),
        latents=encoded["test"].model.latent_dim,
        apart=apart,
        apart_error=apart_error,
        **dict.fromkeys(("explained", "expected_error", "made_error", "one_scale", "unlike", "floor")),
    )
    if spec.levels is not None or spec.columns is not None:  # tokens and values have no mean, and columns no one unit
        return measured
    return dataclasses.replace(measured, **_errors(encoded["test"], seed), **_pictures(encoded, seed))


def _passes(encoded, seed):
    """A pass with one draw of the code for each batch of examples."""
    return encoded.passes(seed=lambda number: fold_seed(seed, IMPORTANCE, -1 - number))


def _terms(encoded, seed):
    """-log p(x|z) and the KL of each example [N], in nats; no KL for an autoencoder."""
    reconstruction, kl = [], []
    for passed in _passes(encoded, seed):
        reconstruction.append(-passed.log_likelihood[0])
        if encoded.model.posterior.has_density:
            kl.append(passed.kl())
    return tuple(np.concatenate(parts).astype("float64") if parts else None for parts in (reconstruction, kl))


def _told_apart(encoded, critic_of, seed):
    """`_apart` for a critic: of the codes, and of what it tells them from; (None, None) without a critic."""
    if not critic_of:
        return None, None
    codes = np.concatenate([passed.z[0] for passed in _passes(encoded, seed)])
    rng = np.random.default_rng(seed)
    if critic_of == "permuted":
        draws = [rng.permuted(codes, axis=0) for _ in range(1 + CHANCES)]
    else:
        drawn = np.asarray(encoded.model.prior_codes((1 + CHANCES) * len(codes), seed))
        draws = np.split(drawn, 1 + CHANCES)
    return _apart(codes, draws[0], draws[1:])


def _apart(codes, other, same):
    """KL(N || M) of the normals with the means and covariances of codes [N,D] and of others [M,D], in nats.

    Where there is no difference the estimate is not 0, and for many latents it is several nats: what draws of the
    distribution of the others give in the place of the codes is taken off.

    Args:
        codes: [N,D].
        other: [M,D].
        same: several draws [N,D] of the distribution of `other`.

    Returns:
        (the estimate, its standard deviation where there is no difference); (None, None) for a latent without variance.
    """
    found, *chance = [_kl_of_normals(each, other) for each in (codes, *same)]
    if None in (found, *chance):
        return None, None
    return float(found - np.mean(chance)), float(np.std(chance, ddof=1))


def _kl_of_normals(codes, other):
    """KL of the normals with the moments of [N,D] and of [M,D], in nats; None for a latent without variance."""
    size = codes.shape[1]
    mean, other_mean = codes.mean(0, "float64"), other.mean(0, "float64")
    covariance, other_covariance = np.cov(codes.T).reshape(size, size), np.cov(other.T).reshape(size, size)
    (sign, log_det), (other_sign, other_log_det) = map(np.linalg.slogdet, (covariance, other_covariance))
    if not (sign > 0 and other_sign > 0):
        return None
    second = covariance + np.outer(other_mean - mean, other_mean - mean)
    return (np.trace(np.linalg.solve(other_covariance, second)) - size + other_log_det - log_det) / 2


def _errors(encoded, seed):
    """The error that p(x|z) expects, and the one that is made; nothing for a likelihood without a known deviation."""
    expected, made, scales = 0.0, 0.0, set()
    for passed in _passes(encoded, seed):
        try:
            deviation = passed.likelihood.stddev()[0]
        except NotImplementedError:
            return {}
        error = passed.x - passed.model.likelihood.mean(passed.params, passed.model.spec)[0]
        expected += np.square(deviation, dtype="float64").sum()
        made += np.square(error, dtype="float64").sum()
        scales |= {float(np.min(deviation)), float(np.max(deviation))}
    mean_square = np.array([expected, made]) / encoded.x.size
    expected, made = np.sqrt(mean_square).tolist()
    return {"expected_error": expected, "made_error": made, "one_scale": scales.pop() if len(scales) == 1 else None}


def _pictures(encoded, seed):
    """How much the reconstructions explain, and how unlike them samples from the prior are."""
    test, model = encoded["test"], encoded["test"].model
    shown = {name: np.concatenate([decoded for _, decoded in part.reconstructions()]) for name, part in encoded.items()}
    left, all_ = (np.square(test.x - other, dtype="float64").sum() for other in (shown["test"], test.x.mean(0)))
    samples = decode(model, model.prior_codes(len(test), seed), test.labels)
    found = {"explained": float(1 - left / all_) if all_ else None}
    with contextlib.suppress(UndefinedMetricError):  # all reconstructions are the same, or they are very few
        found |= {"unlike": _unlike(samples, shown["test"]), "floor": _unlike(shown["train"], shown["test"])}
    return found


def _unlike(examples, shown):
    """The Fréchet distance of examples to reconstructions, as a share of the variance of these.

    It is measured in the first principal components of the reconstructions. The KL from the aggregated posterior to the
    prior would say the same of the codes, but its estimate from N examples is only right to within KL - log N nats.

    Args:
        examples: [N,...].
        shown: the reconstructions [M,...].
    """
    centre = shown.mean(0)
    flat, other = ((part - centre).reshape(len(part), -1) for part in (shown, examples))
    values, vectors = np.linalg.eigh((flat @ flat.T).astype("float64"))
    kept = slice(-min(DIRECTIONS, len(flat) // 4), None)
    if not values[kept].min() > 0:
        raise UndefinedMetricError("the reconstructions differ in too few directions")
    basis = flat.T @ (vectors[:, kept] / np.sqrt(values[kept])).astype("float32")
    flat, other = (np.asarray(part @ basis, "float64") for part in (flat, other))
    return frechet_distance(other, flat) / float(flat.var(0, ddof=1).sum())


def _rows(run, steps):
    """The rows of metrics.csv from the end of a warm-up of the KL on: before it, the loss is another one."""
    path, beta = run.folder / "metrics.csv", run.recipe.model.objective.keywords().get("beta")
    rows = read_table(path, ("epoch", "loss")) if os.path.lexists(path) else []
    first = beta.steps / steps * rows[-1]["epoch"] if isinstance(beta, WarmUp) and steps and rows else 0
    return [row for row in rows if row["epoch"] >= first]

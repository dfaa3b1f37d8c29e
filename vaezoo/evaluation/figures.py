"""Every figure of a run: the bound, the evidence, the code, the samples, each with its standard error."""

import math
import time

import numpy as np

from vaezoo.data import binarize
from vaezoo.errors import VaezooError
from vaezoo.evaluation import latent_code
from vaezoo.evaluation.evidence import log_evidence
from vaezoo.evaluation.features import SIZE, binarization_of_pictures, feature_space
from vaezoo.evaluation.sample_quality import frechet_distance, precision_recall
from vaezoo.models.in_batches import batches, decode, embed
from vaezoo.posteriors import Point
from vaezoo.seeds import SAMPLING, fold_seed
from vaezoo.versions import versions

DENSITIES = ("normal", "continuous_bernoulli")  # likelihoods that give densities over [0, 1], not probabilities
MOST_SAMPLES = 10_000  # compared with real images: every one with every other
SAMPLE_SETS = 3  # drawn from the model one after the other, for a standard error


def evaluate(run, samples=100, limit=None, seed=0, progress=None):
    """Measure a run on its test images, as the recipe binarizes them.

    Args:
        run: a `runs.Run`.
        samples: K, of the evidence.
        limit: take only the first so many test images; None for all.
        seed: of every draw, 0 <= seed < 2^31.
        progress: called with the share of the evidence that is done, in (0, 1].

    Returns:
        (report, per_image). The report is a mapping fit for JSON, its figures {"value", "standard_error"} in nats
        unless they say otherwise, and a part is None where the model does not define it. per_image holds arrays [N]:
        "log_evidence", "elbo", "effective_samples"; it is empty for an autoencoder.

    Raises:
        VaezooError: for samples, a limit or a seed out of range.
    """
    if limit is not None and limit < 1:
        raise VaezooError(f"a limit of {limit} test images; give at least 1")
    if samples < 1:
        raise VaezooError(f"{samples} importance samples; give at least 1")
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")
    started = time.perf_counter()
    model, recipe = run.model, run.recipe
    images, labels = run.first("test", limit)
    given = labels if model.conditional else None
    report = {
        "recipe": recipe.name,
        "data": recipe.data.name,
        "binarize": recipe.data.binarize,
        "likelihood": recipe.model.likelihood.name,
        "posterior": recipe.model.posterior.name,
        "prior": recipe.model.prior.name,
        "conditional": model.conditional,
        "images": len(images),
        "dimensions": math.prod(model.image_shape),
        "latents": model.latent_dim,
        "importance_samples": samples,
        "seed": seed,
    }
    per_image = {}
    if isinstance(model.posterior, Point):
        report |= {"bound": _reconstruction_alone(model, images, given), "evidence": None}
    else:
        found = log_evidence(model, images, samples, given, seed, progress=progress)
        bound, elbo = _bound(found, latent_code.closed_form_kl(model, images, given))
        report |= {"bound": bound, "evidence": _evidence(found, elbo)}
        per_image = {"log_evidence": found.log_evidence, "elbo": elbo, "effective_samples": found.effective_samples}
    report["code"] = _code(model, images, given, seed)
    report["samples"], report["samples_left_out"] = _samples(run, len(images), labels, seed)
    return report | {"versions": versions(), "seconds": round(time.perf_counter() - started, 1)}, per_image


def figure(values):
    """The mean of values [N], and its standard error (None for a single one)."""
    values = np.asarray(values, "float64")
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"value": float(values.mean()), "standard_error": error}


def _reconstruction_alone(model, images, labels):
    nats = [-model.decode(model.encode(x, y).mean(), y).log_prob(x) for x, y in batches(model, images, labels)]
    return {"elbo": None, "reconstruction": figure(np.concatenate(nats)), "kl": None, "kl_method": None}


def _bound(found, closed_form):
    """The terms of the bound, and the ELBO of each image [N]."""
    kl = found.log_ratio if closed_form is None else closed_form
    elbo = found.log_likelihood - kl
    terms = {"elbo": figure(elbo), "reconstruction": figure(-found.log_likelihood), "kl": figure(kl)}
    return {**terms, "kl_method": "monte_carlo" if closed_form is None else "closed_form"}, elbo


def _evidence(found, elbo):
    samples = int(found.samples[-1])
    noise = np.maximum(1 / found.effective_samples - 1 / samples, 0)  # the delta method's variance of log p^(x)
    return {
        "log_evidence": figure(found.log_evidence),
        "sampling_error": float(np.sqrt(noise.sum()) / len(noise)),
        "gap": figure(found.log_evidence - elbo),
        "effective_samples": {f"percentile_{p}": float(np.percentile(found.effective_samples, p)) for p in (5, 50, 95)},
        "curve": [
            {"samples": int(k), **figure(values), "above_elbo": figure(values - elbo)}
            for k, values in zip(found.samples, found.curve, strict=True)
        ],
    }


def _code(model, images, labels, seed):
    means = embed(model, images, labels)
    code = {
        "active_units": latent_code.active_units(means),
        "variance_of_means": means.var(0, dtype="float64").tolist(),
        "kl_per_latent": None,
        "mutual_information": None,
        "marginal_kl": None,
    }
    if isinstance(model.posterior, Point):
        return code
    per_latent = latent_code.kl_per_latent(model, images, labels)
    found = latent_code.aggregated_posterior(model, images, labels, seed)
    return code | {
        "kl_per_latent": None if per_latent is None else per_latent.tolist(),
        "mutual_information": figure(found.mutual_information),
        "marginal_kl": figure(found.marginal_kl),
        "log_images": found.bound,
    }


def _samples(run, count, labels, seed):
    """How samples compare with real images, and None; or None, and why they were not compared."""
    model, data = run.model, run.data
    count = min(count, MOST_SAMPLES, len(data.train))
    if data.classes < 2:
        return None, "the images have no classes, which the features are learned from"
    if count <= SIZE:
        return None, f"{count} images are too few to compare; more than {SIZE} are needed"
    space = feature_space(run.recipe.data)
    mode = binarization_of_pictures(run.recipe.data.binarize)
    real, train = (
        space.features(binarize(split.head(count), mode) if mode != "none" else split.head(count))
        for split in (data.test, data.train)
    )
    rows = []
    for number in range(SAMPLE_SETS):
        z = model.prior_distribution().sample(count, seed=fold_seed(seed, SAMPLING, number))
        drawn = space.features(decode(model, z, labels[:count] if model.conditional else None))
        rows.append((frechet_distance(drawn, real), *precision_recall(drawn, real)))
    names = "frechet_distance", "precision", "recall"
    floor = frechet_distance(train, real), *precision_recall(train, real)
    return {
        **{name: figure(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)},
        "of_training_images": dict(zip(names, floor, strict=True)),
        "images": count,
        "classifier_accuracy": space.accuracy,
    }, None

"""Every metric of a run: the bound, the NLL, the code and the samples, each with its standard error."""

import math
import time

import numpy as np

from vaezoo.data.split import equally_spaced
from vaezoo.decoding import group_slices
from vaezoo.errors import VaezooError, unknown
from vaezoo.evaluation import latent_code
from vaezoo.evaluation.accuracy import accuracy
from vaezoo.evaluation.classifier import SIZE
from vaezoo.evaluation.disentanglement import disentanglement, mutual_information
from vaezoo.evaluation.disentanglement.reading import require_scikit_learn
from vaezoo.evaluation.encoded import encode
from vaezoo.evaluation.features import FEATURES, feature_space, inception_space
from vaezoo.evaluation.nll import estimate_nll
from vaezoo.evaluation.sample_quality import (
    UndefinedMetricError,
    check_variety,
    frechet_distance,
    kernel_distance,
    memorization,
    precision_recall,
)
from vaezoo.models.in_batches import decode
from vaezoo.runs import image_cache
from vaezoo.seeds import IMPORTANCE, SAMPLING, fold_seed
from vaezoo.versions import versions

MOST_SAMPLES = 10_000  # compared with real images, each with each
MOST_TRAINING = 100_000  # training images that copies are searched among
SAMPLE_SETS = 3  # drawn from the model one after the other, for a standard error
SMALLEST_ERROR = 1e-10  # mean square of a reconstruction: one that is exact has 100 dB, not infinitely many


def evaluate(run, samples=100, limit=None, seed=0, progress=None, features="auto", disentangled=False):
    """Measure a run on its test examples, binarized as the recipe says.

    Args:
        run: a `runs.Run`.
        samples: K, the importance samples of the NLL.
        limit: take the first so many test examples; None for all.
        seed: of every draw, 0 <= seed < 2^31.
        progress: called with the share of the NLL that is done, in (0, 1].
        features: in which samples are compared with real images: "auto" for those of a classifier of this data set, or
            "inception" for the FID and the KID.
        disentangled: whether to measure how the latents hold the known factors of the test examples.

    Returns:
        (report, per_example). The report is a mapping fit for JSON. A metric in it is {"value", "standard_error"}, in
        nats unless it says otherwise; a part is None where the model does not define it. per_example holds arrays [N]:
        "nll", "elbo", "effective_samples", none of them for an autoencoder; and for rows of a table "columns" [N,F]:
        log p(x_j|z) of each cell, NaN for a missing one.

    Raises:
        VaezooError: for samples, a limit or a seed out of range, unknown features, features=inception where its weights
            cannot be downloaded, or disentangled=True where no factors are known.
    """
    if limit is not None and limit < 1:
        raise VaezooError(f"a limit of {limit} test examples; give at least 1")
    if samples < 1:
        raise VaezooError(f"{samples} importance samples; give at least 1")
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")
    if features not in FEATURES:
        raise unknown("features", features, FEATURES)
    started = time.perf_counter()
    model, recipe, spec = run.model, run.recipe, run.data.spec
    space = None
    if features == "inception":
        spec.require_image("InceptionV3")
        space = inception_space(spec, recipe.data)  # before the NLL: its weights may be missing
    factors = _factors(run, limit) if disentangled else None
    x, labels = run.first("test", limit)
    encoded = encode(model, x, labels if model.spec.conditional else None)
    report = {
        "recipe": recipe.name,
        "data": recipe.data.name,
        "binarize": recipe.data.binarize,
        "likelihood": recipe.model.likelihood.name,
        "density": model.likelihood.density,
        "posterior": recipe.model.posterior.name,
        "prior": recipe.model.prior.name,
        "conditional": model.spec.conditional,
        "kind": spec.kind,
        "examples": len(x),
        "dimensions": spec.size,
        "latents": model.latent_dim,
        "importance_samples": samples,
        "seed": seed,
    }
    per_example = {}
    if model.posterior.has_density:
        found = estimate_nll(model, encoded, samples, seed=seed, progress=progress)
        bound, elbo = _bound(found, latent_code.closed_form_kl(model, encoded))
        report |= {"bound": bound, "nll": _nll(found, elbo)}
        per_example = {"nll": found.nll, "elbo": elbo, "effective_samples": found.effective_samples}
    else:
        report |= {"bound": _reconstruction_alone(encoded), "nll": None}
    report["psnr"] = metric(psnr(encoded)) if spec.is_image else None
    report["accuracy"] = None if spec.levels is None else _accuracy(encoded)
    report["columns"] = None
    if model.spec.columns is not None:
        report["columns"], per_example["columns"] = _columns(encoded, seed)
    report["code"] = _code(model, encoded, seed)
    report["disentanglement"] = None if factors is None else _disentanglement(encoded.means(), factors, seed)
    report["samples"], report["samples_left_out"] = _samples(run, len(x), labels, seed, space)
    return report | {"versions": versions(), "seconds": round(time.perf_counter() - started, 1)}, per_example


def metric(values):
    """The mean of values [N], N at least 1, and its standard error (None for a single one)."""
    values = np.asarray(values, "float64")
    if not len(values):
        raise VaezooError("a metric of 0 values; give at least 1")
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"value": float(values.mean()), "standard_error": error}


def psnr(encoded):
    """The peak signal-to-noise ratio of each reconstruction [N], in dB: -10 log10 of its mean square error.

    Args:
        encoded: an `Encoded` of images; each is compared with its decoded mean.
    """
    errors = [np.square(x - decoded, dtype="float64").mean((1, 2, 3)) for x, decoded in encoded.reconstructions()]
    return -10 * np.log10(np.maximum(np.concatenate(errors), SMALLEST_ERROR))


def _accuracy(encoded):
    found = accuracy(encoded)
    most_common = found.pop("most_common")
    defined = {name: values[np.isfinite(values)] for name, values in found.items()}
    return {name: metric(values) for name, values in defined.items() if len(values)} | {"most_common": most_common}


def _columns(encoded, seed):
    """What each column costs, and log p(x_j|z) of each cell [N,F] for one draw of z; NaN for a missing cell."""
    spec, likelihood = encoded.model.spec, encoded.model.likelihood
    passes = encoded.passes(seed=lambda number: fold_seed(seed, IMPORTANCE, -1 - number))
    logs = np.concatenate([likelihood.elements_log_prob(each.params, each.x, spec)[0] for each in passes])
    logs = np.where(np.isnan(encoded.x), np.nan, logs)
    found = []
    for column, cells in zip(spec.columns, logs.T, strict=True):
        observed = cells[~np.isnan(cells)]
        entry = {"name": column.name, "type": column.type, "missing": 1 - len(observed) / len(cells)}
        found.append({**entry, "reconstruction": metric(-observed) if len(observed) else None})
    return found, logs


def _reconstruction_alone(encoded):
    nats = [-passed.log_likelihood[0] for passed in encoded.passes()]
    return {"elbo": None, "reconstruction": metric(np.concatenate(nats)), "kl": None, "kl_method": None}


def _bound(found, closed_form):
    """The terms of the bound, and the ELBO of each example [N]."""
    kl = found.log_ratio if closed_form is None else closed_form
    elbo = found.log_likelihood - kl
    terms = {"elbo": metric(elbo), "reconstruction": metric(-found.log_likelihood), "kl": metric(kl)}
    return {**terms, "kl_method": "monte_carlo" if closed_form is None else "closed_form"}, elbo


def _nll(found, elbo):
    samples = int(found.samples[-1])
    noise = np.maximum(1 / found.effective_samples - 1 / samples, 0)  # the delta method's variance of the estimate
    return {
        **metric(found.nll),
        "sampling_error": float(np.sqrt(noise.sum()) / len(noise)),
        "gap": metric(-found.nll - elbo),
        "effective_samples": {f"percentile_{p}": float(np.percentile(found.effective_samples, p)) for p in (5, 50, 95)},
        "curve": [
            {"samples": int(k), **metric(values), "gap": metric(-values - elbo)}
            for k, values in zip(found.samples, found.curve, strict=True)
        ],
    }


def _code(model, encoded, seed):
    means = encoded.means()
    per_latent = latent_code.kl_per_latent(model, encoded)
    found = latent_code.aggregated_posterior(model, encoded, seed=seed)
    correlation = found.total_correlation if found and not found.saturated else None
    groups = [
        {
            "latents": own.stop - own.start,
            "active_units": latent_code.active_units(means[:, own]),
            "kl": None if per_latent is None else float(per_latent[own].sum()),
        }
        for own in group_slices(model.decoder)
    ]
    return {
        "active_units": latent_code.active_units(means),
        "variance_of_means": means.var(0, dtype="float64").tolist(),
        "kl_per_latent": None if per_latent is None else per_latent.tolist(),
        "groups": groups,  # of a hierarchy, from the top down
        "mutual_information": found and metric(found.mutual_information),
        "marginal_kl": found and metric(found.marginal_kl),
        "total_correlation": None if correlation is None else metric(correlation),
        "log_examples": found and found.bound,
    }


def _factors(run, limit):
    """The known factors of the first test examples, name → [N]; the label is one if no other is the same."""
    test = run.data.test
    factors = {name: values[:limit] for name, values in test.factors.items()}
    if not factors:
        raise VaezooError(
            f"no factors of variation are known of '{run.data.name}', and the disentanglement metrics need them; train "
            "on sprites, glyphs, shapes or a set of tensorflow-datasets that has them. Without factors there are the "
            "total correlation, in every report, and `evaluation.udr`, which compares several models"
        )
    require_scikit_learn()  # before the NLL, which takes minutes
    labels = None if test.labels is None else test.labels[:limit]
    if labels is not None and not any(np.array_equal(labels, values) for values in factors.values()):
        factors = {"label": labels, **factors}
    return factors


def _disentanglement(codes, factors, seed):
    found = disentanglement(codes, factors, seed)
    try:
        nats = mutual_information(codes, {name: factors[name] for name in found["factors"]}).tolist()
    except UndefinedMetricError:
        nats = None
    return {**found, "mutual_information": nats}  # [D][factors]


def _samples(run, examples, labels, seed, space):
    """How samples compare with the first real images, and None; or None, and why they are not compared."""
    model, data = run.model, run.data
    count = min(examples, MOST_SAMPLES, len(data.train))
    if not data.spec.is_image:
        return None, f"samples are compared for images, and these examples are {data.spec}"
    if count <= SIZE:
        return None, f"{count} images are too few to compare; more than {SIZE} are needed"
    try:
        space = space or feature_space(run.recipe.data, image_cache(run.path))
        measured = data.test if examples == len(data.test) else data.test.take(np.arange(examples))
        real, train = space.features_of(measured, count), space.features_of(data.train, MOST_TRAINING)
        check_variety(real)
        classes = labels[equally_spaced(examples, count)] if model.spec.conditional else None
        sets = []
        for number in range(SAMPLE_SETS):
            z = model.prior_distribution().sample(count, seed=fold_seed(seed, SAMPLING, number))
            drawn = space.features(decode(model, z, classes))
            sets.append({**_compare(drawn, real), "memorization": memorization(drawn, train)})
        floor = {**_compare(train[equally_spaced(len(train), count)], real), "memorization": memorization(real, train)}
    except UndefinedMetricError as error:
        return None, str(error)
    found = {name: metric([each[name] for each in sets]) for name in floor if name != "kid_error"}
    # The three sets are compared with the same test images, so their mean is hardly more certain than one of them.
    found["kid"]["standard_error"] = math.sqrt(np.mean([each["kid_error"] ** 2 for each in sets]))
    return {
        **found,
        "of_real_images": floor,
        "images": count,
        "training_images": len(train),
        "features": {"kind": space.kind, "size": space.size, "instead": space.instead},
        "classifier": space.accuracies,
    }, None


def _compare(drawn, real):
    """The metrics of features [N,F]; without the Fréchet distance if they are too few for a covariance."""
    precision, recall = precision_recall(drawn, real)
    kid, error = kernel_distance(drawn, real)
    found = {"kid": kid, "kid_error": error, "precision": precision, "recall": recall}
    return {"frechet_distance": frechet_distance(drawn, real), **found} if len(real) > real.shape[1] else found

"""Several models on the same examples: reconstruction error, bits of the code, smoothness of the latent space."""

from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.latent_space.generation import checked_seed, positive, sample
from vaezoo.latent_space.paths import mix, step_ratio
from vaezoo.latent_space.reconstruction import reconstruct, squared_difference
from vaezoo.models.in_batches import checked_examples, decode
from vaezoo.tables import aligned

PATHS_AT_ONCE = 50
STEPS = 11  # examples of a path whose smoothness is measured
# A path has no smoothness if its ends differ by less than this: the decoder gives the same example everywhere.
SMALLEST_STEP = 1e-3  # root mean square over the elements


class Comparison(NamedTuple):
    """What `compare` measured, for M models in the order given and N examples.

    Attributes:
        table: one mapping for each model: "model", "latents", "squared_error" (per element), "nats" (-log p(x|z) at the
            posterior mean), "bits" (of the code; None for an autoencoder), "largest_step" (over the mean step, averaged
            over the paths; None if the decoder gives the same example everywhere).
        codes: the posterior means, M arrays [N,D].
        samples: from the prior [M,samples,...].
        paths: interpolations [M,P,S,...].
        step_ratios: the smoothness of each path [M,pairs].
    """

    table: list[dict]
    codes: list[np.ndarray]
    samples: np.ndarray
    paths: np.ndarray
    step_ratios: np.ndarray


def compare(models, x, labels=None, pairs=500, samples=36, paths=6, seed=0):
    """Measure models on the same examples, with the same pairs of examples and the same seeds.

    Args:
        models: name → `VAE`, all for examples of one shape.
        x: examples [N,...], N >= 2.
        labels: classes [N], needed if one of the models is conditional.
        pairs: the number of random pairs of examples on whose linear paths of 11 steps the smoothness is measured.
        samples: how many examples to draw from each prior.
        paths: how many of the interpolations to keep.
        seed: of the pairs and the samples.

    Returns:
        A `Comparison`.

    Raises:
        VaezooError: for no models, fewer than two examples, or examples that do not fit a model.
    """
    if not models:
        raise VaezooError("nothing to compare; name at least one model")
    positive(pairs, "number of pairs")
    checked_seed(seed)
    random = np.random.default_rng(seed)
    if len(x) < 2:
        raise VaezooError(f"a comparison needs at least two examples for a path between them, and there are {len(x)}")
    ends = np.stack([random.choice(len(x), 2, replace=False) for _ in range(pairs)])  # [pairs,2]
    table, codes, drawn, kept, ratios = [], [], [], [], []
    for name, model in models.items():
        own_labels = labels if model.spec.conditional else None
        inputs = checked_examples(model, x)
        through = reconstruct(model, inputs, own_labels)
        found = smoothness(model, through.codes, ends, own_labels)
        bits = through.bits
        table.append(
            {
                "model": name,
                "latents": model.latent_dim,
                "squared_error": float(through.squared_error.mean()),
                "nats": float(through.nats.mean()),
                "bits": None if bits is None else float(bits.mean()),
                "largest_step": None if np.isnan(found).all() else float(np.nanmean(found)),
            }
        )
        codes.append(through.codes)
        ratios.append(found)
        classes = np.arange(samples) % model.spec.classes if model.spec.conditional else None
        drawn.append(sample(model, samples, seed, classes).examples)
        kept.append(paths_between(model, through.codes, ends[:paths], own_labels))
    return Comparison(table, codes, np.stack(drawn), np.stack(kept), np.stack(ratios))


def smoothness(model, codes, ends, labels=None):
    """`step_ratio` of the linear path between each pair of codes.

    Args:
        model: a `VAE`.
        codes: [N,D].
        ends: indices of the two ends [pairs,2].
        labels: classes [N], for a conditional model.

    Returns:
        [pairs], NaN where the examples of a path hardly differ.
    """
    ratios = []
    for start in range(0, len(ends), PATHS_AT_ONCE):
        paths = paths_between(model, codes, ends[start : start + PATHS_AT_ONCE], labels)  # [P,S,...]
        apart = squared_difference(paths[:, -1], paths[:, 0], model.spec)  # [P,...]
        moved = np.sqrt(apart.reshape(len(paths), -1).mean(-1))
        ratios.append(np.where(moved > SMALLEST_STEP, step_ratio(paths, model.spec), np.nan))
    return np.concatenate(ratios)


def paths_between(model, codes, ends, labels=None):
    """The examples of the linear path between each pair of codes [pairs,S,...]; arguments as in `smoothness`."""
    mixed = [mix(codes[pair], STEPS) for pair in ends]
    between = np.concatenate([codes for codes, _ in mixed])  # [pairs,S,D]
    if labels is None:
        return decode(model, between)
    weights = np.concatenate([weights for _, weights in mixed])  # [pairs,S,2]
    return decode(model, between, np.take_along_axis(np.asarray(labels)[ends], weights.argmax(-1), axis=1))


def as_text(table):
    """The table of a `Comparison` as aligned text."""
    headings = ("model", "latents", "squared error", "nats", "latent bits", "largest/mean step")
    rows = [
        (
            row["model"],
            str(row["latents"]),
            f"{row['squared_error']:.4f}",
            f"{row['nats']:.1f}",
            "-" if row["bits"] is None else f"{row['bits']:.1f}",
            "-" if row["largest_step"] is None else f"{row['largest_step']:.2f}",
        )
        for row in table
    ]
    return aligned([headings, *rows], right=range(1, len(headings)))

"""Several models on the same images: how well they reconstruct, how many bits that takes, how smooth the space is."""

from typing import NamedTuple

import numpy as np

from vaezoo.errors import VaezooError
from vaezoo.latent_space.generation import checked_seed, positive, sample
from vaezoo.latent_space.paths import mix, step_ratio
from vaezoo.latent_space.reconstruction import reconstruct
from vaezoo.models.in_batches import checked_images, decode

PATHS_AT_ONCE = 50
STEPS = 11  # images of a path whose smoothness is measured
# A path whose images differ by less than this is no path: the decoder shows the same image everywhere.
SMALLEST_STEP = 1e-3  # root mean square over the pixels, between the two ends


class Comparison(NamedTuple):
    """What `compare` measured. M models, N images, in the order in which the models were given.

    Attributes:
        table: one mapping a model: "model", "latents", "squared_error" (a pixel), "nats" (-log p(x|z) at the posterior
            mean), "bits" (of the latent; None for an autoencoder), "largest_step" (over the mean step, averaged over
            the paths; None where the decoder shows the same image everywhere).
        codes: the posterior means, M arrays [N,D].
        samples: from the prior [M,samples,H,W,C].
        paths: interpolations [M,P,S,H,W,C].
        step_ratios: the smoothness of each path [M,pairs].
    """

    table: list[dict]
    codes: list[np.ndarray]
    samples: np.ndarray
    paths: np.ndarray
    step_ratios: np.ndarray


def compare(models, images, labels=None, pairs=500, samples=36, paths=6, seed=0):
    """Measure models against each other on the same images, pairs of images and seeds.

    Args:
        models: name → `VAE`, all for images of one shape.
        images: [N,H,W,C] in [0, 1], N >= 2.
        labels: classes [N], needed if one of the models is conditional.
        pairs: between how many random pairs of images the smoothness is measured, on linear paths of 11 steps.
        samples: how many images to draw from each prior.
        paths: how many of the interpolations to keep.
        seed: of the pairs and the samples.

    Returns:
        A `Comparison`.

    Raises:
        VaezooError: for no models, fewer than two images, or images that do not fit a model.
    """
    if not models:
        raise VaezooError("nothing to compare; name at least one model")
    positive(pairs, "number of pairs")
    checked_seed(seed)
    random = np.random.default_rng(seed)
    if len(images) < 2:
        raise VaezooError("a comparison needs at least two images to go between")
    ends = np.stack([random.choice(len(images), 2, replace=False) for _ in range(pairs)])  # [pairs,2]
    table, codes, drawn, kept, ratios = [], [], [], [], []
    for name, model in models.items():
        own_labels = labels if model.conditional else None
        inputs = checked_images(model, images)
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
        classes = np.arange(samples) % model.classes if model.conditional else None
        drawn.append(sample(model, samples, seed, classes).images)
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
        [pairs], NaN where the path's images hardly differ.
    """
    ratios = []
    for start in range(0, len(ends), PATHS_AT_ONCE):
        paths = paths_between(model, codes, ends[start : start + PATHS_AT_ONCE], labels)  # [P,S,H,W,C]
        moved = np.sqrt(np.square(paths[:, -1] - paths[:, 0]).mean((1, 2, 3)))
        ratios.append(np.where(moved > SMALLEST_STEP, step_ratio(paths), np.nan))
    return np.concatenate(ratios)


def paths_between(model, codes, ends, labels=None):
    """The images of the linear path between each pair of codes [pairs,S,H,W,C]; arguments as of `smoothness`."""
    mixed = [mix(codes[pair], STEPS) for pair in ends]
    between = np.concatenate([codes for codes, _ in mixed])  # [pairs,S,D]
    if labels is None:
        return decode(model, between)
    weights = np.concatenate([weights for _, weights in mixed])  # [pairs,S,2]
    return decode(model, between, np.take_along_axis(np.asarray(labels)[ends], weights.argmax(-1), axis=1))


def table_lines(table):
    """The table of a `Comparison` as lines of text."""
    head = ("model", "latents", "squared error", "nats", "latent bits", "largest/mean step")
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
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in (head, *rows)
    ]

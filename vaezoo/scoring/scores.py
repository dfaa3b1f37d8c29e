"""Scores on arrays: how untypical each example is of what a model was trained on, in nats. Higher is less typical.

    found = elbo(model, x)                                      # [N]
    known = reference(model, x_train)                           # what training examples are like
    found = robust(model, x, reference=known)

A score is a function of the example and its label: every example is decoded from the same K draws of noise, so neither
its place in the array nor the other examples change its score. With `samples=0` the code without noise is decoded.
"""

import dataclasses
import functools
import io
import math

import numpy as np
from PIL import Image

from vaezoo.errors import VaezooError
from vaezoo.evaluation.encoded import encode
from vaezoo.evaluation.nll import estimate_nll
from vaezoo.models.in_batches import BATCH
from vaezoo.seeds import SCORING, fold_seed

SAMPLES = 5  # draws of each code
SMALLEST_VARIANCE = 1e-4  # of a code or of the logarithm of a scale: a latent that is not in use has hardly any
MOST_SAMPLES = 10_000


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What training examples are like, for the scores that compare with them.

    Attributes:
        mean: of their `features` [P].
        covariance: of their `features` [P,P].
        complexity_weight: how much of the complexity `robust` takes off the ELBO, in [0, 1]; None unless the examples
            are images and the posterior has a density.
    """

    mean: np.ndarray
    covariance: np.ndarray
    complexity_weight: float | None = None

    @functools.cached_property
    def whitening(self):
        """[P,P] lower triangular: it makes features uncorrelated, with a variance of 1 over the training examples."""
        return np.linalg.inv(np.linalg.cholesky(self.covariance + SMALLEST_VARIANCE * np.eye(len(self.mean))))


def reference(model, x, labels=None, seed=0, samples=SAMPLES):
    """The `Reference` of training examples.

    Args:
        model, x, labels, seed, samples: as in `parts`; at least 2 examples. A few thousand are enough.

    Returns:
        The `Reference`.
    """
    encoded = encode(model, x, labels)
    if len(encoded) < 2:
        raise VaezooError(f"{len(encoded)} training example; a reference needs at least 2")
    found, weight = features(model, encoded), None
    if model.spec.is_image and model.posterior.has_density:
        cost = elbo(model, encoded, seed=seed, samples=samples)
        spread, corrected = cost.std(), (cost - complexity(encoded.x)).std()
        weight = float(spread / max(spread + corrected, 1e-12))
    return Reference(found.mean(0), np.cov(found, rowvar=False).reshape(found.shape[1], -1), weight)


def features(model, x, labels=None):
    """The code of each example, and the logarithms of the scales of q(z|x) where these are known: [N,D] or [N,2D].

    An example that a model knows has not only a code in a known place but also a known uncertainty about it: an empty
    image may have a code near the mean, with scales that no training image has.
    """
    scales = model.posterior.normal or model.posterior.hierarchical
    found = []
    for passed in encode(model, x, labels).passes(noise=np.zeros([1, model.latent_dim])):
        code = np.asarray(passed.z[0], "float64")
        scale = [np.log(np.reshape(passed.q.stddev(), code.shape))] if scales else []  # [1,B,D] down a hierarchy
        found.append(np.concatenate([code, *scale], axis=-1))
    return np.concatenate(found)


def parts(model, x, labels=None, seed=0, samples=SAMPLES):
    """The two parts of the negative ELBO.

    Args:
        model: a `VAE`.
        x: examples [N,...] as the model was trained on them, or an `Encoded`.
        labels: classes [N], for a conditional model.
        seed: of the draws, 0 <= seed < 2^31.
        samples: K, the draws of each code; 0 for the code without noise.

    Returns:
        (reconstruction [N], KL [N]), float64, in nats. The KL is in closed form where there is one, else the mean of
        log q(z|x) - log p(z) over the draws; None for a posterior without a density.
    """
    if not 0 <= samples <= MOST_SAMPLES:
        raise VaezooError(f"samples= is {samples}; give 0 to {MOST_SAMPLES:,}, 0 for the code without noise")
    if not 0 <= seed < 2**31:
        raise VaezooError(f"the seed {seed} is outside 0 to {2**31 - 1}")
    density, encoded = model.posterior.has_density, encode(model, x, labels)
    shape = [max(1, samples), 1, model.latent_dim]
    noise = model.posterior.noise(shape, fold_seed(seed, SCORING, 0)) if samples else np.zeros(shape)
    noise, at_once = np.asarray(noise)[:, 0], max(1, BATCH // len(encoded))  # draws of few examples share a pass
    cost, kl = np.zeros((2, len(encoded)))
    for start in range(0, len(noise), at_once):
        block = noise[start : start + at_once]
        found = list(encoded.costs(block))
        cost += np.concatenate([np.sum(costs, axis=0, dtype="float64") for costs, _ in found]) / len(noise)
        kl += np.concatenate([kl for _, kl in found]).astype("float64") * len(block) / len(noise)
    return cost, kl if density else None


def elbo(model, x, labels=None, seed=0, samples=SAMPLES, reference=None, found=None):
    """The negative ELBO, -E log p(x|z) + KL(q(z|x) || p(z)): an upper bound of -log p(x).

    Args:
        model, x, labels, seed, samples: as in `parts`.
        reference: not used.
        found: the result of `parts`, where it is known already.

    Returns:
        [N], float64, in nats.

    Raises:
        VaezooError: for a posterior without a density, or examples or labels that do not fit the model.

    Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114, equation 3.
    """
    _require_density(model, "elbo")
    cost, kl = found or parts(model, x, labels, seed, samples)
    return cost + kl


def reconstruction(model, x, labels=None, seed=0, samples=SAMPLES, reference=None, found=None):
    """The reconstruction probability, -E log p(x|z) over z ~ q(z|x).

    Args, Returns and Raises: as `elbo`; any posterior will do.

    Source: An & Cho 2015, "Variational Autoencoder based Anomaly Detection using Reconstruction Probability",
    algorithm 4.
    """
    return (found or parts(model, x, labels, seed, samples))[0]


def evidence(model, x, labels=None, seed=0, samples=100, reference=None, found=None):
    """-log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): nearer to -log p(x) the larger K is.

    Args, Returns and Raises: as `elbo`, with `samples` at least 1; `found` is not used.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8.
    """
    _require_density(model, "evidence")
    return estimate_nll(model, x, samples, labels, seed, shared_noise=True).nll


def latent(model, x, labels=None, seed=0, samples=0, reference=None, found=None):
    """Half the squared Mahalanobis distance of `features` from those of training examples.

    That is, but for a constant, the negative log-density of a normal that is fitted to the features: the mean of q(z|x)
    and the logarithms of its scales. The KL to the prior does not serve instead: it is small for whatever the encoder
    sees nothing in, such as an empty image, and the codes of training examples do not fill the prior.

    Args:
        model, x, labels: as in `parts`.
        seed, samples, found: not used; nothing is drawn.
        reference: the `Reference` of training examples.

    Returns:
        [N], float64, in nats.

    Source: Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples", arXiv:1807.03888,
    equation 2, with one class.
    """
    whitened = (features(model, x, labels) - _required(reference, "latent").mean) @ reference.whitening.T
    return 0.5 * np.square(whitened).sum(-1)


def robust(model, x, labels=None, seed=0, samples=SAMPLES, reference=None, found=None):
    """The negative ELBO less a part of the image's complexity: it finds images that are too simple too.

    The ELBO prefers simple images, even to those of the training (Nalisnick et al. 2019, arXiv:1810.09136). Serrà et
    al. 2020 (arXiv:1909.11480) take the size of the compressed image off, which prefers complex images. Here a part w
    of it is taken off, w = s / (s + t), where s and t are the standard deviations of the negative ELBO over training
    images with nothing and with all of it taken off: but for a factor, that is the sum of the two scores, each in units
    of its own standard deviation.

    Args, Returns and Raises: as `elbo`; it needs images, and the `reference` of training images.
    """
    model.spec.require_image("the score 'robust'")
    _require_density(model, "robust")
    weight = _required(reference, "robust").complexity_weight
    encoded = encode(model, x, labels)
    return elbo(model, encoded, seed=seed, samples=samples, found=found) - weight * complexity(encoded.x)


def complexity(images):
    """The size of each image [N,H,W,C] as a PNG file of 8 bits a channel [N], in nats."""
    levels = np.round(255 * np.asarray(images)).astype("uint8")
    return 8 * math.log(2) * np.array([_png_bytes(image) for image in levels], "float64")


def _png_bytes(image):
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "PNG", optimize=True)
    return content.tell()


SCORES = {score.__name__: score for score in (elbo, evidence, reconstruction, latent, robust)}


def default_score(model):
    """The name of the score for a model where none is asked for: the best that its examples and its posterior allow."""
    if not model.posterior.has_density:
        return "reconstruction"
    return "robust" if model.spec.is_image else "elbo"


def _required(reference, score):
    if reference is None:
        raise VaezooError(
            f"the score '{score}' compares with training examples; give reference=, from scoring.reference"
        )
    return reference


def _require_density(model, score):
    if not model.posterior.has_density:
        name = model.posterior.settings.name
        raise VaezooError(
            f"the score '{score}' needs the density of q(z|x), and the posterior '{name}' has none; use score="
            "reconstruction or score=latent"
        )

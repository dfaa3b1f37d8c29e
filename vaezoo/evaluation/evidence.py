"""The evidence log p(x), by importance sampling from the posterior, in memory that does not grow with the samples."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vaezoo.errors import VaezooError
from vaezoo.models.in_batches import checked_images, checked_labels
from vaezoo.posteriors import Point
from vaezoo.seeds import IMPORTANCE, fold_seed

# Samples are drawn in blocks of fixed shape, BLOCK for each of IMAGES images, whatever is decoded at once: so the
# memory decides about nothing but itself. A block is large enough that encoding the images again costs a hundredth.
BLOCK, IMAGES = 100, 100
WIDEST = 2**22  # numbers in the largest tensor at once, 16 MB: larger ones leave the cache, and gain nothing


class Evidence(NamedTuple):
    """What K samples of the posterior tell about each of N images, in nats; float64.

    Attributes:
        samples: [P], the numbers of samples on the curve: 1, 10, 100, ... and K.
        curve: [P,N], the estimate of log p(x) from the first so many samples.
        log_likelihood: [N], the mean of log p(x|z) over the K samples.
        log_ratio: [N], the mean of log q(z|x) - log p(z): the Monte-Carlo KL.
        effective_samples: [N], (sum w)^2 / sum w^2, from 1 (one sample has all the weight) to K (all have the same).
    """

    samples: np.ndarray
    curve: np.ndarray
    log_likelihood: np.ndarray
    log_ratio: np.ndarray
    effective_samples: np.ndarray

    @property
    def log_evidence(self):
        """The estimate of log p(x) from all K samples [N]: below it in expectation, the closer the larger K is."""
        return self.curve[-1]

    @property
    def elbo(self):
        """The ELBO by the same samples [N]: the mean of the logarithms, never above the logarithm of the mean."""
        return self.log_likelihood - self.log_ratio


def log_evidence(model, images, samples=1000, labels=None, seed=0, samples_at_once=None, progress=None):
    """log p(x) = log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x), for each image.

    Args:
        model: a `VAE` whose posterior has a density.
        images: [N,H,W,C] in [0, 1], as the model was trained on them.
        samples: K, at least 1.
        labels: classes [N], for a conditional model.
        seed: of the draws, 0 <= seed < 2^31. The first samples of a larger K are those of a smaller one.
        samples_at_once: how many samples of each image of a batch of 100 are decoded at once, a divisor of 100; by
            default as many as keep the largest tensor in the cache. It changes nothing but time and memory.
        progress: called with the share of the work that is done, in (0, 1].

    Returns:
        An `Evidence`.

    Raises:
        VaezooError: for a posterior that is a point, K below 1, or images or labels that do not fit the model.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8.
    """
    images = checked_images(model, images)
    labels = checked_labels(model, labels, images.shape[:1])
    if isinstance(model.posterior, Point):
        raise VaezooError("the posterior 'point' has no density, so there is no evidence to estimate with it")
    if samples < 1:
        raise VaezooError(f"{samples} importance samples; give at least 1")
    size, blocks = min(IMAGES, len(images)), math.ceil(samples / BLOCK)
    log_weights = _compiled(model, size, samples_at_once or _samples_at_once(model, size))
    starts = range(0, len(images), size)
    parts = []
    for number, start in enumerate(starts):
        # The last batch is filled up with images of its own, for one shape is compiled once.
        rows = np.resize(np.arange(start, min(start + size, len(images))), size)
        x, label = tf.constant(images[rows]), None if labels is None else tf.constant(labels[rows])
        batch_seed = fold_seed(seed, IMPORTANCE, number)
        running = _Running(samples, size)
        for block in range(blocks):
            running.add(*log_weights(x, label, tf.random.experimental.stateless_fold_in(batch_seed, block)))
            if progress:
                progress((number * blocks + block + 1) / (len(starts) * blocks))
        parts.append(running.result())
    joined = [np.concatenate(values, axis=-1)[..., : len(images)] for values in zip(*parts, strict=True)]
    return Evidence(curve_samples(samples), *joined)


def curve_samples(samples):
    """1, 10, 100, ... up to the number of samples, and that number itself [P]."""
    powers = 10 ** np.arange(1 + int(math.log10(samples)))
    return np.union1d(powers[powers <= samples], samples)


def log_mean_exp(values):
    """log 1/K sum_k exp(values_k) over the first axis: [K,N] → [N]."""
    return np.logaddexp.reduce(values, axis=0) - math.log(len(values))


class _Running:
    """Sums over the samples of some images, of which a block at a time is known."""

    def __init__(self, samples, images):
        self.samples, self.seen = samples, 0
        self.log_likelihood, self.log_ratio = np.zeros((2, images))
        self.log_sum, self.log_sum_of_squares = np.full((2, images), -np.inf)  # of the weights
        self.curve = []

    def add(self, log_likelihood, log_ratio):
        """Take a block [S,B] of log p(x|z) and log q(z|x) - log p(z); what exceeds K is left out."""
        left = self.samples - self.seen
        log_likelihood, log_ratio = (np.asarray(block[:left], "float64") for block in (log_likelihood, log_ratio))
        log_weights = log_likelihood - log_ratio
        for count in curve_samples(self.samples):
            if self.seen < count <= self.seen + len(log_weights):
                first = np.logaddexp.reduce(log_weights[: count - self.seen])
                self.curve.append(np.logaddexp(self.log_sum, first) - math.log(count))
        self.log_sum = np.logaddexp(self.log_sum, np.logaddexp.reduce(log_weights))
        self.log_sum_of_squares = np.logaddexp(self.log_sum_of_squares, np.logaddexp.reduce(2 * log_weights))
        self.log_likelihood += log_likelihood.sum(0)
        self.log_ratio += log_ratio.sum(0)
        self.seen += len(log_weights)

    def result(self):
        """The fields of `Evidence` from `curve` on."""
        effective = np.exp(2 * self.log_sum - self.log_sum_of_squares)
        return np.stack(self.curve), self.log_likelihood / self.samples, self.log_ratio / self.samples, effective


def _compiled(model, images, at_once):
    """x [B,H,W,C], label [B] or None, seed [2] → log p(x|z) and log q(z|x) - log p(z), both [BLOCK,B].

    A graph, not XLA: by processor time XLA gains an eighth with a 200-200 decoder and loses with convolutions, and
    where a distribution leaves the choice of the random generator to it, that one takes 30 times as long on a CPU.
    """

    def log_weights(x, label, seed):
        q, prior = model.encode(x, label), model.prior_distribution()
        z = q.sample(BLOCK, seed=seed)  # [S,B,D]
        log_q = q.log_prob(z)  # before z is cut up: a flow remembers how it made this very tensor

        def of_some(z):
            return model.decode(z, label).log_prob(x), prior.log_prob(z)

        chunks = tf.reshape(z, [-1, at_once, *z.shape[1:]])
        log_likelihood, log_prior = tf.map_fn(
            of_some, chunks, fn_output_signature=(tf.float32, tf.float32), parallel_iterations=1
        )
        return tf.reshape(log_likelihood, tf.shape(log_q)), log_q - tf.reshape(log_prior, tf.shape(log_q))

    label = tf.TensorSpec([images], tf.int32) if model.conditional else None
    return tf.function(log_weights).get_concrete_function(
        tf.TensorSpec([images, *model.image_shape]), label, tf.TensorSpec([2], tf.int32)
    )


def _samples_at_once(model, images):
    """The largest divisor of BLOCK with which no tensor of the decoder or the prior exceeds WIDEST numbers, or 1."""
    widest = max(math.prod(layer.output.shape[1:]) for layer in model.decoder.layers)
    widest = max(widest, getattr(model.prior, "components", 1) * model.latent_dim)  # a mixture weighs every component
    return max(n for n in range(1, BLOCK + 1) if BLOCK % n == 0 and (n == 1 or n * images * widest <= WIDEST))

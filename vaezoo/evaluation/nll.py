"""The NLL, -log p(x), by importance sampling from the posterior, in memory that does not grow with the samples."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from vaezoo.decoding import layers_of
from vaezoo.errors import VaezooError
from vaezoo.evaluation.encoded import encode
from vaezoo.networks.activations import fused
from vaezoo.seeds import IMPORTANCE, fold_seed

# The noise is drawn in blocks of a fixed shape, BLOCK draws for each of EXAMPLES examples, however many are decoded at
# once: so `samples_at_once` changes the memory and not the result.
BLOCK, EXAMPLES = 100, 100
WIDEST = 2**22  # numbers in the largest tensor, 16 MB: larger ones leave the cache and are no faster


class NLL(NamedTuple):
    """What K samples of the posterior say about each of N examples, in nats; float64.

    Attributes:
        samples: [P], the numbers of samples on the curve: 1, 10, 100, ... and K.
        curve: [P,N], the estimate of -log p(x) from the first so many samples.
        log_likelihood: [N], the mean of log p(x|z) over the K samples.
        log_ratio: [N], the mean of log q(z|x) - log p(z): the Monte-Carlo KL.
        effective_samples: [N], (sum w)^2 / sum w^2, from 1 (one sample has all the weight) to K (equal weights).
    """

    samples: np.ndarray
    curve: np.ndarray
    log_likelihood: np.ndarray
    log_ratio: np.ndarray
    effective_samples: np.ndarray

    @property
    def nll(self):
        """The estimate of -log p(x) from all K samples [N]; in expectation above it, the closer the larger K is."""
        return self.curve[-1]

    @property
    def elbo(self):
        """The ELBO from the same samples [N]: the mean of the logarithms, at most the logarithm of the mean."""
        return self.log_likelihood - self.log_ratio


def estimate_nll(model, x, samples=1000, labels=None, seed=0, samples_at_once=None, progress=None, shared_noise=False):
    """-log p(x) = -log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x), for each example.

    Args:
        model: a `VAE` whose posterior has a density.
        x: examples [N,...] as the model was trained on them, or an `Encoded`.
        samples: K, at least 1.
        labels: classes [N], for a conditional model.
        seed: of the draws, 0 <= seed < 2^31. The first samples of a larger K are those of a smaller one.
        samples_at_once: how many samples of each of 100 examples are decoded at once, a divisor of 100; by default as
            many as keep the largest tensor in the cache. Two such chunks are held. It changes time and memory alone.
        progress: called with the share of the work that is done, in (0, 1].
        shared_noise: give every example the same noise, so that its estimate is a function of the example alone. Then
            the errors of the estimates are alike, and their mean over examples is as uncertain as one of them.

    Returns:
        An `NLL`.

    Raises:
        VaezooError: for a posterior without a density, K below 1, samples_at_once that do not divide 100, or examples
            or labels that do not fit the model.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8.
    """
    if not model.posterior.has_density:
        raise VaezooError(f"the posterior '{model.posterior.settings.name}' has no density, so the NLL is not defined")
    if samples < 1:
        raise VaezooError(f"{samples} importance samples; give at least 1")
    if samples_at_once is not None and (samples_at_once < 1 or BLOCK % samples_at_once):
        raise VaezooError(f"samples_at_once= is {samples_at_once}; it must divide {BLOCK}, as 10 or 50 do")
    encoded = encode(model, x, labels)
    size, rounds = min(EXAMPLES, len(encoded)), math.ceil(samples / BLOCK)
    at_once = samples_at_once or _samples_at_once(model, size)
    log_weights = _compiled(encoded, size, at_once, min(BLOCK, at_once * math.ceil(samples / at_once)), shared_noise)
    starts = range(0, len(encoded), size)
    parts = []
    for number, start in enumerate(starts):
        # The last batch is filled up with copies of its own examples: the function is compiled for one shape.
        rows = np.resize(np.arange(start, min(start + size, len(encoded))), size)
        batch, params = encoded.batch(rows), encoded.params_of(rows)
        batch_seed = fold_seed(seed, IMPORTANCE, 0 if shared_noise else number)
        running = _Running(samples, size)
        for block in range(rounds):
            running.add(*log_weights(batch, params, tf.random.experimental.stateless_fold_in(batch_seed, block)))
            if progress:
                progress((number * rounds + block + 1) / (len(starts) * rounds))
        parts.append(running.result())
    joined = [np.concatenate(values, axis=-1)[..., : len(encoded)] for values in zip(*parts, strict=True)]
    return NLL(curve_samples(samples), *joined)


def curve_samples(samples):
    """1, 10, 100, ... up to the number of samples, and that number itself [P]."""
    powers = 10 ** np.arange(1 + int(math.log10(samples)))
    return np.union1d(powers[powers <= samples], samples)


class _Running:
    """Sums over the samples of some examples, which are given block by block."""

    def __init__(self, samples, examples):
        self.samples, self.seen = samples, 0
        self.log_likelihood, self.log_ratio = np.zeros((2, examples))
        self.log_sum, self.log_sum_of_squares = np.full((2, examples), -np.inf)  # of the weights
        self.curve = []

    def add(self, log_likelihood, log_ratio):
        """Take a block [S,B] of log p(x|z) and log q(z|x) - log p(z); what exceeds K is left out."""
        left = self.samples - self.seen
        log_likelihood, log_ratio = (np.asarray(block[:left], "float64") for block in (log_likelihood, log_ratio))
        log_weights = log_likelihood - log_ratio
        for count in curve_samples(self.samples):
            if self.seen < count <= self.seen + len(log_weights):
                first = np.logaddexp.reduce(log_weights[: count - self.seen])
                self.curve.append(math.log(count) - np.logaddexp(self.log_sum, first))
        self.log_sum = np.logaddexp(self.log_sum, np.logaddexp.reduce(log_weights))
        self.log_sum_of_squares = np.logaddexp(self.log_sum_of_squares, np.logaddexp.reduce(2 * log_weights))
        self.log_likelihood += log_likelihood.sum(0)
        self.log_ratio += log_ratio.sum(0)
        self.seen += len(log_weights)

    def result(self):
        """The fields of `NLL` from `curve` on."""
        effective = np.exp(2 * self.log_sum - self.log_sum_of_squares)
        return np.stack(self.curve), self.log_likelihood / self.samples, self.log_ratio / self.samples, effective


def _compiled(encoded, size, at_once, draws, shared_noise):
    """A batch of B examples, the encoder's output for it, a seed [2] → log p(x|z), log q(z|x) - log p(z) [draws,B].

    A graph, not XLA: by processor time XLA gains an eighth with a 200-200 decoder and loses with convolutions.
    """
    model = encoded.model

    def log_weights(batch, params, seed):
        prior = model.prior_distribution()
        rows = 1 if shared_noise else size
        noise = model.posterior.noise([BLOCK, rows, model.latent_dim], seed)[:draws]  # all at once, see BLOCK
        noise = tf.broadcast_to(noise, [draws, size, model.latent_dim])

        def of_chunk(noise):
            with fused(model):
                passed = model.forward(batch, noise=noise, params=params, prior=prior)
                return passed.log_likelihood, passed.log_ratio

        chunks = tf.reshape(noise, [-1, at_once, size, model.latent_dim])
        # Two chunks at a time, so that one has work for a core while an operation of the other uses one core alone.
        found = tf.map_fn(of_chunk, chunks, fn_output_signature=(tf.float32, tf.float32), parallel_iterations=2)
        return [tf.reshape(values, [draws, size]) for values in found]

    rows = np.zeros(size, int)
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec(array.shape, array.dtype), (encoded.batch(rows), encoded.params_of(rows))
    )
    return tf.function(log_weights, autograph=False).get_concrete_function(*signature, tf.TensorSpec([2], tf.int32))


def _samples_at_once(model, size):
    """The largest divisor of BLOCK with which no tensor of the decoder or the prior exceeds WIDEST numbers, or 1."""
    outputs = [output for layer in layers_of(model.decoder) for output in tf.nest.flatten(layer.output)]
    widest = max(math.prod(output.shape[1:]) for output in outputs)
    widest = max(widest, model.prior.components * model.latent_dim)  # a mixture computes the density of each component
    return max(n for n in range(1, BLOCK + 1) if BLOCK % n == 0 and (n == 1 or n * size * widest <= WIDEST))

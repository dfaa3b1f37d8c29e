"""Examples with the encoder's output for them, so that every metric reads it and none encodes again."""

import functools

import numpy as np
import tensorflow as tf

from vaezoo.models.in_batches import BATCH, checked_examples, checked_labels


class Encoded:
    """Examples that are encoded, in batches of BATCH.

    Args:
        model: a `VAE`.
        x: examples [N,...]; images are in [0, 1], or uint8.
        labels: classes [N], for a conditional model.

    Attributes:
        x: the examples, in the type that the model takes.
        labels: int32 [N], or None.
        params: the output of the encoder, arrays [N,...] in its structure.

    Raises:
        VaezooError: for examples or labels that do not fit the model.
    """

    def __init__(self, model, x, labels=None):
        self.model = model
        self.x = checked_examples(model, x)
        self.labels = checked_labels(model, labels, self.x.shape[:1])
        self.params = None
        for rows in self._batches():
            part = model.encoder_params(self.batch(rows))
            if self.params is None:
                self.params = tf.nest.map_structure(self._empty, part)
            tf.nest.map_structure(lambda array, values, rows=rows: array.__setitem__(rows, values), self.params, part)

    @functools.cached_property
    def prior(self):
        """p(z), the same for every batch."""
        return self.model.prior_distribution()

    def __len__(self):
        return len(self.x)

    def batch(self, rows):
        """The batch {"x", "label"} of some rows, given as indices or as a slice; no label without classes."""
        batch = {"x": self.x[rows]}
        return batch if self.labels is None else {**batch, "label": self.labels[rows]}

    def params_of(self, rows):
        """The output of the encoder for some rows."""
        return tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[rows]), self.params)

    def passes(self, indices=None, seed=lambda number: (0, 0), noise=None):
        """A `Pass` for each batch of examples, from the encoder's output on.

        Args:
            indices: of the examples, an array; by default all, in order.
            seed: the number of a batch → the stateless seed [2] of its one draw.
            noise: the noise of K draws [K,D], the same for every example, instead of `seed`; zeros give the code.
        """
        for number, rows in enumerate(self._batches(indices)):
            batch, drawn = self.batch(rows), {"seed": seed(number)}
            if noise is not None:
                shared = tf.cast(noise, tf.float32)[:, tf.newaxis]  # [K,1,D]
                drawn = {"noise": tf.broadcast_to(shared, [len(noise), len(batch["x"]), shared.shape[-1]])}
            yield self.model.forward(batch, **drawn, params=self.params_of(rows), prior=self.prior)

    def costs(self, noise):
        """The two parts of the negative ELBO of each batch of examples; see `VAE.costs`."""
        for rows in self._batches():
            batch = {name: tf.convert_to_tensor(values) for name, values in self.batch(rows).items()}
            yield self.model.costs(batch, self.params_of(rows), tf.cast(noise, tf.float32))

    def means(self):
        """The code of each example without noise [N,D]: the mean of q(z|x), where that is known."""
        return np.concatenate([code for _, code, _ in self.codes()])

    def codes(self):
        """Examples [B,...], their codes without noise [B,D], and their labels [B] or None, batch by batch."""
        for rows in self._batches():
            batch = self.batch(rows)
            code = self.model.posterior.mean(self.params_of(rows), self.model.decoder_of(batch))
            yield batch["x"], code, batch.get("label")

    def reconstructions(self):
        """Pairs of examples and their decoded means [B,...], batch by batch: what the model makes of each, no noise."""
        for x, code, label in self.codes():
            yield x, np.asarray(self.model.examples(code, label))

    def _batches(self, indices=None):
        count = len(self) if indices is None else len(indices)
        for start in range(0, count, BATCH):
            rows = slice(start, start + BATCH)
            yield rows if indices is None else indices[rows]

    def _empty(self, tensor):
        return np.empty((len(self), *tensor.shape[1:]), tensor.dtype.as_numpy_dtype)


def encode(model, x, labels=None):
    """The `Encoded` of examples [N,...] and their labels; an `Encoded` is returned as it is."""
    return x if isinstance(x, Encoded) else Encoded(model, x, labels)

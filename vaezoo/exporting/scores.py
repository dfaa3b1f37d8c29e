"""The score for anomalies that an export offers: the negative ELBO with its calibration, as one graph.

It is calibrated by itself, on the scores that the same computation gives the validation examples, so its p-values hold
whatever it differs in from the scores of `vaezoo.scoring`.
"""

import numpy as np
import tensorflow as tf

from vaezoo.errors import VaezooError
from vaezoo.evaluation.encoded import encode
from vaezoo.exporting.plan import SCORES
from vaezoo.models.in_batches import BATCH
from vaezoo.models.standalone import standalone_pass
from vaezoo.scoring.calibration import Calibration, check_rate, lowered
from vaezoo.seeds import SCORING, fold_seed

MOST = 10_000  # calibration scores in a file, four bytes each


class Score:
    """-log p(x|z) + KL(q(z|x) || p(z)) of each example in float32, its p-value and the decision.

    At the location of q(z|x), or at one draw from it. Of an autoencoder it is the first term alone. Where the KL has no
    closed form, it is log q(z|x) - log p(z) at the same code.

    Args:
        run: a `Run` with a validation split.
        fpr: the rate of false alarms, in (0, 1).

    Attributes:
        fpr: the rate.
        calibrations: "score" and "score_drawn" → `Calibration`.

    Raises:
        VaezooError: without a validation split, or one too small for that rate.
    """

    def __init__(self, run, fpr):
        self.fpr, self.model, self.forward = fpr, run.model, standalone_pass(run.model)
        if not 0 < fpr < 1:
            check_rate(0, fpr)
        if run.data.validation is None:
            raise VaezooError(
                f"fpr= asks for a score, and '{run.path}' has no validation split to calibrate it on; leave it out, or "
                "train with data.validation=0.1"
            )
        check_rate(min(MOST, len(run.data.validation)), fpr)
        found = {name: [] for name in SCORES}
        for split in ("validation", "test"):
            x, labels = run.spaced(split, MOST)
            examples = encode(run.model, x, labels if run.model.spec.conditional else None)
            for name, scores in found.items():
                with tf.device("CPU:0"):  # a GPU may round float32 products to 10 bits
                    scores.append(self._scores(examples, drawn=name == "score_drawn"))
        self.calibrations = {name: Calibration(*scores) for name, scores in found.items()}

    def __call__(self, batch, seed=None):
        """A batch {"x", "label"}, and seeds [B,2] of the draws → {"score" [B], "p_value" [B], "anomaly" [B] int32}."""
        calibration = self.calibrations["score" if seed is None else "score_drawn"]
        scores, known = self.scores(batch, seed), np.sort(calibration.scores).astype("float32")
        least = lowered(scores, where=tf.where)
        as_high = tf.reduce_sum(tf.cast(known >= least[:, tf.newaxis], tf.float32), axis=-1)
        anomaly = tf.cast(least > np.float32(calibration.threshold(self.fpr)), tf.int32)
        return {"score": scores, "p_value": (1.0 + as_high) / (len(known) + 1.0), "anomaly": anomaly}

    def scores(self, batch, seed=None):
        """The scores alone [B]."""
        shape = [self.model.latent_dim]
        if seed is None:
            noise = tf.zeros([tf.shape(batch["x"])[0], *shape])
        else:
            row = tf.TensorSpec(shape, tf.float32)
            noise = tf.map_fn(
                lambda each: tf.random.stateless_normal(shape, each, alg="philox"), seed, fn_output_signature=row
            )
        passed = self.forward(batch, noise)
        cost = -passed.log_likelihood[0]
        return cost + passed.kl() if self.model.posterior.has_density else cost

    def _scores(self, encoded, drawn):
        found = []
        for start in range(0, len(encoded), BATCH):
            batch = encoded.batch(slice(start, start + BATCH))
            seed = None
            if drawn:
                base = fold_seed(0, SCORING, 1 + start)
                seed = tf.random.stateless_uniform([len(batch["x"]), 2], base, None, None, tf.int32)
            found.append(self.scores(batch, seed))
        return np.concatenate(found)

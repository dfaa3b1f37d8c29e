"""Steps whose loss or gradient is not finite: found inside the compiled step, reported after the call.

A call runs up to 32 steps before Python regains control, so the step itself records the first non-finite term or
gradient. The callback then raises the error, before anything of that call is saved. Where such steps are skipped, the
step does not update the weights.
"""

import keras
import numpy as np
import tensorflow as tf

from vaezoo import internals, replicas
from vaezoo.errors import VaezooError

SKIPPED_IN_A_ROW = 10  # this many skipped steps in a row end the training
PARTS = ("encoder", "posterior", "prior", "decoder", "likelihood", "objective")


def _variable(value):
    """A TensorFlow variable: it belongs to this training and not to the model, so no file of the model holds it.

    Every device writes the same value, so that of the first one is kept.
    """
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


class Watch(keras.callbacks.Callback):
    """Guards every training step, and is the callback that ends the training; it comes before the other callbacks.

    Under float16 an overflowing gradient is expected: the optimizer skips that step and lowers its loss scale. It
    counts as non-finite once the scale is 1.

    Args:
        model: the `VAE`, compiled, its optimizer built.
        policy: "stop" at the first non-finite step, or "skip" such steps and stop at the tenth in a row.
    """

    def __init__(self, model, policy="stop"):
        super().__init__()
        self.patience = 1 if policy == "stop" else SKIPPED_IN_A_ROW
        # The causes first, and without the ELBO, which is the sum of others.
        self.terms = [name for name in reversed(model.objective.terms) if name != "elbo"]
        owners = {id(weight): part for part in PARTS for weight in getattr(model, part).trainable_variables}
        self.owners = [owners.get(id(weight), "model") for weight in model.trainable_variables]
        self.parts = list(dict.fromkeys(self.owners))
        self.optimizer = model.optimizer
        self.steps = _variable(tf.zeros([], tf.int64))  # of this training, non-finite ones included
        self.in_a_row = _variable(tf.zeros([], tf.int64))
        self.skipped = _variable(tf.zeros([], tf.int64))  # in this epoch
        self.first = _variable(tf.zeros([], tf.int64))  # the first of the non-finite steps in a row
        self.means = _variable(tf.zeros(len(self.terms)))  # of its terms
        self.sound = _variable(tf.ones(len(self.parts), tf.bool))  # which gradients of it were

    # Inside the compiled step

    def guard(self, update, terms, gradients):
        """Call `update`; where non-finite steps are skipped, only if this one is finite.

        Args:
            update: takes the terms and the gradients; applies the optimizer and tracks the terms.
            terms: the objective's terms by name, each [B].
            gradients: of the trainable variables, in their order; None for one that the loss does not depend on. With
                several devices, the gradients of the complete batch.
        """
        (means,) = replicas.mean([tf.stack([tf.reduce_mean(terms[name]) for name in self.terms])])
        parts = tf.stack([self._is_sound(part, gradients) for part in self.parts])
        sound = tf.reduce_all(tf.math.is_finite(means))
        sound &= tf.reduce_all(parts) | (self._loss_scale() > 1.0)
        going = self.in_a_row < self.patience
        self.steps.assign_add(tf.cast(going, tf.int64))
        begins = going & ~sound & (self.in_a_row == 0)
        self.first.assign(tf.where(begins, self.steps, self.first))
        self.means.assign(tf.where(begins, means, self.means))
        self.sound.assign(tf.where(begins, parts, self.sound))
        self.skipped.assign_add(tf.cast(going & ~sound, tf.int64))
        if self.patience > 1:
            replicas.only_if(going & sound, update, terms, gradients)
        else:
            # What a non-finite step does is discarded; a condition would cost a dense network 5 % of its time.
            update(terms, gradients)
        row = tf.where(sound, tf.zeros([], tf.int64), self.in_a_row + 1)
        self.in_a_row.assign(tf.where(going, row, self.in_a_row))

    def _is_sound(self, part, gradients):
        # Clipping needs the same sums of squares, so the compiler computes them once. Both overflow at 1e38.
        mine = [g for g, owner in zip(gradients, self.owners, strict=True) if owner == part and g is not None]
        return tf.reduce_all([tf.constant(True), *(tf.math.is_finite(tf.reduce_sum(tf.square(g))) for g in mine)])

    def _loss_scale(self):
        scale = internals.loss_scale(self.optimizer)
        return tf.convert_to_tensor(1.0 if scale is None else scale)

    # Between two calls of it

    def on_train_batch_end(self, batch, logs=None):
        """End the training if too many steps were not finite."""
        if self.in_a_row.numpy() >= self.patience:
            raise VaezooError(self.explain())

    def explain(self) -> str:
        """What was not finite first, at which step, and the likely cause."""
        means, sound = self.means.numpy(), self.sound.numpy()
        bad_terms = [name for name, value in zip(self.terms, means, strict=True) if not np.isfinite(value)]
        bad_parts = [part for part, is_sound in zip(self.parts, sound, strict=True) if not is_sound]
        if bad_terms:
            first = bad_terms[0]
            what = f"the term '{first}' became {means[self.terms.index(first)]:g}"
        else:
            first = "gradient"
            what = f"every term is finite, but the gradient of the {' and the '.join(bad_parts)} is not"
        rows = f", and the {self.patience - 1} steps after it broke too" if self.patience > 1 else ""
        return f"training broke at step {self.first.numpy():,}{rows}: {what}; {self._cause(first)}"

    def _cause(self, first):
        if "float16" in self.model.encoder.dtype_policy.name.replace("bfloat16", ""):
            return "float16 ends at 65,504, which was likely passed: train in mixed_bfloat16 or float32"
        if self.first.numpy() == 1:
            return "no weight had moved yet, so the images or a weight in model.objective are likely too large"
        if first == "kl":
            return "the encoder's outputs ran away, likely by steps too long: lower training.learning_rate"
        if first == "gradient":
            return "a scale has likely shrunk to its floor: lower training.learning_rate, or training.clip_norm"
        if first in ("loss", "reconstruction"):
            return "the decoder's outputs ran away, likely by steps too long: lower training.learning_rate"
        return "its inputs or its weights ran away, likely by steps too long: lower training.learning_rate"

"""A loss or a gradient that is not finite: found inside the compiled step, and explained at the end of the call.

A call runs up to 32 steps before Python sees anything, so the step itself remembers what broke first. The callback
then raises the error, before anything of that call is kept. Where broken steps are skipped, the step refuses its
own update.
"""

import keras
import numpy as np
import tensorflow as tf

from vaezoo import replicas
from vaezoo.errors import VaezooError

SKIPPED_IN_A_ROW = 10  # as many broken steps one after the other end a training that skips them
PARTS = ("encoder", "posterior", "prior", "decoder", "likelihood")


def _variable(value):
    """A plain variable: it belongs to this training, not to the model, so no file of the model holds it.

    What is written there is the same on every device that takes part in the step, so that of any one may stand.
    """
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


class Watch(keras.callbacks.Callback):
    """The guard of every training step, and the callback that ends the training; it comes before the others.

    Under float16 a gradient that overflows is no trouble: the optimizer lowers its loss scale and leaves that step
    out, by itself. It is trouble once the scale has come down to 1.

    Args:
        model: the `VAE`, compiled, its optimizer built.
        policy: "stop" at the first step that is not finite, or "skip" such steps and stop at the tenth in a row.
    """

    def __init__(self, model, policy="stop"):
        super().__init__()
        self.patience = 1 if policy == "stop" else SKIPPED_IN_A_ROW
        self.terms = [name for name in model.objective.term_names if name != "elbo"]  # it only sums up others
        self.terms.sort(key=lambda name: {"kl": 0, "reconstruction": 1, "loss": 3}.get(name, 2))  # as they are computed
        owners = {id(weight): part for part in PARTS for weight in getattr(model, part).trainable_variables}
        self.owners = [owners.get(id(weight), "model") for weight in model.trainable_variables]
        self.parts = list(dict.fromkeys(self.owners))
        self.optimizer = model.optimizer
        self.steps = _variable(tf.zeros([], tf.int64))  # taken in this training, broken ones included
        self.in_a_row = _variable(tf.zeros([], tf.int64))
        self.skipped = _variable(tf.zeros([], tf.int64))  # in this epoch
        self.first = _variable(tf.zeros([], tf.int64))  # the step that began the row of broken ones
        self.means = _variable(tf.zeros(len(self.terms)))  # of its terms
        self.sound = _variable(tf.ones(len(self.parts), tf.bool))  # which gradients of it were

    # Inside the compiled step

    def guard(self, update, terms, gradients):
        """Do `update`; where broken steps are skipped, only if this one is sound.

        Args:
            update: takes the terms and the gradients; does the optimizer's step and counts the terms.
            terms: the objective's terms by name, each [B].
            gradients: of the trainable variables, in their order; None for one that the loss does not depend on. Where
                several devices take the step, those of the whole batch.
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
            # What it breaks is thrown away; the condition would cost a dense network 5 % of its time.
            update(terms, gradients)
        row = tf.where(sound, tf.zeros([], tf.int64), self.in_a_row + 1)
        self.in_a_row.assign(tf.where(going, row, self.in_a_row))

    def _is_sound(self, part, gradients):
        # These are the sums that clipping takes too, so the compiler computes them once. They end at 1e38, as its do.
        mine = [g for g, owner in zip(gradients, self.owners, strict=True) if owner == part and g is not None]
        return tf.reduce_all([tf.constant(True), *(tf.math.is_finite(tf.reduce_sum(tf.square(g))) for g in mine)])

    def _loss_scale(self):
        return tf.convert_to_tensor(getattr(self.optimizer, "dynamic_scale", 1.0))

    # Between two calls of it

    def on_train_batch_end(self, batch, logs=None):
        """End the training if the step has given up."""
        if self.in_a_row.numpy() >= self.patience:
            raise VaezooError(self.explain())

    def explain(self) -> str:
        """What broke first, at which step, and the likely cause."""
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
        return "the decoder's outputs ran away, likely by steps too long: lower training.learning_rate"

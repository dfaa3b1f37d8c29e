"""The likelihood of an example: what every part of this package answers."""

import numpy as np
import tensorflow as tf

from vaezoo import parts  # a module, not a name: the Keras import hook can re-enter here
from vaezoo.errors import VaezooError


class Likelihood(parts.Part):
    """What every likelihood answers about examples that a `Spec` describes.

    params are [...,*params_shape]. By default that is the shape of the example with `params_per_element` times as many
    numbers on its last axis: [...,H,W,P*C] for an image, [...,P*F] for a vector.
    """

    params_per_element = 1

    def build(self, params_shape, levels=None, column_types=None):
        """Make the weights.

        Args:
            params_shape: the output shape of the decoder, (None, *params_shape).
            levels: V, the number of tokens, of sequences.
            column_types: the types of the columns, of rows of a table.
        """

    def build_from_config(self, config):
        """Build as before saving; files of earlier versions hold one shape alone."""
        shapes = config.get("shapes_dict", {})
        levels, column_types = shapes.get("levels"), shapes.get("column_types")
        self.build(shapes.get("params_shape", config.get("input_shape")), levels, column_types)

    def params_shape(self, spec):
        """The shape of the parameters of one example."""
        return (*spec.shape[:-1], self.params_per_element * spec.shape[-1])

    def distribution(self, params, spec):
        """params → p(x|z), a TFP distribution whose event is an example."""
        raise NotImplementedError

    def elements_log_prob(self, params, x, spec):
        """log p(x|z) of each element, in nats: these add up to the log-probability of the example.

        Args:
            params: [...,*params_shape].
            x: examples [...,*shape].
            spec: a `Spec`.

        Returns:
            [...,H,W] for images, the channels of a pixel together; [...,F] for vectors; [...,T] for sequences.
        """
        inner = self.distribution(params, spec).distribution  # the factors of the product
        log_prob = inner.log_prob(x)
        return tf.reduce_sum(log_prob, axis=-1) if spec.is_image else log_prob

    def mean(self, params, spec):
        """params → the mean of p(x|z); of an image it is kept within [0, 1], of tokens it is their probabilities."""
        raise NotImplementedError

    def example(self, params, spec):
        """params → the example to show: the mean of p(x|z), or the most likely tokens."""
        return self.mean(params, spec)

    def decoded(self, params, spec):
        """params → what an exported decoder gives: the mean, or where there is none the example to show."""
        return self.mean(params, spec)

    def drawn(self, params, spec, temperature, seed):
        """params → examples drawn from p(x|z), a function of the stateless seed [2].

        At a temperature of 1 they are draws of p(x|z). Of tokens, the probabilities are raised to the power
        1 / temperature: towards 0 the most likely token is left.

        Raises:
            VaezooError: for a temperature, where the examples are not tokens.
        """
        raise VaezooError(f"a temperature is for sequences of tokens, and these examples are {spec}; leave it out")

    def check(self, x, spec):
        """Raise a VaezooError if the examples x [N,...] are nothing that this likelihood describes."""
        self.section.check_examples(spec)
        if spec.is_image and not in_unit_interval(x):
            raise VaezooError(
                f"the images must lie in [0, 1], and these go from {np.min(x):g} to {np.max(x):g}; "
                "divide 8-bit images by 255"
            )
        if not np.isfinite(x).all():
            raise VaezooError(f"{spec} with values that are NaN or infinite; remove these examples")


def in_unit_interval(x):
    """Whether every number lies in [0, 1]; not for a NaN."""
    return bool(np.all((x >= 0) & (x <= 1)))

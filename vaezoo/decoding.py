"""The decoder of one batch: codes with any leading axes → parameters of p(x|z)."""

import itertools

import keras
import tensorflow as tf


def blocks(network):
    """The blocks of a hierarchical decoder, from the top down; none of any other decoder.

    A hierarchical decoder is a functional Keras model that is a chain of functional models. Block l takes the state of
    the block above and its own latents eps_l, in units of the prior of the group: z_l = loc(state) + scale(state)
    eps_l. So the prior over all groups together is N(0, I).
    """
    return [layer for layer in network.layers if isinstance(layer, keras.Model)]


def group_shapes(network):
    """The groups of a hierarchical decoder, from the top down: (the shape of the state that it takes, its latents).

    The state of the top group is None. There are no groups in any other decoder.
    """
    chain = blocks(network)
    if not chain:
        return []
    groups = [(block.input_shape[0], block.input_shape[1][-1]) for block in chain[1:]]
    top = codes_of(network.input).shape[-1] - sum(size for _, size in groups)
    return [(None, top), *groups]


def group_slices(network):
    """Which of the D latents are those of each group of a hierarchical decoder, from the top down: slices."""
    ends = [0, *itertools.accumulate(size for _, size in group_shapes(network))]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


def codes_of(inputs):
    """z among the inputs of a decoder, or of the first block of a hierarchical one."""
    return inputs["z"] if isinstance(inputs, dict) else inputs


def layers_of(*networks):
    """Every layer of the networks, those of nested models included."""
    for network in networks:
        for layer in network.layers:
            yield layer
            if isinstance(layer, keras.Model):
                yield from layers_of(layer)


class Decoder:
    """A decoder network, with the labels of a batch.

    Args:
        network: a functional Keras model, z [B,D] or {"z", "label"} → params [B,...].
        label: classes, of a shape that broadcasts to the leading axes of the codes; None without a label.
        call: what to call in place of the network, with the same inputs; by default the network itself.
    """

    def __init__(self, network, label=None, call=None):
        self.network, self.label, self._call = network, label, call or network

    @property
    def blocks(self):
        """The blocks of a hierarchical decoder."""
        return blocks(self.network)

    @property
    def latent_dim(self):
        """D."""
        return codes_of(self.network.input).shape[-1]

    def __call__(self, z):
        """Decode codes z [...,D] to params [...,*params_shape]."""
        z = tf.convert_to_tensor(z, tf.float32)
        if z.shape.rank == 2:  # the lines below would double the time that a single code takes
            return self._call(self._inputs(z, tf.shape(z)[:1]))
        leading = tf.shape(z)[:-1]
        params = self._call(self._inputs(tf.reshape(z, [-1, z.shape[-1]]), leading))
        params = tf.reshape(params, tf.concat([leading, tf.shape(params)[1:]], axis=0))
        return tf.ensure_shape(params, z.shape[:-1] + self.network.output_shape[1:])

    def _inputs(self, z, leading):
        """What the network takes for codes [N,D] whose leading axes were these."""
        if self.label is None:
            return z
        return {"z": z, "label": tf.reshape(tf.broadcast_to(tf.cast(self.label, tf.int32), leading), [-1])}

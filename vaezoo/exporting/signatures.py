"""The functions that an export offers: plain names, float32, a batch axis B on every input.

    decode       z [B,D]            → image [B,H,W,C] in [0, 1]
    encode       image [B,H,W,C]    → loc [B,D], scale [B,D]: the parameters of q(z|x)
    reconstruct  image [B,H,W,C]    → image [B,H,W,C]: the posterior's location, decoded
    sample       seed [B,2] int32   → image [B,H,W,C], z [B,D]: one draw from the prior a row, a function of its seed

A conditional model takes label [B] int32 beside each of them.
"""

import tensorflow as tf

from vaezoo.models.standalone import standalone_decoder, standalone_encoder


class Functions:
    """The signatures of a model, over float32 copies of its networks.

    Args:
        vae: a trained `VAE`.

    Attributes:
        decoder, encoder: the standalone Keras models.
        specs: signature → input → (shape without the batch axis, dtype).
    """

    def __init__(self, vae):
        self.vae = vae
        self.decoder, self.encoder = standalone_decoder(vae), standalone_encoder(vae)
        self.prior = vae.prior_distribution()  # computed here, once: a request need not encode pseudo-inputs
        self.conditional = vae.conditional
        label = {"label": ((), tf.int32)} if vae.conditional else {}
        image, z = {"image": (vae.image_shape, tf.float32)}, {"z": ((vae.latent_dim,), tf.float32)}
        self.specs = {
            "decode": {**z, **label},
            "encode": {**image, **label},
            "reconstruct": {**image, **label},
            "sample": {"seed": ((2,), tf.int32), **label},
        }

    def decode(self, inputs):
        """{"z" [B,D], "label"} → {"image" [B,H,W,C]}."""
        return {"image": self.decoder(self._network_inputs("z", inputs))}

    def encode(self, inputs):
        """{"image" [B,H,W,C], "label"} → the posterior's parameters by name."""
        return self.encoder(self._network_inputs("image", inputs))

    def reconstruct(self, inputs):
        """{"image" [B,H,W,C], "label"} → {"image" [B,H,W,C]}."""
        return self.decode({**inputs, "z": self.encode(inputs)["loc"]})

    def sample(self, inputs):
        """{"seed" [B,2], "label"} → {"image" [B,H,W,C], "z" [B,D]}.

        One draw a row, so that a row's image does not depend on which requests the server batched together.
        """
        code = tf.TensorSpec([self.vae.latent_dim], tf.float32)
        z = tf.map_fn(
            lambda seed: tf.cast(self.prior.sample(seed=seed), tf.float32), inputs["seed"], fn_output_signature=code
        )
        return {**self.decode({**inputs, "z": z}), "z": z}

    def _network_inputs(self, name, inputs):
        return {key: inputs[key] for key in (name, "label")} if self.conditional else inputs[name]

    def concrete(self, name, batch=None):
        """The traced function of a signature, with that batch; None for any."""
        specs = self.specs[name]
        wanted = [tf.TensorSpec([batch, *shape], dtype, name=key) for key, (shape, dtype) in specs.items()]
        traced = tf.function(lambda *tensors: getattr(self, name)(dict(zip(specs, tensors, strict=True))))
        return traced.get_concrete_function(*wanted)


def save(functions: Functions, folder, names, batch=None, default=None):
    """Write a SavedModel of some signatures, with nothing in it but them and the weights they use.

    Args:
        functions: the signatures.
        folder: where to write; must not exist.
        names: which signatures.
        batch: their static batch, or None.
        default: the one that is `serving_default` too.
    """
    traced = {name: functions.concrete(name, batch) for name in names}
    if default:
        traced["serving_default"] = traced[default]
    holder = tf.Module()
    # The graphs say which variables they read, whatever parts the model is made of; only those are saved.
    holder.weights = [variable for function in traced.values() for variable in function.graph.variables]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, str(folder), signatures=traced, options=options)

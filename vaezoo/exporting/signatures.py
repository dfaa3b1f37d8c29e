"""The functions that an export offers: plain names, float32, a batch axis B on every input.

    decode       z [B,D]            → image [B,H,W,C] in [0, 1], the mean of p(x|z)
    encode       image [B,H,W,C]    → loc [B,D], scale [B,D], the parameters of q(z|x)
    reconstruct  image [B,H,W,C]    → image [B,H,W,C], the posterior's location, decoded
    sample       seed [B,2] int32   → image [B,H,W,C], z [B,D], one draw from the prior for each row
    score        image [B,H,W,C]    → score [B], p_value [B], anomaly [B] int32: how untypical it is; see `scoring`
    score_drawn  image, seed [B,2]  → the same, of one draw from q(z|x) for each row

The tensor of an example has the name of its kind. A vector is [B,F]. A sequence is [B,T] int32 where a signature takes
it, and [B,T,V], the probability of each token, where a signature returns it. Each signature of a conditional model also
takes label [B] int32. The two scores exist where they are calibrated.
"""

import tensorflow as tf

from vaezoo.exporting.scores import Score
from vaezoo.models.standalone import standalone_decoder, standalone_encoder


class Functions:
    """The signatures of a model, over float32 copies of its networks.

    Args:
        vae: a trained `VAE`.
        score: its calibrated `Score`, or None.

    Attributes:
        decoder, encoder: the standalone Keras models.
        example: the name of the tensor of an example: "image", "vector" or "sequence".
        specs: signature → input → (shape without the batch axis, dtype).
    """

    def __init__(self, vae, score: Score | None = None):
        self.vae, self.calibrated, spec = vae, score, vae.spec
        self.decoder, self.encoder = standalone_decoder(vae), standalone_encoder(vae)
        self.prior = vae.prior_distribution()  # computed here, once: a request need not encode pseudo-inputs
        self.example, self.conditional = spec.kind, spec.conditional
        label = {"label": ((), tf.int32)} if self.conditional else {}
        example = {self.example: (spec.shape, tf.as_dtype(spec.dtype))}
        self.specs = {
            "decode": {"z": ((vae.latent_dim,), tf.float32), **label},
            "encode": {**example, **label},
            "reconstruct": {**example, **label},
            "sample": {"seed": ((2,), tf.int32), **label},
        }
        if score is not None:
            self.specs |= {"score": {**example, **label}, "score_drawn": {**example, "seed": ((2,), tf.int32), **label}}

    def decode(self, inputs):
        """{"z" [B,D], "label"} → {"image" [B,H,W,C]}."""
        return {self.example: self.decoder(self._network_inputs("z", inputs))}

    def encode(self, inputs):
        """{"image" [B,H,W,C], "label"} → the posterior's parameters by name."""
        return self.encoder(self._network_inputs(self.example, inputs))

    def reconstruct(self, inputs):
        """{"image" [B,H,W,C], "label"} → {"image" [B,H,W,C]}."""
        return self.decode({**inputs, "z": self.encode(inputs)["loc"]})

    def sample(self, inputs):
        """{"seed" [B,2], "label"} → {"image" [B,H,W,C], "z" [B,D]}.

        One draw for each row, so that the draw does not depend on which requests the server puts into one batch.
        """
        code = tf.TensorSpec([self.vae.latent_dim], tf.float32)
        z = tf.map_fn(
            lambda seed: tf.cast(self.prior.sample(seed=seed), tf.float32), inputs["seed"], fn_output_signature=code
        )
        return {**self.decode({**inputs, "z": z}), "z": z}

    def score(self, inputs):
        """{"image" [B,H,W,C], "label"} → {"score" [B], "p_value" [B], "anomaly" [B]}, at the location of q(z|x)."""
        return self.calibrated(self._batch(inputs))

    def score_drawn(self, inputs):
        """The same with "seed" [B,2]: of one draw from q(z|x) for each row, a function of the seed."""
        return self.calibrated(self._batch(inputs), inputs["seed"])

    def _batch(self, inputs):
        label = {"label": inputs["label"]} if self.conditional else {}
        return {"x": inputs[self.example], **label}

    def _network_inputs(self, name, inputs):
        return {key: inputs[key] for key in (name, "label")} if self.conditional else inputs[name]

    def concrete(self, name, batch=None):
        """The traced function of a signature, with that batch; None for any."""
        specs = self.specs[name]
        wanted = [tf.TensorSpec([batch, *shape], dtype, name=key) for key, (shape, dtype) in specs.items()]
        call = getattr(self, name)
        traced = tf.function(lambda *tensors: call(dict(zip(specs, tensors, strict=True))), autograph=False)
        return traced.get_concrete_function(*wanted)


def save(functions: Functions, folder, names, batch=None, default=None):
    """Write a SavedModel that holds some signatures and the weights they use, and nothing else.

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
    # The graphs list the variables that they read, for every kind of part; only those are saved.
    holder.weights = [variable for function in traced.values() for variable in function.graph.variables]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, str(folder), signatures=traced, options=options)

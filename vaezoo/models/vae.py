"""The one VAE: an encoder, a posterior, a prior, a decoder and a likelihood, trained by an objective.

    x [B,H,W,C] ─ encoder ─ params ─ posterior ─ q(z|x) ─ sample ─ z [K,B,D] ─ decoder ─ params ─ likelihood ─ p(x|z)

Its children are functional Keras models and small layers; nothing here knows recipes or registries.
"""

import keras
import numpy as np
import tensorflow as tf

# The modules, not their classes: importing vaezoo after one of them has begun to import Keras brings us here early.
from vaezoo import likelihoods, objectives, posteriors, priors, replicas  # noqa: F401
from vaezoo.errors import VaezooError, errors_of_readers
from vaezoo.models.graph import Graph
from vaezoo.networks.activations import fused
from vaezoo.seeds import EVALUATION, SAMPLING, TRAINING, fold_seed


@keras.saving.register_keras_serializable("vaezoo")
class VAE(keras.Model):
    """A variational autoencoder composed of five parts and an objective.

    Its input is the image x [B,H,W,C], float32 in [0, 1]. A conditional model takes {"image": x, "label": y [B]}.
    The output of a call is the deterministic reconstruction: the posterior's mean, decoded.

    Args:
        encoder: functional Keras model, the input above → params of the posterior [B,P].
        posterior: a `posteriors.Posterior`.
        prior: a `priors.Prior`.
        decoder: functional Keras model, z [B,D] (or {"z", "label"}) → params of the likelihood [B,H,W,P*C].
        likelihood: a `likelihoods.Likelihood`.
        objective: an `objectives.Objective`.
        seed: the seed of every random draw in training and evaluation, 0 <= seed < 2^31.

    Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114.
    """

    def __init__(self, encoder, posterior, prior, decoder, likelihood, objective, seed=0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # images stay float32; the layers of the children cast
        if keras.backend.backend() != "tensorflow":
            raise VaezooError(
                f"vaezoo runs on Keras's TensorFlow backend, and this is '{keras.backend.backend()}'; "
                "set KERAS_BACKEND=tensorflow before Keras is imported"
            )
        self.encoder, self.decoder = encoder, decoder
        self.posterior, self.prior, self.likelihood = posterior, prior, likelihood
        self.objective = objective
        self.seed = seed
        self.trackers = {name: keras.metrics.Mean(name=name) for name in objective.term_names}
        self.watch = None  # set by training: it notices a step that is not finite
        self.build(encoder.input_shape)
        self.encoder_graph, self.decoder_graph = Graph.of_network(encoder), Graph.of_network(decoder)
        self.prior_graph = Graph(self._draw, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32))

    @property
    def conditional(self):
        """Whether the model takes a label beside the image."""
        return isinstance(self.encoder.input, dict)

    @property
    def classes(self):
        """Y, the number of classes of a conditional model; 0 for the others."""
        if not self.conditional:
            return 0
        return self.decoder.get_layer("join_label").output.shape[-1] - self.latent_dim

    @property
    def image_shape(self):
        """(H, W, C)."""
        image = self.encoder.input["image"] if self.conditional else self.encoder.input
        return tuple(image.shape[1:])

    @property
    def latent_dim(self):
        """D, the number of latent variables."""
        z = self.decoder.input["z"] if self.conditional else self.decoder.input
        return z.shape[-1]

    def build(self, input_shape):
        """Build the small parts; the encoder and the decoder are functional models, built when they were made."""
        shapes = (
            (self.posterior, self.encoder.output_shape),
            (self.prior, (None, self.latent_dim), self.image_shape),
            (self.likelihood, self.decoder.output_shape),
        )
        for part, *sizes in shapes:
            if not part.built:  # Keras builds a part that it reads from a file by itself
                part.build(*sizes)
        self.built = True

    # What a trained model is used for

    def encode(self, x, label=None):
        """The posterior of each image.

        Args:
            x: images [B,H,W,C] in [0, 1].
            label: classes [B], for a conditional model.

        Returns:
            q(z|x), a TFP distribution over [B,D]: `.sample(K)`, `.log_prob(z)`, and of all but a flow `.mean()`.
        """
        return self.posterior.distribution(self._encoder_params(x, label))

    def codes(self, x, label=None):
        """The code of each image without chance [B,D]: the mean of q(z|x), where that is known."""
        return self.posterior.mean(self._encoder_params(x, label))

    def decode(self, z, label=None):
        """The likelihood of each code.

        Args:
            z: codes [...,D]; leading axes such as K are kept.
            label: classes [B] for a conditional model, the last of z's leading axes.

        Returns:
            p(x|z), a TFP distribution over images, with batch shape [...] and event shape [H,W,C].
        """
        return self.likelihood.distribution(self._decoder_params(z, label))

    def prior_distribution(self):
        """p(z), a TFP distribution over codes [D]."""

        def encode(images):  # the classes take turns among images that have none
            label = tf.range(images.shape[0]) % self.classes if self.conditional else None
            return self.encode(images, label)

        return self.prior.distribution(encode)

    def images(self, z, label=None):
        """Decode codes z [...,D] to the pictures to show [...,H,W,C]: the mean of p(x|z), within [0, 1]."""
        return self.likelihood.image(self._decoder_params(z, label))

    def sample(self, n, seed=0, label=None):
        """Draw images from the prior.

        Args:
            n: how many.
            seed: an integer; the same one gives the same images.
            label: a class, or one for each image [n], for a conditional model.

        Returns:
            Images [n,H,W,C] in [0, 1]: the mean of p(x|z) for each z ~ p(z).
        """
        return self.images(self.prior_codes(n, seed), label)

    def prior_codes(self, n, seed=0):
        """Codes z ~ p(z) [n,D]: those of the images that `sample` draws with that seed."""
        return self.prior_graph(n, seed)

    def call(self, inputs):
        """The deterministic reconstruction [B,H,W,C] of the input: decode the mean of the posterior, no sampling."""
        x, label = self._unpack(inputs)
        return self.images(self.codes(x, label), label)

    # Training and evaluation

    def terms(self, inputs, seed, step):
        """One pass over a batch: encode, sample, decode, and the objective's terms.

        Args:
            inputs: images [B,H,W,C], or {"image", "label"} for a conditional model.
            seed: the stateless seed of the posterior's samples, [2], or [4] from `replicas.with_place`.
            step: the number of optimizer steps taken.

        Returns:
            The terms by name, each [B], in nats.
        """
        x, label = self._unpack(inputs)
        q = self.encode(x, label)
        z = q.sample(self.objective.samples, seed=seed)  # [K,B,D]
        return self.objective(x, q, z, self.prior_distribution(), lambda z: self.decode(z, label), step)

    def train_step(self, data):
        """One step of the optimizer on a batch, or on this device's rows of it; returns the epoch's means so far."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        step = self.optimizer.iterations
        seed = replicas.with_place(fold_seed(self.seed, TRAINING, step), self._unpack(inputs)[0])
        with tf.GradientTape() as tape, fused(self.encoder, self.decoder):
            terms = self.terms(inputs, seed, step)
            # Under mixed_float16 the optimizer multiplies the loss, lest small gradients vanish, and divides it out.
            loss = self.optimizer.scale_loss(tf.reduce_mean(terms["loss"]))
        variables = self.trainable_variables
        gradients = replicas.mean(tape.gradient(loss, variables))

        def update(terms, gradients):
            replicas.apply(self.optimizer, gradients, variables)
            self._track(terms)

        if self.watch is None:
            update(terms, gradients)
        else:
            self.watch.guard(update, terms, gradients)
        return self._means()

    def test_step(self, data):
        """The terms of a batch, with draws that are the same in every evaluation."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        # The images seen since the evaluation began: a number that tells one batch from the next.
        seen = self.trackers["loss"].count
        step = self.optimizer.iterations if self.optimizer is not None else 0
        self._track(self.terms(inputs, fold_seed(self.seed, EVALUATION, seen), step))
        return self._means()

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`; images given as an array are first checked against the likelihood."""
        images = x.get("image") if isinstance(x, dict) else x
        if isinstance(images, np.ndarray):
            self.likelihood.check(images)
        with errors_of_readers():
            return super().fit(x, *args, **kwargs)

    @property
    def metrics(self):
        """The means of the terms, which Keras resets at the start of an epoch and of an evaluation."""
        return list(self.trackers.values())

    def _track(self, terms):
        for name, values in terms.items():
            self.trackers[name].update_state(values)

    def _means(self):
        return {name: replicas.as_log(tracker.result()) for name, tracker in self.trackers.items()}

    # Inputs with and without labels

    def _inputs(self, name, tensor, label):
        """What the encoder or the decoder takes: the tensor, or with it the label of a conditional model."""
        tensor = tf.convert_to_tensor(tensor, tf.float32)
        if not self.conditional:
            return tensor
        if label is None:
            raise VaezooError(
                f"this model is conditional: give label=, a class from 0 to {self.classes - 1} for each row"
            )
        return {name: tensor, "label": tf.broadcast_to(tf.cast(label, tf.int32), tf.shape(tensor)[:1])}

    def _unpack(self, inputs):
        if isinstance(inputs, dict):
            return inputs["image"], inputs.get("label")
        return inputs, None

    def _draw(self, n, seed):
        return self.prior_distribution().sample(n, seed=fold_seed(seed, SAMPLING, 0))

    def _encoder_params(self, x, label):
        """Encode images [B,H,W,C]: params [B,P]."""
        return self.encoder_graph(self._inputs("image", x, label))

    def _decoder_params(self, z, label):
        """Decode codes with any leading axes: params [...,H,W,P*C]."""
        z = tf.convert_to_tensor(z, tf.float32)
        if z.shape.rank == 2:  # what follows would double the time that a single code takes
            return self.decoder_graph(self._inputs("z", z, label))
        leading = tf.shape(z)[:-1]
        if label is not None:
            label = tf.reshape(tf.broadcast_to(tf.cast(label, tf.int32), leading), [-1])
        params = self.decoder_graph(self._inputs("z", tf.reshape(z, [-1, self.latent_dim]), label))
        params = tf.reshape(params, tf.concat([leading, tf.shape(params)[1:]], axis=0))
        return tf.ensure_shape(params, z.shape[:-1] + self.decoder.output_shape[1:])

    # Saving

    def get_config(self):
        """The constructor's arguments, serialized."""
        parts = {name: getattr(self, name) for name in ("encoder", "posterior", "prior", "decoder", "likelihood")}
        parts["objective"] = self.objective
        serialized = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return {**serialized, "seed": self.seed, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` describes, with new weights."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value, custom_objects) if isinstance(value, dict) else value
                for name, value in config.items()
            }
        )

"""The one VAE: an encoder, a posterior, a prior, a decoder and a likelihood, trained by an objective.

    x [B,...] ─ encoder ─ params ─ posterior ─ q(z|x) ─ draw ─ z [K,B,D] ─ decoder ─ params ─ likelihood ─ p(x|z)

Its children are functional Keras models and small layers; nothing here knows recipes or registries.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

# Import modules, not names: the Keras import hook can re-enter here.
from vaezoo import decoding, likelihoods, objectives, passes, posteriors, priors, replicas  # noqa: F401
from vaezoo.errors import VaezooError, errors_of_readers
from vaezoo.models.graph import Graph
from vaezoo.networks.activations import fused
from vaezoo.seeds import EVALUATION, SAMPLING, TRAINING, fold_seed
from vaezoo.spec import Spec

PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")


@keras.saving.register_keras_serializable("vaezoo")
class VAE(keras.Model):
    """A variational autoencoder composed of five parts and an objective.

    A batch is a mapping {"x": examples [B,...], "label": classes [B]}, with the label for a conditional model alone. A
    bare array of examples is accepted wherever a batch is. The output of a call is the deterministic reconstruction:
    the mean of the posterior, decoded.

    Args:
        spec: a `Spec`, what one example is; it has classes if the model is conditional.
        encoder: functional Keras model, example (or {spec.kind: example, "label": label}) → params of the posterior.
        posterior: a `posteriors.Posterior`.
        prior: a `priors.Prior`.
        decoder: functional Keras model, z [B,D] (or {"z", "label"}) → params of the likelihood.
        likelihood: a `likelihoods.Likelihood`.
        objective: an `objectives.Objective`.
        latent_dim: D, the number of latent variables.
        seed: the seed of every random draw in training and evaluation, 0 <= seed < 2^31.

    Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114.
    """

    def __init__(self, spec, encoder, posterior, prior, decoder, likelihood, objective, latent_dim, seed=0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # examples keep their type; the layers of the children cast
        if keras.backend.backend() != "tensorflow":
            raise VaezooError(
                f"vaezoo runs on Keras's TensorFlow backend, and this is '{keras.backend.backend()}'; "
                "set KERAS_BACKEND=tensorflow before Keras is imported"
            )
        self.spec, self.latent_dim = spec, latent_dim
        self.encoder, self.decoder = encoder, decoder
        self.posterior, self.prior, self.likelihood = posterior, prior, likelihood
        self.objective = objective
        self.seed = seed
        self.trackers = {name: keras.metrics.Mean(name=name) for name in objective.terms}
        self.watch = None  # set by training: it notices a step that is not finite
        self.build(encoder.input_shape)
        self.encoder_graph, self.decoder_graph = Graph.of_network(encoder), Graph.of_network(decoder)
        self.prior_graph = Graph(self._draw, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32))
        batch = {"x": tf.TensorSpec([None, *spec.shape], spec.dtype)}
        if spec.conditional:
            batch["label"] = tf.TensorSpec([None], tf.int32)
        params = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), encoder.output)
        self.costs_graph = Graph(self._costs, batch, params, tf.TensorSpec([None, latent_dim], tf.float32))

    def build(self, input_shape):
        """Build the small parts; the encoder and the decoder are functional models, built when they were made."""
        codes = (None, self.latent_dim)
        column_types = self.spec.columns and [column.type for column in self.spec.columns]
        shapes = (
            (self.posterior, self.encoder.output_shape, decoding.group_shapes(self.decoder), self.dtype_policy.name),
            (self.prior, codes, self.spec.shape),
            (self.likelihood, self.decoder.output_shape, self.spec.levels, column_types),
            (self.objective, codes),
        )
        for part, *sizes in shapes:
            if not part.built:  # Keras builds a part that it reads from a file by itself
                part.build(*sizes)
        self.built = True

    # What a trained model is used for

    def encode(self, x, label=None):
        """The posterior of each example.

        Args:
            x: examples [B,...], or a batch.
            label: classes [B], for a conditional model.

        Returns:
            q(z|x), a TFP distribution over [B,D]: `.sample(K)`, `.log_prob(z)`, and `.mean()` of all but a flow and a
            hierarchy, whose mean is not known.
        """
        batch = self.batch(x, label)
        return self.posterior.distribution(self.encoder_params(batch), self.decoder_of(batch))

    def codes(self, x, label=None):
        """The code of each example without noise [B,D]: the mean of q(z|x), where that is known."""
        batch = self.batch(x, label)
        return self.posterior.mean(self.encoder_params(batch), self.decoder_of(batch))

    def decode(self, z, label=None):
        """The likelihood of each code.

        Args:
            z: codes [...,D]; leading axes such as K are kept.
            label: classes [B] for a conditional model, the last of z's leading axes.

        Returns:
            p(x|z), a TFP distribution over examples, with batch shape [...].
        """
        return self.likelihood.distribution(self._decoder(label)(z), self.spec)

    def examples(self, z, label=None):
        """Decode codes z [...,D] to the examples to show: the mean of p(x|z), of a sequence the most likely tokens."""
        return self.likelihood.example(self._decoder(label)(z), self.spec)

    def prior_distribution(self):
        """p(z), a TFP distribution over codes [D]."""

        def encode(x):  # the classes take turns among examples that have none
            label = tf.range(x.shape[0]) % self.spec.classes if self.spec.conditional else None
            return self.encode(x, label)

        return self.prior.distribution(encode)

    def sample(self, n, seed=0, label=None, temperature=None):
        """Draw examples from the prior.

        Args:
            n: how many, at least 1.
            seed: an integer; the same one gives the same examples.
            label: a class, or one for each example [n], for a conditional model.
            temperature: of sequences, draw the tokens from p(x|z) too, with their probabilities to the power
                1 / temperature; None for the most likely tokens.

        Returns:
            Examples [n,...] to show, of codes z ~ p(z); images are in [0, 1].

        Raises:
            VaezooError: if n is below 1, or for a conditional model without a label.
        """
        z = self.prior_codes(n, seed)
        if temperature is None:
            return self.examples(z, label)
        return self.likelihood.drawn(self._decoder(label)(z), self.spec, temperature, fold_seed(seed, SAMPLING, 1))

    def prior_codes(self, n, seed=0):
        """Codes z ~ p(z) [n,D]: those of the examples that `sample` draws with that seed."""
        if n < 1:
            raise VaezooError(f"{n} draws from the prior; give at least 1")
        return self.prior_graph(n, seed)

    def call(self, inputs):
        """The deterministic reconstruction of a batch: decode the mean of the posterior, no sampling."""
        batch = self.batch(inputs)
        return self.examples(self.codes(batch), batch.get("label"))

    # One pass

    def batch(self, x, label=None):
        """The batch {"x", "label"} of an array of examples, or of a batch, in the types that the networks take.

        Raises:
            VaezooError: for a conditional model without a label, or a mapping without "x".
        """
        given = dict(x) if isinstance(x, Mapping) else {"x": x}
        if "x" not in given:
            raise VaezooError(
                f"a batch with the keys {', '.join(map(str, given))}; it must have 'x', and may have 'label'"
            )
        batch = {"x": tf.cast(given["x"], self.spec.dtype)}
        label = self._label(given.get("label") if label is None else label)
        if label is not None:
            batch["label"] = tf.broadcast_to(tf.cast(label, tf.int32), tf.shape(batch["x"])[:1])
        return batch

    def encoder_params(self, batch):
        """The output of the encoder for a batch: a tensor [B,P], or a structure of tensors [B,...]."""
        if not self.spec.conditional:
            return self.encoder_graph(batch["x"])
        return self.encoder_graph({self.spec.kind: batch["x"], "label": batch["label"]})

    def decoder_of(self, batch):
        """The `Decoder` of a batch: codes [...,B,D] → params of p(x|z), with the labels of the batch."""
        return self._decoder(batch.get("label"))

    def forward(self, x, samples=1, seed=(0, 0), noise=None, params=None, prior=None):
        """One pass over a batch: encode, draw, decode.

        Args:
            x: a batch, or examples.
            samples: K, how many codes of each example are drawn.
            seed: the stateless seed of the draws, [2]; or [4] from `replicas.with_place`.
            noise: the noise of the draws [K,B,D], in place of `samples`; see `Posterior.noise`.
            params: the output of the encoder for this batch, where it is known already.
            prior: p(z), where it is known already.

        Returns:
            A `Pass`.
        """
        batch = self.batch(x)
        decoder = self.decoder_of(batch)
        if params is None:
            params = self.encoder_params(batch)
        if noise is None:
            seed = tf.convert_to_tensor(seed, tf.int32)
            noise = self.posterior.noise([samples, tf.shape(batch["x"])[0], self.latent_dim], seed)
        if prior is None:
            prior = self.prior_distribution()
        q, z, decoded = self.posterior.draw(params, noise, decoder)
        return passes.Pass(batch["x"], q, z, prior, self, decoder, decoded, seed[:2])

    def costs(self, batch, params, noise):
        """The two parts of the negative ELBO, from noise that every example of a batch shares.

        Args:
            batch: a batch, as `batch` returns it.
            params: the output of the encoder for it.
            noise: the noise of the draws [K,D]; see `Posterior.noise`.

        Returns:
            (-log p(x|z) [K,B], the KL [B]), in nats; the KL is 0 for a posterior without a density.
        """
        return self.costs_graph(batch, params, noise)

    # Training and evaluation

    def terms(self, x, seed, step):
        """The objective's terms of a batch.

        Args:
            x: a batch, or examples.
            seed: the stateless seed of the draws, [2]; or [4] from `replicas.with_place`.
            step: the number of optimizer steps taken.

        Returns:
            The terms by name, each [B], in nats.
        """
        passed = self.forward(x, self.objective.draws, seed)
        terms = self.objective.compute(passed, step)
        return {**terms, "loss": sum(passed.extra_terms.values(), start=terms["loss"])}

    def players(self):
        """Who minimizes what: the name of a term → the trainable weights that minimize its mean."""
        own = self.objective.players(self)
        taken = {id(weight) for weights in own.values() for weight in weights}
        return {"loss": [weight for weight in self.trainable_variables if id(weight) not in taken], **own}

    def train_step(self, data):
        """One step of the optimizer on a batch, or on this device's rows of it; returns the epoch's means so far.

        Each weight takes the gradient of its own player's term, then one optimizer applies them all. Adam's moments are
        per weight, so that is an Adam for each player; a global clip norm is that of all gradients together.
        """
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        batch, step, players = self.batch(inputs), self.optimizer.iterations, self.players()
        seed = replicas.with_place(fold_seed(self.seed, TRAINING, step), batch["x"])
        with tf.GradientTape(persistent=len(players) > 1) as tape, fused(self):
            terms = self.terms(batch, seed, step)
            # Under mixed_float16 the optimizer scales the loss up, so that small gradients do not vanish, and divides
            # the gradients by the same.
            losses = {term: self.optimizer.scale_loss(tf.reduce_mean(terms[term])) for term in players}
        gradient_of = {}
        for term, weights in players.items():
            gradient_of |= zip(map(id, weights), tape.gradient(losses[term], weights), strict=True)
        variables = self.trainable_variables
        gradients = replicas.mean([gradient_of[id(weight)] for weight in variables])

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
        # The examples seen since the evaluation began: a number that tells one batch from the next.
        seen = self.trackers["loss"].count
        step = self.optimizer.iterations if self.optimizer is not None else 0
        self._track(self.terms(inputs, fold_seed(self.seed, EVALUATION, seen), step))
        return self._means()

    def fit(self, x=None, *args, **kwargs):
        """`keras.Model.fit`; examples given as an array are first checked against the likelihood."""
        examples = x.get("x") if isinstance(x, Mapping) else x
        if isinstance(examples, np.ndarray):
            self.likelihood.check(examples, self.spec)
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

    def _draw(self, n, seed):
        return self.prior_distribution().sample(n, seed=fold_seed(seed, SAMPLING, 0))

    def _costs(self, batch, params, noise):
        size = tf.shape(batch["x"])[0]
        noise = tf.broadcast_to(noise[:, tf.newaxis], [tf.shape(noise)[0], size, self.latent_dim])
        passed = self.forward(batch, noise=noise, params=params)
        return -passed.log_likelihood, passed.kl() if self.posterior.has_density else tf.zeros([size])

    def _decoder(self, label):
        """The `Decoder` of codes with these labels."""
        return decoding.Decoder(self.decoder, self._label(label), self.decoder_graph)

    def _label(self, label):
        """The label if the model takes one, and None otherwise."""
        if self.spec.conditional and label is None:
            raise VaezooError(
                f"this model is conditional: give label=, a class from 0 to {self.spec.classes - 1} for each row"
            )
        return label if self.spec.conditional else None

    # Saving

    def get_config(self):
        """The constructor's arguments, serialized."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return {
            "spec": self.spec.as_config(),
            **parts,
            "latent_dim": self.latent_dim,
            "seed": self.seed,
            "name": self.name,
            "dtype": policy,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` describes, with new weights."""
        if "spec" not in config:
            raise VaezooError("an earlier version of vaezoo made this model; train it anew")
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in (*PARTS, "dtype")
        }
        return cls(**{**config, **parts, "spec": Spec(**config["spec"])})

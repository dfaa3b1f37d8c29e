"""A plain Keras script with Keras's defaults, in the way of the VAE example of its documentation."""

import keras
import tensorflow as tf
from keras import layers, ops

from benchmarking.clock import main


class Sampling(layers.Layer):
    """z = mean + exp(log variance / 2) eps."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        """(mean [B,D], log variance [B,D]) → z [B,D]."""
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


class VAE(keras.Model):
    """The subclassed model with its own `train_step`."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", "reconstruction_loss", "kl_loss")}

    @property
    def metrics(self):
        """What Keras resets at the start of an epoch."""
        return list(self.trackers.values())

    def train_step(self, data):
        """One step of the optimizer."""
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            pixels = keras.losses.binary_crossentropy(data, reconstruction)  # [B,H,W]
            reconstruction_loss = ops.mean(ops.sum(pixels, axis=(1, 2)))
            kl = -0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var))  # [B,D]
            kl_loss = ops.mean(ops.sum(kl, axis=1))
            loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        values = {"loss": loss, "reconstruction_loss": reconstruction_loss, "kl_loss": kl_loss}
        for name, value in values.items():
            self.trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}


def build(model, image_shape):
    """The encoder and the decoder of a recipe's `model` section."""
    ends = {"mlp": (mlp_encoder, mlp_decoder), "conv": (conv_encoder, conv_decoder)}[model["encoder"]["name"]]
    inputs = keras.Input(image_shape)
    h = ends[0](inputs, model["encoder"])
    mean, log_var = layers.Dense(model["latent_dim"])(h), layers.Dense(model["latent_dim"])(h)
    encoder = keras.Model(inputs, [mean, log_var, Sampling()([mean, log_var])])
    z = keras.Input((model["latent_dim"],))
    return encoder, keras.Model(z, ends[1](z, model["decoder"], image_shape))


def mlp_encoder(x, part):
    h = layers.Flatten()(x)
    for width in part["hidden"]:
        h = layers.Dense(width, activation=part["activation"])(h)
    return h


def mlp_decoder(h, part, image_shape):
    for width in part["hidden"]:
        h = layers.Dense(width, activation=part["activation"])(h)
    h = layers.Dense(image_shape[0] * image_shape[1] * image_shape[2], activation="sigmoid")(h)
    return layers.Reshape(image_shape)(h)


def conv_encoder(h, part):
    for width in part["filters"]:
        h = layers.Conv2D(width, part["kernel_size"], strides=2, padding="same", activation=part["activation"])(h)
    return layers.Dense(part["dense"], activation=part["activation"])(layers.Flatten()(h))


def conv_decoder(h, part, image_shape):
    height, width, channels = image_shape
    first, *rest = part["filters"]
    small = (height // 2 ** len(part["filters"]), width // 2 ** len(part["filters"]), first)
    h = layers.Dense(part["dense"], activation=part["activation"])(h)
    h = layers.Dense(small[0] * small[1] * first, activation=part["activation"])(h)
    h = layers.Reshape(small)(h)
    settings = {"strides": 2, "padding": "same", "activation": part["activation"]}
    for filters in rest:
        h = layers.Conv2DTranspose(filters, part["kernel_size"], **settings)(h)
    h = layers.Conv2D(4 * channels, part["kernel_size"], padding="same", activation="sigmoid")(h)
    h = layers.Reshape((height // 2, width // 2, 2, 2, channels))(h)
    return layers.Reshape(image_shape)(layers.Permute((1, 3, 2, 4, 5))(h))


class Listener(keras.callbacks.LambdaCallback):
    """Tells the clock when steps and epochs end."""

    def __init__(self, clock, images):
        super().__init__(
            on_epoch_begin=lambda epoch, logs: clock.begin(),
            on_train_batch_end=lambda batch, logs: clock.step(),
            on_epoch_end=lambda epoch, logs: clock.end(images),
        )


def train(case, clock):
    images = case.images()
    vae = VAE(*build(case.model, images.shape[1:]))
    vae.compile(optimizer=keras.optimizers.Adam(case.learning_rate))
    data = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(case.batch)
    history = vae.fit(data, epochs=case.epochs, verbose=0, callbacks=[Listener(clock, len(images))])
    parameters = vae.encoder.count_params() + vae.decoder.count_params()
    return parameters, history.history["loss"][-1]


if __name__ == "__main__":
    main(train)

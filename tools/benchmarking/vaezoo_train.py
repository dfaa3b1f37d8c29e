"""vaezoo as a user runs it: `vaezoo.training.train` on the recipe, with its defaults, imported as the command does."""

import tempfile

from benchmarking.clock import main
from vaezoo.config import load_recipe
from vaezoo.quiet import quick_tensorflow

with quick_tensorflow():
    import keras

    from vaezoo.models.vae import VAE
    from vaezoo.training import train as train_recipe


def train(case, clock, precision="float32"):
    sizes = {f"model.{end}": case.model[end] for end in ("encoder", "decoder")}
    training = {"batch_size": case.batch, "epochs": case.epochs, "learning_rate": case.learning_rate}
    recipe = load_recipe(
        case.network,
        {
            **sizes,
            **{f"training.{key}": value for key, value in training.items()},
            "training.schedule": "constant",
            "training.optimizer": "adam",  # as the others have it, with its defaults
            "training.beta_2": 0.999,
            "training.precision": precision,
            "data.name": case.data,
            "data.binarize": "none",  # the images are black and white already
            "data.validation": 0,
        },
    )
    listener = Listener(clock, case.batch)
    fit = VAE.fit
    VAE.fit = lambda *args, callbacks=(), **keywords: fit(*args, callbacks=[listener, *callbacks], **keywords)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_recipe(recipe, out=f"{folder}/run", quiet=True)
    return trained.model.count_params(), listener.loss


class Listener(keras.callbacks.Callback):
    """Tells the clock when steps and epochs end; Keras calls it after each call of several steps."""

    def __init__(self, clock, batch):
        super().__init__()
        self.clock, self.batch = clock, batch

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.clock.begin()

    def on_train_batch_end(self, batch, logs=None):
        """The first call of the step has ended."""
        self.clock.step()

    def on_epoch_end(self, epoch, logs=None):
        """Stop the clock."""
        self.clock.end(self.params["steps"] * self.batch)
        self.loss = logs["loss"]


if __name__ == "__main__":
    main(train)

"""pythae with its own model, pipeline and trainer, given the same encoder and decoder."""

import contextlib
import logging
import os
import tempfile

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from benchmarking.clock import main
from benchmarking.torch_networks import build, images_first


class Encoder(BaseEncoder):
    """The shared encoder with the outputs that pythae asks for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        """x [B,C,H,W] → mean and log variance [B,D]."""
        mean, log_var = self.network(x).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    """The shared decoder with the output that pythae asks for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, z):
        """z [B,D] → probabilities [B,C,H,W]."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


class Listener(TrainingCallback):
    """Tells the clock when steps and epochs end."""

    def __init__(self, clock, images):
        self.clock, self.images = clock, images

    def on_epoch_begin(self, training_config, **kwargs):
        """Start the clock."""
        self.clock.begin()

    def on_train_step_end(self, training_config, **kwargs):
        """A step has ended."""
        self.clock.step()

    def on_epoch_end(self, training_config, **kwargs):
        """Stop the clock."""
        self.clock.end(self.images)

    def on_log(self, training_config, logs, **kwargs):
        """Keep the epoch's mean loss."""
        self.loss = logs["train_epoch_loss"]


def train(case, clock):
    logging.disable(logging.INFO)
    images = images_first(case.images())
    encoder, decoder = build(case.model, images.shape[1:])
    config = VAEConfig(images.shape[1:], case.model["latent_dim"], reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(encoder), decoder=Decoder(decoder))
    listener = Listener(clock, len(images))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=case.epochs,
            per_device_train_batch_size=case.batch,
            learning_rate=case.learning_rate,
        )
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # its progress bars
            TrainingPipeline(training_config=settings, model=model)(images, callbacks=[listener])
    return sum(parameter.numel() for parameter in model.parameters()), listener.loss


if __name__ == "__main__":
    main(train)

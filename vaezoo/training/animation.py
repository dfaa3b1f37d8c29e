"""The latent space while it trains: the map of some test images after every epoch, and a film of it."""

import keras
import numpy as np

from vaezoo import plots
from vaezoo.atomic import write_file

MAPPED_IMAGES = 1000
CODES, FILM = "latent.npz", "latent.gif"


class LatentFilm(keras.callbacks.Callback):
    """Keep the posterior means of the same test images after every epoch, in latent.npz.

    The file holds codes [E,N,D], epochs [E] (0 is before training) and labels [N] where there are any. It is written
    anew after every epoch, so a training that is broken off or resumed loses none.

    Args:
        folder: the run directory.
        inputs: what the encoder takes for N images: [N,H,W,C], or {"image", "label"} for a conditional model.
        labels: classes [N] for the colours, or None.
    """

    def __init__(self, folder, inputs, labels=None):
        super().__init__()
        self.path, self.inputs = folder / CODES, inputs
        self.labels = {} if labels is None else {"labels": np.asarray(labels)}
        self.epochs, self.codes = [], []

    @classmethod
    def of(cls, folder, data, conditional, **batches):
        """The film of the first test images, read as `Split.batches` is told to with `batches`."""
        split = data.test
        batch = next(iter(split.batches(MAPPED_IMAGES, **{**batches, "labels": split.has_labels})))
        if not split.has_labels:
            return cls(folder, batch)
        return cls(folder, batch if conditional else batch["image"], batch["label"])

    def on_train_begin(self, logs=None):
        """Where the untrained encoder puts the images; a resumed training goes on with what is kept."""
        if self.path.exists():
            with np.load(self.path) as kept:
                self.epochs, self.codes = list(kept["epochs"]), list(kept["codes"])
        else:
            self._look(0)

    def on_epoch_end(self, epoch, logs=None):
        """Where they are now."""
        earlier = [index for index, passed in enumerate(self.epochs) if passed <= epoch]
        self.epochs, self.codes = [self.epochs[i] for i in earlier], [self.codes[i] for i in earlier]
        self._look(epoch + 1)

    def _look(self, epoch):
        self.epochs.append(epoch)
        self.codes.append(np.asarray(self.model.posterior.mean(self.model.encoder(self.inputs))))
        arrays = {"codes": np.stack(self.codes), "epochs": np.array(self.epochs), **self.labels}
        write_file(self.path, lambda beside: np.savez(beside, **arrays))


def leave_film(folder, class_names=None, title=""):
    """Write latent.gif from the codes in a run directory; do nothing if none were kept.

    Args:
        folder: the run directory.
        class_names: the names of the classes.
        title: above every frame.

    Returns:
        The path of the film, or None.
    """
    if not (folder / CODES).exists():
        return None
    with np.load(folder / CODES) as kept:
        labels = kept.get("labels", None)
        frames = plots.latent_film(kept["codes"], kept["epochs"], labels, class_names, title)
    # About ten seconds for the whole film, whatever its length, and no frame longer than half a second.
    seconds = float(np.clip(10 / len(frames), 0.04, 0.5))
    return write_file(folder / FILM, lambda beside: plots.save_gif(beside, frames, seconds, hold=2))

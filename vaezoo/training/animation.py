"""The latent space during training: the codes of some test examples after every epoch, and an animation of them."""

import os

import keras
import numpy as np

from vaezoo import plots
from vaezoo.atomic import write_arrays, write_file
from vaezoo.errors import VaezooError
from vaezoo.reading import read_arrays
from vaezoo.regular_files import broken

MAPPED_EXAMPLES = 1000
CODES, FILM = "latent.npz", "latent.gif"
KINDS = [("f", "i", "i"), ("f", "i", "u")]  # the types of codes, epochs and labels in latent.npz


class LatentFilm(keras.callbacks.Callback):
    """Store the codes of the same test examples after every epoch, in latent.npz.

    The file holds codes [E,N,D], epochs [E] (0 is before training) and labels [N] if there are any. It is written again
    after every epoch, so an interrupted training loses none.

    Args:
        folder: the run directory.
        x: N examples [N,...].
        labels: their classes [N], or None.
    """

    def __init__(self, folder, x, labels=None):
        super().__init__()
        self.path, self.x, self.labels = folder / CODES, x, labels
        stored = _read(self.path)
        self.epochs, self.codes = (list(stored[name]) if stored else [] for name in ("epochs", "codes"))

    @classmethod
    def of(cls, folder, setup):
        """The callback for the first test examples of a `Setup`; a VaezooError where latent.npz does not fit it."""
        recipe = setup.recipe
        seen = {"binarize": recipe.data.binarize, "seed": recipe.training.seed}
        film = cls(folder, *setup.data.test.first(MAPPED_EXAMPLES, **seen))
        wanted = (len(film.x), setup.model.latent_dim)
        if film.codes and film.codes[0].shape != wanted:
            raise VaezooError(f"'{film.path}' holds codes of shape {film.codes[0].shape}, not {wanted}; remove it")
        return film

    def on_train_begin(self, logs=None):
        """Store the codes of the untrained encoder; a resumed training reads the stored codes instead."""
        if not self.epochs:
            self._store(0)

    def on_epoch_end(self, epoch, logs=None):
        """Store the codes after the epoch, in place of those of a later one."""
        earlier = [index for index, number in enumerate(self.epochs) if number <= epoch]
        self.epochs, self.codes = [self.epochs[i] for i in earlier], [self.codes[i] for i in earlier]
        self._store(epoch + 1)

    def _store(self, epoch):
        self.epochs.append(epoch)
        self.codes.append(np.asarray(self.model.codes(self.x, self.labels)))
        write_arrays(self.path, {"codes": np.stack(self.codes), "epochs": self.epochs, "labels": self.labels})


def leave_film(folder, class_names=None, title=""):
    """Write latent.gif from the codes in a run directory; do nothing if there are none.

    Args:
        folder: the run directory.
        class_names: the names of the classes, or None.
        title: of every frame.

    Returns:
        The path of the animation, or None.
    """
    stored = _read(folder / CODES)
    if stored is None:
        return None
    frames = plots.latent_film(stored["codes"], stored["epochs"], stored.get("labels"), class_names, title)
    # About ten seconds in total, and at most half a second for each frame.
    seconds = float(np.clip(10 / len(frames), 0.04, 0.5))
    return write_file(folder / FILM, lambda temporary: plots.save_gif(temporary, frames, seconds, hold=2))


def _read(path):
    """The arrays of latent.npz by name; None without the file."""
    if not os.path.lexists(path):
        return None
    stored = read_arrays(path)
    with broken(path):
        shapes = {name: array.shape for name, array in stored.items()}
        frames, examples, _ = shapes["codes"]
        labels = stored.get("labels", np.zeros(examples, "int64"))
        kinds = stored["codes"].dtype.kind, stored["epochs"].dtype.kind, labels.dtype.kind
        if frames == 0 or shapes["epochs"] != (frames,) or labels.shape != (examples,) or kinds not in KINDS:
            raise ValueError("its arrays are not those of an animation")
    return stored

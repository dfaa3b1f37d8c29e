"""What a latent space is taught and used for: functions on a loaded model and arrays.

    model = vaezoo.load("runs/conv_vae")
    codes = latent_space.embed(model, images)                    # [N,D]
    path = latent_space.interpolate(model, images[:2], steps=9)  # path.images [1,9,H,W,C]

Images are [N,H,W,C] in [0, 1], as the model was trained on them; codes are [N,D]; every result is a named tuple of
arrays. `of_run` reads the arrays from a run directory.
"""

from vaezoo.latent_space.codes import information, kl_bits
from vaezoo.latent_space.comparison import Comparison, compare
from vaezoo.latent_space.editing import Characteristic, Edits, average_code, characteristic, edit, members
from vaezoo.latent_space.generation import Manifold, Samples, Styles, manifold, prior_codes, sample, style_by_class
from vaezoo.latent_space.paths import Interpolation, Traversal, interpolate, step_ratio, tour, traverse
from vaezoo.latent_space.reconstruction import Reconstructions, reconstruct
from vaezoo.models.in_batches import decode, embed

__all__ = [
    "Characteristic",
    "Comparison",
    "Edits",
    "Interpolation",
    "Manifold",
    "Reconstructions",
    "Samples",
    "Styles",
    "Traversal",
    "average_code",
    "characteristic",
    "compare",
    "decode",
    "edit",
    "embed",
    "information",
    "interpolate",
    "kl_bits",
    "manifold",
    "members",
    "prior_codes",
    "reconstruct",
    "sample",
    "step_ratio",
    "style_by_class",
    "tour",
    "traverse",
]

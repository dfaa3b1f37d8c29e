"""What a latent space is used for: functions on a model and arrays, and pictures of what they return.

    model = vaezoo.load("runs/conv_vae")
    codes = latent_space.embed(model, x)                       # [N,D]
    path = latent_space.interpolate(model, x[:2], steps=9)     # path.examples [1,9,H,W,C]
    drawing = latent_space.draw_traversal(Run("runs/conv_vae"), index=5)

x holds examples [N,...], as the model was trained on them: images [N,H,W,C] in [0, 1], vectors [N,F], or sequences of
tokens [N,T]. Codes are [N,D]. Every result is a named tuple of arrays. `of_run` reads the arrays from a run.
"""

from vaezoo.latent_space.codes import information, kl_bits
from vaezoo.latent_space.comparison import Comparison, compare
from vaezoo.latent_space.drawing import Drawing
from vaezoo.latent_space.drawings import (
    DrawnComparison,
    draw_comparison,
    draw_edits,
    draw_embedding,
    draw_interpolation,
    draw_manifold,
    draw_reconstructions,
    draw_samples,
    draw_traversal,
)
from vaezoo.latent_space.editing import Characteristic, Edits, average_code, characteristic, edit, members
from vaezoo.latent_space.generation import Manifold, Samples, Styles, manifold, prior_codes, sample, style_by_class
from vaezoo.latent_space.paths import (
    Interpolation,
    Resampled,
    Traversal,
    interpolate,
    resample_groups,
    step_ratio,
    tour,
    traverse,
)
from vaezoo.latent_space.reconstruction import Reconstructions, impute, reconstruct
from vaezoo.models.in_batches import decode, embed

__all__ = [
    "Characteristic",
    "Comparison",
    "Drawing",
    "DrawnComparison",
    "Edits",
    "Interpolation",
    "Manifold",
    "Reconstructions",
    "Resampled",
    "Samples",
    "Styles",
    "Traversal",
    "average_code",
    "characteristic",
    "compare",
    "decode",
    "draw_comparison",
    "draw_edits",
    "draw_embedding",
    "draw_interpolation",
    "draw_manifold",
    "draw_reconstructions",
    "draw_samples",
    "draw_traversal",
    "edit",
    "embed",
    "impute",
    "information",
    "interpolate",
    "kl_bits",
    "manifold",
    "members",
    "prior_codes",
    "reconstruct",
    "resample_groups",
    "sample",
    "step_ratio",
    "style_by_class",
    "tour",
    "traverse",
]

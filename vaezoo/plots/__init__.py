"""Pictures: arrays in, a matplotlib Figure or the frames of an animation out. Nothing here knows a model."""

from vaezoo.plots.curves import training_curves
from vaezoo.plots.evaluation import information, latent_bars, nll_curve
from vaezoo.plots.film import image_film, latent_film, round_trip, save_gif, sweep_film
from vaezoo.plots.grids import axis_grid, image_grid, number, panels_of_images, reconstructions, ticks, tile
from vaezoo.plots.latent_map import Plane, graded_map, latent_map, latent_maps, manifold_and_map, plane_of
from vaezoo.plots.piano_roll import piano_roll, piano_roll_path
from vaezoo.plots.rows import row_reconstructions, row_samples
from vaezoo.plots.scores import element_bars, heat_maps, score_histogram

__all__ = [
    "Plane",
    "axis_grid",
    "element_bars",
    "graded_map",
    "heat_maps",
    "image_film",
    "image_grid",
    "information",
    "latent_bars",
    "latent_film",
    "latent_map",
    "latent_maps",
    "manifold_and_map",
    "nll_curve",
    "number",
    "panels_of_images",
    "piano_roll",
    "piano_roll_path",
    "plane_of",
    "reconstructions",
    "round_trip",
    "row_reconstructions",
    "row_samples",
    "save_gif",
    "score_histogram",
    "sweep_film",
    "ticks",
    "tile",
    "training_curves",
]

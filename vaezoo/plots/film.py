"""Animations: frames as arrays, and a GIF of them."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vaezoo.plots.grids import panels_of_images, tile
from vaezoo.plots.latent_map import dot_size, draw_map, frame, plane_of
from vaezoo.plots.style import TEXT, Figure

FILM_DPI = 120


def latent_film(codes, epochs, labels=None, class_names=None, title=""):
    """The map of a latent space after each epoch, with the same axes in all frames.

    Args:
        codes: [E,N,D], of the same N examples after every epoch.
        epochs: [E], the number of epochs that had passed.
        labels: classes [N], or None.
        class_names: their names.
        title: above every frame.

    Returns:
        Frames uint8 [E,height,width,3]. Two latents are drawn as they are, more latents in the plane of the two
        principal components of the last epoch.
    """
    plane = plane_of(codes[-1])
    points = plane.project(codes)  # [E,N,2]
    centre, half = frame(points.reshape(-1, points.shape[-1]))
    limits = np.stack([centre - half, centre + half], 1)
    frames = []
    for epoch, moment in zip(epochs, points, strict=True):
        figure = Figure(figsize=(5, 5), dpi=FILM_DPI)
        axes = figure.add_axes((0.13, 0.11, 0.84, 0.79))
        draw_map(axes, moment, labels, class_names, plane.names, dot_size(len(moment), 0.7), limits)
        figure.text(0.13, 0.94, title, fontsize=10, color=TEXT)
        figure.text(0.97, 0.94, f"epoch {epoch}", fontsize=10, color=TEXT, ha="right")
        frames.append(_rendered(figure))
    return np.stack(frames)


def image_film(sequences, columns=None, cell=112):
    """Several images side by side that change over time.

    Args:
        sequences: [T,N,H,W,C] in [0, 1]: N images at each of T moments.
        columns: images in a row; by default about as many as there are rows.
        cell: the approximate height of an image in screen pixels; rounded to a multiple of its height.

    Returns:
        Frames uint8 [T,height,width,C].
    """
    sequences = np.asarray(sequences, "float32")
    count, height = sequences.shape[1:3]
    columns = columns or int(np.ceil(np.sqrt(count)))
    scale = max(1, round(cell / height))
    sheets = np.stack([tile(images, columns) for images in sequences])
    sheets = np.round(255 * np.clip(sheets, 0, 1)).astype("uint8")
    return sheets.repeat(scale, axis=1).repeat(scale, axis=2)


def sweep_film(images, names, title="", columns=8):
    """Several images that change over time, each with its name above.

    Args:
        images: [A,S,H,W,C] in [0, 1]: A images at each of S moments.
        names: A texts.
        title: above all images.
        columns: images in a row.

    Returns:
        Frames uint8 [S,height,width,3].
    """
    films = []
    cell = max(100, min(300, 900 // min(len(images), columns)))  # the fewer images, the larger
    for start in range(0, len(images), columns):
        part = images[start : start + columns]
        heading = title if start == 0 else ""
        films.append(np.stack([
            _rendered(panels_of_images(
                [("", part[:, moment])], len(part), heading, column_labels=names[start : start + columns], cell=cell
            ))
            for moment in range(part.shape[1])
        ]))  # fmt: skip
    width = max(film.shape[2] for film in films)
    pad = [((0, 0), (0, 0), (0, width - film.shape[2]), (0, 0)) for film in films]
    return np.concatenate([np.pad(f, p, constant_values=255) for f, p in zip(films, pad, strict=True)], axis=1)


def _rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def round_trip(frames):
    """Frames [T,...] forwards and backwards [2T-2,...], so that a repeated animation has no jump."""
    return np.concatenate([frames, frames[-2:0:-1]]) if len(frames) > 2 else frames


def save_gif(path, frames, seconds=0.1, hold=0.0):
    """Write a GIF that repeats forever. All its frames share 256 colours.

    Args:
        path: of the file; it ends in .gif.
        frames: uint8 [T,height,width,1 or 3].
        seconds: how long each frame is shown, in steps of 0.01.
        hold: how many seconds longer the last frame is shown.
    """
    grey = frames.shape[-1] == 1
    pictures = [Image.fromarray(frame[..., 0] if grey else frame[..., :3]) for frame in frames]
    if not grey:
        # One palette for all frames: with a palette for each, flat colours flicker. A long film shows every n-th frame.
        some = frames[:: 1 + len(frames) // 64, ..., :3]  # [S,height,width,3]
        joined = Image.fromarray(some.reshape(-1, *some.shape[2:]))
        colours = np.array(joined.quantize(256, Image.Quantize.FASTOCTREE).getpalette()).reshape(-1, 3)
        colours[colours.min(1) > 245] = 255  # the quantizer averages white with pale edges
        palette = Image.new("P", (1, 1))
        palette.putpalette(colours.flatten().tolist())
        pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [round(1000 * seconds)] * len(pictures)
    durations[-1] += round(1000 * hold)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False)

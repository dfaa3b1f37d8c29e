"""Pictures: crisp pixels, nothing cut off, colours that colour-blind readers and greyscale printers keep apart."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from vaezoo import plots
from vaezoo.music.tokens import Note, tokens_of
from vaezoo.plots.piano_roll import GAP
from vaezoo.plots.style import CLASS_COLOURS, PALETTE

RNG = np.random.default_rng(0)


def melodies(count, bars):
    """Tokens of random notes, two octaves up and down."""
    rng = np.random.default_rng(count)
    tokens = rng.integers(30, 55, (count, 16 * bars))
    return np.where(rng.random(tokens.shape) < 0.4, tokens, rng.random(tokens.shape) < 0.1).astype(int)


def rendered(figure):
    """The figure as uint8 [height,width,3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def assert_nothing_is_cut_off_or_overlaps(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [
        *figure.texts,
        *(text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)),
    ]
    boxes = [text.get_window_extent() for text in texts if text.get_text().strip()]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3), (8, 8, 1), (20, 30, 1), (200, 160, 3)])
def test_every_pixel_of_an_image_is_a_square_of_whole_screen_pixels(shape):
    images = RNG.integers(0, 256, (6, *shape)).astype("uint8")
    picture = rendered(plots.image_grid(images / 255, 3, "a title", ["one", "two"], ["a", "b", "c"], gap=0))
    sheet = np.broadcast_to(np.round(255 * plots.tile(images / 255, 3, gap=0)), (2 * shape[0], 3 * shape[1], 3))
    # The grid stands in the lower right corner, within the margin; its scale is the one whose size fits.
    for scale in range(1, 40):
        height, width = 2 * shape[0] * scale, 3 * shape[1] * scale
        bottom, right = picture.shape[0] - 24, picture.shape[1]
        for left in range(0, right - width):
            part = picture[bottom - height : bottom : scale, left : left + width : scale]
            if part.shape == sheet.shape and np.array_equal(part, sheet):
                whole = picture[bottom - height : bottom, left : left + width]
                np.testing.assert_array_equal(whole, sheet.repeat(scale, 0).repeat(scale, 1))
                return
    pytest.fail("the images are not in the picture at any whole scale")


FIGURES = {
    "grid": lambda: plots.image_grid(
        RNG.random((6, 28, 28, 1)), 3, "A title that is much longer than the grid is wide"
    ),
    "labels": lambda: plots.image_grid(
        RNG.random((6, 28, 28, 1)), 3, "two\nlines", ["a rather long label", "b"], ["x", "yy", "zzz"], "across", "up"
    ),
    "colour": lambda: plots.image_grid(RNG.random((5, 16, 16, 3)), 2),
    "axes": lambda: plots.axis_grid(
        RNG.random((400, 8, 8, 1)), 20, np.linspace(-3, 3, 20), np.linspace(3, -3, 20), "z1", "z2", "a manifold"
    ),
    "panels": lambda: plots.panels_of_images(
        [(name, RNG.random((9, 28, 28, 1))) for name in ("ae", "vae")], 3, "Samples", ["a", "b", "c"], ["1", "2", "3"]
    ),
    "reconstructions": lambda: plots.reconstructions(RNG.random((13, 8, 8, 1)), RNG.random((13, 8, 8, 1)), "title"),
    "map": lambda: plots.latent_map(RNG.normal(size=(50, 2)), np.arange(50) % 10, None, "a map", ("z0", "z1")),
    "map without labels": lambda: plots.latent_map(RNG.normal(size=(50, 2)), title="a map", names=("z0", "z1")),
    "map of one latent": lambda: plots.latent_map(RNG.normal(size=(50, 1)), np.arange(50) % 3, names=("z0",)),
    "map of one latent without labels": lambda: plots.latent_map(RNG.normal(size=(50, 1)), names=("z0",)),
    "map of a number": lambda: plots.graded_map(RNG.normal(size=(50, 2)), RNG.normal(size=50), "size", "a map"),
    "maps": lambda: plots.latent_maps(
        [(name, RNG.normal(size=(50, 2)), np.arange(50) % 12, ("first", "second")) for name in "ab"], None, "two maps"
    ),
    "manifold and map": lambda: plots.manifold_and_map(
        RNG.random((4, 4, 8, 8, 1)), np.linspace(-2, 2, 4), RNG.normal(size=(50, 2)), None, None, ("z0", "z1"), "both"
    ),
    "curves": lambda: plots.training_curves(
        [{"epoch": e, "loss": e, "elbo": -e, "total_correlation": e} for e in (1, 2)],
        ("elbo", "total_correlation"),
        "c",
    ),
    "piano rolls": lambda: plots.piano_roll(melodies(16, 2), [f"sample {n}" for n in range(16)], "two\nlines"),
    "piano rolls of another number": lambda: plots.piano_roll(melodies(5, 4), list("abcde")),
    "piano roll of one": lambda: plots.piano_roll(melodies(1, 2)[0], title="one"),
    "piano roll in lines": lambda: plots.piano_roll(melodies(1, 20), ["a melody"], "twenty bars"),
    "piano roll of silence": lambda: plots.piano_roll(np.zeros((2, 16), int)),
    "path of piano rolls": lambda: plots.piano_roll_path(melodies(7, 2), title="from here to there"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name):
    assert_nothing_is_cut_off_or_overlaps(FIGURES[name]())


def test_the_first_epochs_of_a_long_training_leave_the_panel():
    rows = [{"epoch": e, "elbo": -100 - 1000 / e, "val_elbo": -101 - 1000 / e} for e in range(1, 101)]
    low, high = plots.training_curves(rows, ["elbo"]).axes[0].get_ylim()
    assert -360 < low < -101 - 1000 / 6 < -110 < high < -100  # the first five of a hundred
    low, _ = plots.training_curves(rows[:19], ["elbo"]).axes[0].get_ylim()
    assert low < -1101
    assert plots.training_curves([{**row, "elbo": -7.0, "val_elbo": -7.0} for row in rows], ["elbo"])


def test_curves_show_the_terms_that_are_named():
    rows = [{"epoch": e, "loss": 9, "elbo": -9 + e, "val_elbo": -8 + e, "kl": e} for e in (1, 2)]
    panels = plots.training_curves(rows, ("elbo", "kl")).axes
    assert [axes.get_title() for axes in panels] == ["ELBO", "KL"]
    assert [[list(line.get_ydata()) for line in axes.lines] for axes in panels] == [[[-8, -7], [-7, -6]], [[1, 2]]]


def test_a_last_row_of_reconstructions_that_is_not_full_stays_below_its_inputs():
    inputs, decoded = np.zeros((12, 4, 4, 1)), np.full((12, 4, 4, 1), 0.5)
    picture = rendered(plots.reconstructions(inputs, decoded))
    column = picture[:, int(0.3 * picture.shape[1]), 0]
    levels = [level for level, _ in itertools.groupby(column) if level in (0, 127, 128)]
    assert [0 if level == 0 else 1 for level in levels][:2] == [0, 1]


def test_round_numbers_stand_along_an_edge():
    places = plots.ticks(np.linspace(-3, 3, 20))
    assert [text for _, text in places] == ["−3", "−2", "−1", "0", "1", "2", "3"]
    np.testing.assert_allclose([place for place, _ in places], np.linspace(0, 19, 7))
    assert plots.ticks([3, 1.5, 0]) == [(0, "3"), (1, "1.5"), (2, "0")]
    falling = plots.ticks(np.linspace(3, -3, 25))
    assert [text for _, text in sorted(falling)] == ["3", "2", "1", "0", "−1", "−2", "−3"]
    uneven = plots.ticks(np.linspace(0, 1, 30) ** 2)
    assert all(place == int(place) for place, _ in uneven)
    assert len(uneven) <= 12


# Machado, Oliveira & Fernandes 2009, severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colour, eye="normal"):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.where(xyz / [0.9505, 1, 1.089] > 0.008856, np.cbrt(xyz / [0.9505, 1, 1.089]), 0.1379)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_ten_classes_are_told_apart_by_every_eye(eye):
    colours = [lab(colour, eye) for colour in CLASS_COLOURS]
    assert len(colours) == 10
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(colours, 2)) > 15


def test_ten_classes_are_told_apart_in_greyscale_and_from_white():
    lightness = sorted(lab(colour)[0] for colour in CLASS_COLOURS)
    assert min(np.diff(lightness)) > 4.5
    assert lightness[-1] < 85


def test_two_latents_are_drawn_as_they_are():
    codes = RNG.normal(size=(20, 2))
    plane = plots.plane_of(codes)
    np.testing.assert_array_equal(plane.project(codes), codes)
    assert plane.names == ("z0", "z1")


def test_more_latents_are_drawn_through_their_principal_components():
    codes = RNG.normal(size=(500, 4)) * [0.1, 3, 0.2, 1] + [5, 6, 7, 8]
    plane = plots.plane_of(codes)
    points = plane.project(codes)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-9)
    assert abs(plane.directions[1, 0]) > 0.99
    assert abs(plane.directions[3, 1]) > 0.99
    variances = codes.var(0)  # nearly the principal ones: the columns are independent
    share = float(plane.names[0].removeprefix("principal component 1 (").removesuffix(" %)"))
    assert abs(share - 100 * variances.max() / variances.sum()) < 1.5
    np.testing.assert_array_equal(plots.plane_of(codes, (3, 0)).project(codes), codes[:, [3, 0]])
    np.testing.assert_array_equal(plots.plane_of(codes[:1]).project(codes[:1]), [[0, 0]])


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_a_film_has_one_plane_for_all_its_frames(latents, tmp_path):
    codes = RNG.normal(size=(3, 40, latents))
    codes[2] = codes[0]
    frames = plots.latent_film(codes, [0, 1, 1], np.arange(40) % 4, None, "a film")
    assert frames.shape == (3, 600, 600, 3)
    assert np.array_equal(frames[0][80:], frames[2][80:])  # below the heading: equal codes in equal places
    assert not np.array_equal(frames[0], frames[1])
    plots.save_gif(tmp_path / "a.gif", frames, seconds=0.2, hold=1)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
        assert film.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        durations = []
        for number in range(3):
            film.seek(number)
            durations.append(film.info["duration"])
    assert durations == [200, 200, 1200]


def test_a_film_keeps_the_colours_of_all_its_frames(tmp_path):
    share = np.linspace(0, 1, 25)[:, None]
    colours = np.round((1 - share) * [255, 0, 0] + share * [0, 0, 255])  # [T,3], from red to blue
    colours = colours[[0, 0, *range(25), 24]]  # both ends longer
    frames = np.broadcast_to(colours[:, None, None], (28, 8, 8, 3)).astype("uint8")
    plots.save_gif(tmp_path / "a.gif", frames, seconds=0.1)
    shown = []
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames > 12
        for number in range(film.n_frames):
            film.seek(number)
            shown += [film.convert("RGB").getpixel((4, 4))] * round(film.info["duration"] / 100)
    # Equal neighbours are one frame of the file, shown for longer.
    np.testing.assert_allclose(shown, colours, atol=10)


def test_films_of_images():
    frames = plots.image_film(RNG.random((5, 3, 28, 28, 1)), columns=3)
    assert frames.shape == (5, 28 * 4, (3 * 28 + 2 * 2) * 4, 1)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(plots.round_trip(np.arange(4)), [0, 1, 2, 3, 2, 1])
    swept = plots.sweep_film(RNG.random((10, 3, 8, 8, 1)), [f"z{axis}" for axis in range(10)], "axes")
    assert swept.shape[0] == 3
    assert swept.shape[-1] == 3


@pytest.mark.parametrize("name", ["$x_{$", "a $ b", "$\\undefined$", r"\$5"])
def test_a_name_is_drawn_as_it_is(name, tmp_path):
    image = np.zeros((2, 4, 4, 1), "float32")
    rows = [{"epoch": epoch, "elbo": -1.0} for epoch in (1, 2)]
    for number, figure in enumerate(
        (plots.image_grid(image, 2, name, [name], [name] * 2), plots.training_curves(rows, ["elbo"], name))
    ):
        figure.savefig(tmp_path / f"{number}.png")


def drawn_notes(axes):
    """The notes of a piano roll, each (start, end, pitch), and how many of them begin in it."""
    bodies, begins = axes.collections[-2:]
    corners = [path.vertices for path in bodies.get_paths()]
    found = [(c[:, 0].min(), c[:, 0].max() + GAP, (c[:, 1].min() + c[:, 1].max()) / 2) for c in corners]
    return [tuple(round(float(part), 6) for part in note) for note in found], len(begins.get_paths())


def test_a_piano_roll_shows_every_note_where_it_is():
    tokens = tokens_of([Note(0, 4, 60), Note(4, 20, 64), Note(28, 4, 72)], 32)
    (axes,) = plots.piano_roll(tokens).axes
    assert drawn_notes(axes) == ([(0, 4, 60), (4, 24, 64), (28, 32, 72)], 3)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["C4", "G4", "C5"]
    assert axes.get_xticks().tolist() == [0, 16]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    low, high = axes.get_ylim()
    assert low < 59
    assert high > 73


def test_a_long_melody_goes_on_in_the_next_line():
    tokens = tokens_of([Note(120, 16, 60)], 160)
    first, second = plots.piano_roll(tokens).axes
    assert drawn_notes(first) == ([(120, 128, 60)], 1)
    assert drawn_notes(second) == ([(128, 136, 60)], 0)  # it begins on the line above
    assert [label.get_text() for label in second.get_xticklabels()] == ["9", "10"]


def test_a_path_goes_from_one_colour_to_another():
    figure = plots.piano_roll_path(melodies(5, 1), [0, 0.25, 0.5, 0.75, 1])
    colours = [axes.collections[-2].get_facecolor()[0] for axes in figure.axes]
    np.testing.assert_allclose(colours[0][:3], to_rgb(PALETTE[0]), atol=0.01)
    np.testing.assert_allclose(colours[-1][:3], to_rgb(PALETTE[1]), atol=0.01)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1

"""The latent space: exact on a linear model, and on the picture files that people bring."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from vaezoo import latent_space, likelihoods, objectives, posteriors, priors
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.latent_space.comparison import as_text
from vaezoo.latent_space.paths import mix
from vaezoo.models.vae import VAE
from vaezoo.networks.mlp import mlp_decoder, mlp_encoder
from vaezoo.spec import Spec
from vaezoo.zoo import create_model

tfd = tfp.distributions

D, SHAPE, CLASSES = 3, (2, 3, 1), 4
RNG = np.random.default_rng(0)
ENCODER = RNG.normal(0, 0.5, (6, D)).astype("float32")
RAW_SCALES = np.array([-2.0, 0.0, 3.0], "float32")  # so that the axes tell differently much
DECODER = RNG.uniform(-0.05, 0.05, (D, 6)).astype("float32")  # small: images stay within [0, 1], where nothing clips
IMAGES = RNG.uniform(0.2, 0.8, (6, *SHAPE)).astype("float32")


def linear_model(posterior=None, classes=0, prior=None):
    """encode(x) = x @ ENCODER, decode(z) = 0.5 + z @ DECODER (and 0.1 times the class on the first pixel)."""
    posterior, spec = posterior or posteriors.DiagonalNormal(), Spec("image", SHAPE, classes=classes)
    encoder = mlp_encoder(spec, posterior.params_size(D), hidden=())
    decoder = mlp_decoder(D, spec, SHAPE, hidden=())
    bias = np.zeros(posterior.params_size(D), "float32")
    if posterior.has_density:
        bias[D : 2 * D] = RAW_SCALES
    kernel = np.zeros((6 + classes, len(bias)), "float32")
    kernel[:6, :D] = ENCODER
    encoder.layers[-2].set_weights([kernel, bias])
    of_class = np.zeros((classes, 6), "float32")
    of_class[:, 0] = 0.1 * np.arange(classes)
    decoder.layers[-3].set_weights([np.concatenate([DECODER, of_class]), np.full(6, 0.5, "float32")])
    objective = objectives.ELBO() if posterior.has_density else objectives.Reconstruction()
    prior = prior or priors.StandardNormal()
    return VAE(spec, encoder, posterior, prior, decoder, likelihoods.Normal(scale=0.1), objective, D)


@pytest.fixture(scope="module")
def linear():
    return linear_model()


@pytest.fixture(scope="module")
def conditional():
    return linear_model(classes=CLASSES)


def codes_of(images):
    return images.reshape(len(images), 6) @ ENCODER


def images_of(codes, label=0):
    flat = 0.5 + codes @ DECODER
    flat[..., 0] += 0.1 * label
    return np.clip(flat, 0, 1).reshape(*codes.shape[:-1], *SHAPE)


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, atol=2e-6)


# Codes


def test_embed_and_decode_are_the_linear_maps(linear):
    close(latent_space.embed(linear, IMAGES), codes_of(IMAGES))
    close(latent_space.decode(linear, codes_of(IMAGES)), images_of(codes_of(IMAGES)))
    eight_bits = np.round(255 * IMAGES).astype("uint8")
    close(latent_space.embed(linear, eight_bits), codes_of(eight_bits.astype("float32") / 255))


def test_embed_and_decode_in_more_than_one_batch(linear):
    many = np.tile(IMAGES, (301, 1, 1, 1))
    codes = latent_space.embed(linear, many)
    close(codes, np.tile(codes_of(IMAGES), (301, 1)))
    close(latent_space.decode(linear, codes)[-6:], images_of(codes[-6:]))


def test_information_is_the_mean_kl_of_each_axis(linear):
    found = latent_space.information(linear, IMAGES)
    mean, spread = codes_of(IMAGES), np.log1p(np.exp(RAW_SCALES)) + posteriors.SMALLEST_SCALE
    kl = tfd.kl_divergence(tfd.Normal(mean, spread), tfd.Normal(0.0, 1.0)).numpy().mean(0) / math.log(2)
    np.testing.assert_allclose(found.values, kl, rtol=1e-5)
    assert found.unit == "bits"
    assert list(found.order) == list(np.argsort(-kl))
    np.testing.assert_allclose(latent_space.kl_bits(linear, IMAGES).mean(), kl.sum(), rtol=1e-5)


def test_information_is_measured_by_the_moments_of_a_learned_prior():
    model = linear_model(prior=priors.Mixture(components=1))
    loc, scale = np.array([[1.0, -2.0, 0.5]]), np.array([[0.5, 2.0, 3.0]])
    model.prior.loc.assign(loc)
    model.prior.raw_scale.assign(np.log(np.expm1(scale - posteriors.SMALLEST_SCALE)))
    mean, spread = codes_of(IMAGES), np.log1p(np.exp(RAW_SCALES)) + posteriors.SMALLEST_SCALE
    kl = tfd.kl_divergence(tfd.Normal(mean, spread), tfd.Normal(*np.float32([loc, scale]))).numpy().mean(0)
    np.testing.assert_allclose(latent_space.information(model, IMAGES).values, kl / math.log(2), rtol=1e-4)


def test_information_of_a_flow_is_estimated_from_samples(linear):
    images = np.tile(IMAGES, (100, 1, 1, 1))
    model = linear_model(posteriors.Flow(blocks=1, context=2))
    last = model.posterior.networks[0].layers[-1]
    last.set_weights([0 * last.kernel.numpy(), np.repeat(np.float32([0, 100]), D)])  # m = 0, sigma = 1: the identity
    exact, found = latent_space.information(linear, images), latent_space.information(model, images)
    assert found.unit == "bits"
    # the moments of 64 draws put an image off by 1/64 nats or so, and the 600 images average their noise
    np.testing.assert_allclose(found.values, exact.values, rtol=0.05, atol=0.05)
    assert (found.values != exact.values).all()


def test_an_autoencoder_has_variances_and_no_bits():
    model = linear_model(posteriors.Point())
    found = latent_space.information(model, IMAGES)
    np.testing.assert_allclose(found.values, codes_of(IMAGES).var(0), rtol=1e-4)
    assert found.unit == "variance"
    assert latent_space.kl_bits(model, IMAGES) is None
    assert latent_space.reconstruct(model, IMAGES).bits is None


def test_reconstruct(linear):
    result = latent_space.reconstruct(linear, IMAGES)
    expected = images_of(codes_of(IMAGES))
    close(result.examples, expected)
    np.testing.assert_allclose(result.squared_error, np.square(expected - IMAGES).mean((1, 2, 3)), rtol=1e-4)
    nats = -tfd.Independent(tfd.Normal(expected, 0.1), 3).log_prob(IMAGES).numpy()
    np.testing.assert_allclose(result.nats, nats, rtol=1e-4)
    assert result.bits.shape == (6,)


# Interpolation


def test_two_images_make_a_line(linear):
    result = latent_space.interpolate(linear, IMAGES[:2], steps=5)
    assert result.examples.shape == (1, 5, *SHAPE)
    a = np.linspace(0, 1, 5)[:, None]
    first, second = codes_of(IMAGES[:2])
    close(result.codes[0], (1 - a) * first + a * second)
    # Under a linear decoder, interpolated codes decode to interpolated images.
    ends, b = images_of(codes_of(IMAGES[:2])), a[..., None, None]
    close(result.examples[0], (1 - b) * ends[0] + b * ends[1])
    np.testing.assert_allclose(latent_space.step_ratio(result.examples, linear.spec), 1, atol=1e-4)


def test_three_images_span_a_plane(linear):
    result = latent_space.interpolate(linear, IMAGES[:3], steps=4)
    z1, z2, z3 = codes_of(IMAGES[:3])
    for row, b in enumerate(np.linspace(0, 1, 4)):
        for column, a in enumerate(np.linspace(0, 1, 4)):
            close(result.codes[row, column], z1 + a * (z2 - z1) + b * (z3 - z1))
    close(result.examples, images_of(result.codes))
    close(result.weights @ codes_of(IMAGES[:3]), result.codes)


def test_four_images_are_the_corners_of_a_square(linear):
    result = latent_space.interpolate(linear, IMAGES[:4], steps=3)
    codes = codes_of(IMAGES[:4])
    close(result.codes[[0, 0, 2, 2], [0, 2, 0, 2]], codes)
    close(result.codes[1, 1], codes.mean(0))
    close(result.codes[0, 1], (codes[0] + codes[1]) / 2)


def test_more_images_make_a_line_from_each_to_the_next(linear):
    result = latent_space.interpolate(linear, IMAGES, steps=3)
    codes = codes_of(IMAGES)
    assert result.examples.shape == (5, 3, *SHAPE)
    close(result.codes, np.stack([codes[:-1], (codes[:-1] + codes[1:]) / 2, codes[1:]], 1))
    close(result.weights.sum(-1), 1)


def test_a_spherical_line_turns_evenly_and_keeps_its_distance():
    codes, _ = mix(np.array([[2.0, 0, 0], [0, 2.0, 0]]), 7, "spherical")
    close(np.linalg.norm(codes[0], axis=-1), 2)
    close(np.arctan2(codes[0, :, 1], codes[0, :, 0]), np.linspace(0, np.pi / 2, 7))


@pytest.mark.parametrize("second", [[2.0, 0, 0], [-1.0, 0, 0], [0.0, 0, 0]])
def test_a_spherical_line_without_an_arc_is_straight(second):
    ends = np.array([[1.0, 0, 0], second])
    close(mix(ends, 5, "spherical")[0], mix(ends, 5)[0])


@pytest.mark.parametrize("count", [3, 4])
def test_a_spherical_square_has_its_corners_at_the_inputs(count):
    corners = RNG.normal(size=(count, D))
    codes, _ = mix(corners, 5, "spherical")
    close(codes[[0, 0, -1, -1][:count], [0, -1, 0, -1][:count]], corners)


@pytest.mark.parametrize(("count", "length"), [(2, 2), (3, 3), (4, 4), (5, 8)])
def test_a_tour_passes_every_input_and_comes_back(linear, count, length):
    frames = latent_space.tour(linear, IMAGES[:count], steps=6)
    assert len(frames) == 6 * length
    ends = images_of(codes_of(IMAGES[:count]))
    for end in ends:
        assert np.abs(frames - end).max((1, 2, 3)).min() < 1e-5
    # It goes on smoothly from its last frame to its first.
    jump = np.linalg.norm(frames[0] - frames[-1])
    assert jump <= 1.001 * max(np.linalg.norm(b - a) for a, b in itertools.pairwise(frames))


PIXEL = Spec("image", (1, 1, 1))


def test_step_ratio():
    path = np.zeros((5, 1, 1, 1))
    path[:, 0, 0, 0] = [0, 0.1, 0.1, 0.4, 0.4]
    close(latent_space.step_ratio(path, PIXEL), 3)  # steps 0.1 0 0.3 0: largest 0.3, mean 0.1
    assert np.isnan(latent_space.step_ratio(np.zeros((5, 1, 1, 1)), PIXEL))
    assert latent_space.step_ratio(np.stack([path] * 3), PIXEL).shape == (3,)


# Editing


def test_an_edit_moves_the_code_by_exactly_amount_times_the_way_to_the_average(linear):
    average = np.array([0.3, -0.2, 0.1], "float32")
    amounts = [0, 0.25, 1, -0.5]
    result = latent_space.edit(linear, IMAGES[:2], average, amounts)
    codes = codes_of(IMAGES[:2])
    for number, amount in enumerate(amounts):
        close(result.codes[:, number] - codes, amount * (average - codes))
    close(result.examples, images_of(result.codes))
    close(result.examples[:, 0], latent_space.reconstruct(linear, IMAGES[:2]).examples)
    close(result.examples[:, 2], np.stack([images_of(average[None])[0]] * 2))


def test_the_average_is_over_the_images_that_have_it():
    labels = np.array([0, 1, 1, 2, 1, 0])
    having = latent_space.members([latent_space.characteristic("label=1")], labels)
    close(latent_space.average_code(codes_of(IMAGES), having), codes_of(IMAGES)[[1, 2, 4]].mean(0))


def which(*texts, **known):
    return np.flatnonzero(latent_space.members([latent_space.characteristic(text) for text in texts], **known)).tolist()


def test_characteristics():
    known = {
        "labels": np.arange(100) % 3,
        "factors": {"thickness": np.linspace(0, 1, 100), "font": np.arange(100) // 25},
        "class_names": ("T-shirt", "Trouser", "7"),
    }
    assert which("label=Trouser", **known) == list(range(1, 100, 3))
    assert which("label=7", **known) == which("label=2", **known) == list(range(2, 100, 3))  # a name before a number
    assert which("thickness=high", **known) == list(range(80, 100))
    assert which("thickness=low", **known) == list(range(20))
    assert which("font=1", **known) == list(range(25, 50))
    assert which(" label = Trouser ", "thickness=high", **known) == [82, 85, 88, 91, 94, 97]


@pytest.mark.parametrize(
    ("counts", "high", "low"),  # how many examples have 0, 1, 2, ...; which values are high, which are low
    [
        ([85, 15], [1], [0]),
        ([15, 85], [1], [0]),
        ([1, 84, 15], [2], [0, 1]),
        ([59, 40, 1], [1, 2], [0]),  # one example makes no average
        ([10] * 10, [8, 9], [0, 1]),
    ],
)
def test_equal_values_are_high_or_low_together_and_never_all_examples(counts, high, low):
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    for kind in ("int64", "uint8", "float32", *(["bool"] if len(counts) == 2 else [])):
        factors = {"few": values.astype(kind)}
        assert which("few=high", factors=factors) == np.flatnonzero(np.isin(values, high)).tolist()
        assert which("few=low", factors=factors) == np.flatnonzero(np.isin(values, low)).tolist()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["label=9"], "unknown class '9'. Classes: T-shirt, Trouser, 7."),
        (["labl=1"], "unknown factor 'labl'. Did you mean 'label'? Allowed: font, label, name, round, same,"),
        (["thickness=thick"], "continuous and runs from 0 to 1: write thickness=high or thickness=low"),
        (["font=9"], "unknown value of 'font' '9'. Allowed: high, low, 0, 1, 2, 3."),
        (["label=Trouser", "label=7"], "no training example has label=Trouser and label=7"),
        (["thickness"], "write FACTOR=VALUE, as in label=7"),
        (["=high"], "write FACTOR=VALUE"),
        (["same=low"], "all training examples have the same 'same': there is no same=low"),
        (["round=yes"], "unknown value of 'round' 'yes'. Allowed: high, low, False, True."),
        (["name=high"], "unknown value of 'name' 'high'. Allowed: name 0, name 1, name 10,"),
    ],
)
def test_characteristics_that_do_not_exist(texts, message):
    factors = {"thickness": np.linspace(0, 1, 100), "font": np.arange(100) // 25}
    factors |= {"same": np.ones(100), "round": np.arange(100) > 50, "name": np.array([f"name {n}" for n in range(100)])}
    with pytest.raises(VaezooError) as error:
        which(*texts, labels=np.arange(100) % 3, factors=factors, class_names=("T-shirt", "Trouser", "7"))
    assert message in str(error.value)


def test_without_labels_there_is_nothing_to_edit_towards():
    with pytest.raises(VaezooError, match="neither labels nor known factors"):
        which("label=7")


# From the prior


def test_samples_are_the_models_own(linear):
    result = latent_space.sample(linear, 5, seed=3)
    close(result.examples, linear.sample(5, seed=3))
    close(result.examples, images_of(result.codes))
    assert result.labels is None
    assert not np.array_equal(result.codes, latent_space.sample(linear, 5, seed=4).codes)


def test_the_corners_of_a_manifold_are_where_they_should_be(linear):
    result = latent_space.manifold(linear, span=2, size=5, axes=(2, 0))
    assert result.examples.shape == (5, 5, *SHAPE)
    assert result.axes == (2, 0)
    close(result.values, [-2, -1, 0, 1, 2])
    corners = {(0, 0): [2, 0, -2], (0, -1): [2, 0, 2], (-1, 0): [-2, 0, -2], (-1, -1): [-2, 0, 2]}
    for place, code in corners.items():
        close(result.codes[place], code)
        close(result.examples[place], images_of(np.array(code, "float32")))
    close(result.codes[2, 2], 0)


def test_quantiles_hold_equal_mass_between_them(linear):
    values = latent_space.manifold(linear, span=3, size=11, quantile=True).values
    close(values[[0, 5, -1]], [-3, 0, 3])
    np.testing.assert_allclose(np.diff(tfd.Normal(0.0, 1.0).cdf(values)), np.full(10, (0.9973002) / 10), atol=1e-6)


def test_a_traversal_sweeps_one_axis_a_row(linear):
    result = latent_space.traverse(linear, IMAGES[0], span=2, steps=3, axes=(2, 1))
    code = codes_of(IMAGES[:1])[0]
    close(result.codes[0], [[*code[:2], value] for value in (-2, 0, 2)])
    close(result.codes[1], [[code[0], value, code[2]] for value in (-2, 0, 2)])
    close(result.examples, images_of(result.codes))
    assert latent_space.traverse(linear, IMAGES[0]).examples.shape == (D, 11, *SHAPE)


# Conditional models


def test_a_conditional_model_decodes_each_image_as_its_own_class(conditional):
    labels = np.array([0, 1, 2, 3, 1, 2])
    own = np.array([images_of(code[None], label)[0] for code, label in zip(codes_of(IMAGES), labels, strict=True)])
    close(latent_space.reconstruct(conditional, IMAGES, labels).examples, own)
    edits = latent_space.edit(conditional, IMAGES, np.zeros(D), [0, 1], labels)
    close(edits.examples[:, 0], own)
    close(edits.examples[:, 1, 0, 0, 0], 0.5 + 0.1 * labels)
    close(latent_space.sample(conditional, 3, label=2).examples, conditional.sample(3, label=2))
    manifold = latent_space.manifold(conditional, size=3, label=3)
    close(manifold.examples[1, 1], images_of(np.zeros(D), 3))
    close(
        latent_space.traverse(conditional, IMAGES[1], 1, steps=3).examples[0, 1, 0, 0, 0], 0.6 + codes_on_first_pixel()
    )


def codes_on_first_pixel():
    code = codes_of(IMAGES[1:2])[0].copy()
    code[0] = 0
    return code @ DECODER[:, 0]


def test_an_interpolation_takes_the_class_of_the_nearer_input(conditional):
    result = latent_space.interpolate(conditional, IMAGES[:2], [1, 3], steps=5)
    close(
        result.examples,
        [[images_of(code, label) for code, label in zip(result.codes[0], [1, 1, 1, 3, 3], strict=True)]],
    )


def test_one_row_a_style_one_column_a_class(conditional):
    codes = latent_space.prior_codes(conditional, 2, seed=1)
    result = latent_space.style_by_class(conditional, codes)
    assert result.examples.shape == (2, CLASSES, *SHAPE)
    for style in range(2):
        for label in range(CLASSES):
            close(result.examples[style, label], images_of(codes[style], label))


# Comparison


def test_compare_measures_what_its_parts_measure(linear, conditional):
    models = {"linear": linear, "ae": linear_model(posteriors.Point()), "conditional": conditional}
    labels = np.array([0, 1, 2, 3, 1, 2])
    result = latent_space.compare(models, IMAGES, labels, pairs=60, samples=9, paths=4)
    assert [row["model"] for row in result.table] == list(models)
    first, second, third = result.table
    own = latent_space.reconstruct(linear, IMAGES)
    assert first["squared_error"] == pytest.approx(own.squared_error.mean())
    assert first["nats"] == pytest.approx(own.nats.mean())
    assert first["bits"] == pytest.approx(own.bits.mean())
    assert second["bits"] is None
    assert first["largest_step"] == pytest.approx(1, abs=1e-3)  # every line of a linear decoder is even
    assert third["largest_step"] > 1.5  # where the class changes the image jumps
    assert result.samples.shape == (3, 9, *SHAPE)
    assert result.paths.shape == (3, 4, 11, *SHAPE)
    lines = as_text(result.table).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[4] == "-"


def test_a_decoder_that_always_shows_the_same_has_no_smoothness():
    model = linear_model()
    model.decoder.layers[-3].set_weights([np.zeros((D, 6)), np.full(6, 0.5)])
    table = latent_space.compare({"flat": model}, IMAGES, pairs=10).table
    assert table[0]["largest_step"] is None


# kl_only


def test_without_its_reconstruction_the_loss_is_the_kl():
    objective = objectives.BetaELBO(beta=2.0, reconstruction_weight=0.0)
    terms = objective.compute(linear_model().forward(IMAGES, seed=[0, 1]), 0)
    close(terms["loss"], 2 * terms["kl"])
    close(terms["elbo"], -terms["reconstruction"] - terms["kl"])  # always the true bound
    copy = objectives.BetaELBO.from_config(objective.get_config())
    assert copy.reconstruction_weight == 0


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, c: latent_space.sample(m, label=3), "not conditional: it takes no label"),
        (lambda m, c: latent_space.sample(c), "give a label from 0 to 3 for each example"),
        (lambda m, c: latent_space.sample(c, label=4), "label 4 is no class of this model; its classes are 0 to 3"),
        (lambda m, c: latent_space.sample(c, label=-1), "label -1 is no class"),
        (lambda m, c: latent_space.sample(m, 0), "the number of samples is 0; it must be at least 1"),
        (lambda m, c: latent_space.sample(m, 1, seed=-1), "the seed -1 is outside"),
        (lambda m, c: latent_space.prior_codes(m, 0), "0 draws from the prior; give at least 1"),
        (lambda m, c: latent_space.interpolate(m, IMAGES[:1]), "needs at least two examples and was given one"),
        (lambda m, c: latent_space.interpolate(m, IMAGES, steps=1), "at least 2"),
        (lambda m, c: latent_space.interpolate(m, IMAGES, method="round"), "Allowed: linear, spherical"),
        (lambda m, c: latent_space.embed(m, IMAGES[..., 0]), r"shape \[6, 2, 3\]; this model takes \[N,2,3,1\]"),
        (lambda m, c: latent_space.embed(m, IMAGES * 255), r"must be in \[0, 1\], or uint8"),
        (lambda m, c: latent_space.embed(m, IMAGES * np.nan), "must be in"),
        (lambda m, c: latent_space.embed(m, IMAGES[:0]), "no images were given"),
        (lambda m, c: latent_space.embed(c, IMAGES, [1, 2]), r"labels of shape \[2\]"),
        (lambda m, c: latent_space.embed(c, IMAGES, [0.5] * 6), "is no class"),
        (lambda m, c: latent_space.decode(m, np.zeros((2, 5))), "codes of 5 numbers; this model's have 3"),
        (lambda m, c: latent_space.edit(m, IMAGES, np.zeros(D), [np.inf]), "finite"),
        (lambda m, c: latent_space.edit(m, IMAGES, np.zeros(D), []), "one or more"),
        (lambda m, c: latent_space.manifold(m, axes=(0, 3)), "no latent axis 3; this model has 0 to 2"),
        (lambda m, c: latent_space.manifold(m, axes=(1, 1)), "two different latent axes"),
        (lambda m, c: latent_space.manifold(m, span=0), "must be a number above 0"),
        (lambda m, c: latent_space.manifold(m, span=np.nan), "must be a number above 0"),
        (lambda m, c: latent_space.manifold(m, size=1), "at least 2"),
        (lambda m, c: latent_space.manifold(m, span=9, quantile=True), "at most 8"),
        (lambda m, c: latent_space.traverse(m, IMAGES[0], axes=[]), "no latent axis to vary"),
        (lambda m, c: latent_space.style_by_class(m, np.zeros((1, D))), "not conditional"),
        (lambda m, c: latent_space.compare({}, IMAGES), "nothing to compare"),
        (lambda m, c: latent_space.compare({"m": m}, IMAGES[:1]), "at least two examples"),
    ],
)
def test_bad_input_is_refused_on_one_line(linear, conditional, call, message):
    with pytest.raises(VaezooError, match=message) as error:
        call(linear, conditional)
    assert "\n" not in str(error.value)


def test_a_model_with_one_latent_has_a_line_for_a_manifold():
    model = create_model("mlp_vae", SHAPE, latent_dim=1, likelihood="normal")
    result = latent_space.manifold(model, size=4)
    assert result.examples.shape == (1, 4, *SHAPE)
    close(result.codes[0, :, 0], [-3, -1, 1, 3])


# On MNIST. Small dense networks, trained for a few seconds each, are enough to show all of it.


@pytest.fixture(scope="module")
def trained(mnist):
    """Train a recipe: (name, epochs, **overrides) → model."""

    def fit(name, epochs, conditional=False, **overrides):
        network = {"name": "mlp", "hidden": [500, 500], "activation": "relu"}
        keras.utils.set_random_seed(0)
        parts = {"encoder": network, "decoder": network, **overrides}
        model = create_model(name, conditional=conditional, **parts)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, 435 * epochs)
        model.compile(keras.optimizers.Adam(rate), jit_compile=True, steps_per_execution=29)
        batches = mnist.train.training_batches(128, 435, binarize="dynamic", labels=conditional)
        model.fit(batches, epochs=epochs, steps_per_epoch=435, shuffle=False, verbose=0)
        return model

    return fit


@pytest.fixture(scope="module")
def classify(mnist):
    """Images → their classes, by a small classifier that is right on 96 % of the test images or more."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
    network = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"])
    images, labels = mnist.train.first()
    network.fit(images, labels, batch_size=256, epochs=3, verbose=0)
    assert network.evaluate(*mnist.test.first(), verbose=0)[1] > 0.96
    return lambda images: network.predict(images, batch_size=500, verbose=0).argmax(-1)


@pytest.mark.slow
def test_an_edit_towards_seven_is_a_seven(mnist, trained, classify, record_property):
    model = trained("mlp_vae", 4, latent_dim=10)
    images, labels = mnist.train.first(binarize="dynamic")
    average = latent_space.average_code(latent_space.embed(model, images), labels == 7)
    digits, classes = mnist.test.first(1000, binarize="dynamic")
    digits = digits[classes != 7]
    edits = latent_space.edit(model, digits, average, [0, 0.5, 1])
    rates = [float((classify(edits.examples[:, number]) == 7).mean()) for number in range(3)]
    print(f"\nclassified as 7 at amount 0, 0.5, 1: {rates}")
    record_property("sevens", rates)
    assert rates[0] < 0.05  # they were no sevens
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] == 1


@pytest.mark.slow
def test_a_conditional_model_asked_for_a_class_yields_that_class(trained, classify, record_property):
    # The size of the code and the weight of the KL are the recipe's; the dense network trains faster.
    recipe = load_recipe("conditional_vae").model
    objective = {"name": "beta", **recipe.objective.keywords()}
    model = trained("mlp_vae", 5, conditional=True, latent_dim=recipe.latent_dim, objective=objective)
    asked = np.repeat(np.arange(10), 200)
    rate = float((classify(latent_space.sample(model, len(asked), label=asked).examples) == asked).mean())
    print(f"\nof the class that was asked for: {rate}")
    record_property("of the class", rate)
    assert rate >= 0.97


@pytest.mark.slow
def test_a_vae_interpolates_more_smoothly_than_an_autoencoder(mnist, trained, record_property):
    # With two latents both have to bend their way from class to class. With many, an autoencoder only fades one image
    # into the other, which is as even as it is meaningless, and this measure cannot tell.
    names = {"autoencoder": "ae", "vae": "mlp_vae"}
    models = {name: trained(recipe, 4, latent_dim=2) for name, recipe in names.items()}
    images, labels = mnist.test.first(2000, binarize="dynamic")
    table = latent_space.compare(models, images, labels, pairs=300).table
    print("\n" + as_text(table))
    record_property("table", table)
    autoencoder, vae = table
    assert vae["largest_step"] < autoencoder["largest_step"] - 0.2
    assert autoencoder["squared_error"] < vae["squared_error"]

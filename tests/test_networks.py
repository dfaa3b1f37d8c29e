"""Networks: shapes, refusals, the place of every pixel, labels, precision, and the standalone copies of both."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from vaezoo.decoding import layers_of
from vaezoo.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic, Normal
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.models.vae import VAE
from vaezoo.networks import (
    conv_decoder,
    conv_encoder,
    mlp_decoder,
    mlp_encoder,
    pyramid_decoder,
    pyramid_encoder,
)
from vaezoo.objectives import ELBO, Reconstruction
from vaezoo.posteriors import DiagonalNormal, FullNormal, Point
from vaezoo.priors import StandardNormal
from vaezoo.spec import Spec

SMALL = {
    "conv": {"filters": (4, 6), "kernel_size": 3, "dense": 8},
    "mlp": {"hidden": (7, 5)},
    "pyramid": {"width": 8, "blocks": 1},
}
ENCODERS = {"conv": conv_encoder, "mlp": mlp_encoder, "pyramid": pyramid_encoder}
DECODERS = {"conv": conv_decoder, "mlp": mlp_decoder, "pyramid": pyramid_decoder}

every_body = pytest.mark.parametrize("body", ["conv", "mlp", "pyramid"])
every_shape = pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 1)], ids=str)
VECTOR, TOKENS = Spec("vector", (6,)), Spec("sequence", (5,), levels=4)
flat_kinds = pytest.mark.parametrize("spec", [VECTOR, TOKENS], ids=lambda spec: spec.kind)
half_precisions = pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])


@contextlib.contextmanager
def precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def images(shape, n=3, seed=0):
    return np.random.default_rng(seed).uniform(size=(n, *shape)).astype("float32")


def examples(spec, n=3, seed=0):
    if spec.levels is None:
        return images(spec.shape, n, seed)
    return np.random.default_rng(seed).integers(spec.levels, size=(n, *spec.shape)).astype("int32")


def params_shape(shape, params_per_element):
    return (*shape[:-1], params_per_element * shape[-1])


def codes(latent_dim, n=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, latent_dim)).astype("float32")


def with_drawn_weights(model, seed=0):
    """Every weight from NumPy; biases too, as they begin at zero, where a copy that forgets them would look right."""
    rng = np.random.default_rng(seed)
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([rng.normal(0, 0.1 if len(s) == 1 else np.prod(s[:-1]) ** -0.5, s) for s in shapes])
    return model


# Shapes


@every_body
@every_shape
@pytest.mark.parametrize("classes", [0, 10])
def test_an_encoder_makes_the_parameters_of_each_image(body, shape, classes):
    encoder = ENCODERS[body](Spec("image", shape, classes=classes), 6, **SMALL[body])
    x = images(shape)
    params = encoder({"image": x, "label": np.array([0, 9, 5])} if classes else x)
    assert encoder.name == "encoder"
    assert params.shape == (3, 6)
    assert params.dtype == tf.float32


@every_body
@every_shape
@pytest.mark.parametrize("classes", [0, 10])
@pytest.mark.parametrize("params_per_element", [1, 2])
def test_a_decoder_makes_the_parameters_of_each_pixel(body, shape, classes, params_per_element):
    spec = Spec("image", shape, classes=classes)
    decoder = DECODERS[body](5, spec, params_shape(shape, params_per_element), **SMALL[body])
    z = codes(5)
    params = decoder({"z": z, "label": np.array([0, 9, 5])} if classes else z)
    height, width, channels = shape
    assert decoder.name == "decoder"
    assert params.shape == (3, height, width, params_per_element * channels)
    assert params.dtype == tf.float32


def test_height_and_width_are_not_mixed_up():
    shape = (8, 12, 3)
    spec = Spec("image", shape)
    for body in ("conv", "mlp"):
        assert ENCODERS[body](spec, 4, **SMALL[body])(images(shape)).shape == (3, 4)
        assert DECODERS[body](5, spec, shape, **SMALL[body])(codes(5)).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(30, 28, 1), (27, 27, 3), (1, 5, 1)], ids=str)
def test_an_image_that_the_strides_do_not_divide_is_padded_and_the_padding_is_cut_off(shape):
    spec, larger = Spec("image", shape), Spec("image", (*(-(-side // 4) * 4 for side in shape[:2]), shape[2]))
    networks = conv_encoder(spec, 4, **SMALL["conv"]), conv_decoder(5, spec, shape, **SMALL["conv"])
    twins = conv_encoder(larger, 4, **SMALL["conv"]), conv_decoder(5, larger, larger.shape, **SMALL["conv"])
    for network, twin in zip(networks, twins, strict=True):
        twin.set_weights(network.get_weights())
    x = images(shape)
    zeros = np.zeros((3, *larger.shape), "float32")
    zeros[:, : shape[0], : shape[1]] = x
    np.testing.assert_allclose(networks[0](x), twins[0](zeros), rtol=1e-5, atol=1e-6)
    inside = twins[1](codes(5))[:, : shape[0], : shape[1]]
    np.testing.assert_allclose(networks[1](codes(5)), inside, rtol=1e-5, atol=1e-6)


def test_without_hidden_layers_both_sides_are_affine_maps():
    shape = (2, 3, 2)
    encoder = with_drawn_weights(mlp_encoder(Spec("image", shape), 4, hidden=()))
    decoder = with_drawn_weights(mlp_decoder(5, Spec("image", shape), shape, hidden=()))
    x, z = images(shape), codes(5)
    kernel, bias = encoder.get_weights()
    np.testing.assert_allclose(encoder(x), x.reshape(3, -1) @ kernel + bias, rtol=1e-5, atol=1e-6)
    kernel, bias = decoder.get_weights()
    np.testing.assert_allclose(decoder(z), (z @ kernel + bias).reshape(3, *shape), rtol=1e-5, atol=1e-6)


def test_a_gated_layer_is_a_linear_one_times_the_sigmoid_of_another():
    spec = Spec("vector", (6,))
    encoder = with_drawn_weights(mlp_encoder(spec, 4, hidden=(3, 5), activation="glu"))
    decoder = with_drawn_weights(mlp_decoder(2, spec, (6,), hidden=(3, 5), activation="glu"))
    rng = np.random.default_rng(1)
    for network, h in ((encoder, rng.normal(size=(7, 6))), (decoder, rng.normal(size=(7, 2)))):
        found, weights = network(h.astype("float32")), iter(network.get_weights())
        for _ in range(2):
            linear, gate = (h @ next(weights) + next(weights) for _ in range(2))
            h = linear / (1 + np.exp(-gate))
        np.testing.assert_allclose(found, h @ next(weights) + next(weights), rtol=1e-4, atol=1e-5)
        assert not list(weights)


SIZES = {
    "conv": [{"filters": (4, 7)}, {"filters": (4, 6, 6)}, {"kernel_size": 4}, {"dense": 9}],
    "mlp": [{"hidden": (7,)}],
    "pyramid": [{"width": 6}, {"blocks": 2}],
}


@every_body
def test_every_option_shapes_both_sides(body):
    def networks(**options):
        options = {**SMALL[body], **options}
        spec = Spec("image", (16, 16, 1))
        return ENCODERS[body](spec, 4, **options), DECODERS[body](5, spec, spec.shape, **options)

    for option in SIZES[body]:
        for plain, changed in zip(networks(), networks(**option), strict=True):
            assert plain.count_params() != changed.count_params()
    for network in networks(activation="tanh"):
        *hidden, last = [layer.activation.__name__ for layer in network.layers if hasattr(layer, "kernel")]
        if body != "pyramid":  # there an activation is a layer of its own
            assert set(hidden) == {"tanh"}
        assert last == "linear"  # the parameters of a distribution are any real numbers


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 8, 3), (33, 47, 3), (64, 20, 1)], ids=str)
def test_pyramids_take_images_of_any_size(shape):
    spec = Spec("image", shape)
    encoder = with_drawn_weights(pyramid_encoder(spec, 4, **SMALL["pyramid"]))
    decoder = with_drawn_weights(pyramid_decoder(5, spec, (*shape[:2], 7), **SMALL["pyramid"]))
    x = tf.constant(images(shape, n=2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        params = encoder(x)
    assert params.shape == (2, 4)
    assert (np.abs(tape.gradient(params, x)).max((0, 3)) > 0).all()  # every pixel is seen, up to the edges
    assert decoder(codes(5)).shape == (3, *shape[:2], 7)


def test_pyramids_grow_in_depth_and_hardly_in_parameters():
    def count(side, **options):
        spec = Spec("image", (side, side, 3))
        networks = pyramid_encoder(spec, 128, **options), pyramid_decoder(64, spec, spec.shape, **options)
        return sum(network.count_params() for network in networks)

    options = {"width": 128, "blocks": 1, "activation": "gelu"}
    assert count(32, **options) < count(64, **options) < count(256, **options) < 1.1 * count(64, **options)


def test_residual_blocks_begin_as_the_identity():
    spec = Spec("image", (16, 16, 1))
    plain, deep = (pyramid_encoder(spec, 4, width=8, blocks=blocks, activation="gelu") for blocks in (0, 3))
    theirs = iter(plain.weights)
    blocks = {id(layer) for layer in deep.layers if isinstance(layer, keras.layers.Conv2D) and layer.strides == (1, 1)}
    for layer in deep.layers:
        if layer.weights and id(layer) not in blocks:
            layer.set_weights([next(theirs).numpy() for _ in layer.weights])
    x = images(spec.shape)
    np.testing.assert_allclose(deep(x), plain(x), rtol=1e-5, atol=1e-6)


# Vectors and sequences


@flat_kinds
@pytest.mark.parametrize("classes", [0, 10])
def test_both_sides_of_vectors_and_sequences_have_their_shapes(spec, classes):
    spec, label = spec.with_classes(classes), np.array([0, 9, 5])
    encoder = mlp_encoder(spec, 6, **SMALL["mlp"])
    decoder = mlp_decoder(5, spec, (4, 7), **SMALL["mlp"])
    x, z = examples(spec), codes(5)
    params = encoder({spec.kind: x, "label": label} if classes else x)
    assert (params.shape, params.dtype) == ((3, 6), tf.float32)
    params = decoder({"z": z, "label": label} if classes else z)
    assert (params.shape, params.dtype) == ((3, 4, 7), tf.float32)
    inputs = encoder.input[spec.kind] if classes else encoder.input
    assert (inputs.shape, inputs.dtype, inputs.name) == ((None, *spec.shape), spec.dtype, spec.kind)


def test_a_linear_encoder_of_tokens_adds_a_row_of_its_kernel_for_each():
    encoder = with_drawn_weights(mlp_encoder(TOKENS, 6, hidden=()))
    x = examples(TOKENS)
    kernel, bias = encoder.get_weights()
    kernel = kernel.reshape(5, 4, 6)  # [T,V,P]
    expected = sum(kernel[t, x[:, t]] for t in range(5)) + bias
    np.testing.assert_allclose(encoder(x), expected, rtol=1e-5, atol=1e-6)


@half_precisions
@flat_kinds
def test_both_sides_of_vectors_and_sequences_give_float32_in_half_precision(spec, policy):
    with precision(policy):
        networks = mlp_encoder(spec, 6, **SMALL["mlp"]), mlp_decoder(5, spec, (4, 7), **SMALL["mlp"])
    for network, rows in zip(networks, (examples(spec), codes(5)), strict=True):
        assert network(rows).dtype == tf.float32
        heavy = [layer for layer in network.layers if hasattr(layer, "kernel")]
        assert {layer.compute_dtype for layer in heavy} == {policy.removeprefix("mixed_")}


@flat_kinds
def test_a_conditional_network_of_vectors_and_sequences_reacts_to_the_label(spec):
    encoder = with_drawn_weights(mlp_encoder(spec.with_classes(4), 6, **SMALL["mlp"]))
    x = np.repeat(examples(spec, n=1), 4, axis=0)
    params = np.asarray(encoder({spec.kind: x, "label": np.arange(4)}))
    assert (np.abs(params - np.roll(params, 1, axis=0)).max(1) > 1e-3).all()


# The place of every pixel


@pytest.mark.parametrize(("channels", "params_per_element"), [(1, 1), (3, 1), (3, 2)])
def test_the_last_doubling_is_tensorflows_depth_to_space(channels, params_per_element):
    spec = Spec("image", (8, 12, channels))
    decoder = with_drawn_weights(conv_decoder(5, spec, params_shape(spec.shape, params_per_element), **SMALL["conv"]))
    last = [layer for layer in decoder.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    half_resolution = keras.Model(decoder.input, last.output)(codes(5))  # [B,4,6,4PC]
    assert half_resolution.shape == (3, 4, 6, 4 * channels * params_per_element)
    np.testing.assert_array_equal(decoder(codes(5)), tf.nn.depth_to_space(half_resolution, 2))


def test_the_convolutional_encoder_sees_every_pixel():
    encoder = with_drawn_weights(conv_encoder(Spec("image", (8, 12, 3)), 4, **SMALL["conv"]))
    x = tf.constant(images((8, 12, 3), n=1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        params = tf.reduce_sum(encoder(x) ** 2)
    assert (tape.gradient(params, x).numpy() != 0).all()


@every_body
def test_every_code_moves_every_pixel(body):
    spec, options = Spec("image", (8, 8, 3)), {**SMALL[body], "activation": "tanh"}
    decoder = with_drawn_weights(DECODERS[body](5, spec, spec.shape, **options))
    z = tf.constant(codes(5, n=1))
    with tf.GradientTape() as tape:
        tape.watch(z)
        params = decoder(z)
    jacobian = tape.jacobian(params, z).numpy()  # [1,H,W,C,1,D]
    assert (jacobian != 0).all()


def test_a_residual_convolution_adds_to_its_input():
    spec = Spec("image", (8, 12, 3))
    decoder = with_drawn_weights(conv_decoder(5, spec, spec.shape, blocks=2, **SMALL["conv"]))
    without = conv_decoder(5, spec, spec.shape, **SMALL["conv"])
    convolutions = [layer for layer in decoder.layers if type(layer) is keras.layers.Conv2D][:2]
    own = {id(weight) for layer in convolutions for weight in layer.weights}
    rest = [weight for weight in decoder.weights if id(weight) not in own]
    for weight, value in zip(without.weights, rest, strict=True):
        weight.assign(value)
    assert np.abs(decoder(codes(5)) - without(codes(5))).max() > 0.01
    for layer in convolutions:
        assert layer.kernel.shape == (3, 3, 4, 4)
        layer.set_weights([0 * value for value in layer.get_weights()])
    np.testing.assert_allclose(decoder(codes(5)), without(codes(5)), atol=1e-6)


# Labels


@every_body
def test_a_conditional_network_reacts_to_the_label_and_to_nothing_else_in_its_row(body):
    shape, classes = (8, 8, 1), 4
    spec = Spec("image", shape, classes=classes)
    encoder = with_drawn_weights(ENCODERS[body](spec, 6, **SMALL[body]))
    decoder = with_drawn_weights(DECODERS[body](5, spec, shape, **SMALL[body]))
    for network, name, rows in ((encoder, "image", images(shape, n=1)), (decoder, "z", codes(5, n=1))):
        rows = np.repeat(rows, classes, axis=0)
        outputs = np.asarray(network({name: rows, "label": np.arange(classes)})).reshape(classes, -1)
        for one, other in zip(outputs, np.roll(outputs, 1, axis=0), strict=True):
            assert np.abs(one - other).max() > 1e-3
        swapped = np.asarray(network({name: rows, "label": np.arange(classes)[::-1]})).reshape(classes, -1)
        np.testing.assert_allclose(swapped[::-1], outputs, rtol=1e-4, atol=1e-6)


# Precision


@every_body
@half_precisions
@pytest.mark.parametrize("classes", [0, 4])
def test_outputs_and_weights_are_float32_while_the_layers_compute_in_half_precision(body, policy, classes):
    shape = (8, 8, 3)
    spec = Spec("image", shape, classes=classes)
    with precision(policy):
        encoder = ENCODERS[body](spec, 6, **SMALL[body])
        decoder = DECODERS[body](5, spec, params_shape(shape, 2), **SMALL[body])
    for network, name, rows in ((encoder, "image", images(shape)), (decoder, "z", codes(5))):
        assert network({name: rows, "label": np.arange(3)} if classes else rows).dtype == tf.float32
        assert {w.dtype for w in network.weights} == {"float32"}
        heavy = [layer for layer in network.layers if hasattr(layer, "kernel")]
        assert {layer.compute_dtype for layer in heavy} == {policy.removeprefix("mixed_")}


# Standalone copies

SHAPE, LATENT_DIM, CLASSES = (8, 8, 3), 4, 5
IMAGE = Spec("image", SHAPE)
LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "normal": lambda: Normal(scale=0.2),
    "learned_normal": lambda: Normal(scale=0.2, learned=True),
    "discretized_logistic": DiscretizedLogistic,
}
POSTERIORS = {"diagonal_normal": DiagonalNormal, "full_normal": FullNormal, "point": Point}
conditional_or_not = pytest.mark.parametrize("classes", [0, CLASSES], ids=["plain", "conditional"])


def vae_of(posterior, likelihood, classes=0, body="conv", policy="float32", spec=IMAGE):
    spec = spec.with_classes(classes)
    with precision(policy):
        encoder = ENCODERS[body](spec, posterior.params_size(LATENT_DIM), **SMALL[body])
        decoder = DECODERS[body](LATENT_DIM, spec, likelihood.params_shape(spec), **SMALL[body])
    return VAE(
        spec=spec,
        encoder=with_drawn_weights(encoder),
        posterior=posterior,
        prior=StandardNormal(),
        decoder=with_drawn_weights(decoder),
        likelihood=likelihood,
        objective=ELBO() if posterior.has_density else Reconstruction(),
        latent_dim=LATENT_DIM,
    )


def made_of_keras_alone(model):
    return all(type(layer).__module__.startswith("keras.") for layer in model.layers)


@conditional_or_not
@every_body
@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_the_standalone_decoder_draws_what_the_model_draws(likelihood, body, classes):
    vae = vae_of(DiagonalNormal(), likelihood(), classes, body)
    alone = standalone_decoder(vae)
    z, label = codes(LATENT_DIM, n=4), np.arange(4) if classes else None
    image = np.asarray(alone({"z": z, "label": label} if classes else z))
    assert image.shape == (4, *SHAPE)
    assert image.std() > 1e-3
    np.testing.assert_allclose(image, vae.examples(z, label), rtol=1e-6, atol=1e-6)
    assert made_of_keras_alone(alone)


@conditional_or_not
@every_body
@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_the_standalone_encoder_gives_the_parameters_of_the_models_posterior(posterior, body, classes):
    vae = vae_of(posterior(), Bernoulli(), classes, body)
    alone = standalone_encoder(vae)
    x, label = images(SHAPE, n=4), np.arange(4) if classes else None
    parameters = alone({"image": x, "label": label} if classes else x)
    q = vae.encode(x, label)
    expected = {"loc": q.mean()}
    if posterior is DiagonalNormal:
        expected["scale"] = q.stddev()
    if posterior is FullNormal:
        expected["scale_tril"] = q.scale_tril
    assert set(parameters) == set(expected)
    for name, value in expected.items():
        assert parameters[name].dtype == tf.float32
        np.testing.assert_allclose(parameters[name], value, rtol=1e-5, atol=1e-6)
    assert made_of_keras_alone(alone)


@half_precisions
@conditional_or_not
@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_the_standalone_copies_of_a_half_precision_model_compute_in_float32(likelihood, classes, policy):
    vae = vae_of(FullNormal(), likelihood(), classes, policy=policy)
    twin = vae_of(FullNormal(), likelihood(), classes)  # the same weights, in float32 from the start
    z, x, label = codes(LATENT_DIM, n=4), images(SHAPE, n=4), np.arange(4) if classes else None
    decoder, encoder = standalone_decoder(vae), standalone_encoder(vae)
    for alone in (decoder, encoder):
        assert {layer.compute_dtype for layer in layers_of(alone) if hasattr(layer, "kernel")} == {"float32"}
        assert {tensor.dtype for tensor in alone.outputs} == {"float32"}
    image = np.asarray(decoder({"z": z, "label": label} if classes else z))
    loc = np.asarray(encoder({"image": x, "label": label} if classes else x)["loc"])
    np.testing.assert_allclose(image, twin.examples(z, label), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(loc, twin.encode(x, label).mean(), rtol=1e-5, atol=1e-6)
    rounding = {"mixed_float16": 1e-3, "mixed_bfloat16": 8e-3}[policy]  # seen: 2.3e-4 and 1.8e-3
    np.testing.assert_allclose(image, vae.examples(z, label), atol=rounding)
    np.testing.assert_allclose(loc, vae.encode(x, label).mean(), atol=rounding)


def test_the_standalone_copies_own_their_weights():
    vae = vae_of(DiagonalNormal(), Bernoulli())
    decoder, encoder = standalone_decoder(vae), standalone_encoder(vae)
    z, x = codes(LATENT_DIM), images(SHAPE)
    image, loc = np.asarray(decoder(z)), np.asarray(encoder(x)["loc"])
    for network in (vae.encoder, vae.decoder):
        network.set_weights([np.zeros_like(w) for w in network.get_weights()])
    np.testing.assert_array_equal(decoder(z), image)
    np.testing.assert_array_equal(encoder(x)["loc"], loc)
    assert np.abs(vae.examples(z) - image).max() > 1e-3


@conditional_or_not
def test_the_standalone_copies_come_back_from_their_files(classes, tmp_path):
    vae = vae_of(FullNormal(), DiscretizedLogistic(), classes)
    z, x = codes(LATENT_DIM), images(SHAPE)
    if classes:
        z, x = ({name: rows, "label": np.arange(3)} for name, rows in (("z", z), ("image", x)))
    for alone, inputs in ((standalone_decoder(vae), z), (standalone_encoder(vae), x)):
        alone.save(tmp_path / "alone.keras")
        loaded = keras.models.load_model(tmp_path / "alone.keras")
        for one, other in zip(keras.tree.flatten(alone(inputs)), keras.tree.flatten(loaded(inputs)), strict=True):
            np.testing.assert_array_equal(one, other)


@conditional_or_not
@pytest.mark.parametrize("likelihood", [Bernoulli, ContinuousBernoulli, lambda: Normal(scale=0.2), Categorical])
def test_the_standalone_copies_of_vectors_and_sequences_compute_what_the_model_does(likelihood, classes, tmp_path):
    likelihood = likelihood()
    spec = TOKENS if "sequence" in likelihood.examples else VECTOR
    vae = vae_of(DiagonalNormal(), likelihood, classes, "mlp", spec=spec)
    z, x, label = codes(LATENT_DIM, n=4), examples(spec, n=4), np.arange(4) if classes else None
    decoder, encoder = standalone_decoder(vae), standalone_encoder(vae)
    decoder_inputs, encoder_inputs = z, x
    if classes:
        decoder_inputs, encoder_inputs = {"z": z, "label": label}, {spec.kind: x, "label": label}
    mean = decoder(decoder_inputs)
    expected = vae.likelihood.mean(vae.decoder(decoder_inputs), spec)
    assert mean.shape == (4, *likelihood.params_shape(spec))
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-6)
    assert np.std(mean) > 1e-3
    parameters, q = encoder(encoder_inputs), vae.encode(x, label)
    np.testing.assert_allclose(parameters["loc"], q.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parameters["scale"], q.stddev(), rtol=1e-5, atol=1e-6)
    for alone, inputs in ((decoder, decoder_inputs), (encoder, encoder_inputs)):
        assert made_of_keras_alone(alone)
        alone.save(tmp_path / "alone.keras")
        loaded = keras.models.load_model(tmp_path / "alone.keras")
        for one, other in zip(keras.tree.flatten(alone(inputs)), keras.tree.flatten(loaded(inputs)), strict=True):
            np.testing.assert_array_equal(one, other)
    example = np.argmax(mean, -1) if spec is TOKENS else mean
    np.testing.assert_allclose(vae.examples(z, label), example, rtol=1e-6, atol=1e-6)

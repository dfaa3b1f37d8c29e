"""The flow posterior: its masks by Jacobians, its density by change of variables, by the inverse, by the integral."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_passes import pass_of

from vaezoo.errors import VaezooError
from vaezoo.networks.made import MaskedDense, made
from vaezoo.posteriors import DiagonalNormal, Flow
from vaezoo.priors import StandardNormal
from vaezoo.zoo import create_model

CONTEXT = 4


def flow(latent_dim, blocks=2, hidden=(12,), spread=1.0):
    """A flow whose weights are far enough from the start that every block bends."""
    keras.utils.set_random_seed(3)
    posterior = Flow(blocks=blocks, hidden=hidden, context=CONTEXT)
    posterior.build((None, posterior.params_size(latent_dim)))
    rng = np.random.default_rng(4)
    for layer in masked_layers(posterior):
        kernel, bias = layer.get_weights()
        layer.set_weights([rng.normal(0, spread, kernel.shape) * layer.mask, rng.normal(0, spread, bias.shape)])
    return posterior


def masked_layers(posterior):
    return [layer for network in posterior.networks for layer in network.layers if isinstance(layer, MaskedDense)]


def params_for(posterior, latent_dim, batch=3):
    return np.random.default_rng(5).normal(size=(batch, posterior.params_size(latent_dim))).astype("float32")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("latent_dim", "hidden"), [(1, (6,)), (2, (6,)), (5, (16, 20)), (5, (3,))])
def test_both_numbers_of_a_variable_depend_on_the_context_and_on_the_variables_before_it(latent_dim, hidden, backwards):
    keras.utils.set_random_seed(0)
    network = made(latent_dim, CONTEXT, hidden, backwards)
    inputs = tf.constant(np.random.default_rng(1).normal(size=(1, CONTEXT + latent_dim)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = network(inputs)
    jacobian = tape.jacobian(outputs, inputs)[0, :, 0].numpy().reshape(2, latent_dim, CONTEXT + latent_dim)
    of_z = jacobian[:, :, CONTEXT:]
    before = np.triu(np.ones((latent_dim, latent_dim)), 1) if backwards else np.tril(np.ones((latent_dim,) * 2), -1)
    assert (of_z[:, before == 0] == 0).all()
    assert (jacobian[:, :, :CONTEXT] != 0).any(-1).all()
    if min(hidden) >= latent_dim:  # enough units for every degree
        assert (of_z[:, before == 1] != 0).all()


def test_a_masked_weight_is_zero_and_stays_zero_so_a_plain_dense_layer_computes_the_same():
    keras.utils.set_random_seed(0)
    network = made(4, CONTEXT, (8,))
    network.compile(keras.optimizers.Adam(0.1), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, CONTEXT + 4)), rng.normal(size=(16, 8))
    before = network.get_weights()
    network.fit(x, y, epochs=2, verbose=0)
    assert all((new != old).any() for new, old in zip(network.get_weights(), before, strict=True))
    h = tf.constant(x, tf.float32)
    for layer in network.layers[1:]:
        assert 0 < layer.mask.mean() < 1
        assert (layer.kernel.numpy()[layer.mask == 0] == 0).all()
        plain = layer.plain()
        plain.build(h.shape)
        plain.set_weights(layer.get_weights())
        assert type(plain) is keras.layers.Dense
        np.testing.assert_allclose(plain(h), layer(h), atol=1e-6)
        h = layer(h)


def test_a_masked_layer_comes_back_from_its_configuration():
    layer = MaskedDense([1, 2], [0, 1, 1], "tanh")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    np.testing.assert_array_equal(twin.mask, [[0, 1, 1], [0, 0, 0]])


def test_a_flow_of_no_blocks_is_the_diagonal_normal():
    posterior = flow(3, blocks=0)
    params = params_for(posterior, 3)
    q, normal = posterior.distribution(params), DiagonalNormal().distribution(params[:, :6])
    z = q.sample(5, seed=(1, 2))
    np.testing.assert_array_equal(z, normal.sample(5, seed=(1, 2)))
    np.testing.assert_allclose(q.log_prob(z), normal.log_prob(z), rtol=1e-6)
    np.testing.assert_array_equal(posterior.mean(params), normal.mean())


@pytest.mark.parametrize(("latent_dim", "blocks", "hidden"), [(1, 1, (6,)), (3, 1, (8,)), (4, 3, (8, 8))])
def test_the_density_of_its_own_samples_is_that_of_the_inverse_and_of_the_full_jacobian(latent_dim, blocks, hidden):
    posterior = flow(latent_dim, blocks, hidden)
    params = params_for(posterior, latent_dim)
    q = posterior.distribution(params)
    assert (q.batch_shape, q.event_shape) == ((3,), (latent_dim,))
    z = q.sample(6, seed=(1, 2))  # [K,B,D]
    log_prob = q.log_prob(z)
    assert log_prob.dtype == tf.float32
    # a second distribution has not seen the draws, so it goes back through the flow
    np.testing.assert_allclose(posterior.distribution(params).log_prob(z.numpy()), log_prob, rtol=1e-4, atol=1e-4)

    start = q.distribution.sample(6, seed=(1, 2))  # the z_0 of those draws
    with tf.GradientTape() as tape:
        tape.watch(start)
        end = posterior.distribution(params).bijector.forward(start)
        total = tf.reduce_sum(end, [0, 1])  # a row depends on no other row
    np.testing.assert_allclose(end, z, rtol=1e-6)
    jacobian = np.moveaxis(tape.jacobian(total, start).numpy(), 0, -2).astype("float64")  # [K,B,D,D]
    expected = q.distribution.log_prob(start) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-5)
    if latent_dim > 1 and blocks > 1:  # the order turned round: neither triangle of the whole Jacobian is empty
        assert np.abs(np.triu(jacobian, 1)).max() > 1e-3
        assert np.abs(np.tril(jacobian, -1)).max() > 1e-3


def test_the_density_integrates_to_one():
    posterior = flow(2, blocks=3, spread=0.6)
    q = posterior.distribution(params_for(posterior, 2))
    z = q.sample(4000, seed=(1, 2)).numpy().astype("float64")  # [n,B,D]
    centre, reach = z.mean(0), 8 * z.std(0)
    axis = np.linspace(-1, 1, 301)
    unit = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)  # [N,1,D]
    density = np.exp(q.log_prob((centre + reach * unit).astype("float32")).numpy().astype("float64"))  # [N,B]
    cell = (axis[1] - axis[0]) ** 2 * reach.prod(-1)
    np.testing.assert_allclose((density * cell).sum(0), 1, rtol=1e-4)
    # and it is no normal's, which has no third moments about its mean
    skewness = ((z - centre) ** 3).mean(0) / z.std(0) ** 3
    assert np.abs(skewness).max() > 0.3


def test_a_code_is_weighed_under_the_posterior_of_every_image():
    posterior = flow(3)
    params = params_for(posterior, 3, batch=4)
    z = np.random.default_rng(6).normal(size=(5, 1, 3)).astype("float32")
    pairs = posterior.distribution(params).log_prob(z)
    assert pairs.shape == (5, 4)
    for b in range(4):
        alone = posterior.distribution(params[b : b + 1]).log_prob(z[:, 0])
        np.testing.assert_allclose(pairs[:, b], alone, rtol=1e-5, atol=1e-5)


def test_the_code_is_where_the_flow_takes_the_mean_of_the_normal():
    posterior = flow(3)
    params = params_for(posterior, 3)
    code = posterior.parameters(params)["loc"]
    np.testing.assert_allclose(code, posterior.distribution(params).bijector.forward(params[:, :3]), rtol=1e-6)
    np.testing.assert_array_equal(code, posterior.mean(params))
    assert np.abs(code - params[:, :3]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_reaches_the_parameters_and_every_weight(jit_compile):
    posterior = flow(3)
    prior = StandardNormal()
    prior.build((None, 3))
    far = tf.constant(np.random.default_rng(7).normal(size=(3, 3)), tf.float32)

    @tf.function(jit_compile=jit_compile)
    def gradients(params):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(params)
            q = posterior.distribution(params)
            kl = pass_of(q, q.sample(4, seed=(1, 2)), prior.distribution(), posterior=posterior).kl()
            elsewhere = q.log_prob(far)
        sources = [params, *(weight.value for weight in posterior.trainable_weights)]
        return tape.gradient(kl, sources), tape.gradient(elsewhere, sources)

    for found in gradients(tf.constant(params_for(posterior, 3))):
        assert len(found) == 1 + 2 * 2 * 2  # a kernel and a bias in two layers of two blocks
        assert all(np.isfinite(gradient).all() and np.abs(gradient).max() > 0 for gradient in found)
        assert (found[0].numpy() != 0).all()


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_densities_and_gradients_are_finite_however_large_the_parameters(size):
    posterior = flow(3, spread=3.0)
    params = tf.constant(size * params_for(posterior, 3))
    with tf.GradientTape() as tape:
        tape.watch(params)
        q = posterior.distribution(params)
        z = q.sample(4, seed=(1, 2))
        log_prob = q.log_prob(z)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, params)).all()
    assert np.isfinite(posterior.distribution(params).log_prob(tf.zeros([3]))).all()


def test_a_flow_stays_in_float32_and_comes_back_with_its_weights(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        posterior = flow(3)
    finally:
        keras.config.set_dtype_policy("float32")
    params = params_for(posterior, 3)
    log_prob = posterior.distribution(params).log_prob(np.ones(3, "float32"))
    assert log_prob.dtype == tf.float32
    assert {layer.compute_dtype for layer in masked_layers(posterior)} == {"float32"}
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(posterior))
    twin.set_weights(posterior.get_weights())
    np.testing.assert_array_equal(twin.distribution(params).log_prob(np.ones(3, "float32")), log_prob)


def test_a_draw_is_the_sample_of_the_seed_of_its_noise():
    posterior = flow(3)
    params = params_for(posterior, 3)
    q, z, decoded = posterior.draw(params, posterior.noise([4, 3, 3], tf.constant([1, 2])), decoder=None)
    expected = posterior.distribution(params)
    np.testing.assert_array_equal(z, expected.sample(4, seed=(1, 2)))
    assert decoded is None
    # Both know where their own draws came from: no pass back for each variable.
    np.testing.assert_array_equal(q.log_prob(z), expected.log_prob(expected.sample(4, seed=(1, 2))))


def test_the_doubly_reparameterized_gradient_is_refused_for_a_flow():
    objective = {"name": "iwae", "samples": 2, "doubly_reparameterized": True}
    with pytest.raises(VaezooError, match=r"not for 'flow'; set model\.objective\.doubly") as error:
        create_model("mlp_vae", (4, 4, 1), posterior="flow", objective=objective)
    assert "\n" not in str(error.value)

"""Adam against the paper's algorithm, written out in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_recipe

from vaezoo.checkpoints import Checkpoints
from vaezoo.config import load_recipe
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file, load_weights
from vaezoo.optimizer import Adam, Muon, averaged, optimizer_of, orthogonalized
from vaezoo.runs import Run
from vaezoo.training import train
from vaezoo.training.setup import learning_rate_of


def adam_of_the_paper(weights, gradients, rates, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Kingma & Ba (2015), its last lines in the order of their section 2."""
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        weights = weights - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
    return weights


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_weights_are_those_of_the_paper(jit_compile, amsgrad):
    numbers = np.random.default_rng(0)
    start = numbers.normal(size=(7, 3))
    # Ever larger gradients: then the largest v so far is v itself, and amsgrad changes nothing.
    gradients = numbers.normal(size=(5, 7, 3)) * 10.0 ** np.arange(-3, 2)[:, None, None]
    gradients[:, 0] = [[1e-9], [1e-8], [1e-7], [1e-6], [1e-5]]  # where epsilon matters
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 5)
    weights, unused = keras.Variable(start, dtype="float32"), keras.Variable([1.0])
    optimizer = Adam(schedule, amsgrad=amsgrad)
    optimizer.build([weights, unused])

    @tf.function(jit_compile=jit_compile)
    def apply(gradient):
        optimizer.apply([gradient, tf.zeros([1])], [weights, unused])

    for gradient in gradients.astype("float32"):
        apply(gradient)
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(5) / 5))
    np.testing.assert_allclose(weights, adam_of_the_paper(start, gradients, rates), rtol=0, atol=2e-6)
    assert unused.numpy() == 1
    assert int(optimizer.iterations) == 5


def near_one(values):
    """Five steps of the polynomial of Jordan et al. (2024) on singular values, the length of which is one."""
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", [(36, 8), (8, 36), (9, 9), (5, 1), (1, 1)])
def test_an_orthogonal_matrix_keeps_the_singular_vectors(shape):
    matrix = np.random.default_rng(2).normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = orthogonalized(tf.constant(1e-3 * matrix, "float32"))  # of which the length has no influence
    expected = left @ np.diag(near_one(values / np.linalg.norm(values))) @ right
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_singular_values_of_a_hundredth_to_all_of_the_length_become_near_one():
    values = near_one(np.geomspace(0.01, 1, 1000))
    assert 0.67 < values.min() < values.max() < 1.14


@pytest.mark.parametrize("name", ["muon", "muon_all"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_muon_moves_kernels_along_orthogonal_matrices_and_other_weights_as_adam(jit_compile, name):
    """Against the algorithm of Jordan et al. (2024), with Nesterov's momentum, written out in float64."""
    numbers = np.random.default_rng(3)
    start = [numbers.normal(size=(3, 3, 2, 4)), numbers.normal(size=(5, 7)), numbers.normal(size=4), np.eye(3)]
    names = ["kernel", "kernel", "bias", "matrix"]
    weights = [keras.Variable(v, dtype="float32", name=k) for k, v in zip(names, start, strict=True)]
    gradients = [[numbers.normal(size=v.shape) for v in start] for _ in range(4)]
    settings = load_recipe("mlp_vae", {"training.optimizer": name}).training
    optimizer = optimizer_of(settings, keras.optimizers.schedules.CosineDecay(0.1, 4))
    optimizer = Muon.from_config(optimizer.get_config())
    optimizer.build(weights)

    @tf.function(jit_compile=jit_compile)
    def apply(gradients):
        optimizer.apply(gradients, weights)

    for each in gradients:
        apply([gradient.astype("float32") for gradient in each])
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4))
    orthogonal = [0, 1] if name == "muon_all" else [0]
    for place, first in enumerate(start):
        own = np.array([each[place] for each in gradients])
        if place in orthogonal:
            np.testing.assert_allclose(weights[place], muon_of_the_paper(first, own, rates), atol=1e-5)
        else:
            np.testing.assert_allclose(weights[place], adam_of_the_paper(first, own, rates), atol=2e-6)


def muon_of_the_paper(kernel, gradients, rates):
    """A kernel after steps with the given gradients [T, ...] and rates [T]; its last axis is the columns'."""
    shape, matrix = kernel.shape, kernel.reshape(-1, kernel.shape[-1])
    momentum = np.zeros_like(matrix)
    for rate, gradient in zip(rates, gradients.reshape(-1, *matrix.shape), strict=True):
        momentum = 0.95 * momentum + gradient
        left, values, right = np.linalg.svd(gradient + 0.95 * momentum, full_matrices=False)
        update = left @ np.diag(near_one(values / np.linalg.norm(values))) @ right
        matrix = matrix - rate * 0.2 * np.sqrt(max(matrix.shape)) * update
    return matrix.reshape(shape)


@pytest.mark.parametrize(("name", "kind"), [("ladder_vae", Muon), ("mlp_vae", Adam)])
def test_a_recipe_names_its_optimizer_and_its_settings(name, kind):
    changes = {"clip_norm": 3.0, "weight_decay": 0.25, "beta_2": 0.5}
    settings = load_recipe(name, {f"training.{key}": value for key, value in changes.items()}).training
    found = optimizer_of(settings, 0.5, average=0.9)
    assert type(found) is kind
    assert (found.global_clipnorm, found.weight_decay, found.beta_2) == tuple(changes.values())
    assert (float(found.learning_rate), found.average) == (0.5, 0.9)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.4, 0.3, 0.2, 0.0]),
        ("cosine", [0.4, 0.2 + 0.2 * np.cos(np.pi / 4), 0.2, 0.0]),
    ],
)
def test_a_schedule_falls_over_the_whole_training(schedule, rates):
    settings = load_recipe("mlp_vae", {"training.schedule": schedule, "training.learning_rate": 0.4}).training
    optimizer = optimizer_of(settings, learning_rate_of(settings.model_copy(update={"epochs": 4}), 25))
    for step, rate in zip((0, 25, 50, 100), rates, strict=True):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, abs=1e-7), step


def test_clipping_shortens_the_whole_gradient():
    weights = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    optimizer = Adam(1.0, global_clipnorm=1.0)
    optimizer.apply([tf.constant([6.0, 0.0]), tf.constant([8.0])], weights)  # of length 10
    moments = {variable.path: variable.numpy() for variable in optimizer.variables if "momentum" in variable.path}
    np.testing.assert_allclose(np.concatenate(list(moments.values())), [0.06, 0, 0.08], rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_average_follows_the_weights(jit_compile):
    numbers = np.random.default_rng(1)
    gradients = numbers.normal(size=(30, 4)).astype("float32")
    weights = keras.Variable(numbers.normal(size=4), dtype="float32")
    optimizer = Adam(0.1, average=0.6)
    optimizer.build([weights])

    @tf.function(jit_compile=jit_compile)
    def apply(gradient):
        optimizer.apply([gradient], [weights])

    average = np.zeros(4)
    for t, gradient in enumerate(gradients):
        apply(gradient)
        decay = min(0.6, t / (t + 9))  # 0 at the first step, so that the zeros are forgotten
        average = decay * average + (1 - decay) * weights.numpy().astype("float64")
    np.testing.assert_allclose(optimizer.averages[0], average, atol=1e-5)
    assert np.abs(average - weights.numpy()).max() > 0.01


@pytest.mark.slow
def test_what_is_kept_and_scored_is_the_average(bars_file, tmp_path):
    recipe = small_recipe("mlp_vae", bars_file, **{"training.average": 0.95, "training.learning_rate": 0.01})
    trained = train(recipe, tmp_path / "run", quiet=True)
    last = load_keras_file(Checkpoints(tmp_path / "run").all()[0].model)  # what training would continue from
    differ = [np.abs(a - b).max() for a, b in zip(trained.model.get_weights(), last.get_weights(), strict=True)]
    assert max(differ) > 1e-4
    before = last.get_weights()
    with averaged(last) as found:
        assert found
        for weights in (trained.model.get_weights(), Run(tmp_path / "run").model.get_weights()):
            for expected, value in zip(last.get_weights(), weights, strict=True):
                np.testing.assert_array_equal(value, expected)
    for expected, value in zip(before, last.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    run = Run(tmp_path / "run")
    scored = trained.model.evaluate(run.data.validation.batches(1000, **run.batches), verbose=0, return_dict=True)
    row = (tmp_path / "run/metrics.csv").read_text().splitlines()
    assert float(row[-1].split(",")[row[0].split(",").index("val_loss")]) == pytest.approx(scored["loss"], rel=1e-5)


def stepped(rate, steps=0, precision="float32", average=0.5):
    """A compiled model of a dense layer, after so many steps of Adam."""
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(3, dtype=precision)(x))
    model.compile(Adam(rate, average=average))
    if precision == "mixed_float16":
        model.compile(keras.optimizers.LossScaleOptimizer(model.optimizer))
    model.optimizer.build(model.trainable_variables)
    for number in range(steps):
        gradients = [tf.fill(weight.shape, 2.0**number) for weight in model.trainable_variables]
        model.optimizer.apply(gradients, model.trainable_variables)
    return model


SCHEDULE = keras.optimizers.schedules.CosineDecay(0.1, 8)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize(("before", "now"), [(0.1, SCHEDULE), (SCHEDULE, 0.1), (0.1, 0.025), (SCHEDULE, SCHEDULE)])
def test_an_optimizer_goes_on_under_another_schedule_from_where_it_was(before, now, precision, tmp_path):
    saved, loaded = stepped(before, 4, precision), stepped(now, 0, precision)
    saved.save(tmp_path / "model.keras")
    load_weights(loaded, tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 4
    inner, wanted = (getattr(model.optimizer, "inner_optimizer", model.optimizer) for model in (loaded, saved))
    assert float(inner.learning_rate) == pytest.approx(0.05 if now is SCHEDULE else now)
    kinds = ("momentum", "velocity", "average", "scale", "counter")
    found, expected = (
        {v.path.split("/", 1)[-1]: v.numpy() for v in model.optimizer.variables if v.path.endswith(kinds)}
        for model in (loaded, saved)
    )
    assert len(found) == 6 + 2 * (precision == "mixed_float16")
    for value, other in zip(found.values(), expected.values(), strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_array_equal(value, other)
    for value, other in zip(loaded.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    assert wanted.iterations == inner.iterations


def test_an_optimizer_that_does_not_fit_is_an_error(tmp_path):
    stepped(0.1).save(tmp_path / "model.keras")
    with pytest.raises(VaezooError, match=r"it holds 8 variables of an optimizer that has 5"):
        load_weights(stepped(0.1, average=None), tmp_path / "model.keras")

"""Losses and gradients that are not finite: where training stops, what it reports, and what it keeps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import vaezoo
from vaezoo.config import load_recipe
from vaezoo.models import vae
from vaezoo.models.vae import VAE
from vaezoo.training import inspect, train
from vaezoo.training.nonfinite import PARTS, SKIPPED_IN_A_ROW
from vaezoo.training.setup import prepare


def tiny(tiny_recipe, data, **overrides):
    return load_recipe(tiny_recipe, {"data.name": str(data), "training.compilation": "graph", **overrides})


@pytest.fixture
def poison(monkeypatch):
    """Make a term of the loss NaN at some steps, counted from 1."""

    def poisoned(term, *steps):
        real = VAE.terms

        def terms(self, *arguments):
            result = real(self, *arguments)
            if self.watch is None:
                return result
            bad = tf.reduce_any(self.watch.steps + 1 == tf.constant(steps, tf.int64))
            return {**result, term: tf.where(bad, np.nan, result[term])}

        monkeypatch.setattr(VAE, "terms", terms)

    return poisoned


def test_the_step_that_breaks_is_named_and_nothing_of_it_is_kept(tiny_recipe, bars_file, tmp_path, poison):
    poison("kl", 14)  # the fourth of the second call of ten
    with pytest.raises(vaezoo.VaezooError, match=r"broke at step 14: the term 'kl' became nan.*epoch 1 of 2 is kept"):
        train(tiny(tiny_recipe, bars_file), tmp_path / "run", quiet=True, checkpoint_every=1e-9)
    kept = vaezoo.load(tmp_path / "run")
    assert int(kept.optimizer.iterations) == 10
    assert all(np.isfinite(weights).all() for weights in kept.get_weights())
    found = inspect(tmp_path / "run")
    assert found.state.epoch == 1
    assert found.status.startswith("failed: training broke at step 14")


@pytest.mark.slow
def test_broken_steps_are_skipped_and_counted(tiny_recipe, bars_file, tmp_path, poison):
    recipe = tiny(tiny_recipe, bars_file, **{"training.on_nonfinite": "skip"})
    poison("reconstruction", 4, 5, 14)
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert int(trained.model.optimizer.iterations) == 17
    table = np.genfromtxt(tmp_path / "run/metrics.csv", delimiter=",", names=True)
    assert table["skipped"].tolist() == [2, 1]
    assert np.isfinite(table["loss"]).all()


def test_ten_broken_steps_in_a_row_are_too_many(tiny_recipe, bars_file, tmp_path, poison):
    recipe = tiny(tiny_recipe, bars_file, **{"training.on_nonfinite": "skip"})
    poison("reconstruction", 3, *range(8, 40))
    with pytest.raises(vaezoo.VaezooError, match=r"at step 8, and the 9 steps after it broke too: the term 'recons"):
        train(recipe, tmp_path / "run", quiet=True)
    assert SKIPPED_IN_A_ROW == 10


FACTOR = {"model.objective": {"name": "factor", "hidden": [16]}}


def test_every_weight_belongs_to_a_part(tiny_recipe, bars_file):
    setup = prepare(tiny(tiny_recipe, bars_file, **FACTOR, **{"model.prior": "mixture"}), print)
    assert set(setup.watch.owners) == {"encoder", "decoder", "prior", "objective"}
    assert len(setup.watch.owners) == len(setup.model.trainable_variables)
    assert set(PARTS) == set(vae.PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_the_gradient_of_a_critic_is_watched(policy, tiny_recipe, bars_file, tmp_path, monkeypatch):
    @tf.custom_gradient
    def without_gradient(x, bad):
        return tf.identity(x), lambda upstream: (tf.where(bad, np.nan, upstream), None)

    real = VAE.terms

    def terms(self, *arguments):
        result = real(self, *arguments)
        if self.watch is None:
            return result
        return {**result, "critic": without_gradient(result["critic"], self.watch.steps + 1 == 14)}

    monkeypatch.setattr(VAE, "terms", terms)
    recipe = tiny(tiny_recipe, bars_file, **FACTOR, **{"training.on_nonfinite": policy})
    if policy == "stop":
        with pytest.raises(vaezoo.VaezooError, match="step 14: every term is finite, but the gradient of the obj"):
            train(recipe, tmp_path / "run", quiet=True)
        return
    trained = train(recipe, tmp_path / "run", quiet=True)
    assert int(trained.model.optimizer.iterations) == 19
    assert all(np.isfinite(weights).all() for weights in trained.model.get_weights())


@pytest.mark.slow
def test_the_term_of_a_critic_is_watched(tiny_recipe, bars_file, tmp_path, poison):
    poison("critic", 14)
    with pytest.raises(vaezoo.VaezooError, match="step 14: the term 'critic' became nan; its inputs or its"):
        train(tiny(tiny_recipe, bars_file, **FACTOR), tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # The decoder's outputs, squared and divided by the variance, exceed 3e38, the largest float32.
        (
            {
                "training.learning_rate": 1e3,
                "model.likelihood": {"name": "normal", "scale": 1e-3},
                "data.binarize": "none",
                "model.decoder": {"name": "mlp", "hidden": [16] * 6},
            },
            "broke at step [2-9]: the term 'reconstruction' became inf; .*lower training.learning_rate",
        ),
        (
            {"training.learning_rate": 1e3, "training.precision": "mixed_float16"},
            "broke at step [2-9]: the term 'kl' became nan; float16 ends at 65,504",
        ),
        # The loss scale falls from 2^7 to 1 in 7 steps, and even then the gradient overflows.
        (
            {"model.objective": {"name": "beta", "beta": 1e6}, "training.precision": "mixed_float16"},
            "broke at step 8: every term is finite, but the gradient of the encoder is not; float16 ends",
        ),
    ],
)
def test_what_provokes_it(overrides, message, tiny_recipe, bars_file, tmp_path):
    recipe = tiny(tiny_recipe, bars_file, **{"training.epochs": 4, **overrides})
    with pytest.raises(vaezoo.VaezooError, match=message):
        train(recipe, tmp_path / "run", quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_an_overflow_lowers_the_loss_scale_and_training_goes_on(policy, tiny_recipe, bars_file):
    settings = {"training.precision": "mixed_float16", "training.on_nonfinite": policy, "training.learning_rate": 0.01}
    setup = prepare(tiny(tiny_recipe, bars_file, **settings), print)
    model, images = setup.model, setup.data.train.training_batches(38, 10, **setup.batches)
    options = {"steps_per_epoch": 10, "shuffle": False, "verbose": 0, "callbacks": [setup.watch]}
    start = model.get_weights()
    model.optimizer.dynamic_scale.assign(2.0**40)
    model.fit(images, **options)
    assert float(model.optimizer.dynamic_scale) == 2.0**30  # halved at every step
    assert int(model.optimizer.iterations) == 0
    for before, after in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)

    losses = model.fit(images, epochs=9, **options).history["loss"]
    left_out = 40 - np.log2(float(model.optimizer.dynamic_scale))
    assert 20 < left_out < 40
    assert int(model.optimizer.iterations) == 100 - left_out
    assert int(setup.watch.skipped) == 0  # an overflow that the loss scale handles is not counted
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert losses[-1] < losses[0] - 5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "likelihood", [{"name": "normal", "learned": True}, {"name": "discretized_logistic"}, "continuous_bernoulli"]
)
def test_constant_images_train(precision, likelihood, tiny_recipe, tmp_path):
    # 300 steps; with few images they would be many epochs, whose files take longer than the steps.
    np.save(tmp_path / "constant.npy", np.full((4000, 8, 8), 128, "uint8"))
    overrides = {"training.precision": precision, "training.learning_rate": 0.1, "training.epochs": 3}
    recipe = tiny(
        tiny_recipe, tmp_path / "constant.npy", **overrides, **{"model.likelihood": likelihood, "data.binarize": "none"}
    )
    assert np.isfinite(train(recipe, tmp_path / "run", quiet=True).test["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("raw", [-200.0, 1e30])
def test_a_latent_scale_at_its_ends(raw, tiny_recipe, bars_file):
    """At the floor of 1e-4 every term is finite and training continues; at the other end it stops, with the reason."""
    setup = prepare(tiny(tiny_recipe, bars_file), print)
    bias = [layer for layer in setup.model.encoder.layers if layer.weights][-1].bias
    bias.assign(tf.concat([bias[:3], tf.fill([3], raw)], 0))
    images = setup.data.train.training_batches(38, 10, **setup.batches)
    if raw < 0:
        setup.model.fit(images, steps_per_epoch=10, shuffle=False, verbose=0, callbacks=[setup.watch])
        assert int(setup.model.optimizer.iterations) == 10
    else:
        with pytest.raises(vaezoo.VaezooError, match=r"step 1: the term 'kl' became inf; no weight had moved yet"):
            setup.model.fit(images, steps_per_epoch=10, shuffle=False, verbose=0, callbacks=[setup.watch])


def test_a_model_that_keras_trains_is_not_watched(tiny_recipe):
    """Outside vaezoo's training a non-finite loss is reported as Keras reports it."""
    model = vaezoo.create_model(str(tiny_recipe), (8, 8, 1))
    model.compile(optimizer=keras.optimizers.SGD(1e38))
    history = model.fit(np.ones((32, 8, 8, 1), "float32"), batch_size=8, epochs=2, verbose=0)
    assert not np.isfinite(history.history["loss"][-1])

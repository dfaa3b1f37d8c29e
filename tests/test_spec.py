"""What an example is: its checks; and for each kind a VAE that learns, is saved, and whose networks load without it."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import vaezoo
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.spec import AXES, Spec

IMAGE, VECTOR, TOKENS = Spec("image", (8, 6, 3)), Spec("vector", (5,)), Spec("sequence", (7,), levels=4)


@pytest.mark.parametrize(
    ("spec", "text", "dtype", "size"),
    [
        (IMAGE, "images of 8×6×3", "float32", 144),
        (VECTOR, "vectors of 5 numbers", "float32", 5),
        (TOKENS, "sequences of 7 tokens out of 4", "int32", 7),
    ],
    ids=AXES,
)
def test_a_spec_says_what_an_example_is(spec, text, dtype, size):
    assert (str(spec), spec.dtype, spec.size) == (text, dtype, size)
    assert spec.is_image == (spec.kind == "image")
    assert not spec.conditional
    labelled = spec.with_classes(3)
    assert (labelled.classes, labelled.conditional, str(labelled)) == (3, True, text)
    assert labelled.with_classes(0) == spec != labelled


def test_a_spec_is_a_frozen_value_of_plain_numbers():
    spec = Spec("image", [np.int64(8), 6, 3])
    assert spec == IMAGE
    assert hash(spec) == hash(IMAGE)
    assert [type(side) for side in spec.shape] == [int] * 3
    assert Spec(**json.loads(json.dumps(dataclasses.asdict(TOKENS)))) == TOKENS  # as in the file of a model
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.kind = "vector"


@pytest.mark.parametrize("classes", [0, 10])
def test_a_spec_is_made_of_a_shape(classes):
    assert Spec.of((8, 6, 3), classes) == IMAGE.with_classes(classes)
    assert Spec.of([5], classes) == VECTOR.with_classes(classes)
    assert Spec.of(TOKENS, classes) == TOKENS.with_classes(classes)
    assert Spec.of(TOKENS.with_classes(3), classes).classes == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sound", (5,)), "an example of kind 'sound'; allowed: image, vector, sequence"),
        (("image", (8, 6)), r"the shape \(8, 6\) of 'image'; it must be \(H, W, C\), each at least 1"),
        (("image", (8, 6, 3, 1)), r"it must be \(H, W, C\)"),
        (("image", (8, 0, 3)), r"the shape \(8, 0, 3\) of 'image'.*each at least 1"),
        (("vector", ()), r"the shape \(\) of 'vector'; it must be \(F\)"),
        (("vector", (-5,)), "each at least 1"),
        (("sequence", (7, 2), 4), r"the shape \(7, 2\) of 'sequence'; it must be \(T\)"),
        (("sequence", (7,)), "levels is the number of tokens of a sequence"),
        (("vector", (5,), 4), "levels is the number of tokens of a sequence"),
        (("image", (8, 6, 3), 256), "levels is the number of tokens of a sequence"),
        (("vector", (2.7,)), "each at least 1"),
        (("vector", 3), "the shape 3 of 'vector'"),
        (("sequence", (7,), 0), "levels is 0; it must be a whole number, at least 1"),
        (("sequence", (7,), 2.5), "levels is 2.5"),
        (("vector", (5,), None, -1), "classes is -1; it must be a whole number, at least 0"),
    ],
)
def test_what_is_no_example_is_refused_on_one_line(arguments, message):
    with pytest.raises(VaezooError, match=message) as error:
        Spec(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 3, 1), (), 3])
def test_a_shape_of_no_kind_is_refused(shape):
    with pytest.raises(VaezooError, match=r"it must be|give \(H, W, C\)"):
        Spec.of(shape)


def test_what_needs_images_says_so():
    IMAGE.require_image("a picture")
    for spec in (VECTOR, TOKENS):
        with pytest.raises(VaezooError, match=f"^a picture needs images, and these examples are {spec}$"):
            spec.require_image("a picture")


# A VAE of each kind

CASES = {
    "image": (Spec("image", (4, 4, 1)), "bernoulli"),
    "binary vector": (VECTOR, "bernoulli"),
    "continuous_bernoulli vector": (VECTOR, "continuous_bernoulli"),
    "normal vector": (VECTOR, {"name": "normal", "scale": 0.5, "learned": True}),
    "sequence": (TOKENS, "categorical"),
}
EVERY = [(case, conditional) for case in CASES for conditional in (False, True)]
every_case = pytest.mark.parametrize("case", EVERY, ids=str)
SMALL = {"encoder": {"name": "mlp", "hidden": [8]}, "decoder": {"name": "mlp", "hidden": [8]}, "latent_dim": 2}


def examples(case, count=12):
    """Examples of that case, as a user has them: integers of any width, real numbers of any size."""
    rng, (spec, _) = np.random.default_rng(0), CASES[case]
    if spec.levels:
        return rng.integers(spec.levels, size=(count, *spec.shape))
    match case:
        case "normal vector":
            return rng.normal(3, 2, (count, *spec.shape)).astype("float32")
        case "continuous_bernoulli vector":
            return rng.uniform(size=(count, *spec.shape)).astype("float32")
    return rng.integers(2, size=(count, *spec.shape)).astype("float32")


def batch_of(case, conditional):
    x = examples(case)
    return {"x": x, "label": np.arange(len(x)) % 3} if conditional else x


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Every case after a step: {case: (model, weights before the step, logs, folder with its files)}."""
    models = {}
    for case, conditional in EVERY:
        folder = tmp_path_factory.mktemp("kind")
        spec, likelihood = CASES[case]
        keras.utils.set_random_seed(0)
        model = vaezoo.create_model(
            "mlp_vae", spec.with_classes(3), likelihood=likelihood, conditional=conditional, **SMALL
        )
        before = model.get_weights()
        model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)  # tracing takes longer than the one step
        logs = model.fit(batch_of(case, conditional), batch_size=12, verbose=0).history
        model.save(folder / "model.keras")
        standalone_encoder(model).save(folder / "encoder.keras")
        standalone_decoder(model).save(folder / "decoder.keras")
        models[case, conditional] = model, before, logs, folder
    return models


@every_case
def test_a_step_moves_every_weight_and_keeps_every_term_finite(trained, case):
    model, before, logs, _ = trained[case]
    assert set(logs) == set(model.objective.terms)
    assert all(np.isfinite(values).all() for values in logs.values())
    pairs = zip(model.weights, before, strict=True)
    moved = {weight.path: np.abs(weight - old).max() for weight, old in pairs}
    assert all(distance > 0 for distance in moved.values()), moved


@every_case
def test_what_is_shown_is_an_example(trained, case):
    model, _, _, _ = trained[case]
    spec, batch = model.spec, batch_of(*case)
    label = 2 if spec.conditional else None
    for shown in (model(batch), model.sample(12, label=label)):
        assert (tuple(shown.shape), shown.dtype.name) == ((12, *spec.shape), spec.dtype)
        if spec.levels:
            assert set(np.unique(shown)) <= set(range(spec.levels))
    assert model.decode(model.codes(batch), label).log_prob(examples(case[0])).shape == (12,)


@every_case
def test_the_loaded_model_is_the_saved_one(trained, case):
    model, _, _, folder = trained[case]
    loaded, batch = load_keras_file(folder / "model.keras"), batch_of(*case)
    assert loaded.spec == model.spec
    np.testing.assert_array_equal(loaded(batch), model(batch))
    assert loaded.evaluate(batch, verbose=0) == model.evaluate(batch, verbose=0)
    loaded.fit(batch, batch_size=12, verbose=0)  # it goes on
    assert int(loaded.optimizer.iterations) == 2


@pytest.mark.slow
def test_a_model_of_sequences_learns_four_of_them():
    # 7 log 4 = 9.7 nats where nothing is known; log 4 = 1.39 is the entropy of the data, the least that is possible.
    x = np.repeat(np.arange(4), 50)[:, None] * np.ones((1, 7), "int32")
    keras.utils.set_random_seed(0)
    model = vaezoo.create_model("mlp_vae", TOKENS, likelihood="categorical", **SMALL)
    model.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    elbo = model.fit(x.astype("int32"), batch_size=50, epochs=30, verbose=0).history["elbo"]
    assert elbo[0] == pytest.approx(-7 * np.log(4), abs=1.5)
    assert -3 < elbo[-1] < -1.39
    np.testing.assert_array_equal(model(x[::50]), x[::50])


@pytest.mark.slow
def test_the_standalone_networks_load_where_vaezoo_cannot_be_imported(trained, tmp_path):
    script = """
import sys
sys.modules["vaezoo"] = None
import keras, numpy as np
for folder in sys.argv[1:]:
    inputs = np.load(folder + "/inputs.npz")
    for name, network in (("encoder", "x"), ("decoder", "z")):
        model = keras.models.load_model(f"{folder}/{name}.keras")
        given = {tensor.name: inputs["x" if tensor.name in ("image", "vector", "sequence") else tensor.name]
                 for tensor in model.inputs}
        output = model.predict(given if len(given) > 1 else next(iter(given.values())), verbose=0)
        np.save(f"{folder}/{name}.npy", output["loc"] if name == "encoder" else output)
"""
    folders = []
    for (case, _), (model, _, _, folder) in trained.items():
        z = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
        np.savez(folder / "inputs.npz", x=examples(case).astype(model.spec.dtype), z=z, label=np.arange(12) % 3)
        folders.append(folder)
    subprocess.run([sys.executable, "-c", script, *folders], check=True, cwd=tmp_path)
    for (case, conditional), (model, _, _, folder) in trained.items():
        for name in ("encoder", "decoder"):
            load_keras_file(folder / f"{name}.keras")
        inputs, spec = np.load(folder / "inputs.npz"), model.spec
        np.testing.assert_allclose(np.load(folder / "encoder.npy"), model.codes(batch_of(case, conditional)), atol=1e-5)
        z = {"z": inputs["z"], "label": inputs["label"]} if conditional else inputs["z"]
        expected = model.likelihood.mean(model.decoder(z), spec)
        np.testing.assert_allclose(np.load(folder / "decoder.npy"), expected, atol=1e-5)


def test_values_that_a_likelihood_does_not_describe_are_refused_before_training():
    vectors = vaezoo.create_model("mlp_vae", VECTOR, **SMALL)
    tokens = vaezoo.create_model("mlp_vae", TOKENS, likelihood="categorical", **SMALL)
    for model in (vectors, tokens):
        model.compile("sgd", jit_compile=False)
    with pytest.raises(VaezooError, match="zeros and ones"):
        vectors.fit(np.full((4, 5), 0.5, "float32"), verbose=0)
    with pytest.raises(VaezooError, match="tokens must be from 0 to 3, and these go from 4 to 4"):
        tokens.fit({"x": np.full((4, 7), 4)}, verbose=0)


# Parts for other examples

MLP, CONV = {"name": "mlp", "hidden": [8]}, {"name": "conv", "filters": [2], "dense": 4}


@pytest.mark.parametrize(
    ("spec", "overrides", "message"),
    [
        (VECTOR, {"encoder": CONV}, "encoder 'conv' is for images, not for {}; set model.encoder to mlp"),
        (
            TOKENS,
            {"encoder": CONV},
            "encoder 'conv' is for images, not for {}; set model.encoder to mlp or recurrent or bars",
        ),
        (VECTOR, {"decoder": CONV}, "decoder 'conv' is for images, not for {}; set model.decoder to mlp"),
        (
            VECTOR,
            {"prior": {"name": "vamp", "components": 3}},
            "prior 'vamp' is for images, not for {}; set model.prior to standard_normal or mixture or flow",
        ),
        (
            VECTOR,
            {"likelihood": "discretized_logistic"},
            "likelihood 'discretized_logistic' is for images, not for {}; "
            "set model.likelihood to bernoulli or continuous_bernoulli or normal or student_t or poisson or "
            "negative_binomial or mixed",
        ),
        (
            Spec("image", (4, 4, 1)),
            {"likelihood": "categorical"},
            "likelihood 'categorical' is for sequences, not for {}; "
            "set model.likelihood to bernoulli or continuous_bernoulli or normal or discretized_logistic or "
            "logistic_mixture",
        ),
        (
            VECTOR,
            {"likelihood": "categorical"},
            "likelihood 'categorical' is for sequences, not for {}; "
            "set model.likelihood to bernoulli or continuous_bernoulli or normal or student_t or poisson or "
            "negative_binomial or mixed",
        ),
        (
            TOKENS,
            {"likelihood": "bernoulli"},
            "likelihood 'bernoulli' is for images and vectors, not for {}; set model.likelihood to categorical "
            "or autoregressive",
        ),
    ],
)
def test_a_part_for_other_examples_is_refused_with_those_that_fit(spec, overrides, message):
    likelihood = {"likelihood": "categorical" if spec.levels else "bernoulli"}
    with pytest.raises(VaezooError) as error:
        vaezoo.create_model("mlp_vae", spec, **{"encoder": MLP, "decoder": MLP, **likelihood, **overrides})
    assert str(error.value) == "the " + message.format(spec)
    assert "\n" not in str(error.value)

"""One contract over every recipe, conditional and not."""

import inspect
import json
import os
import subprocess
import sys
import typing

import keras
import numpy as np
import pytest

import vaezoo
from vaezoo import recipe_schema
from vaezoo.config import load_recipe, recipe_names
from vaezoo.keras_files import check_keras_file
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.registry import DECODERS, ENCODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS

CASES = [(name, conditional) for name in recipe_names() for conditional in (False, True)]
IMAGE_SHAPE = (8, 8, 1)


def inputs_of(model, count=32):
    rng = np.random.default_rng(0)
    images = (rng.random((count, *IMAGE_SHAPE)) > 0.5).astype("float32")
    return {"image": images, "label": np.arange(count) % 10} if model.conditional else images


def codes_of(model, count=5):
    z = np.random.default_rng(1).normal(size=(count, model.latent_dim)).astype("float32")
    return {"z": z, "label": np.arange(count)} if model.conditional else z


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Every case after one epoch of two steps, with its files: {case: (model, logs of the epoch, folder)}."""
    models = {}
    for name, conditional in CASES:
        folder = tmp_path_factory.mktemp(f"{name}-{conditional}")
        model = vaezoo.create_model(name, image_shape=IMAGE_SHAPE, conditional=conditional)
        model.compile(keras.optimizers.Adam(1e-3), steps_per_execution=2)
        logs = model.fit(inputs_of(model), batch_size=16, verbose=0).history
        model.save(folder / "model.keras")
        standalone_decoder(model).save(folder / "decoder.keras")
        standalone_encoder(model).save(folder / "encoder.keras")
        models[name, conditional] = model, logs, folder
    return models


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_keeps_every_weight_and_term_finite(trained, case):
    model, logs, _ = trained[case]
    assert set(logs) == set(model.objective.term_names)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_moves_every_trainable_weight(trained, case):
    # A variable that the gradient misses (a snapshot, an untracked weight) would stay where it began.
    model, _, _ = trained[case]
    momenta = [v for v in model.optimizer.variables if "momentum" in v.path]
    assert len(momenta) == len(model.trainable_variables)
    if getattr(model.objective, "reconstruction_weight", 1) == 0:  # kl_only: nothing tells the decoder how to draw
        momenta = momenta[: len(model.encoder.trainable_variables)]
    assert all(np.abs(momentum.numpy()).max() > 0 for momentum in momenta)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_loaded_model_is_the_saved_one(trained, case):
    model, _, folder = trained[case]
    loaded = keras.models.load_model(folder / "model.keras")
    inputs = inputs_of(model)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0))
    assert loaded.evaluate(inputs, verbose=0) == model.evaluate(inputs, verbose=0)
    assert int(loaded.optimizer.iterations) == 2
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    z = np.ones((3, model.latent_dim), "float32")
    np.testing.assert_array_equal(loaded.prior_distribution().log_prob(z), model.prior_distribution().log_prob(z))
    for part in ("posterior", "prior", "likelihood", "objective"):
        assert getattr(loaded, part).get_config() == getattr(model, part).get_config()
    assert (loaded.seed, loaded.name, loaded.dtype_policy.name) == (model.seed, model.name, model.dtype_policy.name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_its_files_hold_nothing_that_a_strangers_may_not(trained, case):
    # Where this fails, a Keras layer is new here: it belongs into keras_files.LAYERS, if it does arithmetic alone.
    _, _, folder = trained[case]
    for name in ("model.keras", "decoder.keras", "encoder.keras"):
        assert check_keras_file(folder / name) > 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_an_app_calls(trained, case):
    model, _, _ = trained[case]
    inputs, codes = inputs_of(model), codes_of(model)
    image, label = (inputs["image"], inputs["label"]) if model.conditional else (inputs, None)
    z, z_label = (codes["z"], codes["label"]) if model.conditional else (codes, None)
    code = model.posterior.mean(model.encoder(inputs))
    assert code.shape == (32, model.latent_dim)
    assert model.encode(image, label).sample(3).shape == (3, *code.shape)
    reconstruction = model(inputs).numpy()
    np.testing.assert_allclose(reconstruction, model.images(code, label), atol=1e-6)
    assert reconstruction.shape == (32, *IMAGE_SHAPE)
    assert reconstruction.min() >= 0
    assert reconstruction.max() <= 1
    log_probability = model.decode(z, z_label).log_prob(image[:5])
    assert log_probability.shape == (5,)
    samples = model.sample(4, seed=7, label=3 if model.conditional else None)
    assert samples.shape == (4, *IMAGE_SHAPE)
    np.testing.assert_array_equal(samples, model.sample(4, seed=7, label=3 if model.conditional else None))
    assert np.abs(samples - model.sample(4, seed=8, label=3 if model.conditional else None)).max() > 0


def test_standalone_files_load_where_vaezoo_cannot_be_imported(trained, tmp_path):
    script = """
import json, sys
sys.modules["vaezoo"] = None
import keras, numpy as np
for folder, codes, images in json.load(open(sys.argv[1])):
    arrays = lambda v: {k: np.asarray(a, "int32" if k == "label" else "float32") for k, a in v.items()}
    unpack = lambda v: v if len(v) > 1 else next(iter(v.values()))
    decoder = keras.models.load_model(folder + "/decoder.keras")
    np.save(folder + "/decoded.npy", decoder.predict(unpack(arrays(codes)), verbose=0))
    encoder = keras.models.load_model(folder + "/encoder.keras")
    np.save(folder + "/loc.npy", encoder.predict(unpack(arrays(images)), verbose=0)["loc"])
"""

    def listed(value, key):
        value = value if isinstance(value, dict) else {key: value}
        return {name: array.tolist() for name, array in value.items()}

    work = tmp_path / "work.json"
    work.write_text(
        json.dumps(
            [
                (str(folder), listed(codes_of(model), "z"), listed(inputs_of(model), "image"))
                for model, _, folder in trained.values()
            ]
        )
    )
    subprocess.run([sys.executable, "-c", script, work], check=True, cwd=tmp_path, env={**os.environ})
    for model, _, folder in trained.values():
        codes, inputs = codes_of(model), inputs_of(model)
        z, label = (codes["z"], codes["label"]) if model.conditional else (codes, None)
        decoded = np.load(folder / "decoded.npy")
        assert decoded.dtype == np.float32
        assert 0 <= decoded.min() <= decoded.max() <= 1
        np.testing.assert_allclose(decoded, model.images(z, label), atol=1e-6)
        np.testing.assert_allclose(np.load(folder / "loc.npy"), model.posterior.mean(model.encoder(inputs)), atol=1e-5)


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipe_states_its_paper_and_its_parameters(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.summary
    assert recipe.paper
    assert vaezoo.create_model(name).count_params() == recipe.parameters


PARTS = {
    "encoder": ENCODERS,
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "decoder": DECODERS,
    "likelihood": LIKELIHOODS,
    "objective": OBJECTIVES,
}


def schema_sections(kind):
    annotation = typing.get_type_hints(recipe_schema.Model, include_extras=False)[kind]
    return {
        typing.get_args(s.model_fields["name"].annotation)[0]: s for s in typing.get_args(annotation) or (annotation,)
    }


@pytest.mark.parametrize("kind", PARTS)
def test_the_schema_names_every_registered_part(kind):
    assert set(schema_sections(kind)) == set(PARTS[kind].names())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in PARTS for name in PARTS[kind].names()])
def test_the_schema_has_the_keywords_and_defaults_of_the_constructor(kind, name):
    built_by_zoo = {"image_shape", "params_size", "params_per_channel", "latent_dim", "classes", "kwargs"}
    signature = inspect.signature(PARTS[kind][name]).parameters
    constructor = {key: p.default for key, p in signature.items() if key not in built_by_zoo}
    fields = schema_sections(kind)[name].model_fields
    assert {key: field.default for key, field in fields.items() if key != "name"} == constructor


@pytest.mark.parametrize("name", [n for kind in ("posterior", "prior", "likelihood") for n in PARTS[kind].names()])
def test_a_part_writes_every_argument_of_its_constructor_into_its_config(name):
    kind = next(kind for kind in PARTS if name in PARTS[kind].names())
    part = PARTS[kind][name]()
    arguments = set(inspect.signature(PARTS[kind][name]).parameters) - {"kwargs"}
    assert arguments <= set(part.get_config())


# Parts and keywords that no recipe has
UNUSED = {
    "mixture_flow": {
        "prior": {"name": "mixture", "components": 7},
        "posterior": {"name": "flow", "blocks": 3, "hidden": [8, 6], "context": 4},
        "conditional": True,
    },
    "vamp_full": {"prior": {"name": "vamp", "components": 12}, "posterior": "full_normal", "conditional": True},
}


@pytest.mark.parametrize("parts", UNUSED.values(), ids=UNUSED)
def test_parts_that_no_recipe_has_learn_and_survive_saving(parts, bars_file, tmp_path):
    body = {"name": "mlp", "hidden": [32]}
    keras.utils.set_random_seed(0)
    model = vaezoo.create_model(
        "mlp_vae", image_shape=IMAGE_SHAPE, classes=8, latent_dim=3, encoder=body, decoder=body, **parts
    )
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    with np.load(bars_file) as arrays:
        images, rows = arrays["x_train"] / np.float32(255), arrays["y_train"]
    inputs = {"image": images, "label": rows} if model.conditional else images
    before = model.get_weights()
    elbo = model.fit(inputs, batch_size=40, epochs=12, verbose=0).history["elbo"]
    assert elbo[0] > -50  # 64 pixels at ln 2 are -44
    assert elbo[-1] > elbo[0] + 10
    assert all((new != old).any() for new, old in zip(model.get_weights(), before, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(inputs, verbose=0) == model.evaluate(inputs, verbose=0)
    z = np.ones((3, 3), "float32")
    np.testing.assert_array_equal(loaded.prior_distribution().log_prob(z), model.prior_distribution().log_prob(z))
    code = standalone_encoder(loaded)(inputs)["loc"]
    np.testing.assert_allclose(code, model.posterior.mean(model.encoder(inputs)), atol=1e-5)


def test_changed_keywords_survive_saving():
    model = vaezoo.create_model(
        "conv_vae",
        image_shape=IMAGE_SHAPE,
        likelihood={"name": "normal", "scale": 0.3, "learned": True},
        objective={"name": "beta", "beta": {"start": 0.5, "end": 2.0, "steps": 10}, "samples": 3, "kl": "monte_carlo"},
    )
    twin = type(model).from_config(model.get_config())
    assert twin.likelihood.get_config()["scale"] == 0.3
    assert twin.likelihood.learned
    assert twin.objective.get_config() == model.objective.get_config()
    assert twin.objective.beta == {"start": 0.5, "end": 2.0, "steps": 10}


def test_a_conditional_model_asks_for_its_label():
    model = vaezoo.create_model("mlp_vae", image_shape=IMAGE_SHAPE, conditional=True)
    assert model.classes == 10
    with pytest.raises(vaezoo.VaezooError, match="a class from 0 to 9"):
        model.sample(3)


def test_fit_refuses_grey_levels_under_bernoulli():
    model = vaezoo.create_model("mlp_vae", image_shape=IMAGE_SHAPE)
    model.compile("adam")
    with pytest.raises(vaezoo.VaezooError, match="grey levels"):
        model.fit(np.full((32, *IMAGE_SHAPE), 0.5, "float32"), verbose=0)


def test_load_refuses_a_folder_without_a_run(tmp_path):
    with pytest.raises(vaezoo.VaezooError, match="holds no run"):
        vaezoo.load(tmp_path)

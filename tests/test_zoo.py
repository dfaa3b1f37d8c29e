"""One contract over every recipe, conditional and not."""

import functools
import inspect
import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import vaezoo
from vaezoo.config import load_recipe
from vaezoo.data.glyphs import Glyphs
from vaezoo.data.shapes import Shapes
from vaezoo.keras_files import check_keras_file
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.part_schema import WarmUp
from vaezoo.recipe_files import recipe_names
from vaezoo.registry import DECODERS, ENCODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS
from vaezoo.spec import Spec

CASES = [(name, conditional) for name in recipe_names() for conditional in (False, True)]
IMAGE_SHAPE = (8, 8, 1)


def spec_of(name):
    """Small examples of the kind that the recipe is for."""
    examples = load_recipe(name).model.likelihood.examples
    if examples == ("vector",):
        return Spec("vector", (6,))
    image = "image" in examples
    return Spec("image", IMAGE_SHAPE) if image else Spec("sequence", (32,), 5)


def inputs_of(model, count=32):
    """A batch for a conditional model; for every other one a bare array, which is short for {"x": array}."""
    rng, spec = np.random.default_rng(0), model.spec
    x = rng.integers(spec.levels or 2, size=(count, *spec.shape)).astype(spec.dtype)
    return {"x": x, "label": np.arange(count) % 10} if model.spec.conditional else x


def codes_of(model, count=5):
    """Codes [B,D] and their labels [B] or None."""
    z = np.random.default_rng(1).normal(size=(count, model.latent_dim)).astype("float32")
    return z, np.arange(count) if model.spec.conditional else None


# Each recipe as it is; slow, the same one with the other answer to whether its parts see the label.
# The module's scope orders the tests by case, so that a process that takes some of them trains few cases.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            case, id=str(case), marks=[] if load_recipe(case[0]).model.conditional == case[1] else pytest.mark.slow
        )
        for case in CASES
    ],
)
def case(request):
    """(the name of a recipe, whether its parts see the label)."""
    return request.param


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a case for one epoch of two steps, at its first use: case → (model, logs of the epoch, folder)."""

    @functools.cache
    def train(case):
        name, conditional = case
        folder = tmp_path_factory.mktemp(f"{name}-{conditional}")
        model = vaezoo.create_model(name, spec_of(name), conditional=conditional)
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)  # tracing every model takes longer than its steps
        logs = model.fit(inputs_of(model), batch_size=16, verbose=0).history
        model.save(folder / "model.keras")
        standalone_decoder(model).save(folder / "decoder.keras")
        standalone_encoder(model).save(folder / "encoder.keras")
        return model, logs, folder

    return train


def test_a_step_keeps_every_weight_and_term_finite(trained, case):
    model, logs, _ = trained(case)
    assert set(logs) == set(model.objective.terms)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_step_moves_every_trainable_weight(trained, case):
    # A variable that the gradient misses (a snapshot, an untracked weight) would stay where it began.
    model, _, _ = trained(case)
    momenta = [v for v in model.optimizer.variables if "momentum" in v.path]
    assert len(momenta) == len(model.trainable_variables)
    if getattr(model.objective, "reconstruction_weight", 1) == 0:  # kl_only: nothing tells the decoder how to draw
        momenta = momenta[: len(model.encoder.trainable_variables)]
    assert all(np.abs(momentum.numpy()).max() > 0 for momentum in momenta)


def test_a_loaded_model_is_the_saved_one(trained, case):
    model, _, folder = trained(case)
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
        assert getattr(loaded, part).settings == getattr(model, part).settings
    assert loaded.spec == model.spec
    assert (loaded.seed, loaded.name, loaded.dtype_policy.name) == (model.seed, model.name, model.dtype_policy.name)


def test_its_files_pass_the_check_of_foreign_files(trained, case):
    # Where this fails, a Keras layer is new here: add it to keras_files.LAYERS, if it does arithmetic alone.
    _, _, folder = trained(case)
    for name in ("model.keras", "decoder.keras", "encoder.keras"):
        assert check_keras_file(folder / name) > 0


def test_what_an_app_calls(trained, case):
    model, _, _ = trained(case)
    inputs, (z, z_label) = inputs_of(model), codes_of(model)
    x, label = (inputs["x"], inputs["label"]) if model.spec.conditional else (inputs, None)
    code = model.codes(inputs)
    assert code.shape == (32, model.latent_dim)
    assert model.encode(x, label).sample(3).shape == (3, *code.shape)
    reconstruction = model(inputs).numpy()
    np.testing.assert_allclose(reconstruction, model.examples(code, label), atol=1e-6)
    assert reconstruction.shape == (32, *model.spec.shape)
    if model.spec.kind != "vector":  # whose numbers have no bounds
        assert reconstruction.min() >= 0
        assert reconstruction.max() <= (model.spec.levels or 2) - 1
    log_probability = model.decode(z, z_label).log_prob(x[:5])
    assert log_probability.shape == (5,)
    one_class = 3 if model.spec.conditional else None
    samples = model.sample(4, seed=7, label=one_class)
    assert samples.shape == (4, *model.spec.shape)
    np.testing.assert_array_equal(samples, model.sample(4, seed=7, label=one_class))
    assert np.abs(samples - model.sample(4, seed=8, label=one_class)).max() > 0


@pytest.mark.slow
def test_standalone_files_load_where_vaezoo_cannot_be_imported(trained, tmp_path):
    script = """
import json, sys
sys.modules["vaezoo"] = None
import keras, numpy as np
for folder, codes, examples in json.load(open(sys.argv[1])):
    arrays = lambda v: {k: np.asarray(a, "float32" if k in ("z", "image") else "int32") for k, a in v.items()}
    unpack = lambda v: v if len(v) > 1 else next(iter(v.values()))
    decoder = keras.models.load_model(folder + "/decoder.keras")
    np.save(folder + "/decoded.npy", decoder.predict(unpack(arrays(codes)), verbose=0))
    encoder = keras.models.load_model(folder + "/encoder.keras")
    np.save(folder + "/loc.npy", encoder.predict(unpack(arrays(examples)), verbose=0)["loc"])
"""

    def listed(key, value, label):
        return {name: array.tolist() for name, array in ((key, value), ("label", label)) if array is not None}

    def work(model, folder):
        batch = model.batch(inputs_of(model))
        label = batch["label"].numpy() if model.spec.conditional else None
        return str(folder), listed("z", *codes_of(model)), listed(model.spec.kind, batch["x"].numpy(), label)

    path = tmp_path / "work.json"
    models = [(model, folder) for model, _, folder in map(trained, CASES)]
    path.write_text(json.dumps([work(*each) for each in models]))
    subprocess.run([sys.executable, "-c", script, path], check=True, cwd=tmp_path, env={**os.environ})
    for model, folder in models:
        decoded = np.load(folder / "decoded.npy")
        assert decoded.dtype == model.spec.dtype
        if model.spec.kind != "vector":  # whose numbers have no bounds
            assert 0 <= decoded.min() <= decoded.max() <= (model.spec.levels or 2) - 1
        np.testing.assert_allclose(decoded, model.examples(*codes_of(model)), atol=1e-6)
        np.testing.assert_allclose(np.load(folder / "loc.npy"), model.codes(inputs_of(model)), atol=1e-5)


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipe_states_its_paper_and_its_parameters(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.summary
    assert recipe.paper
    model = vaezoo.create_model(name)
    assert model.count_params() == recipe.parameters
    if recipe.data.name in ("glyphs", "shapes") and not recipe.model.likelihood.column_types:
        shapes = {"glyphs": Glyphs.SHAPE, "shapes": Shapes.SHAPE}
        assert model.spec.shape == shapes[recipe.data.name]  # so that it says the size of what it trains


REGISTRIES = {
    registry.kind.kind: registry for registry in (ENCODERS, POSTERIORS, PRIORS, DECODERS, LIKELIHOODS, OBJECTIVES)
}
EVERY_PART = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_described_part_is_registered(kind):
    assert set(REGISTRIES[kind].kind.parts) == set(REGISTRIES[kind].names())


@pytest.mark.parametrize(("kind", "name"), EVERY_PART)
def test_a_part_takes_its_keywords_from_its_section(kind, name):
    section, part = REGISTRIES[kind].kind.parts[name], REGISTRIES[kind][name]
    signature = inspect.signature(part).parameters
    keywords = {key: own.default for key, own in signature.items() if own.kind is own.KEYWORD_ONLY}
    assert keywords == section.defaults()
    for key in section.keyword_names():
        assert section.model_fields[key].description, f"{key} needs a description"
        assert re.search(rf"^    {key}\b.*: .", part.__doc__, re.MULTILINE)


@pytest.mark.parametrize(("kind", "name"), [case for case in EVERY_PART if case[0] not in ("encoder", "decoder")])
def test_a_layer_has_the_keywords_and_the_capabilities_of_its_section(kind, name):
    section, part = REGISTRIES[kind].kind.parts[name], REGISTRIES[kind][name]()
    assert {key: getattr(part, key) for key in section.keyword_names()} == section.defaults()
    assert set(section.keyword_names()) <= set(part.get_config())
    assert {key: getattr(part, key) for key in section.capabilities()} == section.capabilities()
    assert part.dtype_policy.name == "float32"
    with pytest.raises(ValueError, match="speed"):
        REGISTRIES[kind][name](speed=3)


# Parts and keywords that no recipe has
UNUSED = {
    "mixture_flow": {
        "prior": {"name": "mixture", "components": 7},
        "posterior": {"name": "flow", "blocks": 3, "hidden": [8, 6], "context": 4},
        "conditional": True,
    },
    "vamp_full": {"prior": {"name": "vamp", "components": 12}, "posterior": "full_normal", "conditional": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("parts", UNUSED.values(), ids=UNUSED)
def test_parts_that_no_recipe_has_learn_and_survive_saving(parts, bars_file, tmp_path):
    body = {"name": "mlp", "hidden": [32]}
    keras.utils.set_random_seed(0)
    model = vaezoo.create_model("mlp_vae", IMAGE_SHAPE, classes=8, latent_dim=3, encoder=body, decoder=body, **parts)
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    with np.load(bars_file) as arrays:
        images, rows = arrays["x_train"] / np.float32(255), arrays["y_train"]
    inputs = {"x": images, "label": rows}
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
    code = standalone_encoder(loaded)({"image": images, "label": rows})["loc"]
    np.testing.assert_allclose(code, model.codes(inputs), atol=1e-5)


def test_changed_keywords_survive_saving():
    model = vaezoo.create_model(
        "conv_vae",
        IMAGE_SHAPE,
        likelihood={"name": "normal", "scale": 0.3, "learned": True},
        objective={"name": "beta", "beta": {"start": 0.5, "end": 2.0, "steps": 10}, "samples": 3, "kl": "monte_carlo"},
    )
    twin = type(model).from_config(model.get_config())
    assert (twin.likelihood.scale, twin.likelihood.learned) == (0.3, True)
    assert twin.objective.beta == WarmUp(start=0.5, end=2.0, steps=10)
    assert (twin.objective.samples, twin.objective.kl) == (3, "monte_carlo")


def test_a_conditional_model_asks_for_its_label():
    model = vaezoo.create_model("mlp_vae", IMAGE_SHAPE, conditional=True)
    assert model.spec.classes == 10
    with pytest.raises(vaezoo.VaezooError, match="a class from 0 to 9"):
        model.sample(3)


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_draw_from_the_prior_is_refused(n):
    model = vaezoo.create_model("mlp_vae", IMAGE_SHAPE)
    for draw in (model.sample, model.prior_codes):
        with pytest.raises(vaezoo.VaezooError, match=f"{n} draws from the prior; give at least 1"):
            draw(n)


def test_fit_refuses_grey_levels_under_bernoulli():
    model = vaezoo.create_model("mlp_vae", IMAGE_SHAPE)
    model.compile("adam")
    with pytest.raises(vaezoo.VaezooError, match="grey levels"):
        model.fit(np.full((32, *IMAGE_SHAPE), 0.5, "float32"), verbose=0)


def test_load_refuses_a_folder_without_a_run(tmp_path):
    with pytest.raises(vaezoo.VaezooError, match="holds no run"):
        vaezoo.load(tmp_path)

"""Whatever passes validation builds, trains a step, saves and loads."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import vaezoo
from vaezoo.config import to_yaml
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.recipe_schema import ELBO, IWAE, MLP, BetaELBO, ConvDecoder, ConvEncoder, Model, Recipe, Training
from vaezoo.zoo import build_model

names = st.sampled_from
widths = st.integers(1, 8)
activations = names(["relu", "gelu", "silu", "elu", "leaky_relu", "softplus", "tanh", "sigmoid"])
mlps = st.builds(MLP, name=st.just("mlp"), hidden=st.lists(widths, max_size=2).map(tuple), activation=activations)


def convs(section):
    filters = st.lists(widths, min_size=1, max_size=4).map(tuple)
    return st.builds(
        section,
        name=st.just("conv"),
        filters=filters,
        kernel_size=st.integers(1, 9),
        dense=widths,
        activation=activations,
    )


weights = st.floats(0, 1e6) | st.builds(
    dict, start=st.floats(0, 1e6), end=st.floats(0, 1e6), steps=st.integers(1, 10**9)
)
kl = names(["auto", "closed_form", "monte_carlo"])
samples = st.integers(1, 3)
objectives = (
    st.builds(ELBO, name=st.just("elbo"), samples=samples, kl=kl)
    | st.builds(
        BetaELBO, name=st.just("beta"), samples=samples, kl=kl, beta=weights, reconstruction_weight=st.floats(0, 1e6)
    )
    | st.builds(IWAE, name=st.just("iwae"), samples=samples, doubly_reparameterized=st.booleans())
    | st.just({"name": "reconstruction"})
)
likelihoods = names(["bernoulli", "continuous_bernoulli", "discretized_logistic"]) | st.builds(
    dict, name=st.just("normal"), scale=st.floats(1e-3, 1e3), learned=st.booleans()
)
trainings = st.builds(
    Training,
    learning_rate=st.floats(1e-6, 1e-2),
    clip_norm=st.none() | st.floats(1e-3, 1e9),
    precision=names(["float32", "mixed_float16", "mixed_bfloat16"]),
    seed=st.integers(0, 2**31 - 1),
)


@st.composite
def recipes(draw):
    """A recipe that its schema accepts, with a small network."""
    parts = {
        "latent_dim": draw(st.integers(1, 4)),
        "conditional": draw(st.booleans()),
        "encoder": draw(mlps | convs(ConvEncoder)),
        "posterior": draw(names(["diagonal_normal", "full_normal", "point"])),
        "decoder": draw(mlps | convs(ConvDecoder)),
        "likelihood": draw(likelihoods),
        "objective": draw(objectives),
    }
    try:
        return Recipe(name="drawn", model=Model(**parts), training=draw(trainings))
    except ValueError:
        assume(False)


def check(recipe, shape, folder):
    rng = np.random.default_rng(0)
    images = rng.random((8, *shape)).round().astype("float32")  # zeros and ones suit every likelihood
    if max(len(getattr(part, "filters", ())) for part in (recipe.model.encoder, recipe.model.decoder)) > 3:
        with pytest.raises(VaezooError, match="does not fit 'conv'"):  # four halvings of 8 pixels
            build_model(recipe, shape, classes=3)
        return
    model = build_model(recipe, shape, classes=3)
    inputs = {"image": images, "label": np.arange(8) % 3} if model.conditional else images
    settings = recipe.training
    optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm)
    model.compile(optimizer, run_eagerly=True)  # tracing a step that is taken once would take most of the time
    terms = model.fit(inputs, batch_size=8, verbose=0).history
    assert all(np.isfinite(values).all() for values in terms.values()), terms
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    assert vaezoo.load_recipe(folder / "recipe.yaml") == recipe
    model.save(folder / "model.keras")
    loaded = vaezoo.load(folder)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for network in (standalone_decoder(model), standalone_encoder(model)):
        network.save(folder / "standalone.keras")
        load_keras_file(folder / "standalone.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


PROPERTY = {"derandomize": True, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@settings(**PROPERTY, max_examples=10)
@given(recipe=recipes(), channels=names([1, 3]))
def test_what_passes_validation_builds_trains_saves_and_loads(recipe, channels, folder):
    check(recipe, (8, 8, channels), folder)


@pytest.mark.slow
@settings(**PROPERTY, max_examples=200)
@given(recipe=recipes(), channels=st.integers(1, 4))
def test_many_recipes(recipe, channels, folder):
    check(recipe, (8, 8, channels), folder)

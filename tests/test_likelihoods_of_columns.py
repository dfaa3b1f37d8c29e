"""Likelihoods of the columns of a table, against SciPy: log-probabilities in their units, missing cells, draws."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy import special, stats

import vaezoo
from vaezoo import distributions
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file
from vaezoo.likelihoods import Normal
from vaezoo.likelihoods.columns import FIRST_DF, FIRST_DISPERSION, Mixed, NegativeBinomial, Poisson, StudentT
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.networks.ends import example_features, example_inputs
from vaezoo.spec import Column, Spec

# In no order, so that a mix-up of places shows; two categorical columns have three values, one has two.
COLUMNS = (
    Column("height", "continuous", loc=170.0, scale=9.0, missing=True),
    Column("sex", "binary", values=("f", "m"), dtype="str"),
    Column("visits", "count", loc=1.2, scale=0.7, dtype="int64"),
    Column("colour", "categorical", values=("blue", "green", "red"), dtype="str", missing=True),
    Column("dose", "continuous", loc=-2e-3, scale=5e-4),
    Column("grade", "categorical", values=(1, 2, 5), dtype="int64"),
    Column("floor", "categorical", values=(0.5, 1.5), dtype="float64"),
    Column("smokes", "binary", values=(False, True), dtype="bool", missing=True),
    Column("falls", "count", loc=0.0, scale=0.5, dtype="int64"),
)
SPEC = Spec("vector", (len(COLUMNS),), columns=COLUMNS)
NUMBERS = {
    "continuous": Spec("vector", (2,), columns=(COLUMNS[0], COLUMNS[4])),
    "count": Spec("vector", (2,), columns=(COLUMNS[2], COLUMNS[8])),
}
CHOICES = [("normal", "poisson"), ("student_t", "negative_binomial")]


def built(likelihood, spec=SPEC):
    types = spec.columns and [column.type for column in spec.columns]
    likelihood.build((None, *likelihood.params_shape(spec)), None, types)
    return likelihood


def rows(count, seed=0):
    """Rows of every column [N,F]."""
    rng = np.random.default_rng(seed)
    cells = {
        "continuous": lambda c: rng.normal(c.loc, 2 * c.scale, count),
        "count": lambda c: rng.negative_binomial(2, 0.3, count),
        "binary": lambda c: rng.integers(2, size=count),
        "categorical": lambda c: rng.integers(len(c.values), size=count),
    }
    return np.stack([cells[column.type](column) for column in COLUMNS], axis=1).astype("float32")


def drawn_params(likelihood, shape, spec=SPEC, seed=1):
    return np.random.default_rng(seed).normal(size=(*shape, *likelihood.params_shape(spec))).astype("float32")


def of_number(kind, x, u, column, scale=1.0, df=FIRST_DF, dispersion=FIRST_DISPERSION):
    """SciPy's log-probability of a number with the parameter u in units of its column."""
    centre = column.loc + column.scale * u
    match kind:
        case "normal":
            return stats.norm.logpdf(x, centre, column.scale * scale)
        case "student_t":
            return stats.t.logpdf(x, df, centre, column.scale * scale)
        case "poisson":
            return stats.poisson.logpmf(x, np.exp(centre))
        case "negative_binomial":
            return stats.nbinom.logpmf(x, dispersion, dispersion / (dispersion + np.exp(centre)))


def of_cells(x, params, continuous, count):
    """SciPy's log-probability of each cell [...,F] of rows x, by the layout that the module describes."""
    x, params = np.broadcast_arrays(x.astype("float64")[..., None], params.astype("float64")[..., None, :])
    x, params, found = x[..., 0], params[..., 0, :], np.empty(x.shape[:-1])
    order = [[p for p, c in enumerate(COLUMNS) if c.type == kind] for kind in ("continuous", "count", "binary")]
    for at, place in enumerate(itertools.chain(*order)):
        column, cell, u = COLUMNS[place], x[..., place], params[..., at]
        if column.type == "binary":
            found[..., place] = np.where(cell == 1, special.log_expit(u), special.log_expit(-u))
        else:
            found[..., place] = of_number({"continuous": continuous, "count": count}[column.type], cell, u, column)
    start = sum(map(len, order))
    for place, column in enumerate(COLUMNS):
        if column.type == "categorical":
            logits = params[..., start : start + len(column.values)]
            start += len(column.values)
            chosen = np.take_along_axis(logits, x[..., place, None].astype(int), -1)[..., 0]
            found[..., place] = chosen - special.logsumexp(logits, axis=-1)
    assert start == params.shape[-1]
    return found


@pytest.mark.parametrize(("continuous", "count"), CHOICES)
def test_each_column_has_scipys_log_probability_in_its_own_unit(continuous, count):
    likelihood = built(Mixed(continuous=continuous, count=count))
    x, params = rows(40), drawn_params(likelihood, (3, 40))  # [B,F], [K,B,P]
    distribution = likelihood.distribution(params, SPEC)
    assert (distribution.batch_shape, distribution.event_shape) == ((3, 40), (9,))
    expected = of_cells(x, params, continuous, count)
    np.testing.assert_allclose(likelihood.elements_log_prob(params, x, SPEC), expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(distribution.log_prob(x), expected.sum(-1), rtol=2e-5)


@pytest.mark.parametrize(
    ("make", "kind", "of"),
    [
        (StudentT, "student_t", "continuous"),
        (Poisson, "poisson", "count"),
        (NegativeBinomial, "negative_binomial", "count"),
    ],
)
def test_a_likelihood_of_one_family_is_scipys(make, kind, of):
    spec = NUMBERS[of]
    likelihood = built(make(), spec)
    x = rows(50)[:, [COLUMNS.index(column) for column in spec.columns]]
    params = drawn_params(likelihood, (50,), spec)
    expected = np.stack(
        [
            of_number(kind, x[:, j].astype("float64"), params[:, j].astype("float64"), c)
            for j, c in enumerate(spec.columns)
        ],
        1,
    )
    np.testing.assert_allclose(likelihood.elements_log_prob(params, x, spec), expected, rtol=2e-5, atol=2e-5)
    plain = Spec("vector", (2,))  # numbers without columns are in their own unit
    likelihood = built(make(), plain)
    own = [of_number(kind, x[:, j] * 1.0, params[:, j] * 1.0, Column("x")) for j in range(2)]
    np.testing.assert_allclose(likelihood.elements_log_prob(params, x, plain), np.stack(own, 1), rtol=5e-5, atol=5e-5)


def test_a_poisson_of_large_counts_is_scipys_with_its_gradient():
    spec, likelihood = Spec("vector", (1,)), built(Poisson(), Spec("vector", (1,)))
    x = np.array([0, 1, 7, 29, 30, 31, 1e3, 1e4, 1e5, 1e6, 1e7, 1e9])
    middle = np.log(np.maximum(x, 0.5))
    near = np.array([0, 1e-7, 0.1, -1, 3, -30, 300])[:, None] / np.sqrt(np.maximum(x, 1))  # in standard deviations
    far = np.repeat([[0.5], [-0.5], [-20.0], [25.0]], len(x), axis=1)
    log_rate = np.minimum(middle + np.concatenate([near, far]), 39.0)  # LARGEST_LOG_RATE is 40
    params = tf.Variable(log_rate[..., None].astype("float32"))
    with tf.GradientTape() as tape:
        found = likelihood.elements_log_prob(params, x[:, None].astype("float32"), spec)
    rate = np.exp(params.numpy()[..., 0].astype("float64"))
    expected = stats.poisson.logpmf(x, rate)
    # What is left is the rounding of log(x) to half a unit in the last place.
    error = 1e-5 + 1e-6 * np.abs(x - rate) + 1e-6 * np.abs(expected)
    assert (np.abs(found.numpy()[..., 0] - expected) < error).all()
    np.testing.assert_array_less(found, 0)
    by_log_rate = tape.gradient(found, params).numpy()[..., 0]
    assert (np.abs(by_log_rate - (x - rate)) < 1e-6 + 2e-6 * (x + rate)).all()


def test_a_poisson_of_large_counts_is_scipys_on_a_phone():
    """LiteRT computes expm1(d) as exp(d) - 1."""
    x = np.array([0, 29, 31, 1e4, 1e7], "float32")
    log_rate = (np.log(np.maximum(x, 0.5)) + 1 / np.sqrt(np.maximum(x, 1))).astype("float32")
    of = tf.function(lambda log_rate: distributions.Poisson(log_rate=log_rate).log_prob(x))
    concrete = of.get_concrete_function(tf.TensorSpec(x.shape))
    lite = Interpreter(model_content=tf.lite.TFLiteConverter.from_concrete_functions([concrete], of).convert())
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], log_rate)
    lite.invoke()
    found = lite.get_tensor(lite.get_output_details()[0]["index"])
    expected = stats.poisson.logpmf(x, np.exp(log_rate.astype("float64")))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_the_learned_numbers_are_those_of_their_own_column():
    likelihood = built(Mixed())
    scales, dfs, dispersions = (0.3, 2.0), (2.5, 40.0), (0.4, 30.0)
    likelihood.raw_scale.assign(np.log(np.expm1(np.array(scales) - 1e-2)))
    likelihood.raw_df.assign(np.log(np.expm1(np.array(dfs) - 1)))
    likelihood.raw_dispersion.assign(np.log(np.expm1(np.array(dispersions) - 1e-2)))
    x, params = rows(30), drawn_params(likelihood, (30,))
    found = likelihood.elements_log_prob(params, x, SPEC).numpy()
    wide = params.astype("float64")
    for at, place in enumerate((0, 4)):
        expected = of_number("student_t", x[:, place], wide[:, at], COLUMNS[place], scales[at], dfs[at])
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-4, atol=1e-4)
    for at, place in enumerate((2, 8)):
        expected = of_number(
            "negative_binomial", x[:, place], wide[:, 2 + at], COLUMNS[place], dispersion=dispersions[at]
        )
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("continuous", "count"), CHOICES)
def test_the_probabilities_of_a_column_sum_to_one(continuous, count):
    likelihood = built(Mixed(continuous=continuous, count=count))
    params = drawn_params(likelihood, (1,)) * 0.5
    x = np.repeat(rows(1), 4000, axis=0)
    grid = {0: np.linspace(-1500, 1900, 4000), 4: np.linspace(-0.1, 0.1, 4000), 2: np.arange(4000), 8: np.arange(4000)}
    for place, values in grid.items():
        at = x.copy()
        at[:, place] = values
        mass = np.exp(likelihood.elements_log_prob(params, at, SPEC).numpy()[:, place].astype("float64"))
        total = mass.sum() if COLUMNS[place].type == "count" else np.trapezoid(mass, values)
        np.testing.assert_allclose(total, 1.0, atol=2e-3)


# Missing cells


@pytest.mark.parametrize(("continuous", "count"), CHOICES)
def test_a_missing_cell_contributes_nothing_and_the_rest_what_it_did(continuous, count):
    likelihood = built(Mixed(continuous=continuous, count=count))
    x, params = rows(60), drawn_params(likelihood, (60,))
    missing = np.random.default_rng(2).uniform(size=x.shape) < 0.4
    complete = likelihood.elements_log_prob(params, x, SPEC).numpy()
    found = likelihood.elements_log_prob(params, np.where(missing, np.nan, x), SPEC).numpy()
    np.testing.assert_array_equal(found, np.where(missing, 0, complete))


@pytest.mark.parametrize(("continuous", "count"), CHOICES)
def test_no_gradient_of_a_missing_cell_is_nan_or_reaches_a_weight(continuous, count):
    likelihood = built(Mixed(continuous=continuous, count=count))
    x = rows(8)
    x[:, [0, 2, 3, 7]] = np.nan
    params = tf.constant(drawn_params(likelihood, (8,)))
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = likelihood.distribution(params, SPEC).log_prob(x)
    of_params, *of_weights = tape.gradient(log_prob, [params, *likelihood.trainable_variables])
    # Of params: height, dose; visits, falls; sex, smokes; colour (3), grade (3), floor (2).
    own = np.abs(of_params.numpy()).max(0) > 0
    assert own.tolist() == [False, True, False, True, True, False, *[False] * 3, *[True] * 5]
    for gradient in of_weights:  # of the first column of each type nothing is observed
        assert (gradient.numpy()[0], np.isfinite(gradient.numpy()[1])) == (0, True)
        assert gradient.numpy()[1] != 0


@pytest.mark.slow
def test_a_model_with_missing_cells_trains_with_finite_weights_and_the_elbo_is_that_of_what_is_observed():
    x = rows(64)
    holes = np.where(np.random.default_rng(3).uniform(size=x.shape) < 0.3, np.nan, x).astype("float32")
    holes[0] = np.nan  # nothing at all is known of the first row
    small = {"name": "mlp", "hidden": [8]}
    keras.utils.set_random_seed(0)
    model = vaezoo.create_model("mlp_vae", SPEC, likelihood="mixed", encoder=small, decoder=small, latent_dim=2)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    logs = model.fit(holes, batch_size=32, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    passed = model.forward(holes, samples=4, seed=(1, 2))
    np.testing.assert_array_equal(passed.log_likelihood[:, 0], np.zeros(4))
    by_hand = model.likelihood.elements_log_prob(passed.params, x, SPEC).numpy()
    np.testing.assert_allclose(
        passed.log_likelihood, np.where(np.isnan(holes), 0, by_hand).sum(-1), rtol=1e-4, atol=1e-4
    )


# Draws, and the row to show


@pytest.mark.parametrize(("continuous", "count"), CHOICES)
def test_draws_have_the_moments_of_the_distribution(continuous, count):
    likelihood = built(Mixed(continuous=continuous, count=count))
    params, n = drawn_params(likelihood, (2,), seed=4) * 0.5, 20_000
    wide = np.repeat(params[None], n, axis=0)
    x = np.asarray(likelihood.drawn(wide, SPEC, 1.0, (1, 2)))  # [n,2,F]
    np.testing.assert_array_equal(x, likelihood.drawn(wide, SPEC, 1.0, (1, 2)))
    shown = np.asarray(likelihood.mean(params, SPEC))
    for place, column in enumerate(COLUMNS):
        for row in range(2):
            cells = x[:, row, place].astype("float64")
            if column.is_number:
                assert abs(cells.mean() - shown[row, place]) < 5 * cells.std() / n**0.5
                continue
            probabilities = np.exp(of_one_column(likelihood, params[row], place))
            assert abs(probabilities.sum() - 1) < 1e-5
            counts = np.bincount(cells.astype(int), minlength=len(column.values))
            assert stats.chisquare(counts, n * probabilities / probabilities.sum()).pvalue > 1e-4
            assert shown[row, place] == probabilities.argmax()
    likelihood.check(x[:, 0], SPEC)


def of_one_column(likelihood, params, place):
    """The log-probability of each value of a column."""
    count = len(COLUMNS[place].values)
    x = np.repeat(rows(1), count, axis=0)
    x[:, place] = np.arange(count)
    return likelihood.elements_log_prob(params, x, SPEC).numpy()[:, place].astype("float64")


def test_a_temperature_is_refused():
    likelihood = built(Mixed())
    with pytest.raises(VaezooError, match="a temperature is for sequences of tokens, and these examples are rows of 9"):
        likelihood.drawn(drawn_params(likelihood, (2,)), SPEC, 0.5, (0, 1))


@pytest.mark.parametrize("likelihood", [StudentT, Poisson, NegativeBinomial])
def test_other_columns_than_its_own_are_refused(likelihood):
    with pytest.raises(VaezooError, match=r"describes columns that are .*; set model.likelihood=mixed"):
        likelihood().params_shape(SPEC)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.inf, "the column 'height' holds inf: its cells must be finite"),
        (0, 1e20, "the column 'height' holds 1e[+]20: .* less than 1e[+]12 times the spread"),
        (1, 2, "the column 'sex' holds 2: it is binary, and a row holds the index of the value, from 0 to 1"),
        (3, 0.5, "the column 'colour' holds 0.5: it is categorical"),
        (2, -1, "the column 'visits' holds -1: it is a count"),
        (2, 1.5, "the column 'visits' holds 1.5: it is a count"),
        (8, np.inf, "the column 'falls' holds inf: its cells must be finite"),
    ],
)
def test_what_is_no_row_of_the_columns_is_refused(place, value, message):
    x = rows(5)
    x[3, place] = value
    with pytest.raises(VaezooError, match=message):
        built(Mixed()).check(x, SPEC)
    x[3, place] = np.nan
    built(Mixed()).check(x, SPEC)


# A normal with a scale for each element


def test_a_normal_learns_a_scale_for_each_element():
    likelihood = Normal(scale=0.5, learned=True, per_element=True)
    spec = Spec("vector", (3,))
    likelihood.build((None, 3))
    scales = np.array([0.2, 1.0, 30.0])
    likelihood.raw_scale.assign(np.log(np.expm1(scales - 1e-3)))
    x, loc = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    expected = stats.norm.logpdf(x, loc, scales).sum(-1)
    np.testing.assert_allclose(likelihood.distribution(loc, spec).log_prob(x), expected, rtol=1e-5)
    with pytest.raises(VaezooError, match=r"only if it learns them; set model.likelihood.learned=true"):
        Normal(per_element=True)


# The encoder's features, and the files


def features_by_hand(x):
    """What `_row_features` says, in NumPy."""
    parts = []
    for kind in ("continuous", "count"):
        for place, column in enumerate(COLUMNS):
            if column.type == kind:
                cells = x[:, place].astype("float64")
                u = ((np.log1p(cells) if kind == "count" else cells) - column.loc) / column.scale
                u = np.where(np.isnan(cells), 0, u)
                parts.append((np.sign(u) * np.log1p(np.abs(u)))[:, None])
    parts += [
        (x[:, [place]] == np.arange(len(column.values))) for place, column in enumerate(COLUMNS) if not column.is_number
    ]
    parts += [np.isnan(x[:, [place]]) for place, column in enumerate(COLUMNS) if column.missing]
    return np.concatenate(parts, axis=1).astype("float64")


def test_the_features_of_the_encoder_are_in_units_of_the_columns_and_without_nan():
    inputs = example_inputs(SPEC)
    network = keras.Model(inputs, example_features(inputs, SPEC))
    x = rows(50)
    x[np.random.default_rng(5).uniform(size=x.shape) < 0.3] = np.nan
    x[0, 0] = 170 + 9e9  # 10^9 scales away
    found = network(x).numpy()
    np.testing.assert_allclose(found, features_by_hand(x), rtol=2e-5, atol=2e-5)
    assert np.abs(found).max() < 25


def test_a_model_of_a_table_is_saved_with_its_columns_and_its_networks_load_alone(tmp_path):
    small = {"name": "mlp", "hidden": [8]}
    model = vaezoo.create_model("mlp_vae", SPEC, likelihood="mixed", encoder=small, decoder=small, latent_dim=2)
    x = rows(6)
    x[1, 3] = np.nan
    for name, each in (
        ("model", model),
        ("encoder", standalone_encoder(model)),
        ("decoder", standalone_decoder(model)),
    ):
        each.save(tmp_path / f"{name}.keras")
    loaded = load_keras_file(tmp_path / "model.keras")
    assert loaded.spec == SPEC
    np.testing.assert_array_equal(loaded(x), model(x))
    code = load_keras_file(tmp_path / "encoder.keras")(x)["loc"]
    np.testing.assert_allclose(code, model.codes(x), atol=1e-6)
    np.testing.assert_allclose(load_keras_file(tmp_path / "decoder.keras")(code), model(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"name": "a", "type": "date"}, "unknown type of the column 'a' 'date'"),
        ({"name": "a", "dtype": "int8"}, "unknown dtype of the column 'a' 'int8'"),
        ({"name": "a", "scale": 0.0}, "the column 'a' has loc 0.0 and scale 0.0"),
        ({"name": "a", "type": "binary", "values": (1,)}, "the column 'a' is binary, and has 1 values"),
        ({"name": "a", "type": "categorical"}, "the column 'a' is categorical, and has 0 values"),
        ({"name": "a", "values": (1, 2)}, "the column 'a' is continuous, and has 2 values"),
    ],
)
def test_what_is_no_column_is_refused(keywords, message):
    with pytest.raises(VaezooError, match=message):
        Column(**keywords)


@pytest.mark.parametrize("shape", [(1,), (3,)])
def test_a_spec_has_a_column_for_each_element(shape):
    with pytest.raises(VaezooError, match="give one of its own name for each element"):
        Spec("vector", shape, columns=(Column("a"), Column("b")))
    with pytest.raises(VaezooError, match="2 columns of 1 names"):
        Spec("vector", (2,), columns=(Column("a"), Column("a")))

"""A new part is a section and a class, in any module: no other file changes for it."""

import csv
from typing import Annotated, ClassVar, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from pydantic import Field

import vaezoo
from vaezoo import objectives, part_schema, plots, priors
from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.registry import DECODERS, OBJECTIVES, PRIORS
from vaezoo.runs import Run
from vaezoo.spec import Spec
from vaezoo.training import train
from vaezoo.zoo import build_model


@pytest.fixture
def clean():
    """Remove what a test registers."""
    tables = [keras.saving.get_custom_objects()]
    for registry in (DECODERS, OBJECTIVES, PRIORS):
        tables += [registry._factories, registry.kind.parts]
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture
def prior(clean):
    """A normal of scale 1 whose location is learned; returns its section."""

    class Located(part_schema.Prior):
        """A normal with a learned location."""

        name: Literal["located"] = "located"
        normal: ClassVar[bool] = True
        start: Annotated[float, Field(ge=-10, le=10)] = Field(0.5, description="the location at first")

    @PRIORS.register(Located)
    class LocatedNormal(priors.Prior):
        """p(z) = N(z; m, I), with m learned."""

        def build(self, z_shape, x_shape=None):
            super().build(z_shape, x_shape)
            start = keras.initializers.Constant(self.start)
            self.loc = self.add_weight(name="loc", shape=(self.latent_dim,), initializer=start)

        def distribution(self, encode=None):
            return tfp.distributions.MultivariateNormalDiag(self.loc.value, tf.ones([self.latent_dim]))

    return Located


@pytest.fixture
def objective(clean):
    """An ELBO with a penalty on the size of the codes, which is a term of its own; returns its section."""

    class Compact(part_schema.ELBO):
        """The ELBO and a penalty on the size of the codes."""

        name: Literal["compact"] = "compact"
        terms: ClassVar[tuple[str, ...]] = ("loss", "elbo", "reconstruction", "code_size", "kl")
        weight: part_schema.Weight = Field(0.1, description="the weight of the size of the codes")

    @OBJECTIVES.register(Compact)
    class CompactELBO(objectives.ELBO):
        """loss = -ELBO + weight sum_d |z_d|."""

        def compute(self, passed, step):
            terms = super().compute(passed, step)
            size = tf.reduce_mean(tf.reduce_sum(tf.abs(passed.z), axis=-1), axis=0)
            return {**terms, "loss": terms["loss"] + self.weight * size, "code_size": size}

    return Compact


@pytest.mark.slow
def test_a_new_prior_trains_and_loads(prior, tiny_recipe, bars_file, tmp_path):
    chosen = {"name": "located", "start": 0.25}
    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "training.epochs": 1, "model.prior": chosen})
    assert recipe.model.prior == prior(start=0.25)
    (tmp_path / "again.yaml").write_text(to_yaml(recipe))
    assert load_recipe(tmp_path / "again.yaml") == recipe.model_copy(update={"name": "tiny"})
    assert build_model(recipe, Spec("image", (8, 8, 1))).prior.loc.numpy().tolist() == [0.25] * 3
    trained = train(recipe, tmp_path / "run", quiet=True)
    loaded = Run(tmp_path / "run").model
    assert loaded.prior.start == 0.25
    assert np.abs(trained.model.prior.loc - 0.25).min() > 0
    np.testing.assert_array_equal(loaded.prior.loc, trained.model.prior.loc)
    z = np.ones((4, 3), "float32")
    ours, theirs = trained.model.prior_distribution(), loaded.prior_distribution()
    np.testing.assert_array_equal(ours.log_prob(z), theirs.log_prob(z))
    np.testing.assert_array_equal(loaded.sample(4, seed=1), trained.model.sample(4, seed=1))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"name": "located", "start": 11}, "'model.prior.start' should be less than or equal to 10, not 11"),
        ({"name": "located", "begin": 1}, r"unknown key 'model.prior.begin'.* Allowed: .*model\.prior\.start"),
        ("locatd", r"unknown model\.prior 'locatd'\. Did you mean 'located'\?"),
    ],
)
def test_a_mistake_in_a_new_part_gets_the_same_line_as_any_other(chosen, message, prior, tiny_recipe):
    with pytest.raises(VaezooError, match=message):
        load_recipe(tiny_recipe, {"model.prior": chosen})


def test_the_keywords_of_a_new_class_are_checked(prior):
    assert PRIORS["located"](start=2.0).get_config()["start"] == 2.0
    assert "start = 0.5: the location at first; from -10 to 10." in PRIORS["located"].__doc__
    with pytest.raises(VaezooError, match="'start' should be less than or equal to 10, not 11"):
        PRIORS["located"](start=11.0)


@pytest.mark.slow
def test_a_new_term_is_recorded_and_shown(objective, tiny_recipe, bars_file, tmp_path, monkeypatch, capsys):
    panels = []
    real = plots.training_curves

    def spy(*arguments, **keywords):
        figure = real(*arguments, **keywords)
        panels.extend(axes.get_title() for axes in figure.axes)
        return figure

    monkeypatch.setattr(plots, "training_curves", spy)
    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "model.objective": "compact"})
    trained = train(recipe, tmp_path / "run")
    shown = objective.shown
    assert shown == ("elbo", "reconstruction", "code_size", "kl")
    with open(tmp_path / "run/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        assert float(row["loss"]) == pytest.approx(-float(row["elbo"]) + 0.1 * float(row["code_size"]), rel=1e-4)
        assert float(row["val_code_size"]) > 0
    assert trained.test["code_size"] > 0
    assert panels == ["ELBO", "Reconstruction", "Code size", "KL"]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    for line, row in zip(lines, rows, strict=True):
        assert "  ".join(f"{name} {float(row[name]):.2f}" for name in shown) in line
    assert main(["inspect", str(tmp_path / "run")]) == 0
    (best,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best epoch")]
    assert f"code_size {float(rows[-1]['code_size']):.2f}" in best
    assert vaezoo.load(tmp_path / "run").objective.weight == 0.1


def test_a_new_term_that_is_not_finite_is_named(objective, tiny_recipe, bars_file, tmp_path, monkeypatch):
    real = OBJECTIVES["compact"].compute

    def broken(self, passed, step):
        terms = real(self, passed, step)
        return {**terms, "code_size": tf.where(step == 3, np.nan, terms["code_size"])}

    monkeypatch.setattr(OBJECTIVES["compact"], "compute", broken)
    recipe = load_recipe(tiny_recipe, {"data.name": str(bars_file), "model.objective": "compact"})
    with pytest.raises(VaezooError, match="broke at step 4: the term 'code_size' became nan"):
        train(recipe, tmp_path / "run", quiet=True)


def test_a_part_that_disagrees_with_its_section_is_refused(clean):
    class Wide(part_schema.Decoder):
        """One layer."""

        name: Literal["wide"] = "wide"
        width: part_schema.Width = Field(4, description="of the layer")

    def decoder(latent_dim, spec, params_shape, *, widths):
        """One layer."""

    with pytest.raises(ValueError, match="'decoder' takes the keywords \\['widths'\\]"):
        DECODERS.register(Wide)(decoder)
    with pytest.raises(ValueError, match="the decoder 'wide' is described twice"):

        class WideAgain(part_schema.Decoder):
            name: Literal["wide"] = "wide"

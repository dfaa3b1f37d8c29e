"""Recipes: what is read back is what was written, and every mistake gets one plain line."""

import subprocess
import sys

import pytest

from vaezoo.config import load_recipe, parse_assignments, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.part_schema import WarmUp
from vaezoo.recipe_files import recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_written_is_read_back_equal(name, tmp_path):
    recipe = load_recipe(name)
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(recipe))
    assert load_recipe(path) == recipe


def test_a_recipe_whose_name_looks_like_a_number_is_read_back_equal(tmp_path):
    path = tmp_path / "7e3.yaml"
    path.write_text(to_yaml(load_recipe("mlp_vae")).replace("name: mlp_vae\n", ""))
    recipe = load_recipe(path)
    assert recipe.name == "7e3"
    path.write_text(to_yaml(recipe))
    assert load_recipe(path) == recipe


def test_overrides_reach_every_depth():
    recipe = load_recipe(
        "conv_vae",
        parse_assignments(
            [
                "model.latent_dim=7",
                "model.conditional=true",
                "model.encoder.filters=[8, 16]",
                "model.likelihood=normal",
                "model.likelihood.scale=0.5",
                "model.objective={name: beta, beta: {steps: 100}}",
                "training.learning_rate=3e-4",  # YAML 1.1 would call this text
            ]
        ),
    )
    assert (recipe.model.latent_dim, recipe.model.conditional) == (7, True)
    assert recipe.model.encoder.filters == (8, 16)
    assert recipe.model.likelihood.keywords() == {"scale": 0.5, "learned": False, "per_element": False}
    assert recipe.model.objective.beta == WarmUp(start=0.0, end=1.0, steps=100)
    assert recipe.training.learning_rate == 3e-4


def test_a_recipe_is_frozen():
    recipe = load_recipe("mlp_vae")
    with pytest.raises(ValueError, match="frozen"):
        recipe.model.latent_dim = 3


MISTAKES = {
    "model.latent_dim=0": ["'model.latent_dim'", "greater than or equal to 1", "not 0"],
    "model.latent_dim=-4": ["'model.latent_dim'", "not -4"],
    "model.latent_dim=many": ["'model.latent_dim'", "integer", "not 'many'"],
    "model.latent_dim=2.5": ["'model.latent_dim'", "integer", "not 2.5"],
    "model.latent_dim=true": ["'model.latent_dim'", "integer", "not True"],
    "model.latent_dims=3": ["unknown key 'model.latent_dims'", "Did you mean 'model.latent_dim'?"],
    "model.encoder.filterz=[8]": ["unknown key 'model.encoder.filterz'", "Did you mean 'model.encoder.filters'?"],
    "model.encoder.filters=[]": ["'model.encoder.filters'", "at least 1"],
    "model.encoder.filters=[8, 0]": ["'model.encoder.filters[1]'", "not 0"],
    "model.encoder=convv": ["unknown model.encoder 'convv'", "Did you mean 'conv'?"],
    "model.encoder=[conv]": ["'model.encoder'"],
    "model.encoder={filters: [8]}": ["'model.encoder'", "name"],
    "model.prior=standard_norml": ["'standard_norml'", "Did you mean 'standard_normal'?"],
    "model.likelihood=gauss": ["unknown model.likelihood 'gauss'", "normal"],
    "model.likelihood={name: normal, scale: 0}": ["'model.likelihood.scale'", "not 0"],
    "model.objective={name: beta, beta: -1}": ["'model.objective.beta'", "not -1"],
    "model.objective={name: beta, beta: {start: 1}}": ["'model.objective.beta.steps' is missing"],
    "model.objective={name: beta, beta: {steps: 5, stepz: 1}}": [
        "'model.objective.beta.stepz'",
        "'model.objective.beta.steps'?",
    ],
    "model.posterior=point": ["'elbo' needs a KL", "model.objective=reconstruction"],
    "data.binarize=dynamical": ["'dynamical'", "Did you mean 'dynamic'?"],
    "data.validation=0.9": ["'data.validation'", "not 0.9"],
    "training.precision=float16": ["unknown training.precision 'float16'", "mixed_float16"],
    "training.learning_rate=.nan": ["'training.learning_rate'", "finite"],
    "training.epochs=0": ["'training.epochs'", "not 0"],
    "trainingg.epochs=3": ["unknown key 'trainingg'", "Did you mean 'training'?"],
    "name=../elsewhere": ["'name'", "not '../elsewhere'"],
}


@pytest.mark.parametrize(("assignment", "words"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_named_on_one_line(assignment, words):
    with pytest.raises(VaezooError) as error:
        load_recipe("conv_vae", parse_assignments([assignment]))
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message


MISMATCHES = {
    "posterior=point objective=reconstruction prior=vamp": ["'vamp' needs the density", "model.prior=mixture"],
    "posterior=flow prior=vamp": ["'vamp' needs", "model.posterior=diagonal_normal, or model.prior=mixture"],
    "posterior=flow objective=iwae objective.doubly_reparameterized=true": [
        "not for 'flow'",
        "model.objective.doubly_reparameterized=false",
    ],
    "posterior=flow objective.kl=closed_form": ["no closed-form KL", "'flow' to the prior", "model.objective.kl=auto"],
    "prior=mixture objective=beta objective.free_bits=1 objective.gradient=sticking_the_landing": [
        "no closed-form KL",
        "set model.objective.gradient=reparameterized",
    ],
    "prior=mixture objective.kl=closed_form": ["no closed-form KL", "prior 'mixture'", "model.objective.kl=auto"],
}


@pytest.mark.parametrize(("assignments", "words"), MISMATCHES.items(), ids=MISMATCHES)
def test_parts_that_do_not_fit_are_named_on_one_line_with_what_to_set(assignments, words):
    with pytest.raises(VaezooError) as error:
        load_recipe("mlp_vae", parse_assignments([f"model.{assignment}" for assignment in assignments.split()]))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


UNREADABLE = {
    "a: 1\na: 2": "occurs twice",
    "a: &x [1]\nb: *x": "aliases",
    "[1, 2": "cannot read",
    "- 1": "must hold keys and values",
    "": "must hold keys and values",
    "model: !!python/object/apply:os.system ['true']": "cannot read",
    "x: " + "[" * 5000: "cannot read",
    "#" * 100_000: "larger than",
}


@pytest.mark.parametrize(("text", "word"), UNREADABLE.items(), ids=range(len(UNREADABLE)))
def test_a_file_that_is_no_recipe(text, word, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(VaezooError, match=word) as error:
        load_recipe(path)
    assert "\n" not in str(error.value)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(VaezooError, match=r"unknown model 'convvae'\. Did you mean 'conv_vae'\?"):
        load_recipe("convvae")


def test_a_missing_file_is_no_unknown_name():
    with pytest.raises(VaezooError, match=r"no recipe file 'nowhere\.yaml'"):
        load_recipe("nowhere.yaml")


@pytest.mark.parametrize("assignment", ["model.latent_dim", "=3", "model.latent_dim=[1", "model.latent_dim.x=3"])
def test_an_assignment_that_cannot_be_made(assignment):
    with pytest.raises(VaezooError, match="cannot"):
        load_recipe("conv_vae", parse_assignments([assignment]))


def test_a_recipe_is_refused_before_tensorflow_is_imported():
    code = (
        "import sys; from vaezoo.cli import main; code = main(['train', 'conv_vae', '--set', 'model.latent_dim=0']);"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys(); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("vaezoo: conv_vae: 'model.latent_dim'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["010", "1:30", "0x10", "1_000", "0b1"])
def test_a_number_is_decimal_or_refused(text):
    with pytest.raises(VaezooError, match=f"'training.seed' .* not '{text}'"):
        load_recipe("mlp_vae", parse_assignments([f"training.seed={text}"]))


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1E3", 1e3), (".5", 0.5), ("5.", 5.0), ("-2.5e+1", -25.0), ("+7", 7), ("0", 0)]
)
def test_numbers_as_people_write_them(text, value):
    (found,) = parse_assignments([f"a={text}"]).values()
    assert (found, type(found)) == (value, type(value))

"""Whatever passes validation builds, trains a step, saves and loads.

The recipes are drawn from the pydantic schema, so a new part or keyword is covered with no edit here.
"""

import functools
import inspect
import itertools
import random
import types
import typing
from types import SimpleNamespace

import annotated_types
import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import vaezoo
from vaezoo.config import to_yaml
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file
from vaezoo.models.standalone import standalone_decoder, standalone_encoder
from vaezoo.presets import Preset, write_files, write_metadata
from vaezoo.recipe_schema import Model, Recipe, Training
from vaezoo.sections import Part, Section
from vaezoo.spec import Spec
from vaezoo.zoo import build_model

# The largest number for a key, and the longest list, so that networks stay small and a step of Adam stays finite.
LARGEST = {"samples": 3, "seed": 2**31 - 1, "learning_rate": 1e-2}
LARGEST_INTEGER, LONGEST_LIST = 8, 3

SPECS = {
    "image": (Spec("image", (8, 8, 1), classes=3), Spec("image", (8, 8, 3), classes=3), Spec("image", (4, 4, 1))),
    "vector": (Spec("vector", (5,), classes=3), Spec("vector", (1,))),
    "sequence": (Spec("sequence", (4,), levels=3, classes=3), Spec("sequence", (1,), levels=2)),
}


def values(annotation, metadata=(), largest=None):
    """A strategy for the values of a type, within the bounds of its metadata."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = [m for extra in arguments[1:] for m in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        return values(arguments[0], [*inner, *metadata], largest)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values(each, (), largest) for each in arguments))
    bounds = {}
    for item in metadata:
        if isinstance(item, annotated_types.BaseMetadata):
            bounds |= {name: getattr(item, name) for name in item.__slots__}
    if origin is tuple:
        return tuples(arguments, bounds)
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        lowest = bounds.get("ge", bounds.get("gt", -1) + 1)
        highest = bounds.get("le", bounds.get("lt", np.inf) - 1)
        return st.integers(lowest, max(lowest, min(highest, largest or LARGEST_INTEGER)))
    if annotation is float:
        highest = bounds["le"] if "le" in bounds else float(np.nextafter(bounds["lt"], -np.inf))
        if largest is not None:
            highest = min(highest, largest)
        # In single precision, a smaller number than 1e-30 would be 0.
        return st.floats(max(bounds.get("ge", bounds.get("gt")), 1e-30 * ("gt" in bounds)), highest)
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return sections(annotation)
    raise TypeError(f"no strategy for {annotation}; add one here")


def tuples(arguments, bounds):
    """A strategy for tuples: of a fixed length, or of at most LONGEST_LIST items of one type."""
    if arguments[-1] is not Ellipsis:
        return st.tuples(*map(values, arguments))
    shortest = bounds.get("min_length", 0)
    longest = max(shortest, min(bounds.get("max_length") or LONGEST_LIST, LONGEST_LIST))
    return st.lists(values(arguments[0]), min_size=shortest, max_size=longest).map(tuple)


def sections(section, **given):
    """A strategy for a section: each key by its type, but for those that are given a strategy."""
    fields = {
        name: values(field.annotation, field.metadata, LARGEST.get(name))
        for name, field in section.model_fields.items()
        if name not in given
    }
    return st.fixed_dictionaries({**fields, **given}).map(section.model_validate)


KINDS = {
    name: field.annotation
    for name, field in Model.model_fields.items()
    if inspect.isclass(field.annotation) and issubclass(field.annotation, Part)
}
EVERY_PART = [(kind, name) for kind, part in KINDS.items() for name in part.parts]


def combinations(allowed):
    """Every choice of an allowed part of each kind that the schema accepts with the defaults: {kind: section class}."""
    every = ([part for part in KINDS[kind].parts.values() if allowed(kind, part)] for kind in KINDS)
    for parts in itertools.product(*every):
        chosen = dict(zip(KINDS, parts, strict=True))
        try:
            Model(latent_dim=2, **{kind: part() for kind, part in chosen.items()})
        except ValidationError:
            continue
        yield chosen


def trains(chosen):
    """Whether `train` accepts it: without a bound a learned prior would learn nothing."""
    return chosen["objective"].has_bound or not chosen["prior"].learned


@functools.cache
def combinations_for(examples):
    """Those that train and whose parts are all for such examples, as a list."""
    return [chosen for chosen in combinations(lambda _, part: examples in part.examples) if trains(chosen)]


def covering(seed):
    """Few combinations that together have every part, each with the examples that it is for."""
    rng = random.Random(seed)
    every = [(chosen, examples) for examples in SPECS for chosen in combinations_for(examples)]
    rng.shuffle(every)
    left = {KINDS[kind].parts[name] for kind, name in EVERY_PART}
    while left:
        chosen, examples = max(every, key=lambda each: len(left.intersection(each[0].values())))
        left -= set(chosen.values())
        yield chosen, examples


def spans(part, spec):
    """A strategy for the bars that a part divides a sequence into: complete ones."""
    if "span" not in part.model_fields:
        return {}
    return {"span": st.sampled_from([steps for steps in range(1, spec.size + 1) if spec.size % steps == 0])}


@st.composite
def cases(draw, chosen, examples):
    """A recipe with these parts that its schema accepts, with small networks; and a `Spec` of such examples."""
    spec = draw(st.sampled_from(SPECS[examples]))
    parts = {kind: sections(part, **spans(part, spec)) for kind, part in chosen.items()}
    conditional = st.booleans() if spec.conditional else st.just(False)
    try:
        model = draw(sections(Model, **parts, conditional=conditional))
    except ValidationError:  # some keywords do not fit another part
        assume(False)
    return Recipe(name="drawn", model=model, training=draw(sections(Training))), spec


def examples_of(spec, count=8):
    """Examples [B,...] that suit every likelihood for such a spec: tokens, or zeros and ones."""
    rng = np.random.default_rng(0)
    return rng.integers(spec.levels or 2, size=(count, *spec.shape)).astype(spec.dtype)


def check_preset(recipe, model, folder, inputs, kind):
    """Store the model as a preset and read it back: its weights rounded, and nothing else changed."""
    folder.mkdir(exist_ok=True)
    write_files(folder, SimpleNamespace(recipe=recipe, model=model), kind)
    write_metadata(folder, kind, 1, {}, {})
    preset = Preset(folder)
    assert preset.recipe == recipe
    assert preset.model.spec == model.spec
    error = {"int8": 1 / 250, "float16": 2**-11}[kind]
    for ours, theirs in zip(preset.model.weights, model.weights, strict=True):
        theirs = np.asarray(theirs)
        np.testing.assert_allclose(ours, theirs, atol=error * np.abs(theirs).max(initial=1e-4), rtol=0)
    before = model.get_weights()
    model.set_weights(preset.model.get_weights())
    np.testing.assert_array_equal(preset.model(inputs), model(inputs))
    model.set_weights(before)


def check(recipe, spec, folder, kind):
    """Build, train, save and load; as a preset, with weights of that kind."""
    model = build_model(recipe, spec)
    x = examples_of(spec)
    inputs = {"x": x, "label": np.arange(len(x)) % 3} if model.spec.conditional else x
    settings = recipe.training
    optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm)
    model.compile(optimizer, run_eagerly=True)  # tracing a step that is taken once would take most of the time
    terms = model.fit(inputs, batch_size=len(x), verbose=0).history
    assert set(terms) == set(recipe.model.objective.terms)
    assert all(np.isfinite(values).all() for values in terms.values()), terms
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    assert vaezoo.load_recipe(folder / "recipe.yaml") == recipe
    model.save(folder / "model.keras")
    loaded = vaezoo.load(folder)
    assert loaded.spec == model.spec
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    check_preset(recipe, loaded, folder / "preset", inputs, kind)
    for network in (standalone_decoder(model), standalone_encoder(model)):
        network.save(folder / "standalone.keras")
        load_keras_file(folder / "standalone.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


PROPERTY = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate,),  # a recipe is small as it is drawn; making it smaller takes minutes
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_passes_validation_builds_trains_saves_and_loads(seed, folder):
    @hypothesis.seed(seed)
    @settings(**PROPERTY, max_examples=1 if seed == 0 else 2)  # the first values of all keywords are the simplest
    @given(data=st.data())
    def draw(chosen, examples, data):
        drawn.append(data.draw(cases(chosen, examples)))

    for number, (chosen, examples) in enumerate(covering(seed)):
        drawn = []
        draw(chosen, examples)
        assert len(drawn) == 1 + (seed > 0)
        check(*drawn[-1], folder, ("int8", "float16")[number % 2])


UNFIT = [
    (kind, name, examples)
    for kind, name in EVERY_PART
    for examples in SPECS
    if examples not in KINDS[kind].parts[name].examples
]


@pytest.mark.parametrize(("kind", "name", "examples"), UNFIT)
def test_a_part_that_is_not_for_the_examples_is_refused_in_one_line(kind, name, examples):
    spec = SPECS[examples][0]
    unfit = KINDS[kind].parts[name]
    chosen = next(combinations(lambda other, part: other != kind or part is unfit))
    model = Model(latent_dim=2, **{kind: part() for kind, part in chosen.items()})
    with pytest.raises(VaezooError, match=f"not for {spec}; set model") as error:
        build_model(Recipe(name="unfit", model=model), spec)
    assert str(error.value).isprintable()
    with pytest.raises(VaezooError, match=f"the {kind} '{name}' is for .*, not for {spec}; set model.{kind} to "):
        unfit.check_examples(spec)


def test_every_bound_of_the_schema_is_respected():
    """What is drawn reaches the ends that the caps leave."""

    @settings(**PROPERTY, derandomize=True, max_examples=200)
    @given(drawn=sections(KINDS["posterior"].parts["flow"]))
    def draw_many(drawn):
        seen.append(drawn)

    seen = []
    draw_many()
    assert {flow.blocks for flow in seen} == set(range(9))
    assert {flow.context for flow in seen} == set(range(1, 9))
    assert {len(flow.hidden) for flow in seen} == {1, 2, 3}

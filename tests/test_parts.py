"""One contract over every registered part: its keywords come from its section, and it survives serialization."""

import inspect
import json
from typing import ClassVar, Literal

import keras
import numpy as np
import pytest
from pydantic import Field

from vaezoo import likelihoods, networks, objectives, posteriors, priors
from vaezoo.errors import VaezooError
from vaezoo.part_schema import WarmUp
from vaezoo.parts import Part
from vaezoo.registry import DECODERS, ENCODERS, LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS, Registry
from vaezoo.sections import Part as Section
from vaezoo.spec import Spec

REGISTRIES = (ENCODERS, POSTERIORS, PRIORS, DECODERS, LIKELIHOODS, OBJECTIVES)
PARTS = [(registry, name) for registry in REGISTRIES for name in registry.names()]
BASES = (posteriors.Posterior, priors.Prior, likelihoods.Likelihood, objectives.Objective)
IMAGE = Spec("image", (8, 8, 1))
SEQUENCE = Spec("sequence", (16 * 17,), 3)  # bars of 16 steps, and of 17

NETWORKS = (ENCODERS, DECODERS)  # functions that make one; every other part is a layer


def over(parts):
    ids = [f"{registry.kind.kind}-{name}" for registry, name in parts]
    return pytest.mark.parametrize(("registry", "name"), parts, ids=ids)


every_part = over(PARTS)
every_layer = over([part for part in PARTS if part[0] not in NETWORKS])
every_kind = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind.kind)


def section_of(registry, name):
    return registry.kind.parts[name]


def sizes_of(registry, name):
    """What comes before the keywords: an encoder or a decoder is made for examples of some shape."""
    image = "image" in section_of(registry, name).examples
    spec, params_shape = (IMAGE, IMAGE.shape) if image else (SEQUENCE, (*SEQUENCE.shape, 2))
    return {ENCODERS: (spec, 4), DECODERS: (2, spec, params_shape)}.get(registry, ())


def make(registry, name, **keywords):
    return registry[name](*sizes_of(registry, name), **keywords)


def changed(section):
    """For each keyword, a value that is allowed and is not the default."""
    properties, defaults = section.model_json_schema()["properties"], section.defaults()

    def other(name, default):
        match default:
            case bool():
                return not default
            case str():
                return next(value for value in properties[name]["enum"][::-1] if value != default)
            case int():
                return default + 1
            case float():
                return {"start": 0.5, "steps": 7} if "anyOf" in properties[name] else default / 2 or 0.5
            case tuple():
                return (3, 5)
            case None:  # what the data decide
                return 1000

    values = {name: other(name, defaults[name]) for name in section.keyword_names()}
    assert None not in values.values(), "a keyword of a new type: say above what else it may be"
    return values


@every_kind
def test_every_section_has_a_part_and_every_part_a_section(registry):
    assert set(registry.kind.parts) == set(registry.names())


@every_part
def test_the_signature_and_the_docstring_have_the_keywords_and_the_defaults_of_the_section(registry, name):
    section, part = section_of(registry, name), registry[name]
    parameters = inspect.signature(part).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert keywords == section.defaults()
    assert list(keywords) == section.keyword_names()  # every keyword has a default
    for keyword, default in keywords.items():
        assert section.model_fields[keyword].description in part.__doc__
        assert f"    {keyword} = {json.dumps(default)}: " in part.__doc__
    if registry not in NETWORKS:
        assert len(parameters) == len(keywords)


@every_part
def test_the_defaults_are_allowed(registry, name):
    section = section_of(registry, name)
    assert section.checked(section.defaults()) == section()


@every_part
def test_every_keyword_refuses_a_bad_value_on_one_line(registry, name):
    for keyword, default in section_of(registry, name).defaults().items():
        bad = [object(), "nonsense", *[None] * (default is not None)]
        bad += [-1] if isinstance(default, int | float) and not isinstance(default, bool) else []
        bad += [float("nan")] if isinstance(default, float) else []
        bad += [[0], [-3], ["wide"]] if isinstance(default, tuple) else []
        for value in bad:
            with pytest.raises(VaezooError, match=keyword) as error:
                make(registry, name, **{keyword: value})
            assert "\n" not in str(error.value)


def test_the_message_says_what_was_given_and_what_is_allowed():
    with pytest.raises(VaezooError, match="'components' should be greater than or equal to 1, not 0") as error:
        priors.Mixture(components=0)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__  # no traceback of pydantic above it
    with pytest.raises(VaezooError, match=r"unknown kl 'closed'. Did you mean 'closed_form'\? Allowed: auto, "):
        objectives.ELBO(kl="closed")
    with pytest.raises(VaezooError, match=r"'beta\.steps' should be greater than or equal to 1, not 0"):
        objectives.BetaELBO(beta={"steps": 0})
    with pytest.raises(VaezooError, match=r"the key 'beta\.steps' is missing"):
        objectives.BetaELBO(beta={"end": 2.0})


@every_part
def test_an_unknown_keyword_is_refused(registry, name):
    with pytest.raises(ValueError, match="nonsense") as error:
        make(registry, name, nonsense=1)
    assert "\n" not in str(error.value)


def test_a_misspelt_keyword_of_a_network_is_refused_with_the_nearest():
    with pytest.raises(VaezooError, match=r"unknown key 'hiden'\. Did you mean 'hidden'\?"):
        networks.mlp_encoder(IMAGE, 4, hiden=(3,))


@every_kind
def test_an_unknown_name_is_refused_with_the_nearest(registry):
    first = registry.names()[0]
    with pytest.raises(VaezooError, match=f"unknown {registry.kind.kind} '{first}x'. Did you mean '{first}'?"):
        registry[first + "x"]


@every_layer
def test_a_part_has_its_keywords_and_its_capabilities_as_attributes(registry, name):
    section = section_of(registry, name)
    values = changed(section)
    part = make(registry, name, **values)
    assert isinstance(part, Part)
    assert isinstance(part, BASES)
    for keyword, value in values.items():
        assert getattr(part, keyword) == (WarmUp(**value) if isinstance(value, dict) else value)
    for capability, value in section.capabilities().items():
        assert getattr(part, capability) == value
        assert getattr(type(part), capability) == value
    assert "examples" in section.capabilities()


def written_and_read(part):
    """The part after it has been JSON, as in a file."""
    return keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(part))))


@every_layer
def test_files_name_a_part_by_a_module_that_does_not_change(registry, name):
    # A file of an earlier version is refused where its class has moved to another module.
    module = {"posterior": "posteriors", "prior": "priors", "likelihood": "likelihoods", "objective": "objectives"}
    written = keras.saving.serialize_keras_object(make(registry, name))
    assert written["module"] == f"vaezoo.{module[registry.kind.kind]}"
    assert written["registered_name"] == f"vaezoo>{registry[name].__name__}"


@every_layer
def test_a_part_comes_back_from_its_configuration(registry, name):
    section, factory = section_of(registry, name), registry[name]
    values = changed(section)
    part = factory(**values, name="another")
    twin = written_and_read(part)
    assert type(twin) is factory
    assert twin.settings == part.settings == section(**values)
    assert twin.get_config() == part.get_config()
    assert (twin.name, twin.compute_dtype) == ("another", "float32")
    unset = factory(name="another").get_config()
    assert {key for key, value in unset.items() if value != part.get_config()[key]} == set(values)


@over([part for part in PARTS if part[0] in NETWORKS])
def test_a_network_comes_back_from_its_configuration(registry, name):
    network = make(registry, name, **changed(section_of(registry, name)))
    twin = written_and_read(network)
    twin.set_weights(network.get_weights())
    inputs = np.random.default_rng(0).uniform(size=(2, *network.input_shape[1:])).astype("float32")
    for ours, theirs in zip(keras.tree.flatten(network(inputs)), keras.tree.flatten(twin(inputs)), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert [layer.name for layer in twin.layers] == [layer.name for layer in network.layers]


@every_part
def test_a_part_is_made_from_the_section_of_a_recipe(registry, name):
    section = section_of(registry, name)
    values = changed(section)
    created, made = registry.create(section(**values), *sizes_of(registry, name)), make(registry, name, **values)
    if registry in NETWORKS:
        layers = [
            [(type(layer), [output.shape for output in keras.tree.flatten(layer.output)]) for layer in network.layers]
            for network in (created, made)
        ]
        assert layers[0] == layers[1]
    else:
        assert created.settings == made.settings


def test_a_part_is_float32_under_every_precision_but_what_it_is_told():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert {registry[name]().compute_dtype for registry, name in PARTS if registry not in NETWORKS} == {"float32"}
        assert posteriors.Point(dtype="float64").compute_dtype == "float64"
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_subclass_takes_the_keywords_and_the_capabilities_of_its_base():
    class Narrow(posteriors.Flow):
        pass

    narrow = Narrow(blocks=3)
    assert (narrow.blocks, narrow.context, narrow.normal) == (3, 64, False)
    with pytest.raises(VaezooError, match="'blocks'"):
        Narrow(blocks=-1)


# Registering


@pytest.fixture
def kind():
    """A kind of part of its own, with two parts."""

    class Colour(Section):
        kind: ClassVar = "colour"
        bright: ClassVar[bool] = False

    class Red(Colour):
        name: Literal["red"] = "red"
        depth: int = Field(3, ge=1, le=9, description="how deep it is")

    class Blue(Colour):
        name: Literal["blue"] = "blue"
        bright: ClassVar[bool] = True
        examples: ClassVar[tuple[str, ...]] = ("vector",)

    return Colour


def test_a_kind_lists_its_own_parts(kind):
    assert set(kind.parts) == {"red", "blue"}
    assert not any("red" in registry.kind.parts for registry in REGISTRIES)
    with pytest.raises(ValueError, match="the colour 'red' is described twice"):

        class Again(kind):
            name: Literal["red"] = "red"


def test_a_part_is_registered_once(kind):
    registry = Registry(kind)

    @registry.register(kind.parts["red"])
    def red(canvas, *, depth):
        """Red."""
        return canvas, depth

    assert registry.names() == ("red",)
    assert (red("x"), red("x", depth=5)) == (("x", 3), ("x", 5))
    assert registry.create(kind.parts["red"](depth=7), "y") == ("y", 7)
    assert red.__doc__ == "Red.\n\nKeywords:\n    depth = 3: how deep it is; from 1 to 9."
    with pytest.raises(VaezooError, match="'depth' should be less than or equal to 9, not 10"):
        red("x", depth=10)
    with pytest.raises(ValueError, match="the colour 'red' is registered twice"):
        registry.register(kind.parts["red"])(lambda canvas, *, depth: None)


def test_a_function_must_have_the_keywords_of_its_section(kind):
    with pytest.raises(ValueError, match="'shade'"):
        Registry(kind).register(kind.parts["red"])(_with_shade)


def _with_shade(canvas, *, shade):
    """A function of another keyword."""


def test_a_part_for_other_examples_names_those_that_fit(kind):
    kind.parts["red"].check_examples(IMAGE)
    kind.parts["blue"].check_examples(Spec("vector", (3,)))
    with pytest.raises(VaezooError) as error:
        kind.parts["blue"].check_examples(IMAGE)
    assert str(error.value) == "the colour 'blue' is for vectors, not for images of 8×8×1; set model.colour to red"

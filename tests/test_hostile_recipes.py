"""Recipes from untrusted sources: any text is a recipe, or is refused in one line."""

import re

import pytest
import yaml
from hostile import refusal
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaezoo.config import load_recipe, parse_assignments, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.recipe_files import parse_yaml
from vaezoo.recipe_schema import Recipe

GOOD = to_yaml(load_recipe("conv_vae"))


def with_line(line):
    """A good recipe, with its line of the same key replaced."""
    key = line.partition(":")[0]
    return re.sub(rf"^{key}:.*$", lambda _: line, GOOD, count=1, flags=re.MULTILINE)


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))

HOSTILE = {
    "billion laughs": LAUGHS,
    "an anchor that holds itself": "a: &a [*a]",
    "python object": "!!python/object/apply:os.system ['touch vaezoo_was_here']",
    "python object inside": with_line("summary: !!python/object/new:os.system [touch vaezoo_was_here]"),
    "python name": with_line("summary: !!python/name:os.system"),
    "python module": "model: !!python/module:os",
    "a tag that nobody knows": with_line("summary: !evil x"),
    "deep lists": "x: " + "[" * 60_000,
    "deep maps": "x: " + "{a: " * 10_000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(300)),
    "deep dashes": "- " * 30_000,
    "many keys": "\n".join(f"k{n}:" for n in range(9_000)),
    "a key that occurs often": "a:\n" * 20_000,
    "a huge file": "#" * 10_000_000,
    "empty": "",
    "nothing but a comment": "# recipe",
    "a list": "- 1",
    "two documents": "a: 1\n---\nb: 2",
    "binary": b"\x80\x04\x95\x00\xff\xfe" * 99,
    "UTF-16": GOOD.encode("utf-16"),
    "a null byte": GOOD + "\0",
    "terminal codes": "\x1b]0;owned\x07: 1",
    "terminal codes, quoted": r'"\e[2Jvaezoo: all is well\n": 1',
    "half a character": r'"\ud800": 1',
    "right to left": with_line('name: "\u202egnp.evil"'),
    "a name in Greek": with_line("name: βάε"),
    "a name that leaves the folder": with_line("name: ../../evil"),
    "an absolute name": with_line("name: /tmp/evil"),
    "a name of thousands": with_line("name: " + "a" * 60_000),
    "keys that are numbers": "1: 2\n2.5: 3",
    "a key that is null": "~: 1",
    "a key that is a list": "? [a, b]\n: 1",
    "a key that is a date": "2020-01-01: 1",
    "a huge number": with_line("parameters: " + "9" * 5_000),
    "a huge number in hexadecimal": with_line("parameters: 0x" + "F" * 60_000),
    "a huge number in base 60": with_line("parameters: 1" + ":59" * 20_000),
    "a huge exponent": "training: {learning_rate: 1e400}",
    "infinity": "training: {learning_rate: .inf}",
    "not a number": "training: {learning_rate: .nan}",
    "an empty integer": "parameters: !!int ''",
    "not a boolean": "parameters: !!bool perhaps",
    "not a time": "summary: !!timestamp never",
    "a month 13": "summary: 2020-13-01",
    "a set": "model: !!set {a, b}",
    "pairs": "model: !!pairs [a: 1, a: 2]",
    "bytes": "name: !!binary dmFlem9v",
    "a wrong type for every key": "\n".join(f"{key}: [[]]" for key in Recipe.model_fields),
    "a string for a section": "model: conv_vae\ndata: mnist",
    "a list for a part": "model: {latent_dim: 2, encoder: [], decoder: [], likelihood: []}",
    "a number for a part": "model: {latent_dim: 2, encoder: 7, decoder: 7, likelihood: 7}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_recipe_is_refused_in_one_line(content, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "recipe" in refusal(capsys, "show", path)
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.yaml"]


UNUSUAL = {
    "Windows line ends": GOOD.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + GOOD,
    "a summary in Greek": with_line("summary: αυτοκωδικοποιητής 🎲"),
    "JSON": str(yaml.safe_load(GOOD)).replace("None", "null").replace("True", "true").replace("False", "false"),
    "a merge without an anchor": with_line("summary: ''") + "<<: {paper: ''}\n",
}


@pytest.mark.parametrize("content", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_recipe_is_read(content, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(content, encoding="utf-8", newline="")
    assert load_recipe(path).model == load_recipe("conv_vae").model


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "a" * 5_000 + ".yaml"),
        ("show", "../../etc/passwd"),
        ("show", "a\0b.yaml"),
        ("show", "conv_vae", "--set", "x=" + "[" * 10_000),
        ("show", "conv_vae", "--set", "x=!!python/name:os.system"),
        ("show", "conv_vae", "--set", "parameters=0x" + "F" * 10_000),
        ("show", "conv_vae", "--set", "model" + ".a" * 5_000 + "=1"),
        ("show", "conv_vae", "--set", "name=../evil"),
        ("show", "conv_vae", "--set", "data.image_size=[65536, 65536]"),
        ("inspect", "a" * 300),
        ("train", "--resume", "a" * 300),
        ("train", "--resume", "a" * 300, "--callback", "tensorboard"),
        ("train", "conv_vae", "--data", "./a\0b"),
        ("train", "conv_vae", "--data", "./" + "a" * 4_000),
        ("train", "conv_vae", "--data", "a" * 4_000),
        ("train", "conv_vae", "--data", "mnist/../../etc"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40].replace("\0", "0"),
)
def test_hostile_arguments(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def recipe_or_line(*arguments):
    """What `load_recipe` returns, or the line of its refusal."""
    try:
        return load_recipe(*arguments)
    except VaezooError as error:
        return str(error)


def check(content, folder):
    """The content is a recipe, which is written and read back equal; or it is refused in one line."""
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    recipe = recipe_or_line(path)
    if isinstance(recipe, Recipe):
        path.write_text(to_yaml(recipe), encoding="utf-8")
        assert load_recipe(path) == recipe
    else:
        assert recipe.isprintable()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


PIECES = (
    "[ ] { } , : - ? ! !!int !!float !!bool !!set !!omap !!binary !!timestamp & * | > % @ # ' \" \\ << ~ 0x 1e9 .inf "
    "name model data training encoder conv latent_dim 2020-01-01 --- ..."
)
YAML = st.lists(st.sampled_from([*PIECES.split(), "\n", "\n  ", " ", ": "]) | st.text(max_size=5), max_size=30)
FUZZ = settings(derandomize=True, deadline=None, database=None, max_examples=150)


@FUZZ
@given(content=st.binary(max_size=200) | YAML.map("".join))
def test_any_bytes_are_a_recipe_or_refused(content, folder):
    check(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"), folder)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates()
VALUES = st.recursive(
    SCALARS | st.integers(-(10**400), 10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = load_recipe("conv_vae").model_dump()
KEYS = [*SECTIONS, *(f"{name}.{key}" for name, part in SECTIONS.items() if isinstance(part, dict) for key in part)]


@FUZZ
@given(key=st.sampled_from(KEYS) | st.text(max_size=20), value=VALUES)
def test_any_value_of_any_key_is_a_recipe_or_refused(key, value, folder):
    content = yaml.safe_load(GOOD)
    section, _, last = key.partition(".")
    if last and isinstance(content.get(section), dict):
        content[section][last] = value
    else:
        content[key] = value
    check(yaml.dump(content, Dumper=yaml.SafeDumper).encode(), folder)


@FUZZ
@given(assignment=st.text(max_size=60) | st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=20)))
def test_any_assignment_is_made_or_refused(assignment):
    try:
        overrides = parse_assignments([assignment])
    except VaezooError:
        return
    recipe = recipe_or_line("conv_vae", overrides)
    assert isinstance(recipe, Recipe) or recipe.isprintable()


TABLE = load_recipe("table_vae")
LIKE_NUMBERS = st.from_regex(r"[-+]?[.0-9oxb][.0-9eE_:+]{0,9}", fullmatch=True)


@settings(FUZZ, max_examples=60)
@example(text="2310009E13")
@example(text="1_0")
@given(text=LIKE_NUMBERS | st.text(max_size=20))
def test_any_text_is_written_and_read_back(text):
    data = TABLE.data.model_copy(update={"name": text, "columns": {text: "drop"}, "label": text})
    recipe = TABLE.model_copy(update={"name": text, "data": data})
    assert parse_yaml(to_yaml(recipe)) == recipe.model_dump(mode="json")

"""Every reader of untrusted bytes, on inputs made at random: a value, or an error of one line; nothing else.

The inputs are good ones that are spoilt, so that they come far into the readers. They are the same in every run.
"""

import contextlib
import copy
import hashlib
import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hostile import METADATA, KerasFile, sign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vaezoo.checkpoints import Checkpoint, TrainingState
from vaezoo.config import load_recipe
from vaezoo.data import load_data
from vaezoo.data.pictures import guarded, read_header, read_image
from vaezoo.errors import VaezooError
from vaezoo.keras_files import load_keras_file
from vaezoo.presets import CONFIG, WEIGHTS, Preset
from vaezoo.publishing import make_preset
from vaezoo.reading import parse_json, read_arrays, read_json, read_table
from vaezoo.recipe_files import recipe_folder
from vaezoo.runs import Environment
from vaezoo.serving import DecoderClient
from vaezoo.training import inspect
from vaezoo.training.strategies import read_cluster

pytestmark = pytest.mark.slow


def fuzz(examples, **inputs):
    """Call a test with so many inputs from these strategies."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    options = settings(
        derandomize=True, deadline=None, database=None, max_examples=examples, suppress_health_check=checks
    )
    return lambda test: options(given(**inputs)(test))


def held(read, *arguments):
    """What a reader returns; None for its error of one line."""
    try:
        return read(*arguments)
    except VaezooError as error:
        line = str(error)
    assert line.isprintable()
    assert 0 < len(line) < 1000
    return None


# Bytes: parts of them replaced, taken away or repeated

EDITS = st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 60), st.binary(max_size=12)), min_size=1, max_size=6)


def spoilt(content, edits):
    for place, count, new in edits:
        start = place % (len(content) + 1)
        content = content[:start] + new + content[start + count :]
    return content


# JSON: the value at a random place replaced, added to, or taken away

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
STEPS = st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=8), st.integers(0, 3), VALUES), min_size=1, max_size=3)


def changed(content, steps):
    """A copy of a JSON value with some changes, each at the place to which its numbers lead."""
    content = copy.deepcopy(content)
    for way, kind, value in copy.deepcopy(steps):
        here, holder, key = content, None, None
        for number in way:
            if not isinstance(here, list | dict) or not here:
                break
            holder, key = here, number % len(here) if isinstance(here, list) else sorted(here)[number % len(here)]
            here = here[key]
        if holder is None:
            continue
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[f"{key} "] = value
        else:
            holder[key] = value
    return content


@pytest.fixture
def run(tiny_run):
    return tiny_run


RECIPES = [path.read_bytes() for path in sorted(recipe_folder().glob("*.yaml"))]


@fuzz(400, content=st.sampled_from(RECIPES), edits=EDITS)
def test_recipes(content, edits, tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(spoilt(content, edits))
    held(load_recipe, tmp_path / "recipe.yaml")


@fuzz(600, steps=STEPS, edits=st.none() | EDITS)
def test_files_of_a_run(steps, edits, run, tmp_path):
    for name, read in (
        ("environment.json", lambda path: read_json(path, Environment)),
        ("test.json", lambda path: read_json(path, dict[str, float])),
        ("metrics.csv", lambda path: read_table(path, ("epoch", "loss"))),
    ):
        content = (run / name).read_bytes()
        if edits is not None:
            content = spoilt(content, edits)
        elif name.endswith(".json"):
            content = json.dumps(changed(json.loads(content), steps)).encode()
        (tmp_path / name).write_bytes(content)
        held(read, tmp_path / name)


@fuzz(400, steps=STEPS, edits=st.none() | EDITS, before=st.booleans())
def test_manifests_of_checkpoints(steps, edits, before, run, tmp_path):
    for path in (run / "checkpoints").glob("epoch-2*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    checkpoint = Checkpoint(tmp_path / "epoch-2-step-0.keras")
    content = json.loads(checkpoint.manifest.read_text())
    if edits is not None:
        checkpoint.manifest.write_bytes(spoilt(checkpoint.manifest.read_bytes(), edits))
    elif before:  # its checksums do not fit
        checkpoint.manifest.write_text(json.dumps(changed(content, steps)))
    else:
        sign(checkpoint, changed(content["state"], steps))
    state = held(checkpoint.read, ("elbo",))
    if state is not None:
        assert isinstance(state, TrainingState)
        assert (state.epoch, state.step) == (2, 0)
        assert [row["epoch"] for row in state.rows] == [1, 2]


@fuzz(300, text=st.text(max_size=40), steps=STEPS)
def test_clusters(text, steps):
    good = {"cluster": {"chief": ["c:1"], "worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    for given_text in (text, json.dumps(changed(good, steps))):
        found = held(read_cluster, given_text)
        assert found is None or 0 <= found[0] < found[1]


NPY, NPZ = io.BytesIO(), io.BytesIO()
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3)).astype("uint8")
np.save(NPY, IMAGES)
np.savez(NPZ, images=IMAGES, labels=np.arange(20))
ARRAYS = {".npy": NPY.getvalue(), ".npz": NPZ.getvalue()}


@fuzz(600, suffix=st.sampled_from(list(ARRAYS)), edits=EDITS)
def test_arrays(suffix, edits, tmp_path):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(spoilt(ARRAYS[suffix], edits))
    data = held(load_data, str(path))
    assert data is None or data.spec.is_image
    held(read_arrays, path)


def pictures():
    for suffix in ("png", "jpeg", "bmp", "gif", "webp"):
        content = io.BytesIO()
        Image.fromarray(IMAGES[0]).resize((40, 30)).save(content, suffix)
        yield content.getvalue()


@fuzz(600, content=st.sampled_from(list(pictures())), edits=EDITS, strict=st.booleans())
def test_pictures(content, edits, strict, tmp_path):
    (tmp_path / "picture").write_bytes(spoilt(content, edits))
    with guarded():
        held(read_header, tmp_path / "picture")
        image = held(lambda: read_image(tmp_path / "picture", (8, 8, 3), strict=strict))
    assert image is None or (image.shape, image.dtype) == ((8, 8, 3), np.uint8)


def spoilt_weights(content, edits):
    """A file of weights of which some arrays or groups are taken away or replaced by others."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as opened:
        for place, count, new in edits:
            names = []
            opened.visit(names.append)
            if not names:
                break
            name = names[place % len(names)]
            del opened[name]
            if new:
                opened[name] = np.frombuffer(new.ljust(8)[:8], "f4") if count % 2 else np.zeros(count, "f8")
    return file.getvalue()


@fuzz(150, steps=STEPS, edits=EDITS, where=st.sampled_from(["config", "weights", "tensors", "file"]))
def test_keras_files(steps, edits, where, run, tmp_path):
    file, path = KerasFile(run / "model.keras"), tmp_path / "model.keras"
    if where == "config":
        file.config = changed(file.config, [([*way, *way], kind, value) for way, kind, value in steps])
    elif where == "weights":
        file.members["model.weights.h5"] = spoilt(file.members["model.weights.h5"], edits)
    elif where == "tensors":
        file.members["model.weights.h5"] = spoilt_weights(file.members["model.weights.h5"], edits)
    file.write(path)
    if where == "file":
        path.write_bytes(spoilt(path.read_bytes(), edits))
    model = held(load_keras_file, path)
    assert model is None or isinstance(model, keras.Model)
    for name in ("recipe.yaml", "environment.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert all(line.isprintable() for line in inspect(tmp_path).broken)


@pytest.fixture(scope="module")
def preset(tiny_run, tmp_path_factory):
    return make_preset(tiny_run, tmp_path_factory.mktemp("presets") / "tiny", weights="int8").folder


@fuzz(150, steps=STEPS, edits=EDITS, where=st.sampled_from(["config", "metadata", "weights", "tensors", "file"]))
def test_presets(steps, edits, where, preset, tmp_path):
    contents = {name: (preset / name).read_bytes() for name in (CONFIG, "metadata.json", WEIGHTS)}
    if where == "config":
        contents[CONFIG] = json.dumps(changed(json.loads(contents[CONFIG]), steps)).encode()
    elif where == "weights":
        contents[WEIGHTS] = spoilt(contents[WEIGHTS], edits)
    elif where == "tensors":
        contents[WEIGHTS] = spoilt_weights(contents[WEIGHTS], edits)
    sums = {name: hashlib.sha256(contents[name]).hexdigest() for name in (CONFIG, WEIGHTS)}
    contents["metadata.json"] = json.dumps({**json.loads(contents["metadata.json"]), "sha256": sums}).encode()
    if where == "metadata":
        contents["metadata.json"] = json.dumps(changed(json.loads(contents["metadata.json"]), steps)).encode()
    elif where == "file":
        name = sorted(contents)[steps[0][1] % len(contents)]
        contents[name] = spoilt(contents[name], edits)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    model = held(lambda: Preset(tmp_path).model)
    assert model is None or np.isfinite(model.sample(1)).all()


@fuzz(600, steps=STEPS, edits=st.none() | EDITS, where=st.sampled_from(["metadata", "answer"]))
def test_answers_to_the_client(steps, edits, where):
    answers = {"metadata": METADATA, "answer": {"outputs": [[0.5, 0.25, 1.0], [0.0, 1.0, 2.0]]}}
    contents = {name: json.dumps(changed(answer, steps * (name == where))).encode() for name, answer in answers.items()}
    if edits is not None:
        contents[where] = spoilt(json.dumps(answers[where]).encode(), edits)
    client = DecoderClient("http://localhost:1", retries=0)
    client._transport._answer = lambda method, *_: contents["answer" if method == "POST" else "metadata"]
    image = held(client.decode, np.zeros((2, 3)))
    assert image is None or (len(image) == 2 and np.isfinite(image).all())


@fuzz(600, text=st.text(alphabet='[]{}":,0123456789.eE+-truefalsn \\u', max_size=60))
def test_json_of_any_text(text):
    with contextlib.suppress(ValueError):
        assert isinstance(parse_json(text, dict[str, float]), dict)


def test_the_good_inputs_are_read(run, tmp_path):
    # Otherwise the tests above would try nothing.
    assert all(json.loads((run / name).read_text()) for name in ("environment.json", "test.json"))
    for suffix, content in ARRAYS.items():
        (tmp_path / f"images{suffix}").write_bytes(content)
        assert load_data(str(tmp_path / f"images{suffix}")).spec.shape == (4, 6, 3)
    for content in pictures():
        (tmp_path / "picture").write_bytes(content)
        assert read_image(tmp_path / "picture", (30, 40, 3)).shape == (30, 40, 3)
    KerasFile(run / "model.keras").write(tmp_path / "model.keras")
    assert zipfile.is_zipfile(tmp_path / "model.keras")
    assert load_keras_file(tmp_path / "model.keras").count_params()
    client = DecoderClient("http://localhost:1")
    answer = {"GET": METADATA, "POST": {"outputs": [[1, 2, 3]]}}
    client._transport._answer = lambda method, *_: json.dumps(answer[method]).encode()
    assert client.decode(np.zeros((1, 3))).tolist() == [[1, 2, 3]]

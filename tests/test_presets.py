"""Presets: made of a run, loaded, listed, and what a stranger's may hold."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hostile import refusal

import vaezoo
from vaezoo.cli import main
from vaezoo.data import load_data
from vaezoo.evaluation import symptoms
from vaezoo.presets import CONFIG, FILES, METADATA, WEIGHTS, open_run, preset_names
from vaezoo.publishing import make_preset
from vaezoo.runs import Run

SHIPPED = preset_names()
LARGEST, LARGEST_TOGETHER = 4e6, 15e6  # bytes


@pytest.fixture(scope="module")
def made(tiny_run, tmp_path_factory):
    return make_preset(tiny_run, tmp_path_factory.mktemp("presets") / "tiny")


@pytest.fixture
def spoilt(made, tmp_path):
    """A copy of a preset, to be spoilt."""
    return Path(shutil.copytree(made.folder, tmp_path / "spoilt"))


def edit(path, change):
    """Change the content of a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sign(folder):
    """Write the checksums anew, as an attacker would."""
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)}
    edit(folder / METADATA, lambda content: content.update(sha256=sums))


# Making one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [("tiny_run", "float16"), ("tiny_run", "int8"), ("conditional_run", "int8"), ("sequence_run", "float16"),
     ("vector_run", "float16")],
)  # fmt: skip
def test_a_run_becomes_a_preset_with_the_metrics_of_its_rounded_weights(name, kind, request, tmp_path):
    run = Run(request.getfixturevalue(name))
    preset = make_preset(run.path, tmp_path / "a", weights=kind)
    assert sorted(path.name for path in preset.folder.iterdir()) == sorted(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert preset.model.spec == run.model.spec
    assert preset.recipe.model == run.recipe.model
    assert preset.environment["class_names"] == run.environment["class_names"]
    for ours, theirs in zip(preset.model.weights, run.model.weights, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        bound = np.abs(theirs).max() / 254 if kind == "int8" else 2**-11 * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, atol=bound + 1e-7, rtol=0)
    # The same rounding by hand gives the metrics of the card.
    run.model.set_weights(preset.model.get_weights())
    batches = run.data.test.batches(1000, **run.batches)
    assert run.model.evaluate(batches, verbose=0, return_dict=True)["loss"] == pytest.approx(preset.test["loss"], 1e-5)
    assert f"{preset.test['loss']:.2f}" in preset.headline or "elbo" in preset.test
    assert f"| {preset.test['kl']:.2f} |" in (preset.folder / "README.md").read_text()


def test_an_int8_matrix_has_a_scale_for_each_output_channel(tmp_path):
    from vaezoo.presets import _stored

    value = np.random.default_rng(0).normal(size=(3, 40, 50)).astype("float32") * np.geomspace(1e-3, 1e3, 50)
    stored = _stored(value.astype("float32"), "int8")
    assert stored[""].dtype == "int8"
    assert stored[".scale"].shape == (50,)
    error = np.abs(stored[""] * stored[".scale"] - value) / np.abs(value).max((0, 1))
    assert error.max() <= 0.5 / 127 + 1e-6
    assert error.max() > 0.4 / 127  # 8 bits, and no more


def test_a_weight_too_large_for_half_precision_keeps_its_bits():
    from vaezoo.presets import _stored

    value = np.array([1.0, 70_000.0], "float32")
    np.testing.assert_array_equal(_stored(value, "float16")[""], value)


def test_the_place_of_somebodys_data_stays_theirs(made, tiny_run):
    assert Path(Run(tiny_run).recipe.data.name).is_absolute()
    assert made.recipe.data.name == "./bars.npz"
    for name in FILES:
        assert str(Path(tiny_run).parent).encode() not in (made.folder / name).read_bytes()
        assert Run(tiny_run).recipe.data.name.encode() not in (made.folder / name).read_bytes()


def test_nothing_is_overwritten_and_nothing_half_written(made, tiny_run, tmp_path, capsys):
    assert "exists" in refusal(capsys, "preset", tiny_run, "--to", made.folder)
    assert "unknown kind of weights 'int4'" in refusal(
        capsys, "preset", tiny_run, "--to", tmp_path / "b", "--weights", "int4"
    )
    copy = Path(shutil.copytree(tiny_run, tmp_path / "copy"))
    (copy / "recipe.yaml").write_text((copy / "recipe.yaml").read_text().replace("bars.npz", "gone.npz"))
    assert "gone.npz" in refusal(capsys, "preset", copy, "--to", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


# Opening one


def leave_metrics(folder):
    """The table of an own run that has the name of the preset."""
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,loss\n1,2\n2,3\n")


def test_the_metrics_of_a_run_of_the_same_name_are_not_those_of_a_preset(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave_metrics(tmp_path / "runs" / "tiny")
    assert made.path == Path("runs/tiny")
    assert symptoms._rows(made, 20) == []


@pytest.mark.slow
def test_every_command_takes_a_folder_and_writes_nothing_into_it(made, bars_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(bars_file, tmp_path / "bars.npz")  # the data by the name that the preset has for them
    before = {path: path.read_bytes() for path in made.folder.iterdir()}
    leave_metrics(tmp_path / "runs" / "tiny")
    for command in (
        ["sample", "-n", "4"], ["reconstruct", "--index", "1"], ["manifold", "--size", "3"],
        ["traverse", "--index", "1"],
        ["interpolate", "--index", "1", "2"], ["edit", "--index", "1", "--toward", "label=2"], ["embed"],
        ["evaluate", "--importance-samples", "2", "--limit", "20"], ["score", "--fpr", "0.1"], ["doctor"],
        ["export", "--to", "exported", "--format", "keras"], ["refit", "--prior", "mixture"],
    ):  # fmt: skip
        assert main([command[0], str(made.folder), *command[1:]]) == 0, capsys.readouterr().err
    assert {path: path.read_bytes() for path in made.folder.iterdir()} == before
    results = tmp_path / "runs" / "tiny"
    assert not (tmp_path / "runs" / "tiny-mixture" / "metrics.csv").exists()
    assert {path.name for path in results.iterdir()} >= {"pictures", "evaluation", "scores"}
    assert (results / "pictures" / "sample.png").is_file()
    assert Run(tmp_path / "runs" / "tiny-mixture").recipe.model.prior.name == "mixture"


def test_what_is_sampled_is_what_the_run_samples(made, tiny_run):
    model = vaezoo.load(tiny_run)
    np.testing.assert_allclose(vaezoo.load(made.folder).sample(4), model.sample(4), atol=2e-3)


@pytest.mark.slow
def test_a_preset_can_be_trained_further(made, bars_file):
    model = vaezoo.load(made.folder)
    assert int(model.optimizer.iterations) == 20
    model.fit(load_data(bars_file).train.first(64)[0], batch_size=32, verbose=0)
    assert int(model.optimizer.iterations) == 22


def test_an_existing_path_wins_over_a_name(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.folder, tmp_path / "conv_vae" / "mnist")
    assert open_run("conv_vae/mnist").recipe.name == "tiny"
    assert open_run("conv_vae/mnist").path == Path("runs/mnist")


def test_a_name_that_is_none_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Did you mean 'conv_vae/mnist'?" in refusal(capsys, "sample", "conv_vae/mnits")
    assert "holds no run" in refusal(capsys, "sample", "nowhere")
    assert "no preset matches 'x*'" in refusal(capsys, "list", "--presets", "x*")
    assert list(tmp_path.iterdir()) == []


# The zoo's own


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_loads_and_is_small(name):
    preset = open_run(name)
    assert preset.size < LARGEST
    assert preset.model.count_params() == preset.recipe.parameters
    label = 3 if preset.model.spec.conditional else None
    assert np.asarray(preset.model.sample(2, label=label)).shape == (2, *preset.model.spec.shape)
    card = (preset.folder / "README.md").read_text()
    assert f"| {preset.test['elbo']:.2f} |" in card
    assert "vaezoo train" in card
    assert "licence" in card
    assert "not stated" not in card


def test_inspect_says_what_a_preset_is(capsys):
    assert main(["inspect", "ladder_vae/mnist"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:1] != " ")
    assert lines["recipe"] == "ladder_vae, 2,165,346 parameters; mnist"
    assert lines["test"].startswith("elbo -83.")
    assert lines["weights"].startswith("int8, after 10,")


def test_the_shipped_presets_are_those_of_the_list(capsys):
    assert main(["list", "--presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == SHIPPED
    assert {"conv_vae/mnist", "conv_vae/glyphs", "ladder_vae/mnist", "mlp_vae_2d/mnist"} <= set(SHIPPED)
    assert sum(open_run(name).size for name in SHIPPED) < LARGEST_TOGETHER


def test_the_list_imports_nothing_heavy():
    code = "from vaezoo.cli import main; main(['list', '--presets']); import sys; "
    check = code + "heavy = {'tensorflow', 'keras', 'numpy', 'h5py'} & sys.modules.keys(); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_reproduces_its_card(name, request):
    preset = open_run(name)
    if preset.recipe.data.name == "mnist":
        request.getfixturevalue("mnist")
    batches = preset.data.test.batches(1000, **preset.batches)
    found = preset.model.evaluate(batches, verbose=0, return_dict=True)
    print(f"{name}: elbo {found['elbo']:.3f}, card {preset.test['elbo']:.3f}")
    assert found["elbo"] == pytest.approx(preset.test["elbo"], abs=0.1)


@pytest.mark.slow
def test_a_wheel_holds_every_preset(tmp_path):
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(target)], check=True)
    code = "import vaezoo, vaezoo.presets as p; print(vaezoo.__file__, *p.preset_names())"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)},
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert output == [str(target / "vaezoo" / "__init__.py"), *SHIPPED]


# A stranger's


@pytest.mark.parametrize("name", FILES[:3])
def test_a_missing_file_is_named(name, spoilt, capsys):
    (spoilt / name).unlink()
    refused = refusal(capsys, "sample", spoilt)
    assert name in refused or "holds no run" in refused


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_changed_byte_is_noticed(name, spoilt, capsys):
    content = bytearray((spoilt / name).read_bytes())
    content[len(content) // 2] ^= 1
    (spoilt / name).write_bytes(content)
    for command in ("sample", "inspect"):
        assert "its checksum is not that in metadata.json" in refusal(capsys, command, spoilt)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: content.update(format=2), "newer vaezoo"),
        (lambda content: content.update(format="1"), "format"),
        (lambda content: content.update(sha256={}), "checksum"),
        (lambda content: content.update(steps=-1), "steps"),
        (lambda content: content.update(test={"elbo": "good"}), "test.elbo"),
        (lambda content: content["environment"].update(class_names=3), "class_names"),
    ],
)
def test_metadata_of_other_types_are_refused(change, complaint, spoilt, capsys):
    edit(spoilt / METADATA, change)
    assert complaint in refusal(capsys, "explore", spoilt)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: content["recipe"].update(model="x"), "model"),
        (lambda content: content["recipe"]["model"].update(latent_dim=4), "shape"),
        (lambda content: content["recipe"]["model"]["encoder"].update(dense=60_000), "more weights than"),
        (lambda content: content["recipe"]["model"]["encoder"].update(name="os.system"), "unknown"),
        (lambda content: content["spec"].update(shape=[8, 8]), "shape"),
        (lambda content: content["spec"].update(shape=[9, 8, 1]), "shape"),
        (lambda content: content["spec"].update(kind="file"), "kind"),
        (lambda content: content["spec"].update(columns=[{"name": "x", "values": [[]]}]), "columns"),
        (lambda content: content.pop("spec"), "spec"),
    ],
)
def test_a_config_of_another_model_is_refused(change, complaint, spoilt, capsys):
    edit(spoilt / CONFIG, change)
    sign(spoilt)
    assert complaint in refusal(capsys, "sample", spoilt)


def nan(file):
    file["encoder/0"][...] = np.nan


def overflowing(file):
    del file["encoder/0.scale"]
    file["encoder/0.scale"] = np.full(file["encoder/0"].shape[-1:], 3e38, "float32")


def missing(file):
    del file["decoder/1"]


def another(file):
    file["decoder/99"] = np.zeros(3)


def of_text(file):
    shape = file["encoder/0"].shape
    del file["encoder/0"]
    file.create_dataset("encoder/0", shape, h5py.string_dtype())


def elsewhere(file):
    del file["encoder/0"]
    file["encoder/0"] = h5py.ExternalLink("/etc/passwd", "/")


def a_group(file):
    del file["encoder/0"]
    file.create_group("encoder/0")


def a_bomb(file):
    del file["encoder/0"]
    file.create_dataset("encoder/0", (2**20, 2**20), "float32", chunks=(2**10, 2**10), compression="gzip")


@pytest.mark.parametrize("change", [nan, overflowing, missing, another, of_text, elsewhere, a_group, a_bomb])
def test_weights_that_are_not_the_models_are_refused(change, spoilt, capsys):
    with h5py.File(spoilt / WEIGHTS, "r+") as file:
        if change is overflowing:
            shape = file["encoder/0"].shape
            del file["encoder/0"]
            file["encoder/0"], file["encoder/0.scale"] = np.full(shape, 127, "int8"), np.ones(shape[-1:], "float32")
        change(file)
    sign(spoilt)
    assert "its weights" in refusal(capsys, "sample", spoilt)


def test_a_pipe_is_not_waited_for(spoilt, capsys):
    for name in FILES[:3]:
        copy = (spoilt / name).read_bytes()
        (spoilt / name).unlink()
        os.mkfifo(spoilt / name)
        refusal(capsys, "sample", spoilt)
        (spoilt / name).unlink()
        (spoilt / name).write_bytes(copy)

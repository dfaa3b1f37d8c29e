"""The commands on tables: train on a CSV, sample and fill in rows, evaluate, export; and how they refuse."""

import csv
import json
import re

import keras
import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from vaezoo import latent_space  # noqa: E402
from vaezoo.cli import main  # noqa: E402
from vaezoo.config import load_recipe, parse_assignments  # noqa: E402
from vaezoo.data import load_data  # noqa: E402
from vaezoo.data.table_files import read_table, write_table  # noqa: E402
from vaezoo.evaluation.nll import estimate_nll  # noqa: E402
from vaezoo.runs import Run  # noqa: E402
from vaezoo.training.setup import prepare  # noqa: E402

N = 400
SMALL = [
    "--set", "model.encoder={name: mlp, hidden: [16]}", "--set", "model.decoder={name: mlp, hidden: [16]}",
    "--set", "model.latent_dim=2", "--set", "training.compilation=graph",
]  # fmt: skip


def table(count=N, seed=0):
    """Columns of every type that depend on one number; every seventh height is missing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=count)
    height = 170 + 9 * z + rng.normal(size=count)
    return {
        "id": [f"row {i}" for i in range(count)],
        "height": [None if i % 7 == 0 else round(float(h), 1) for i, h in enumerate(height)],
        "weight": np.round(70 + 12 * z + 3 * rng.normal(size=count)).astype(int),
        "visits": rng.poisson(np.exp(0.5 + 0.6 * z)),
        "sex": np.where(z + rng.normal(size=count) > 0, "m", "f"),
        "size": np.array(["S", "M", "L"])[np.digitize(z, [-0.5, 0.5])],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with table.csv, and `run`, a trained run of it."""
    path = tmp_path_factory.mktemp("tables")
    write_table(path / "table.csv", pa.table(table()))
    command = ["train", "table_vae", "--data", path / "table.csv", "--epochs", "15", "--out", path / "run", *SMALL]
    quick = ["--set", "training.batch_size=16", "--set", "training.learning_rate=0.01"]
    assert main([*map(str, command), *quick, "--set", "data.columns={id: drop}"]) == 0
    return path


def done(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured


def refused(capsys, *arguments):
    """Run a command that must be refused: exit code 2 and one line, which is returned."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.slow
def test_a_run_has_the_description_of_the_table_and_can_be_read_from_it(folder):
    run = Run(folder / "run")
    assert run.recipe.data.columns == {
        "id": "drop", "height": "continuous", "weight": "continuous", "visits": "count", "sex": "binary",
        "size": "categorical",
    }  # fmt: skip
    assert run.model.spec == run.data.spec
    assert run.model.spec.columns[0].missing
    assert {"reconstructions.png", "samples.png", "curves.png"} <= {path.name for path in run.path.iterdir()}


def prepared(recipe, data, *assignments):
    """What training would begin with."""
    overrides = {**parse_assignments([*SMALL[1::2], *assignments]), "data.name": str(data)}
    return prepare(load_recipe(recipe, overrides), warn=print)


def test_any_recipe_of_vectors_takes_a_table_and_says_so(folder):
    setup = prepared("mlp_vae", folder / "table.csv", "data.columns.id=drop")
    line = "the likelihood 'bernoulli' does not describe these columns, so it is 'mixed': one for each type"
    assert setup.headline.splitlines().count(line) == 1
    assert (setup.recipe.model.likelihood.name, setup.recipe.data.columns["visits"]) == ("mixed", "count")
    assert setup.model.spec == Run(folder / "run").model.spec
    again = prepared(
        "mlp_vae", folder / "table.csv", "model.likelihood=mixed", f"data.columns={setup.recipe.data.columns}"
    )
    assert again.model.spec == setup.model.spec
    assert line not in again.headline


@pytest.mark.parametrize(
    ("likelihood", "became"),
    [("bernoulli", "mixed"), ("normal", "normal"), ("student_t", "mixed"), ("mixed", "mixed"), ("poisson", "mixed")],
)
def test_vectors_that_a_likelihood_does_not_describe_become_rows(likelihood, became, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", np.stack([rng.normal(size=100), rng.poisson(2, 100)], axis=1))
    setup = prepared("mlp_vae", tmp_path / "x.npy", f"model.likelihood={likelihood}")
    assert setup.recipe.model.likelihood.name == became
    assert ("so it is 'mixed'" in setup.headline) == (likelihood != became)
    types = None if became == "normal" else {"x0": "continuous", "x1": "count"}
    assert setup.recipe.data.columns == types
    assert (setup.model.spec.columns is None) == (became == "normal")


@pytest.mark.slow
def test_a_training_on_a_table_is_resumed(folder, tmp_path, capsys):
    command = ["train", "mlp_vae", "--data", folder / "table.csv", "--epochs", "1", "--out", tmp_path / "run", *SMALL]
    done(capsys, *command, "--set", "data.columns.id=drop")
    done(capsys, "train", "--resume", tmp_path / "run", "--epochs", "2")
    assert Run(tmp_path / "run").model.spec == Run(folder / "run").model.spec


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_are_a_table_like_that_of_the_training(folder, suffix, tmp_path, capsys):
    lines = done(capsys, "sample", folder / "run", "-n", "500", "--seed", "3", "--out", tmp_path / f"a{suffix}").out
    assert lines.splitlines() == [str(tmp_path / name) for name in ("a.png", f"a{suffix}", "a.npz")]
    done(capsys, "sample", folder / "run", "-n", "500", "--seed", "3", "--out", tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    given, found = read_table(folder / "table.csv")[0].drop_columns(["id"]), read_table(tmp_path / f"a{suffix}")[0]
    assert found.schema == given.schema
    assert found.num_rows == 500
    assert set(found["size"].to_pylist()) == {"S", "M", "L"}
    assert min(found["visits"].to_pylist()) == 0
    # Drawn from p(x|z), not its means: the model has learned the spread of each column.
    for name in ("height", "weight"):
        own, theirs = (np.array(t[name].drop_null().to_pylist(), float) for t in (found, given))
        assert abs(own.mean() - theirs.mean()) < 0.5 * theirs.std()
        assert 0.5 < own.std() / theirs.std() < 2


def test_reconstruct_fills_in_what_is_missing_and_keeps_the_rest(folder, tmp_path, capsys):
    cells = {name: list(values) for name, values in table(30, seed=9).items()}
    cells["sex"] = cells["sex"][:-5] + [None] * 5
    cells["weight"] = [None, *map(int, cells["weight"][1:])]
    given = pa.table({name: cells[name] for name in reversed(cells)})  # in another order, and with the id
    write_table(tmp_path / "new.csv", given)
    lines = done(capsys, "reconstruct", folder / "run", "--data", tmp_path / "new.csv", "--out", tmp_path / "f.csv").out
    assert "filled in 11 of 150 cells" in lines
    found = read_table(tmp_path / "f.csv")[0]
    assert found.column_names == given.column_names
    for name in found.column_names:
        pairs = list(zip(given[name].to_pylist(), found[name].to_pylist(), strict=True))
        assert all(new == old for old, new in pairs if old is not None)
        assert all(new is not None for _, new in pairs)
    assert found.schema.field("weight").type == pa.int64()


def test_a_missing_cell_is_filled_in_from_the_others(folder):
    """Height and weight follow one number: the imputation must beat the mean by far."""
    run = Run(folder / "run")
    x, _ = run.first("train", 300)
    x = x[~np.isnan(x[:, 0])]
    holes = x.copy()
    holes[:, 0] = np.nan
    filled = latent_space.impute(run.model, holes, samples=100)
    np.testing.assert_array_equal(filled[:, 1:], x[:, 1:])
    error, of_mean = (np.sqrt(np.mean((other - x[:, 0]) ** 2)) for other in (filled[:, 0], x[:, 0].mean()))
    assert error < 0.75 * of_mean
    np.testing.assert_array_equal(latent_space.impute(run.model, x), x)


def test_test_rows_are_reconstructed_by_index(folder, tmp_path, capsys):
    done(capsys, "reconstruct", folder / "run", "--index", "0", "3", "--out", tmp_path)
    with open(tmp_path / "reconstruct.csv", newline="") as file:
        assert next(csv.reader(file)) == ["height", "weight", "visits", "sex", "size"]
    assert read_table(tmp_path / "reconstruct.csv")[0].num_rows == 2


@pytest.mark.parametrize(
    ("command", "rows", "places"),
    [
        (["interpolate", "--index", "0", "1", "--steps", "5"], 5, ["row", "step"]),
        (["traverse", "--index", "0", "--steps", "3"], 6, ["row", "step"]),
        (["manifold", "--size", "4"], 16, ["row", "step"]),
    ],
)
def test_other_commands_write_rows(command, rows, places, folder, tmp_path, capsys):
    name, *options = command
    assert (
        "no picture: the examples are rows of 5 columns"
        in done(capsys, name, folder / "run", *options, "--out", tmp_path).out
    )
    found = read_table(tmp_path / f"{name}.csv")[0]
    assert (found.num_rows, found.column_names[: len(places)]) == (rows, places)


@pytest.mark.slow
def test_evaluate_reports_each_column(folder, tmp_path, capsys):
    text = done(capsys, "evaluate", folder / "run", "--importance-samples", "30", "--out", tmp_path).out
    assert "−log p(x|z) of this count column" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert [column["name"] for column in report["columns"]] == ["height", "weight", "visits", "sex", "size"]
    with np.load(tmp_path / "per_example.npz") as arrays:
        columns, nll = arrays["columns"], arrays["nll"]
    run = Run(folder / "run")
    x, _ = run.first("test")
    np.testing.assert_array_equal(np.isnan(columns), np.isnan(x))
    for entry, cells in zip(report["columns"], columns.T, strict=True):
        assert entry["reconstruction"]["value"] == pytest.approx(-np.nanmean(cells), rel=1e-5)
        assert entry["missing"] == pytest.approx(np.isnan(cells).mean())
    # One draw of z in place of 30: the same quantity, with more noise.
    total = sum(np.nansum(cells) / len(cells) for cells in columns.T)
    assert report["bound"]["reconstruction"]["value"] == pytest.approx(-total, abs=0.5)
    assert nll.mean() == pytest.approx(estimate_nll(run.model, x, 30).nll.mean(), rel=1e-4)
    assert report["samples"] is None


def test_the_doctor_reads_a_run_of_a_table(folder, capsys):
    assert "nats" in done(capsys, "doctor", folder / "run").out  # the latent code is measured, without pictures


@pytest.mark.parametrize("command", [["evaluate", "--features", "inception"], ["sample", "--index", "0"]])
def test_what_needs_images_or_classes_says_so(command, folder, capsys):
    assert "vaezoo: " in refused(capsys, command[0], folder / "run", *command[1:])


@pytest.mark.slow
@pytest.mark.parametrize("continuous", ["student_t", "normal"])
def test_an_outlier_of_a_billion_spreads_is_survived(continuous, tmp_path):
    cells = {name: values for name, values in table(300).items() if name in ("weight", "size")}
    cells["weight"] = np.where(np.arange(300) == 5, 10**10, cells["weight"])
    write_table(tmp_path / "t.csv", pa.table(cells))
    setup = prepared("table_vae", tmp_path / "t.csv", f"model.likelihood={{name: mixed, continuous: {continuous}}}")
    model, x = setup.model, load_data(tmp_path / "t.csv", validation=0).train.x
    assert (x[:, 0] > 9e9).sum() == 1
    model.compile(model.optimizer, run_eagerly=True)
    logs = model.fit(x, batch_size=54, epochs=3, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    ordinary = model.evaluate(x[x[:, 0] < 9e9], verbose=0, return_dict=True)["elbo"]
    assert ordinary > -30  # whatever the outlier costs itself


@pytest.mark.slow
def test_a_label_column_makes_a_conditional_model(folder, tmp_path, capsys):
    settings = ["--set", "model.conditional=true", "--set", "data.label=size", "--set", "data.columns={id: drop}"]
    command = ["train", "table_vae", "--data", folder / "table.csv", "--epochs", "1", "--out", tmp_path / "run", *SMALL]
    done(capsys, *command, *settings)
    done(capsys, "sample", tmp_path / "run", "-n", "20", "--label", "M", "--out", tmp_path / "m.csv")
    assert set(read_table(tmp_path / "m.csv")[0]["size"].to_pylist()) == {"M"}
    done(capsys, "sample", tmp_path / "run", "-n", "200", "--out", tmp_path / "all.csv")
    assert set(read_table(tmp_path / "all.csv")[0]["size"].to_pylist()) == {"S", "M", "L"}
    assert "the seed -1 is outside 0 to" in refused(capsys, "sample", tmp_path / "run", "--seed", "-1")
    done(capsys, "reconstruct", tmp_path / "run", "--data", folder / "table.csv", "--out", tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": ["XL"] * 30}, "the column 'size' of .* holds 'XL', which is none of its values in training: L, M, S"),
        ({"size": None}, "has no column 'size', which the model was trained on"),
        ({"other": [1] * 30}, "has a column 'other', which the training table had not"),
        (
            {"weight": ["heavy"] * 30},
            "the column 'weight' of .* holds a cell that is not a number, as in training: .*'heavy'",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_nothing_is_written(change, message, folder, tmp_path, capsys):
    cells = {name: values for name, values in {**table(30), **change}.items() if values is not None}
    write_table(tmp_path / "new.csv", pa.table(cells))
    error = refused(capsys, "reconstruct", folder / "run", "--data", tmp_path / "new.csv", "--out", tmp_path / "f.csv")
    assert re.search(message, error), error
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_images_have_no_rows_to_write(tiny_run, tmp_path, capsys):
    assert "there are no rows of a table" in refused(capsys, "sample", tiny_run, "--out", tmp_path / "s.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert "--data needs the rows of a table" in refused(capsys, "reconstruct", tiny_run, "--data", tmp_path / "t.csv")
    assert not (tmp_path / "s.csv").exists()


def test_table_vae_asks_for_a_table(bars_file, tmp_path, capsys):
    error = refused(capsys, "train", "table_vae", "--data", bars_file, "--out", tmp_path / "run")
    assert "the recipe 'table_vae' is for tables, and" in error


def test_no_export_of_a_table_rounds_its_units(folder, tmp_path, capsys):
    # A height of 170 ± 9 has steps of 0.125 in float16, and an income of 70,000 is infinite.
    command = ["export", folder / "run", "--to", tmp_path / "out", "--quantize", "float32", "float16"]
    assert "choose from float32, dynamic_range, int8" in refused(capsys, *command)


@pytest.mark.slow
def test_the_exports_of_a_table_agree(folder, tmp_path, capsys):
    command = ["export", folder / "run", "--to", tmp_path / "out", "--format", "savedmodel", "litert", "--with-encoder"]
    done(capsys, *command)
    report = json.loads((tmp_path / "out" / "verify.json").read_text())
    assert report["passed"]
    exact = [row for row in report["rows"] if row["precision"] == "float32"]
    assert len(exact) == 8
    assert all(row["largest"] < 1e-5 and row["other_values"] < 1e-3 for row in exact)
    assert keras.models.load_model(tmp_path / "out" / "decoder.keras").output.shape == (None, 5)
    parquet.write_table(pa.table(table(30)), tmp_path / "t.parquet")
    done(capsys, "reconstruct", folder / "run", "--data", tmp_path / "t.parquet", "--out", tmp_path / "f.parquet")

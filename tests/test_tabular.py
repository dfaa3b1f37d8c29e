"""Tables in CSV, Parquet and arrays: types, values and units of their columns, and the files that are refused."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402

from vaezoo.data import load_data, table_files, tabular  # noqa: E402
from vaezoo.data.items import load_items  # noqa: E402
from vaezoo.data.preparation import Preparation  # noqa: E402
from vaezoo.data.table_files import filled, read_table, table_of, write_table  # noqa: E402
from vaezoo.data.tabular import rows_of  # noqa: E402
from vaezoo.errors import VaezooError  # noqa: E402
from vaezoo.latent_space.drawing import Drawing  # noqa: E402
from vaezoo.latent_space.of_run import own_rows  # noqa: E402
from vaezoo.spec import Column, Spec  # noqa: E402

RNG = np.random.default_rng(0)
N = 300
CELLS = {
    "height": RNG.normal(170, 9, N).round(1),
    "sex": np.where(RNG.uniform(size=N) < 0.5, "f", "m"),
    "visits": RNG.negative_binomial(2, 0.3, N),
    "grade": RNG.choice([1, 2, 3], N),  # of a variance below the mean
    "smokes": RNG.uniform(size=N) < 0.3,
    "city": RNG.choice(["Lagos", "Łódź", "São, Paulo"], N),
    "year": RNG.integers(1950, 2020, N),
    "dose": RNG.choice([0.5, 1.0, 2.5], N),
}
TYPES = {
    "height": "continuous",
    "sex": "binary",
    "visits": "count",
    "grade": "categorical",
    "smokes": "binary",
    "city": "categorical",
    "year": "continuous",
    "dose": "categorical",
}


def saved(path, cells=CELLS, **changes):
    write_table(path, pa.table({**cells, **changes}))
    return path


@pytest.fixture(params=[".csv", ".parquet"])
def file(request, tmp_path):
    return saved(tmp_path / f"table{request.param}")


def test_the_types_and_values_of_the_columns_are_inferred(file):
    data = load_data(file)
    assert data.columns == TYPES
    assert [column.name for column in data.spec.columns] == list(CELLS)
    values = {column.name: column.values for column in data.spec.columns if column.values}
    assert values == {
        "sex": ("f", "m"),
        "grade": (1, 2, 3),
        "smokes": (False, True),
        "city": ("Lagos", "São, Paulo", "Łódź"),
        "dose": (0.5, 1.0, 2.5),
    }
    assert [column.dtype for column in data.spec.columns] == [
        "float64", "str", "int64", "int64", "bool", "str", "int64", "float64",
    ]  # fmt: skip
    sizes = [len(split) for split in (data.train, data.validation, data.test)]
    assert sizes == [256, 14, 30]
    assert "2 continuous (height, year); 1 count (visits); 2 binary (sex, smokes); 3 categorical" in data.notes[0]


def test_a_row_holds_numbers_as_they_are_and_the_index_of_a_value(file):
    data = load_data(file, validation=0)
    found = np.concatenate([data.train.x, data.test.x])
    expected = [
        CELLS["height"], CELLS["sex"] == "m", CELLS["visits"], np.searchsorted([1, 2, 3], CELLS["grade"]),
        CELLS["smokes"], [["Lagos", "São, Paulo", "Łódź"].index(city) for city in CELLS["city"]],
        CELLS["year"], np.searchsorted([0.5, 1, 2.5], CELLS["dose"]),
    ]  # fmt: skip
    expected = np.stack(expected, 1).astype("float32")
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))


def test_the_units_are_those_of_the_training_rows(tmp_path):
    data = load_data(saved(tmp_path / "t.csv"))
    x = data.train.x.astype("float64")
    for place, of in ((0, x[:, 0]), (2, np.log1p(x[:, 2])), (6, x[:, 6])):
        column = data.spec.columns[place]
        low, loc, high = np.quantile(of, [0.15866, 0.5, 0.84134])
        assert (column.loc, column.scale) == pytest.approx((loc, (high - low) / 2), rel=1e-6)
    assert (data.spec.columns[1].loc, data.spec.columns[1].scale) == (0, 1)


def test_the_spread_of_a_normal_is_its_standard_deviation_and_an_outlier_does_not_change_it(tmp_path):
    x = np.random.default_rng(1).normal(5, 2, 4000)
    outlier = np.where(np.arange(4000) == 7, 2e9, x)
    for cells in (x, outlier):
        (column,) = load_data(saved(tmp_path / "t.csv", {"x": cells})).spec.columns
        assert (column.loc, column.scale) == pytest.approx((5, 2), abs=0.1)


@pytest.mark.parametrize(("share", "spread"), [(0.8, "wide"), (0.99, "deviation")])
def test_a_column_of_mostly_one_number_has_a_spread(tmp_path, share, spread):
    rng = np.random.default_rng(2)
    cells = np.where(rng.uniform(size=2000) < share, 0, rng.normal(size=2000))
    data = load_data(saved(tmp_path / "t.csv", {"x": cells, "y": rng.normal(size=2000)}))
    x = data.train.x[:, 0].astype("float64")
    low, high = np.quantile(x, [0.02275, 0.97725])
    expected = (high - low) / 4 if spread == "wide" else x.std()
    assert data.spec.columns[0].scale == pytest.approx(expected, rel=1e-5)


def test_missing_cells_are_nan_and_the_column_says_so(tmp_path):
    path = tmp_path / "t.csv"
    holes = {
        name: [None if i % 5 == 0 else value for i, value in enumerate(cells.tolist())] for name, cells in CELLS.items()
    }
    data = load_data(saved(path, {**holes, "whole": RNG.normal(size=N)}))
    assert data.columns == {**TYPES, "whole": "continuous"}
    assert [column.missing for column in data.spec.columns] == [True] * 8 + [False]
    assert np.isnan(data.train.x).sum() + np.isnan(data.validation.x).sum() + np.isnan(data.test.x).sum() == 8 * N / 5
    assert "missing: 480 of 2,700 cells" in data.notes


def test_columns_are_chosen_left_out_and_made_the_class(file):
    asked = {"visits": "continuous", "city": "drop", "dose": "continuous", "grade": "continuous"}
    data = load_data(file, columns=asked, label="sex")
    assert data.columns == {**{name: kind for name, kind in TYPES.items() if name != "sex"}, **asked}
    assert [column.name for column in data.spec.columns] == ["height", "visits", "grade", "smokes", "year", "dose"]
    assert data.class_names == ("f", "m")
    assert data.spec.classes == 2
    again = load_data(file, columns=data.columns, label="sex")
    assert again.spec == data.spec
    np.testing.assert_array_equal(again.train.x, data.train.x)


def test_columns_that_tell_nothing_are_left_out_and_an_identifier_is_named(tmp_path):
    path = saved(tmp_path / "t.parquet", same=[3] * N, none=pa.nulls(N), id=np.arange(1000, 1000 + N))
    data = load_data(path)
    assert data.columns == {**TYPES, "same": "drop", "none": "drop", "id": "continuous"}
    notes = "\n".join(data.notes)
    assert "left out, since constant: same" in notes
    assert "left out, since all cells are missing: none" in notes
    assert "every number of id is another one" in notes


def test_a_column_without_a_name_is_an_index(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join([",a,b", *(f"{i},{i % 7},{i * 1.5}" for i in range(50))]))
    data = load_data(tmp_path / "t.csv")
    assert list(data.columns) == ["a", "b"]
    assert "left out column 1, which has no name" in data.notes[0]


def test_an_index_of_pandas_without_a_name_is_left_out_of_a_parquet_file(tmp_path):
    path = saved(tmp_path / "t.parquet", __index_level_0__=np.arange(N), __index_level_0=np.arange(N) % 7)
    data = load_data(path)
    assert list(data.columns) == [*CELLS, "__index_level_0"]
    assert data.notes[0] == "left out column 9, which has no name: an index is no column"
    # Unless it is asked for, as in the recipe of a run that learnt it.
    for kind in ("continuous", "drop"):
        known = load_data(path, columns={"__index_level_0__": kind})
        assert known.columns["__index_level_0__"] == kind
        assert load_items(path, known.spec, Preparation(), ("__index_level_0__",)).split.size == N


@pytest.mark.parametrize("suffix", [".CSV", ".Parquet"])
def test_a_suffix_in_capitals_is_that_of_a_table(tmp_path, suffix):
    data = load_data(saved(tmp_path / f"t{suffix}"), label="sex")
    assert data.class_names == ("f", "m")
    items = load_items(tmp_path / f"t{suffix}", data.spec, Preparation(), label="sex")
    assert items.classes == CELLS["sex"].tolist()
    Drawing("sample", {}, None, table=pa.table(CELLS)).save(tmp_path / f"S{suffix}")
    assert {path.name for path in tmp_path.iterdir()} == {f"t{suffix}", f"S{suffix}", "S.npz"}
    assert read_table(tmp_path / f"S{suffix}")[0].num_rows == N


@pytest.mark.parametrize("offset", [1e9, -3e12, 1.0])
def test_a_column_that_float32_cannot_resolve_is_refused(tmp_path, offset):
    step = float(np.spacing(np.float32(abs(offset))))
    near = np.random.default_rng(5).normal(size=2000)
    for spread, fine in ((9, False), (11, True)):
        cells = offset + spread * step * near / near.std()
        path = saved(tmp_path / f"{spread}.parquet", {"x": cells, "y": near})
        if fine:
            assert load_data(path, columns={"x": "continuous"}).columns["x"] == "continuous"
            continue
        with pytest.raises(VaezooError, match=r"'x' of .* is .* float32 has steps of .* there: subtract") as error:
            load_data(path)
        assert f"is {offset:.6g} ± " in str(error.value)
        (column, _) = load_data(saved(path, {"x": cells - offset, "y": near})).spec.columns
        assert column.scale == pytest.approx(spread * step, rel=0.05)
    assert load_data(path, columns={"x": "drop"}).columns["x"] == "drop"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark(tmp_path, delimiter):
    lines = [
        delimiter.join(("a", "b, c", "d")),
        *(delimiter.join((f"{i / 3}", f"x,{i % 3}", f"{i / 7}")) for i in range(60)),
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    data = load_data(tmp_path / "t.csv")
    assert data.columns == {"a": "continuous", "b, c": "categorical", "d": "continuous"}


def test_the_type_of_a_column_is_that_of_all_rows(tmp_path):
    cells = ["1"] * 150_000 + ["0.5", "2.25"] * 10  # more than a megabyte of whole numbers first
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *(f"{cell},{i}" for i, cell in enumerate(cells))]))
    columns = load_data(tmp_path / "t.csv").spec.columns
    assert columns[0].values == (0.5, 1.0, 2.25)


# Arrays


def test_vectors_are_plain_numbers_unless_columns_are_asked_for(tmp_path):
    x = np.stack([RNG.normal(size=N), RNG.poisson(3, N), RNG.integers(2, size=N)], 1)
    np.savez(tmp_path / "t.npz", x=x[:250], x_test=x[250:], feature_names=["a", "b", "c"])
    assert load_data(tmp_path / "t.npz").spec.columns is None
    data = load_data(tmp_path / "t.npz", columns={})
    assert data.columns == {"a": "continuous", "b": "count", "c": "binary"}
    np.testing.assert_array_equal(data.test.x, x[250:].astype("float32"))
    x[3, 0] = np.nan
    np.save(tmp_path / "t.npy", x)
    assert [column.name for column in load_data(tmp_path / "t.npy", columns={"x1": "continuous"}).spec.columns] == [
        "x0",
        "x1",
        "x2",
    ]
    with pytest.raises(VaezooError, match=r"hold NaN, .* or set model.likelihood=mixed"):
        load_data(tmp_path / "t.npy")
    with pytest.raises(VaezooError, match=r"unknown column in .* 'y'"):
        load_data(tmp_path / "t.npy", columns={"y": "count"})


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_columns_of_vectors_can_be_left_out(tmp_path, suffix):
    x = np.stack([RNG.normal(size=N), RNG.poisson(3, N), RNG.normal(size=N)], 1)
    path = tmp_path / f"t{suffix}"
    np.save(path, x) if suffix == ".npy" else np.savez(path, x=x)
    data = load_data(path, columns={"x0": "drop"})
    assert data.columns == {"x0": "drop", "x1": "count", "x2": "continuous"}
    again = load_data(path, columns=data.columns)
    assert again.spec == data.spec
    np.testing.assert_array_equal(again.train.x, data.train.x)


def test_new_vectors_are_matched_by_name(tmp_path):
    cells = {"a": RNG.normal(size=N), "b": RNG.normal(50, 1, N), "c": RNG.poisson(3, N), "k": np.full(N, 7.0)}

    def rows(*names, unnamed=False, further=("k",)):
        path = tmp_path / f"new{'.npy' if unnamed else '.npz'}"
        x = np.stack([cells[name] for name in names], 1)
        np.save(path, x) if unnamed else np.savez(path, x=x, feature_names=names)
        return load_items(path, data.spec, Preparation(), further).split.x

    np.savez(tmp_path / "t.npz", x=np.stack([*cells.values()], 1), feature_names=[*cells])
    data = load_data(tmp_path / "t.npz", columns={})
    assert data.columns["k"] == "drop"  # constant
    expected = np.stack([cells[name] for name in "abc"], 1).astype("float32")
    for names in ("abck", "cab", "kcba"):
        np.testing.assert_array_equal(rows(*names), expected)
    np.testing.assert_array_equal(rows(*"abc", unnamed=True), expected)
    with pytest.raises(VaezooError, match=r"new.npz' has no column 'b', which the model was trained on: add it"):
        rows(*"ack")
    with pytest.raises(VaezooError, match=r"new.npz' has a column 'k', which the training table had not: remove it"):
        rows(*"abck", further=())
    with pytest.raises(VaezooError, match=r"holds vectors of 4, and this model takes .*: bring them to it, or name th"):
        rows(*"abck", unnamed=True)
    np.savez(tmp_path / "new.npz", x=expected, feature_names=["a", "b", "c", "c"])
    with pytest.raises(VaezooError, match=r"has 3 different feature_names for 3 columns: name each once"):
        load_items(tmp_path / "new.npz", data.spec, Preparation())


def test_new_vectors_without_names_have_those_of_the_training(tmp_path):
    x = np.stack([RNG.normal(size=N), RNG.poisson(3, N), RNG.normal(size=N)], 1)
    np.save(tmp_path / "t.npy", x)
    data = load_data(tmp_path / "t.npy", columns={"x0": "drop"})
    for given in (x, x[:, 1:]):  # with the column that was left out, and without
        np.save(tmp_path / "new.npy", given)
        found = load_items(tmp_path / "new.npy", data.spec, Preparation(), data.columns).split.x
        np.testing.assert_array_equal(found, x[:, 1:].astype("float32"))


# Rows that the model was not trained on, and rows that become a table


def test_new_rows_are_matched_by_name(file, tmp_path):
    columns = load_data(file).spec.columns
    names = list(CELLS)[::-1]
    other = tmp_path / f"other{file.suffix}"
    write_table(other, pa.table({"id": list(range(N)), **{name: CELLS[name] for name in names}}))
    dtypes = {column.name: column.dtype for column in columns}
    x = rows_of(read_table(other, dtypes)[0], columns, "other", known=["id"])
    np.testing.assert_array_equal(x[:, 0], CELLS["height"].astype("float32"))
    np.testing.assert_array_equal(x[:, 1], CELLS["sex"] == "m")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"city": None}, "'new' has no column 'city', which the model was trained on"),
        ({"extra": [1, 2]}, "'new' has a column 'extra', which the training table had not"),
        (
            {"city": ["Lagos", "Rome"]},
            "the column 'city' of 'new' holds 'Rome', which is none of its values in training: Lagos",
        ),
        ({"grade": [1, 4]}, "the column 'grade' of 'new' holds '4', which is none"),
        ({"height": ["tall", "170"]}, "the column 'height' of 'new' .*tall"),
        ({"visits": [1, -1]}, "in 'new', the column 'visits' holds -1: it is a count"),
        ({"height": [1e30, 170]}, "in 'new', the column 'height' holds 1e[+]30"),
        ({"height": [np.inf, 170]}, "in 'new', the column 'height' holds inf"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, changes, message):
    columns = load_data(saved(tmp_path / "t.parquet")).spec.columns
    cells = {**{name: cells[:2].tolist() for name, cells in CELLS.items()}, **changes}
    table = pa.table({name: cells for name, cells in cells.items() if cells is not None})
    with pytest.raises(VaezooError, match=message):
        rows_of(table, columns, "new")


def test_a_class_that_was_text_in_training_stays_text(tmp_path):
    x = np.arange(60) / 7
    cells = {"x": x, "site": np.array(["01", "02", "A1"])[np.arange(60) % 3]}
    data = load_data(saved(tmp_path / "t.csv", cells), label="site")
    assert data.class_names == ("01", "02", "A1")
    numbers = cells["site"] != "A1"
    new = saved(tmp_path / "new.csv", {name: own[numbers] for name, own in cells.items()})
    settings = SimpleNamespace(columns=data.columns, label="site")
    environment = {"class_names": list(data.class_names)}
    run = SimpleNamespace(
        model=SimpleNamespace(spec=data.spec), recipe=SimpleNamespace(data=settings), environment=environment,
        class_names=data.class_names, path=tmp_path,
    )  # fmt: skip
    assert own_rows(run, new)[2].tolist() == [0, 1] * 20
    items = load_items(new, data.spec, Preparation(), data.columns, "site", data.class_names)
    assert items.classes == ["01", "02"] * 20


@pytest.mark.parametrize(("given", "names"), [(["01", "2"], ("1", "2")), (["true", "False"], ("False", "True"))])
def test_a_class_that_was_no_text_in_training_is_none(tmp_path, given, names):
    saved(tmp_path / "t.csv", {"x": [0.5, 1.5], "site": given})
    spec = Spec("vector", (1,), classes=2, columns=(Column("x"),))
    items = load_items(tmp_path / "t.csv", spec, Preparation(), label="site", classes=names)
    assert sorted(items.classes) == [*names]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_come_back_as_the_table_that_they_were(tmp_path, suffix):
    path = saved(tmp_path / f"t{suffix}")
    data = load_data(path, validation=0)
    again = table_of(data.train.x, data.spec.columns)
    write_table(tmp_path / f"again{suffix}", again)
    given, found = read_table(path)[0], read_table(tmp_path / f"again{suffix}")[0]
    assert found.schema.types == given.schema.types
    known = {tuple(row.values()) for row in given.to_pylist()}
    assert all(tuple(row.values()) in known for row in found.to_pylist())


def test_filling_in_keeps_every_observed_cell():
    table = pa.table({"id": [7, 8, 9], "n": [1, None, 3], "x": [0.1, np.nan, None], "c": ["a", None, "b"]})
    columns = (
        Column("n", "count", dtype="int64"),
        Column("x"),
        Column("c", "categorical", values=("a", "b"), dtype="str"),
    )
    for column, cells in zip(columns, ([9, 2.4, 9], [9, 0.5, 0.25], [1, 1, 0]), strict=True):
        table = filled(table, column, np.array(cells, "float32"))
    assert table.to_pydict() == {"id": [7, 8, 9], "n": [1, 2, 3], "x": [0.1, 0.5, 0.25], "c": ["a", "b", "b"]}


# Files that are refused


def text_of(rows=30, **changes):
    cells = {"a": [f"{i / 7:.3f}" for i in range(rows)], "b": [str(i % 3) for i in range(rows)], **changes}
    return "\n".join([",".join(cells), *(",".join(row) for row in zip(*cells.values(), strict=True))]) + "\n"


BAD = {
    "free text": (
        text_of(c=[f"word {i}" for i in range(30)]),
        r"the column 'c' of .* is free text: 30 different values .*\{c: drop\}",
    ),
    "dates": (
        text_of(c=[f"2024-01-{i + 1:02}" for i in range(30)]),
        "the column 'c' of .* holds dates or times: convert",
    ),
    "times": (text_of(c=[f"2024-01-01 10:{i:02}:00" for i in range(30)]), "holds dates or times"),
    "infinite": (
        text_of(c=["inf" if i == 3 else str(i / 7) for i in range(30)]),
        "the column 'c' holds inf: its cells must be",
    ),
    "infinite, of few values": (
        text_of(40, c=["1.5", "2", "3.25", "-inf"] * 10),
        "in .*, the column 'c' holds inf: its cells must be finite",
    ),
    "beyond float32": (text_of(c=["1e300" if i == 3 else str(i / 7) for i in range(30)]), "the column 'c' holds inf"),
    "absurd": (text_of(c=["1e25" if i == 3 else str(i / 7) for i in range(30)]), "the column 'c' holds 1e[+]25"),
    "one row": (text_of(1), "has no column that a model can learn"),
    "two rows": (text_of(2), "too few examples: of 2"),
    "no rows": ("a,b\n", "has no rows, only names of columns"),
    "empty": ("", "begins with an empty line or is empty"),
    "twice": ("a,b,a\n" + "1,2,3\n" * 20, "has more than one column 'a'"),
    "long row": (text_of() + "1,2,3\n", "is no table: .*Expected 2 columns, got 3"),
    "short row": (text_of() + "1\n", "is no table: .*Expected 2 columns, got 1"),
    "latin-1": ("a,b\n" + "1,é\n" * 20, "is not UTF-8"),
    "latin-1 name": ("é,b\n" + "1,2\n" * 20, "is not UTF-8"),
    "utf-16": (text_of().encode("utf-16"), "is not UTF-8"),
    "unprintable": ("a\x07,b\n" + "1,2\n" * 20, "has a column with the name"),
    "constant": ("a,b\n" + "1,2\n" * 20, "has no column that a model can learn"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_a_bad_csv_is_refused_in_one_line(tmp_path, content, message):
    content = content if isinstance(content, bytes) else content.encode("latin-1" if "é" in content else "utf-8")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(VaezooError, match=message) as error:
        load_data(tmp_path / "t.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"heigth": "count"}}, "unknown column in .* 'heigth'. Did you mean 'height'"),
        ({"label": "x"}, "unknown column in .* 'x'"),
        ({"columns": {"city": "count"}}, "holds text such as 'Lagos', and data.columns says count"),
        ({"columns": {"height": "count"}}, "a count is a whole number of 0 or more"),
        ({"columns": {"height": "binary"}}, "has .* values, and data.columns says binary"),
        ({"columns": {"height": "categorical"}}, "a categorical column has at most 100"),
        ({"columns": {"height": "date"}}, "unknown type of the column 'height'"),
        ({"columns": dict.fromkeys(CELLS, "drop")}, "has no column that a model can learn"),
        ({"label": "height"}, "the label 'height' of .* values; at most 100"),
    ],
)
def test_columns_that_cannot_be_so_are_refused(tmp_path, options, message):
    with pytest.raises(VaezooError, match=message):
        load_data(saved(tmp_path / "t.csv"), **options)


def test_a_label_has_no_missing_cells(tmp_path):
    path = saved(tmp_path / "t.csv", sex=[None, *CELLS["sex"][1:]])
    with pytest.raises(VaezooError, match=r"the label 'sex' of .* is missing in 1 rows"):
        load_data(path, label="sex")


def test_only_tables_have_columns():
    with pytest.raises(VaezooError, match="columns= and label= are for tables"):
        load_data("glyphs", label="digit")


@pytest.mark.slow
def test_large_tables_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "LARGEST_TABLE", 1000)
    with pytest.raises(VaezooError, match=r"the limit of a CSV file is 0 MiB: save it as .parquet"):
        load_data(saved(tmp_path / "t.csv"))
    monkeypatch.undo()
    bomb = pa.table({f"c{i}": pa.array([0]).take(pa.array(np.zeros(10**6, "int32"))) for i in range(300)})
    parquet.write_table(bomb, tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 2e6
    with pytest.raises(VaezooError, match="has 1,000,000 rows of 300 columns: a table has at most"):
        load_data(tmp_path / "t.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_broken_parquet_is_refused(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(VaezooError, match="is broken"):
        load_data(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (pa.array([[1]] * 30), "holds cells of type list"),
        (pa.array([b"x", b"y", b"z"] * 10), "holds cells of type binary"),
        (pa.array(np.arange(30, dtype="int32")).cast(pa.date32()), "holds dates or times"),
    ],
)
def test_a_parquet_of_other_cells_is_refused(tmp_path, cells, message):
    parquet.write_table(pa.table({"a": np.arange(30) / 7, "c": cells}), tmp_path / "t.parquet")
    with pytest.raises(VaezooError, match=f"the column 'c' of .* {message}"):
        load_data(tmp_path / "t.parquet")


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    path = saved(tmp_path / "t.csv")
    monkeypatch.setattr(table_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VaezooError, match=r"pip install 'vaezoo\[tables\]'"):
        load_data(path)


def test_pyarrow_is_not_imported_before_a_table_is_read():
    code = "import vaezoo, vaezoo.data.files, vaezoo.data.tabular, sys; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_categories_of_text_have_a_limit(tmp_path):
    cells = [f"word {i % 101}" for i in range(2020)]
    with pytest.raises(VaezooError, match="free text: 101 different values"):
        load_data(saved(tmp_path / "t.csv", {"c": cells}))
    data = load_data(saved(tmp_path / "u.csv", {"c": [f"word {i % tabular.MOST_CATEGORIES}" for i in range(2020)]}))
    assert len(data.spec.columns[0].values) == 100

"""The table of detectors: its splits are clean, and what knows nothing gets a half."""

import numpy as np
import pytest
from anomaly_table import _of_others, _splits, main, markdown, row


def test_what_knows_nothing_gets_a_half_and_what_sees_a_shift_more():
    rng = np.random.default_rng(0)
    train, normal = rng.normal(size=(300, 6)), rng.normal(size=(1500, 6))
    anomalies = {"shifted": rng.normal(1.0, 1.0, (1500, 6)), "normal": rng.normal(size=(1500, 6))}
    rows = [row(("made", "out", None, 0), *each) for each in _of_others(0, train, normal, anomalies)]
    error = np.sqrt((2 * 1500 + 1) / (12 * 1500 * 1500))  # of the AUROC of two equal distributions (Mann & Whitney)
    for each in rows:
        assert abs(each["auroc_shuffled"] - 0.5) < 4 * error
        if each["anomalies"] == "normal" or each["method"] == "random":
            assert abs(each["auroc"] - 0.5) < 4 * error
        else:
            assert each["auroc"] > 0.65, each["method"]
    text = markdown([{"achieved_0.01": None, "achieved_0.05": None, **each} for each in rows])
    assert "| random | 0." in text


@pytest.mark.parametrize("kind", ["out", "in"])
def test_no_anomaly_is_trained_on_and_no_test_example_either(kind):
    train, normal, anomalies = _splits(("digits", kind, 4, 0), None)
    again = _splits(("digits", kind, 4, 0), None)
    np.testing.assert_array_equal(train, again[0])
    rows = {
        part: {each.tobytes() for each in x} for part, x in (("t", train), ("n", normal), ("a", anomalies["class"]))
    }
    assert not rows["t"] & (rows["n"] | rows["a"])
    assert not rows["n"] & rows["a"]
    few, many = sorted([len(normal), len(anomalies["class"])])
    assert many > 5 * few  # one digit of ten
    assert (len(normal) == few) == (kind == "in")
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-4)


@pytest.mark.slow
def test_the_table_goes_on_where_it_stopped(tmp_path, capsys):
    options = ["--sets", "wine", "--models", "mlp_vae", "--seeds", "0", "--kinds", "out", "--classes", "0"]
    options += ["--epochs", "2", "--out", str(tmp_path)]
    main(options)
    first = (tmp_path / "table.csv").read_text()
    capsys.readouterr()
    main(options)
    assert (tmp_path / "table.csv").read_text() == first
    assert "epoch" not in capsys.readouterr().out

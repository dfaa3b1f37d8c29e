"""The table of detectors: its splits are clean, and what knows nothing gets a half; it never mixes settings."""

import anomaly_table
import image_table
import numpy as np
import pytest
from anomaly_table import _of_others, _splits, main, markdown, row

from vaezoo.errors import VaezooError


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


def test_results_of_other_settings_are_refused_and_nothing_is_measured(tmp_path, monkeypatch):
    measured = []

    def of_vae(model, folder, *_):
        measured.append(folder.name)
        yield "elbo", "class", np.zeros(3), np.ones(3), {}

    monkeypatch.setattr(anomaly_table, "_of_vae", of_vae)
    options = ["--sets", "wine", "--models", "mlp_vae", "--seeds", "0", "--kinds", "out", "--classes", "0"]
    options += ["--no-baselines", "--out", str(tmp_path)]
    main([*options, "--epochs", "2", "--scores", "elbo", "latent"])
    main([*options, "--epochs", "2", "--scores", "latent", "elbo"])  # it goes on
    for changed in (["--epochs", "3"], [], ["--epochs", "2", "--limit", "50"], ["--epochs", "2", "--scores", "elbo"]):
        with pytest.raises(VaezooError, match="wine-out-0-0' holds results of other settings; remove it, or") as error:
            main([*options, *(changed if "--scores" in changed else [*changed, "--scores", "elbo", "latent"])])
        assert "\n" not in str(error.value)
    (tmp_path / "wine-out-0-0" / "settings.json").unlink()  # results of an unknown origin
    with pytest.raises(VaezooError, match=r"holds results and no settings\.json"):
        main([*options, "--epochs", "2", "--scores", "elbo", "latent"])
    assert measured == ["wine-out-0-0"]


def test_pictures_measured_with_other_settings_are_refused(tmp_path, monkeypatch):
    for name in ("train", "refit", "_epochs"):
        monkeypatch.setattr(image_table, name, lambda *_, **__: 1)
    monkeypatch.setattr(image_table, "_row", lambda data, *_: {"data": data})
    options = ["glyphs", "--out", str(tmp_path), "--models", "conv_vae"]
    for _ in range(2):
        image_table.main([*options, "--minutes", "1"])
    for changed in (["--minutes", "2"], ["--minutes", "1", "--samples", "3"], ["--minutes", "1", "--image-size", "32"]):
        with pytest.raises(VaezooError, match="glyphs' holds results of other settings"):
            image_table.main([*options, *changed])


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

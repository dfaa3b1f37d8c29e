"""tools/benchmark.py: what it counts, computes and refuses. No test here depends on how long anything took."""

import json
import statistics
import sys

import benchmark
import keras
import numpy as np
import product_share
import pytest
from benchmarking import clock, peers, picture, rounds
from benchmarking.networks import NETWORKS, layers, load_network, parameters, training_flops
from benchmarking.peers import PROGRAMS
from benchmarking.report import Spread, decoding_rows, markdown, matrix_product, training_rows

import vaezoo
from vaezoo.config import load_recipe


def built(name):
    network = load_network(name)
    return vaezoo.create_model(name, encoder=network.encoder.model_dump(), decoder=network.decoder.model_dump())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_counted_layers_are_those_of_the_network(name):
    assert parameters(layers(load_network(name), (28, 28, 1))) == built(name).count_params()


def tiny(name, **sizes):
    return load_recipe(name, {f"model.{key.replace('__', '.')}": value for key, value in sizes.items()}).model


def test_the_operations_of_a_tiny_mlp_are_those_counted_by_hand():
    network = layers(tiny("mlp_vae", latent_dim=2, encoder__hidden=[3], decoder__hidden=[5]), (2, 2, 1))
    encoder, decoder = 4 * 3 + 3 * 4, 2 * 5 + 5 * 4  # multiplications, as is the number of additions
    assert training_flops(network) == 2 * (3 * (encoder + decoder) - 4 * 3)


def test_the_operations_of_a_tiny_convolutional_network_are_those_counted_by_hand():
    sizes = {"encoder__filters": [2], "encoder__dense": 3, "decoder__filters": [3, 5], "decoder__dense": 6}
    network = layers(tiny("conv_vae", latent_dim=2, **sizes), (4, 8, 1))
    convolution = 2 * 4 * (4 * 4 * 1 * 2)  # at 2×4 positions
    encoder = convolution + (2 * 4 * 2) * 3 + 3 * 4
    decoder = 2 * 6 + 6 * (1 * 2 * 3) + 1 * 2 * (3 * 3 * 3 * 5) + 2 * 4 * (3 * 3 * 5 * 4)
    assert training_flops(network) == 2 * (3 * (encoder + decoder) - convolution)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_products_in_the_graph_of_a_step_are_those_of_the_layers(name):
    model = built(name)
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    counted = product_share.product_flops(product_share.graph_of_a_step(model, 3))
    network = layers(load_network(name), (28, 28, 1))
    # The gradient of a convolution has that of its input, here of the images, which is not computed: nothing needs it.
    of_images = network[0].flops if name == "conv_vae" else 0
    assert counted == 3 * (training_flops(network) + of_images)


def test_a_width_widens_every_hidden_layer_and_nothing_else():
    model = load_network("conv_vae", 2)
    assert (model.encoder.filters, model.encoder.dense, model.decoder.filters) == ((64, 128), 1024, (128, 128))
    assert (model.encoder.kernel_size, model.latent_dim) == (4, 32)
    assert load_network("mlp_vae", 8).decoder.hidden == (4000, 4000)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plain_keras_script_builds_the_recipe(name):
    from benchmarking.keras_script import build

    model = load_network(name, width=2)
    encoder, decoder = build(model.model_dump(), (8, 8, 3))
    assert encoder.count_params() + decoder.count_params() == parameters(layers(model, (8, 8, 3)))
    assert decoder.output_shape == (None, 8, 8, 3)


def made_up():
    """Three rounds: the machine and both programs slow down, and the ratio stays."""
    flops = training_flops(layers(load_network("mlp_vae"), (28, 28, 1)))
    measurements = []
    for number, speed in enumerate((4.0, 2.0, 1.0)):
        case = {"round": number, "network": "mlp_vae", "width": 1, "batch": 128}
        measurements.append({"round": number, "library": "numpy", "flops_per_second": speed * 1000 * flops})
        measurements.append({"round": number, "library": "torch", "flops_per_second": speed * 900 * flops})
        common = {"first_step_seconds": 2.0, "peak_bytes": 2**30, "loss": 100.0, "parameters": 7}
        for name, rate in (("vaezoo", 500 * speed), ("jax", 500 * speed / (1.5, 2.0, 3.0)[number])):
            measurements.append({**case, "program": name, "images_per_second": rate, **common})
        measurements.append({**case, "program": "pythae", "failed": "not installed: pip install pythae"})
        decoder = {"round": number, "network": "mlp_vae", "runtime": "litert"}
        measurements.append({**decoder, "median_seconds": speed / 1000, "p95_seconds": speed / 500, "peak_bytes": 1})
    return measurements


def test_ratios_and_shares_are_taken_within_a_round_before_their_median():
    vaezoo, jax, pythae = training_rows(made_up(), (28, 28, 1))
    assert vaezoo["images_per_second"] == Spread(1000.0, 500.0, 2000.0)
    assert vaezoo["share"] == pytest.approx((0.5, 0.5, 0.5))
    assert vaezoo["times"] == pytest.approx((1.0, 1.0, 1.0))
    assert jax["times"] == pytest.approx((2.0, 1.5, 3.0))
    assert pythae["failed"] == "not installed: pip install pythae"
    assert "images_per_second" not in pythae


def test_the_fastest_library_sets_the_rate():
    library, rates = matrix_product(made_up())
    assert library == "numpy"
    assert sorted(rates) == [0, 1, 2]


def test_the_report_shows_every_row_and_what_is_not_installed():
    text = markdown(made_up(), {"machine": "a made-up one"}, (28, 28, 1))
    assert "| vaezoo | 1,000 (500–2,000) | 1.00 (1.00–1.00) | 50 (50–50) | 2.0 (2.0–2.0) | 1,024 (" in text
    assert "| 2.00 (1.50–3.00) |" in text
    assert "| pythae | not installed: pip install pythae |" in text
    assert "| mlp_vae | LiteRT | 2.000 (1.000–4.000) | 4.000 (2.000–8.000) |" in text
    assert "1,316,824 parameters, 7.1 MFLOP an image" in text


def test_the_report_is_written_even_if_every_program_failed():
    failed = [row for row in made_up() if "images_per_second" not in row and "runtime" not in row]
    assert "not installed" in markdown(failed, {}, (28, 28, 1))
    assert picture.draw(failed, (28, 28, 1), 128) is None


def test_the_picture_has_a_panel_for_each_network_each_decoder_and_each_way_of_scaling():
    wider = [{**row, "width": 2} for row in made_up() if "program" in row]
    titles = [axes.get_title() for axes in picture.draw(made_up() + wider, (28, 28, 1), 128).axes]
    assert [title.split(":")[0] for title in titles if title] == ["mlp_vae"] * 3
    assert "by width" in titles[2]


def test_decoders_are_a_row_each():
    assert [(row["runtime"], row["p95_seconds"].median) for row in decoding_rows(made_up())] == [("litert", 0.004)]


def test_the_scaling_takes_the_two_fastest_peers_and_repeats_nothing():
    measurements = made_up()
    for name, rate in (("keras", 1.0), ("torch_eager", 700.0)):
        case = {"network": "mlp_vae", "width": 1, "batch": 128, "program": name}
        measurements.append({**case, "round": 0, "images_per_second": rate})
    options = benchmark.parse(["--network", "mlp_vae", "--out", "nowhere"])
    cases = rounds.scaling_cases(options, list(PROGRAMS), measurements)
    assert {name for *_, name in cases} == {"vaezoo", "jax", "torch_eager"}
    assert len(cases) == len(set(cases)) == 3 * (len(rounds.BATCHES) + len(rounds.WIDTHS) - 2)


def test_an_epoch_of_a_wider_network_costs_no_more():
    wide = load_network("mlp_vae", 8)
    images = rounds.images_of_an_epoch("mlp_vae", wide, 128, 20_000, (28, 28, 1))
    cost = [images * training_flops(layers(wide, (28, 28, 1)))]
    cost.append(20_000 * training_flops(layers(load_network("mlp_vae"), (28, 28, 1))))
    assert 0.9 < cost[0] / cost[1] <= 1
    assert rounds.images_of_an_epoch("mlp_vae", wide, 1024, 4096, (28, 28, 1)) == 2048


def test_the_first_epoch_does_not_count(monkeypatch, capsys):
    def train(case, clock, mode):
        assert (case.batch, mode) == (4, "compiled")
        clock.step()
        clock.rates = [1.0, 5.0, 9.0, 6.0]
        return 7, 1.5

    case = {"network": "", "width": 1, "model": {}, "data": "", "batch": 4, "epochs": 4}
    monkeypatch.setattr(sys, "argv", ["", json.dumps(case), "compiled"])
    clock.main(train)
    measured = json.loads(capsys.readouterr().out)
    assert measured["images_per_second"] == statistics.median([5.0, 9.0, 6.0])
    assert (measured["parameters"], measured["loss"]) == (7, 1.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--network", "conv_va"], "unknown network 'conv_va'. Did you mean 'conv_vae'?"),
        (["--only", "vaezoo", "tensorflow"], "unknown program 'tensorflow'."),
        (["--rounds", "0"], "--rounds is 0; it must be at least 1"),
        (["--epochs", "1"], "--epochs is 1; it must be at least 2"),
        (["--batch", "-3"], "--batch is -3; it must be at least 1"),
        (["--batch", "64", "--images", "100"], "--images is 100; it must be at least 128"),
        (["--batch", "many"], "argument --batch: invalid int value: 'many'"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_options_get_one_line(arguments, said, capsys):
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"benchmark: {said}")
    assert error.count("\n") == 1


def test_results_are_never_overwritten(tmp_path, capsys):
    kept = tmp_path / "measurements.json"
    kept.write_text("an hour of work")
    assert benchmark.main(["--out", str(tmp_path)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert kept.read_text() == "an hour of work"


@pytest.fixture(scope="module")
def black_bars(bars_file, tmp_path_factory):
    with np.load(bars_file) as arrays:
        images = {name: arrays[name] > 0 for name in ("x_train", "x_test")}
    path = tmp_path_factory.mktemp("benchmark") / "images.npz"
    np.savez(path, **images)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_reaches_the_same_loss(name, network, black_bars, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # in so small a network, threads only wait for each other
    model = load_network(network)
    case = {"network": network, "width": 1, "model": model.model_dump(), "data": str(black_bars), "batch": 20}
    measured = peers.train(PROGRAMS[name], {**case, "epochs": 20})
    if str(measured.get("failed")).startswith("not installed"):
        pytest.skip(measured["failed"])
    assert measured["parameters"] == parameters(layers(model, (8, 8, 1)))
    assert measured["loss"] == pytest.approx(*{"mlp_vae": (13.4, 0.06), "conv_vae": (18.5, 0.2)}[network])
    assert measured["images_per_second"] > 0
    assert measured["first_step_seconds"] > 0


@pytest.mark.slow
def test_a_quick_run_leaves_the_report(bars_file, tmp_path, capsys):
    arguments = ["--quick", "--network", "mlp_vae", "--only", "vaezoo", "decoding", "--batch", "16"]
    assert benchmark.main([*arguments, "--data", str(bars_file), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("measurements.json", "measurements.csv"),
        *("benchmark.md", "benchmark.png"),
    }
    report = capsys.readouterr().out
    assert "| vaezoo | " in report
    assert "SavedModel" in report
    measurements = json.loads((tmp_path / "out" / "measurements.json").read_text())["measurements"]
    assert not [row for row in measurements if not row.get("failed", "not installed").startswith("not installed")]

"""`vaezoo doctor`: a finding for each fault of a made-up run, and none for a healthy one.

The healthy run is the linear-Gaussian model with its true posterior, which no training could improve.
"""

import dataclasses

import numpy as np
import pytest
from linear_gaussian import D, exact_encoder, inverse_softplus, model_within_the_unit_interval

from vaezoo.cli import main
from vaezoo.config import load_recipe, to_yaml
from vaezoo.errors import VaezooError
from vaezoo.evaluation.doctor import APART, CHECKS, ERRORS, FEWEST, diagnose
from vaezoo.evaluation.symptoms import CHANCES, _apart, measure
from vaezoo.optimizer import Adam
from vaezoo.runs import Run, load_recipe_data
from vaezoo.training.run_directory import RunDirectory
from vaezoo.zoo import build_model

MODEL = model_within_the_unit_interval()
FALLING = [-20 - 10 * (1 - 0.3**epoch) for epoch in range(1, 9)]  # to -30, and hardly in the last epochs
HEALTHY_ROWS = [{"epoch": epoch, "loss": loss, "val_loss": loss} for epoch, loss in enumerate(FALLING, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("doctor")


def exact(vae):
    """Give a model the weights of the exact one."""
    vae.decoder.set_weights([MODEL.weights.T, MODEL.offset])
    vae.encoder.set_weights(exact_encoder(MODEL))


def untouched(vae):
    pass


@pytest.fixture(scope="module")
def run_of(folder):
    """A run directory, from its weights, its data, its rows of metrics and its settings."""

    def leave(name, weights=exact, x=None, x_test=None, rows=HEALTHY_ROWS, steps=None, **settings):
        x = MODEL.sample(600, seed=1) if x is None else x
        x_test = MODEL.sample(300, seed=2) if x_test is None else x_test
        np.savez(folder / f"{name}.npz", x_train=x, x_test=x_test)
        linear = {"name": "mlp", "hidden": []}
        parts = {"latent_dim": D, "encoder": linear, "decoder": linear, "posterior": "full_normal"}
        parts |= {"likelihood": {"name": "normal", "scale": MODEL.noise}}
        settings = {**{f"model.{key}": value for key, value in parts.items()}, "data.binarize": "none", **settings}
        recipe = load_recipe("mlp_vae", {"data.name": str(folder / f"{name}.npz"), **settings})
        vae = build_model(recipe, load_recipe_data(recipe).spec)
        weights(vae)
        if steps is not None:
            vae.compile(optimizer=Adam(1e-3))
            vae.optimizer.build(vae.trainable_variables)
            vae.optimizer.iterations.assign(steps)
        with RunDirectory(folder / name) as run:
            run.text("recipe.yaml", to_yaml(recipe))
            run.model("model.keras", vae)
            if rows:
                run.table("metrics.csv", rows)
        return Run(run.path)

    return leave


@pytest.fixture(scope="module")
def healthy(run_of):
    return measure(run_of("healthy"))


def found_in(run):
    """The findings of a run by name."""
    return {finding.name: finding for finding in diagnose(run)}


def checked(measured):
    return {finding.name: finding for check in CHECKS for finding in check(measured)}


def test_a_healthy_run_has_no_findings(run_of, capsys):
    run = run_of("healthy_too")
    assert diagnose(run) == []
    assert main(["doctor", str(run.path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("nothing found")
    assert captured.err == ""


def test_the_numbers_of_a_healthy_run(healthy):
    assert healthy.active == D
    assert not healthy.collapsed
    assert healthy.kl_weight == 1
    assert healthy.steps is None
    assert (len(healthy.train), len(healthy.test)) == (300, 300)
    np.testing.assert_allclose([healthy.expected_error, healthy.one_scale], MODEL.noise, rtol=1e-5)
    np.testing.assert_allclose(healthy.made_error, MODEL.noise, rtol=0.1)
    signal = (MODEL.weights**2).sum()
    np.testing.assert_allclose(healthy.explained, signal / (signal + 16 * MODEL.noise**2), atol=0.15)
    np.testing.assert_allclose(healthy.test.mean(), MODEL.log_prob(MODEL.sample(300, seed=2)).mean(), atol=0.5)
    assert 0 <= healthy.unlike < 0.15


# Made-up runs


def collapsed(vae):
    vae.decoder.set_weights([0 * MODEL.weights.T, MODEL.offset])
    kernel, bias = exact_encoder(MODEL)
    bias[:] = 0
    bias[D : 2 * D] = inverse_softplus(1.0)
    vae.encoder.set_weights([0 * kernel, bias])


def test_a_collapsed_posterior(run_of, capsys):
    run = run_of("collapsed", collapsed)
    found = found_in(run)
    assert found["collapse"].severity == "error"
    assert "0 active units of 3" in found["collapse"].text
    assert "kld_weight" in found["collapse"].text
    assert "prior" not in found
    assert main(["doctor", str(run.path)]) == 0  # a finding is no failure of the command
    assert capsys.readouterr().out.startswith("error: collapse: The posterior has collapsed")


def codes_elsewhere(vae):
    """The same reconstructions, from codes that are 3 z + 5."""
    kernel, bias = exact_encoder(MODEL)
    kernel[:, :D] *= 3
    tril = 3 * np.linalg.cholesky(MODEL.posterior_covariance)
    bias[:D] = 3 * bias[:D] + 5
    bias[D : 2 * D], bias[2 * D :] = inverse_softplus(np.diag(tril)), tril[np.tril_indices(D, -1)]
    vae.encoder.set_weights([kernel, bias])
    vae.decoder.set_weights([MODEL.weights.T / 3, MODEL.offset - MODEL.weights.sum(1) * 5 / 3])


def test_codes_that_are_not_where_the_prior_is(run_of):
    run = run_of("elsewhere", codes_elsewhere)
    found = found_in(run)
    assert f"vaezoo refit {run.path} --prior mixture" in found["prior"].text
    assert found.keys() <= {"prior", "noiseless_code"}  # a code so far out is also expensive


def test_a_scale_that_is_too_wide_and_one_too_narrow(run_of):
    wide = found_in(run_of("wide", **{"model.likelihood": {"name": "normal", "scale": 1.0}}))["scale"]
    assert "expects errors of 1," in wide.text
    assert "too little against the KL" in wide.text
    narrow = found_in(run_of("narrow", **{"model.likelihood": {"name": "normal", "scale": 0.005}}))["scale"]
    assert "too much against the KL" in narrow.text


def test_a_learned_scale_at_its_lower_limit(run_of):
    def at_limit(vae):
        exact(vae)
        vae.likelihood.raw_scale.assign(-20.0)

    likelihood = {"name": "normal", "scale": 0.1, "learned": True}
    found = found_in(run_of("limit", at_limit, **{"model.likelihood": likelihood}))
    assert "at its lower limit, 0.001" in found["scale"].text


def test_test_examples_that_cost_more_than_training_examples(run_of):
    noise = 0.02 * np.random.default_rng(0).normal(size=(300, 4, 4, 1))
    x_test = np.clip(MODEL.sample(300, seed=2) + noise, 0, 1).astype("float32")
    found = found_in(run_of("overfitted", x_test=x_test))
    assert found.keys() == {"overfitting"}
    assert "300 of each" in found["overfitting"].text


def test_a_validation_loss_that_rises_again(run_of):
    found = found_in(run_of("rising", rows=[*HEALTHY_ROWS, {"epoch": 9, "loss": -32.0, "val_loss": -27.0}]))
    assert found.keys() == {"overfitting"}
    assert "lowest in epoch 8 (-30.0) and ended at -27.0 in epoch 9" in found["overfitting"].text


def test_a_sorted_file_is_no_overfitting(run_of):
    x = MODEL.sample(3000, seed=1)
    x = x[np.argsort(-MODEL.log_prob(x))]  # the likeliest first: those are 2 nats above the others
    run = run_of("sorted", x=x, x_test=MODEL.sample(1000, seed=2))
    seen = measure(run)
    assert checked(seen) == {}
    np.testing.assert_allclose(seen.train.mean(), MODEL.log_prob(x).mean(), atol=0.05)


@pytest.mark.parametrize(("keep", "names"), [("last", {"overfitting"}), ("best", set())])
def test_epochs_after_the_weights_that_are_kept_are_no_overfitting(healthy, keep, names):
    settings = {"data.binarize": "none", "model.likelihood": "normal", "training.keep": keep}
    recipe = load_recipe("mlp_vae", settings)
    rows = [*HEALTHY_ROWS, {"epoch": 9, "loss": -32.0, "val_loss": -27.0}]
    assert checked(dataclasses.replace(healthy, recipe=recipe, rows=rows)).keys() == names


def test_a_loss_that_still_falls(run_of):
    rows = [{"epoch": epoch, "loss": 100.0 - 10 * epoch} for epoch in range(1, 9)]
    run = run_of("falling", rows=rows, **{"training.epochs": 8})
    found = found_in(run)
    assert found.keys() == {"unfinished"}
    assert "from 40.0 to 20.0 over the last 2 of 8 epochs" in found["unfinished"].text
    assert f"vaezoo train --resume {run.path} --epochs 16" in found["unfinished"].text


def test_colours_that_were_binarized(run_of):
    x = np.random.default_rng(0).uniform(0.3, 0.7, (60, 4, 4, 3)).astype("float32")
    settings = {"model.likelihood": "bernoulli", "data.binarize": "dynamic"}
    found = found_in(run_of("speckle", untouched, x, x[:40], **settings))
    assert "data.binarize=none" in found["binarization"].text
    assert "likelihood" not in found


@pytest.mark.parametrize("likelihood", ["normal", "discretized_logistic"])
def test_zeros_and_ones_under_a_likelihood_of_grey_levels(run_of, likelihood):
    x = np.random.default_rng(0).integers(0, 2, (60, 4, 4, 1)).astype("uint8") * 255
    found = found_in(run_of(f"binary-{likelihood}", untouched, x, x[:40], **{"model.likelihood": likelihood}))
    assert "model.likelihood=bernoulli" in found["likelihood"].text


def test_the_weight_of_the_kl_is_explained_with_the_numbers_of_the_run(run_of):
    found = found_in(run_of("beta", **{"model.objective": {"name": "beta", "beta": 4.0, "reconstruction_weight": 2.0}}))
    assert found.keys() == {"kl_weight"}
    text = found["kl_weight"].text
    assert found["kl_weight"].severity == "note"
    assert "counts 2 times as much" in text
    assert "the sum over its 16 values" in text
    assert "'kld_weight' of 2 / 16 = 0.12" in text


def test_the_weight_of_the_kl_is_that_of_the_loss_and_without_one_no_formula_is_given(healthy):
    plain = {"data.binarize": "none", "model.likelihood": "normal"}

    def seen(**objective):
        return dataclasses.replace(healthy, recipe=load_recipe("mlp_vae", {**plain, "model.objective": objective}))

    for weight, objective in (
        (1.0, {"name": "elbo"}),
        (2.0, {"name": "beta", "beta": 4.0, "reconstruction_weight": 2.0}),
        (1.0, {"name": "factor"}),
        (1.0, {"name": "dip"}),
        (0.25, {"name": "info", "alpha": 0.75}),
        (3.0, {"name": "adversarial", "beta": 3.0}),
        (3.0, {"name": "total_correlation", "alpha": 3.0, "beta": 3.0, "gamma": 3.0}),
        (None, {"name": "total_correlation", "beta": 6.0}),
        (None, {"name": "capacity"}),
        (None, {"name": "iwae"}),
    ):
        measured = seen(**objective)
        assert measured.kl_weight == weight, objective
        assert checked(measured).keys() == ({"kl_weight"} if weight and weight > 1 else set())
        suffers = checked(dataclasses.replace(measured, unlike=0.5, floor=0.03))
        assert ("kl_weight" in suffers) == (weight not in (None, 1.0))
        collapsed = checked(dataclasses.replace(measured, active=0))["collapse"].text
        assert ("in the loss they are" in collapsed) == ("kld_weight" in collapsed) == (weight is not None)


@pytest.mark.slow
def test_a_warm_up_that_did_not_end(run_of):
    objective = {"name": "beta", "beta": {"end": 1.0, "steps": 400}}
    found = found_in(run_of("warming", steps=100, rows=[], **{"model.objective": objective}))
    assert found.keys() == {"warm_up"}
    assert "takes 400 steps and the training had 100" in found["warm_up"].text
    assert "counted 0.25 instead of 1" in found["warm_up"].text
    # The loss of a warm-up rises with the weight of the KL: only the epochs after it count.
    losses = (-90.0, -60.0, -30.0, *[-30.1] * 5)
    rows = [{"epoch": epoch, "loss": loss, "val_loss": loss} for epoch, loss in enumerate(losses, 1)]
    assert found_in(run_of("warmed", steps=1000, rows=rows, **{"model.objective": objective})) == {}
    assert found_in(run_of("never_warm", steps=1000, rows=rows)).keys() == {"overfitting"}


@pytest.mark.parametrize(
    ("critic", "text"), [(0.05, "The critic has won: its cross-entropy is 0.05 nats, and 1.39 for"), (1.38, "")]
)
def test_a_critic_that_wins(run_of, critic, text):
    rows = [{**row, "critic": critic} for row in HEALTHY_ROWS]
    found = found_in(run_of(f"critic-{critic}", rows=rows, **{"model.objective": {"name": "factor", "hidden": [4]}}))
    assert found.keys() == ({"critic"} if text else set())
    assert not text or text in found["critic"].text


@pytest.mark.parametrize(
    ("objective", "other"), [("factor", "codes whose latents are permuted"), ("adversarial", "draws of the prior")]
)
def test_a_critic_that_collapses(run_of, objective, other):
    """The codes are those of the healthy run, mixed: (z1, 2 z1 + z2, z3), and the decoder undoes it."""
    mix = np.eye(D)
    mix[0, 1] = 2

    def mixed(vae):
        kernel, bias = exact_encoder(MODEL)
        tril = np.linalg.cholesky(mix.T @ MODEL.posterior_covariance @ mix)
        bias[D : 2 * D], bias[2 * D :] = inverse_softplus(np.diag(tril)), tril[np.tril_indices(D, -1)]
        kernel[:, :D], bias[:D] = kernel[:, :D] @ mix, bias[:D] @ mix
        vae.encoder.set_weights([kernel, bias])
        vae.decoder.set_weights([np.linalg.inv(mix) @ MODEL.weights.T, MODEL.offset])

    rows = [{**row, "critic": 1.38} for row in HEALTHY_ROWS]
    settings = {"model.objective": {"name": objective, "hidden": [4]}}
    run = run_of(f"collapsed-{objective}", mixed, rows=rows, **settings)
    text = found_in(run)["critic"].text
    assert f"though codes and {other} are" in text
    # The codes have the covariance C = mix' mix: ln 5 / 2 from independent latents, (tr C - 3) / 2 from the prior.
    np.testing.assert_allclose(measure(run).apart, np.log(5) / 2 if objective == "factor" else 2.0, atol=0.3)


def _apart_of_normals(rng, n, size, shift=0.0):
    mix = rng.normal(size=(size, size))
    codes, *others = (rng.normal(size=(12, n, size)) + shift * (np.arange(12) == 0)[:, None, None]) @ mix
    return _apart(codes, others[0], others[1:])


@pytest.mark.parametrize("n", [100, 2000])
def test_codes_of_one_distribution_are_not_apart(n):
    rng = np.random.default_rng(0)
    found = [_apart_of_normals(rng, n, 8)[0] for _ in range(20)]
    assert abs(np.mean(found)) < 0.1
    shifted, error = _apart_of_normals(rng, 20_000, 8, shift=0.5)
    np.testing.assert_allclose(shifted, 8 * 0.5**2 / 2, rtol=0.05)
    assert error < 0.01
    assert _apart(np.ones((n, 2)), np.ones((n, 2)), [np.ones((n, 2))]) == (None, None)


@pytest.mark.parametrize(("n", "size"), [(1000, 100), (200, 64)])
def test_many_latents_are_not_apart_by_chance(n, size):
    rng = np.random.default_rng(0)
    found, errors = np.transpose([_apart_of_normals(rng, n, size) for _ in range(6)])
    assert (found < APART + ERRORS * errors).all()
    assert abs(found.mean()) < ERRORS * np.sqrt(errors.mean() ** 2 * (1 + 1 / CHANCES) / 6)
    # What is far more than chance is seen: 4 nats in one direction.
    codes, *others = rng.normal(size=(12, n, size))
    codes[:, 0] += np.sqrt(8)
    apart, error = _apart(codes, others[0], others[1:])
    assert apart > APART + ERRORS * error


# Single numbers


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("collapse", {"information": 0.05}),
        ("collapse", {"active": 0, "information": None}),
        ("weak_code", {"information": 0.6}),
        ("noiseless_code", {"kl": 100.0}),
        ("flat_reconstructions", {"explained": 0.1}),
        ("flat_reconstructions", {"explained": -0.1}),
        ("scale", {"expected_error": 0.5, "made_error": 0.2, "one_scale": None}),
        ("prior", {"unlike": 0.6, "floor": 0.1}),
        ("unfinished", {"rows": [{"epoch": 1, "loss": 90.0}, {"epoch": 2, "loss": 80.0}]}),
    ],
    ids=str,
)
def test_a_number_beyond_its_threshold_is_a_finding(healthy, name, changes):
    assert checked(healthy) == {}
    found = checked(dataclasses.replace(healthy, **changes))
    assert found.keys() == {name}


@pytest.mark.parametrize(
    "changes",
    [
        {"information": 1.2},
        {"kl": 5.9 * D},
        {"explained": 0.25},
        {"explained": None},
        {"expected_error": 0.3, "made_error": 0.2, "one_scale": None},
        {"unlike": 0.6, "floor": 0.5},  # few or very different examples: those of training are as far away
        {"unlike": None, "floor": None},
        {"rows": [{"epoch": epoch, "loss": 50 + 50 * 0.5**epoch} for epoch in range(10)]},
        {"rows": []},
        {"rows": [{"epoch": 1.0, "loss": 90.0}]},
        {"information": None},
    ],
    ids=str,
)
def test_a_number_within_its_threshold_is_none(healthy, changes):
    assert checked(dataclasses.replace(healthy, **changes)) == {}


def test_an_autoencoder_is_not_told_to_fit_a_prior(healthy):
    found = checked(dataclasses.replace(healthy, kl=None, information=None, unlike=0.9, floor=0.0))
    assert found.keys() == {"prior"}
    assert "refit" not in found["prior"].text


def test_the_worst_comes_first(run_of):
    rows = [{"epoch": 1, "loss": 90.0}, {"epoch": 2, "loss": 80.0}]
    likelihood = {"name": "normal", "scale": 1.0}
    found = diagnose(run_of("many", collapsed, rows=rows, **{"model.likelihood": likelihood}))
    assert [finding.severity for finding in found] == ["error", "warning", "note"]


# Any run


@pytest.mark.slow
def test_runs_of_every_kind_are_read(tiny_run, conditional_run, vector_run, sequence_run):
    for path in (tiny_run, conditional_run, vector_run, sequence_run):
        for finding in diagnose(Run(path)):
            assert "nan" not in finding.text
    assert measure(Run(sequence_run)).explained is None  # tokens have no variance
    assert measure(Run(tiny_run)).steps == 20
    assert measure(Run(tiny_run)).fitting == "none"  # bars are zeros and ones


def test_an_autoencoder_is_read(run_of):
    settings = {"model.posterior": "point", "model.objective": "reconstruction"}
    measured = measure(run_of("point", untouched, **settings))
    assert measured.kl is None
    assert measured.information is None
    assert not measured.collapsed


def test_few_examples_are_said_to_be_few(run_of):
    found = found_in(run_of("few", x_test=MODEL.sample(FEWEST - 1, seed=2)))
    assert found.keys() == {"few_examples"}


@pytest.mark.parametrize("content", ["epoch,loss\n1,abc\n", "epoch,loss\n1,2,3\n", "epoch,loss\n1\n"], ids=repr)
def test_broken_metrics_are_one_line(run_of, content, capsys):
    run = run_of(f"broken-{content[13:].strip()}")
    (run.path / "metrics.csv").write_text(content)
    with pytest.raises(VaezooError, match=r"metrics\.csv' is broken"):
        diagnose(run)
    assert main(["doctor", str(run.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err

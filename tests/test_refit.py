"""A prior fitted after training: the networks stay, the prior follows the codes, the result is an ordinary run."""

import json
import shutil

import numpy as np
import pytest

from vaezoo.cli import main
from vaezoo.errors import VaezooError
from vaezoo.runs import Run
from vaezoo.training import refit, resume
from vaezoo.training.refitting import FitCodes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaezoo.training.refitting.STEPS", 100)
        yield


PRIORS = {
    "mixture": {"model.prior.components": 5},
    "flow": {"model.prior.blocks": 2, "model.prior.hidden": [16]},
    "vamp": {"model.prior.components": 5},
}


@pytest.fixture(scope="module", params=PRIORS)
def refitted(request, tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("refit") / request.param
    return refit(tiny_run, request.param, PRIORS[request.param], out, quiet=True)


def test_only_the_prior_changes_and_the_bound_gains(refitted, tiny_run):
    before, after = Run(tiny_run), Run(refitted.path)
    for part in ("encoder", "decoder", "posterior", "likelihood"):
        for expected, found in zip(
            getattr(before.model, part).get_weights(), getattr(after.model, part).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    old, new = (json.loads((path / "test.json").read_text()) for path in (tiny_run, refitted.path))
    assert new["reconstruction"] == pytest.approx(old["reconstruction"], rel=1e-5)
    assert new["kl"] < old["kl"] - 0.05  # the aggregated posterior of two short epochs is far from N(0, I)


@pytest.mark.slow
def test_the_result_is_an_ordinary_run(refitted, tiny_run, tmp_path, capsys):
    environment = json.loads((refitted.path / "environment.json").read_text())
    assert environment["refitted"] == str(tiny_run.resolve())
    assert environment["held_out"][-1] <= environment["held_out"][0] + 0.5
    for arguments in (
        ["inspect", refitted.path],
        ["sample", refitted.path, "-n", "4", "--out", tmp_path / "samples.png"],
        # (no more than 64 images, so that samples are not compared: that takes a classifier)
        ["evaluate", refitted.path, "--importance-samples", "2", "--limit", "50", "--out", tmp_path / "evaluation"],
        ["export", refitted.path, "--to", tmp_path / "export", "--format", "savedmodel"],
    ):
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    samples = Run(refitted.path).model.sample(3, seed=1)
    np.testing.assert_array_equal(samples, refitted.model.sample(3, seed=1))
    with pytest.raises(VaezooError, match=r"as `vaezoo refit` writes it"):
        resume(refitted.path)


def test_one_full_normal_has_the_moments_of_the_codes(tiny_run, tmp_path):
    fitted = refit(tiny_run, "mixture", {"model.prior.components": 1}, tmp_path / "run", quiet=True)
    run = Run(tiny_run)
    x, _ = run.first("train")
    q = run.model.encode(x)
    mean, variance = np.asarray(q.mean(), "float64"), np.asarray(q.variance(), "float64")
    covariance = np.cov(mean.T) + np.diag(variance.mean(0))  # of the aggregated posterior
    prior = fitted.model.prior_distribution()
    np.testing.assert_allclose(prior.mean(), mean.mean(0), atol=0.15)
    np.testing.assert_allclose(prior.stddev(), np.sqrt(np.diag(covariance)), rtol=0.1)


def test_codes_are_new_draws_of_the_posterior(tiny_run):
    run = Run(tiny_run)
    codes = FitCodes(run.model, run.data.train, run.batches)
    first, again, other = codes.draw(0), codes.draw(0), codes.draw(1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min(0).max() > 0
    q = run.model.encode(run.first("train")[0])
    white = (first - np.asarray(q.mean())) / np.asarray(q.stddev())
    assert abs(white.mean()) < 0.1
    assert abs(white.std() - 1) < 0.05
    assert first.shape == (len(run.data.train), run.model.latent_dim)


def test_the_prior_is_chosen_by_its_name_alone(tiny_run, tmp_path, capsys):
    arguments = ["refit", str(tiny_run), "--set", "model.prior.components=3", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    prior = Run(tmp_path / "run").recipe.model.prior
    assert (prior.name, prior.components, prior.covariance) == ("mixture", 3, "full")
    assert "before" in capsys.readouterr().err


def refused(arguments, capsys):
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    return message


def test_what_cannot_be_refitted(tiny_run, tiny_recipe, bars_file, tmp_path, capsys):
    def out():
        return ["--out", tmp_path / "none"]

    assert "has no weights to fit" in refused(["refit", tiny_run, "--prior", "standard_normal", *out()], capsys)
    assert "unknown" in refused(["refit", tiny_run, "--prior", "magic", *out()], capsys)
    many = refused(["refit", tiny_run, "--set", "model.prior.components=5000", *out()], capsys)
    assert "5000 components for 380 training examples" in many
    key = refused(["refit", tiny_run, "--set", "model.latent_dim=7", *out()], capsys)
    assert "'model.latent_dim' cannot change in a refit" in key
    assert "holds no run" in refused(["refit", tmp_path, *out()], capsys)
    autoencoder = ["--set", "model.posterior=point", "--set", "model.objective=reconstruction"]
    train = ["train", tiny_recipe, "--data", bars_file, "--epochs", "1", *autoencoder]
    learned = refused([*train, *out(), "--set", "model.prior=mixture"], capsys)
    assert "the prior 'mixture' would learn nothing" in learned
    assert "vaezoo refit RUN --prior mixture" in learned
    assert main([str(argument) for argument in [*train, "--out", tmp_path / "ae"]]) == 0
    assert "'vamp' needs the density" in refused(["refit", tmp_path / "ae", "--prior", "vamp", *out()], capsys)
    assert not (tmp_path / "none").exists()
    # The codes of an autoencoder have no noise: a prior of one normal has their moments.
    fitted = refit(tmp_path / "ae", "mixture", {"model.prior.components": 1}, tmp_path / "fitted", quiet=True)
    run = Run(fitted.path)
    codes = run.model.codes(run.first("train")[0]).numpy()
    assert np.abs(codes.std(0) - 1).max() > 0.3  # not those of the prior before
    prior = run.model.prior_distribution()
    np.testing.assert_allclose(prior.mean(), codes.mean(0), atol=0.15 * codes.std(0).max())
    np.testing.assert_allclose(prior.stddev(), codes.std(0), rtol=0.15)
    assert run.model.sample(3, seed=1).shape == (3, 8, 8, 1)


def test_an_interrupted_refit_leaves_nothing(tiny_run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaezoo.training.refitting.leave_results", interrupted)
    with pytest.raises(KeyboardInterrupt):
        refit(tiny_run, "mixture", PRIORS["mixture"], tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_whose_data_are_gone(tiny_recipe, bars_file, tmp_path, capsys):
    data = shutil.copy(bars_file, tmp_path / "bars.npz")
    train = ["train", tiny_recipe, "--data", data, "--out", tmp_path / "run", "--epochs", "1"]
    assert main([str(argument) for argument in train]) == 0
    (tmp_path / "bars.npz").unlink()
    assert "does not exist" in refused(["refit", tmp_path / "run", "--out", tmp_path / "none"], capsys)
    assert not (tmp_path / "none").exists()

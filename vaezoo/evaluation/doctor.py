"""What is wrong with a run, and what to try: findings in plain words, each with the numbers of this run.

    for finding in diagnose(Run("runs/mlp_vae")):
        print(finding.severity, finding.text)

`symptoms.measure` reads the run; each check compares its numbers with a threshold below.
"""

from typing import NamedTuple

import numpy as np

from vaezoo.distributions import SMALLEST_LEVEL_SCALE
from vaezoo.evaluation.report import FEWEST
from vaezoo.evaluation.symptoms import measure
from vaezoo.part_schema import WarmUp, after

SEVERITIES = ("error", "warning", "note")

WEAK = 1.0  # nats of I(x; z)
NOISELESS = 6.0  # nats of KL for each active latent: q(z|x) is e^6 = 400 times narrower than p(z)
FLAT = 0.2  # of the variance of the examples, which reconstructions explain; 0.7 for binarized MNIST
MISJUDGED = 2.0  # between the error that the likelihood expects and the one that is made, in either direction
ERRORS = 3  # standard errors between the bounds of training and test examples, or between two kinds of code
WORSE = 0.05  # standard deviations of the bound over the examples, between two epochs
CHANCE = 2 * np.log(2)  # nats, the two cross-entropies of a critic that tells nothing apart
WON, LOST = 0.2 * CHANCE, 0.98 * CHANCE
APART = 0.3  # nats between two kinds of code, which a critic finds: at best its cross-entropies are then 1.24
LATE, STILL = 0.2, 0.05  # the last epochs, and the share of all progress that they may make
UNLIKE = 0.2  # `Measured.unlike`: 0.03 to 0.05 for MNIST, 2 to 3 for colour pictures under a standard normal prior


class Finding(NamedTuple):
    """One thing that is wrong with a run.

    Attributes:
        name: of the check.
        severity: "error" (the model is of no use), "warning" (it is worse than it could be) or "note".
        text: what is wrong, with the numbers of the run, and what to try.
    """

    name: str
    severity: str
    text: str


def diagnose(run, seed=0):
    """Look for what commonly goes wrong with the data, the likelihood, the weight of the KL, the training, the prior.

    Args:
        run: a `runs.Run`.
        seed: of every draw, 0 <= seed < 2^31.

    Returns:
        A list of `Finding`, the worst first; empty for a healthy run.

    Raises:
        VaezooError: if the data, the model or metrics.csv cannot be read.
    """
    measured = measure(run, seed)
    checks = CHECKS if len(measured.test) >= FEWEST else (_few, _data)
    found = [finding for check in checks for finding in check(measured)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


# The checks: `Measured` → findings


def _few(seen):
    yield Finding(
        "few_examples",
        "note",
        f"There are {len(seen.test)} test {seen.spec.kind}s: with fewer than {FEWEST} nothing about the code, the "
        "training and the prior can be told from chance. Try more data.",
    )


def _data(seen):
    likelihood, mode = seen.recipe.model.likelihood, seen.recipe.data.binarize
    if not seen.spec.is_image:
        return
    if mode != "none" and seen.fitting is None:
        yield Finding(
            "binarization",
            "warning",
            f"data.binarize={mode} turns every grey level or colour into 0 or 1, and these images are no drawings in "
            "black and white: the model learns speckle. Try data.binarize=none with "
            "model.likelihood=discretized_logistic.",
        )
    binary = seen.fitting == "none" or mode != "none"
    if binary and not likelihood.binary:
        yield Finding(
            "likelihood",
            "warning",
            f"The images hold zeros and ones alone, and the likelihood '{likelihood.name}' describes levels between "
            "them: its bound does not compare with any other. Try model.likelihood=bernoulli.",
        )


def _scale(seen):
    expected, made = seen.expected_error, seen.made_error
    if seen.one_scale is not None and seen.one_scale <= 1.01 * SMALLEST_LEVEL_SCALE:
        yield Finding(
            "scale",
            "warning",
            f"The scale of the likelihood is at its lower limit, {SMALLEST_LEVEL_SCALE:g}: the density grows without a "
            "bound as it shrinks, so the training fits values that are exactly alike, such as a black border. Try "
            "model.likelihood=discretized_logistic for images, or cut what is constant out of the data.",
        )
    elif made and not 1 / MISJUDGED <= expected / made <= MISJUDGED:
        effect = (expected / made) ** 2
        more, result = ("little", "grey or blurred pictures") if effect > 1 else ("much", "samples unlike the data")
        yield Finding(
            "scale",
            "warning",
            f"The likelihood '{seen.recipe.model.likelihood.name}' expects errors of {expected:.3g}, and the "
            f"reconstructions err by {made:.3g} (root mean squares): the reconstruction counts too {more} against the "
            f"KL, as if beta were {effect:.2g}. The result is {result}. Try "
            "model.likelihood={name: normal, learned: true}, or "
            f"a scale of {made:.2g}.",
        )


def _weight_of_kl(seen):
    beta = seen.recipe.model.objective.keywords().get("beta")
    if isinstance(beta, WarmUp) and seen.steps is not None and seen.steps < beta.steps:
        yield Finding(
            "warm_up",
            "warning",
            f"The warm-up of the KL takes {beta.steps:,} steps and the training had {seen.steps:,}: at its end the KL "
            f"counted {after(seen.steps, beta):.2g} instead of {beta.end:g}, so samples from the prior are not what "
            "the model was trained for. Try a shorter warm-up (model.objective.beta.steps), or more epochs.",
        )
    elif seen.kl is not None and seen.kl_weight not in (None, 1) and not seen.collapsed:
        effect = "detail that costs more code than it saves is given up, and pictures become smooth or grey"
        if seen.kl_weight < 1:
            if not _samples_suffer(seen):  # such as where an MMD or a critic holds the codes at the prior
                return
            effect = "the code may hold more detail than the prior knows of, and samples become unlike the data"
        yield Finding(
            "kl_weight",
            "note",
            f"The KL counts {seen.kl_weight:.3g} times as much as in the bound on log p(x): {effect}. "
            f"{_scale_of_kl(seen)} For the bound itself, set model.objective=elbo.",
        )


def _samples_suffer(seen):
    """Whether samples from the prior are unlike the data, or nothing is known about it."""
    return seen.unlike is None or seen.unlike - seen.floor > UNLIKE


def _scale_of_kl(seen):
    """What the two terms of the loss are, and what their weight is in other code, if the loss has one for the KL."""
    size, weight = seen.spec.size, seen.kl_weight
    cost = (
        f"A test example costs {seen.reconstruction:,.1f} nats of reconstruction, the sum over its {size:,} values "
        f"({seen.reconstruction / size:.3f} each), and {seen.kl:,.1f} nats of KL, the length of its code"
    )
    if weight is None:
        return f"{cost}."
    return (
        f"{cost}; in the loss they are reconstruction + {weight:.3g} × KL. Code that takes the mean over the values "
        f"instead needs a 'kld_weight' of {weight:.3g} / {size:,} = {weight / size:.2g} for the same."
    )


def _code(seen):
    if seen.kl is None:
        return
    if seen.collapsed:
        held = "" if seen.information is None else f" and holds {seen.information:.2f} nats about an example"
        yield Finding(
            "collapse",
            "error",
            f"The posterior has collapsed: the code has {seen.active} active units of "
            f"{seen.latents}{held}, so every reconstruction is the mean of all {seen.spec.kind}s (a "
            f"grey picture). {_scale_of_kl(seen)} "
            "Try a KL warm-up (model.objective={name: beta, beta: {end: 1.0, steps: 5000}}), a smaller beta, a smaller "
            "scale of the likelihood, a lower learning rate, or more epochs.",
        )
    elif seen.information is not None and seen.information < min(WEAK, np.log(len(seen.test)) / 2):
        yield Finding(
            "weak_code",
            "warning",
            f"The code holds only {seen.information:.2f} nats about an example: it tells about "
            f"{np.exp(seen.information):.1f} groups of {seen.spec.kind}s apart. {_scale_of_kl(seen)} Try a KL warm-up, "
            "a smaller beta, or more epochs.",
        )
    elif seen.kl > NOISELESS * seen.active:
        each = seen.kl / seen.active
        yield Finding(
            "noiseless_code",
            "warning",
            f"The KL is {seen.kl:,.0f} nats, {each:.1f} for each of {seen.active} active latents: each is known to 1 "
            f"part in {np.exp(each):,.0f} of the prior's width, nearly without noise, and codes between those of "
            "examples mean nothing. Try more latents (model.latent_dim), or a larger beta or scale of the likelihood.",
        )


def _reconstruction(seen):
    if seen.explained is not None and seen.explained < FLAT and not seen.collapsed:
        terms = "" if seen.kl is None else f" {_scale_of_kl(seen)}"
        yield Finding(
            "flat_reconstructions",
            "warning",
            f"The reconstructions explain {max(seen.explained, 0):.0%} of the variance of the test {seen.spec.kind}s: "
            f"they are close to the mean of all (a grey picture).{terms} Try more epochs, a larger decoder, a smaller "
            "beta or a smaller scale of the likelihood.",
        )


def _critic(seen):
    entropy = seen.rows[-1].get("critic") if seen.rows else None
    if entropy is None:
        return
    objective = seen.recipe.model.objective
    other = {"permuted": "codes whose latents are permuted", "prior": "draws of the prior"}[objective.critic_of]
    now = f"its cross-entropy is {entropy:.2f} nats, and {CHANCE:.2f} for a critic that tells nothing apart"
    if entropy < WON:
        yield Finding(
            "critic",
            "warning",
            f"The critic has won: {now}. It tells nearly every code from {other}, so they are far apart, its estimate "
            "of how far is poor, and its gradient is nearly the same for every code. Try a larger "
            f"model.objective.{objective.critic_weight}, more epochs, or a lower learning rate.",
        )
    elif entropy > LOST and seen.apart is not None and seen.apart > APART + ERRORS * seen.apart_error:
        yield Finding(
            "critic",
            "warning",
            f"The critic has collapsed: {now}, though codes and {other} are {seen.apart:.2f} nats apart by their means "
            f"and covariances alone. So model.objective.{objective.critic_weight} has no effect. Try a lower "
            "learning rate, more epochs, or wider layers (model.objective.hidden).",
        )


def _training(seen):
    gap, count = seen.train.mean() - seen.test.mean(), len(seen.test)
    deviation = seen.test.std()
    error = np.sqrt(seen.train.var(ddof=1) / count + seen.test.var(ddof=1) / count)
    name = "val_loss" if seen.rows and "val_loss" in seen.rows[0] else "loss"
    losses = np.array([row[name] for row in seen.rows])
    best = int(losses.argmin()) if len(losses) else 0
    worsened = name == "val_loss" and losses[-1] - losses[best] > WORSE * deviation
    if seen.recipe.training.keep == "best":  # the model is that of the best epoch
        worsened = False
    if gap > ERRORS * error or worsened:
        text = (
            f"The bound of training examples is {seen.train.mean():,.1f} nats and that of test examples "
            f"{seen.test.mean():,.1f} ({count:,} of each): {gap:,.1f} ± {error:.1f} nats better on what was seen. "
        )
        if worsened:
            text += (
                f"The validation loss was lowest in epoch {seen.rows[best]['epoch']:.0f} ({losses[best]:,.1f}) and "
                f"ended at {losses[-1]:,.1f} in epoch {seen.rows[-1]['epoch']:.0f}. "
            )
        flip = ", or mirrored images (data.flip=true)" * seen.spec.is_image
        text += f"Try fewer epochs, smaller networks, more data{flip}."
        yield Finding("overfitting", "warning", text)
    elif len(losses) > 1:
        epochs = int(np.ceil(LATE * (len(losses) - 1)))
        late = losses[-1 - epochs]
        fall, progress = late - losses[-1], losses[0] - losses[-1]
        if fall > max(STILL * progress, WORSE * deviation):
            yield Finding(
                "unfinished",
                "note",
                f"The {'validation ' * (name != 'loss')}loss was still falling at the end: from {late:,.1f} to "
                f"{losses[-1]:,.1f} over the last {epochs} of {seen.recipe.training.epochs} epochs. Try more of them: "
                f"`vaezoo train --resume {seen.path} --epochs {2 * seen.recipe.training.epochs}`.",
            )


def _prior(seen):
    if seen.unlike is None or seen.collapsed or not _samples_suffer(seen):
        return
    text = (
        "Samples from the prior are unlike the reconstructions: their Fréchet distance is "
        f"{seen.unlike:.0%} of the variance of the reconstructions, and {seen.floor:.0%} for those of training "
        "examples. The codes of the examples, all together, are not distributed as the prior. "
    )
    if seen.kl is None:
        text += "The code of an autoencoder has no prior in its loss; for samples, train a recipe with a KL."
    else:
        text += f"Fit a prior to them: `vaezoo refit {seen.path} --prior mixture`."
    yield Finding("prior", "warning", text)


CHECKS = (_code, _reconstruction, _data, _scale, _weight_of_kl, _critic, _training, _prior)

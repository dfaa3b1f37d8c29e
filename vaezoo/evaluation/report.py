"""A report in words: a table for the screen, a Markdown page, and what the figures mean for this run."""

import math
from pathlib import Path

from vaezoo.evaluation.figures import DENSITIES
from vaezoo.tables import aligned

COLLAPSED = 0.1  # nats of I(x; z): no image can be told from another
SETTLED = 0.1  # nats: more samples are worth their time if the last tenfold raised the estimate by more


def rows(report):
    """The figures as rows (section, name, value in nats, the same in bits a dimension, what it is), each a text."""
    bound, evidence, code, samples = (report[part] for part in ("bound", "evidence", "code", "samples"))

    def in_nats(section, name, figure, meaning, cost=1):
        bits = cost * figure["value"] / report["dimensions"] / math.log(2)
        return section, name, _value(figure), f"{bits:.4f}", meaning

    if bound["elbo"]:
        yield in_nats("bound", "ELBO", bound["elbo"], "−reconstruction − KL, below log p(x)", cost=-1)
    where = "at the code" if bound["elbo"] is None else "averaged over q(z|x)"
    yield in_nats("", "reconstruction", bound["reconstruction"], f"−log p(x|z), {where}")
    if bound["kl"]:
        method = {"closed_form": "in closed form", "monte_carlo": "from samples"}[bound["kl_method"]]
        yield in_nats("", "KL", bound["kl"], f"KL(q(z|x) ‖ p(z)), {method}")
    if evidence:
        k, effective = report["importance_samples"], evidence["effective_samples"]["percentile_50"]
        meaning = f"log 1/K Σ p(x, z) / q(z|x), K = {k:,}"
        yield in_nats("evidence", "log p(x)", evidence["log_evidence"], meaning, cost=-1)
        yield in_nats("", "gap", evidence["gap"], "log p(x) − ELBO = KL(q(z|x) ‖ p(z|x))")
        yield "", "effective samples", f"{effective:,.1f}", "", f"(Σ w)² / Σ w² of {k:,}, the median image"
    active = f"{code['active_units']} of {report['latents']}"
    yield "code", "active units", active, "", "latents whose posterior mean has a variance above 0.01"
    if code["mutual_information"]:
        most = f"I(x; z); this estimate is at most log N = {code['log_images']:.2f}"
        yield "", "mutual information", _value(code["mutual_information"]), "", most
        yield "", "marginal KL", _value(code["marginal_kl"]), "", "KL(q(z) ‖ p(z)); KL = I(x; z) + this"
    if samples:
        meanings = {
            "frechet_distance": ("samples", "Fréchet distance", "of samples to test images"),
            "precision": ("", "precision", "share of samples among the test images"),
            "recall": ("", "recall", "share of test images among the samples"),
        }
        for key, (section, name, meaning) in meanings.items():
            digits = ",.1f" if key == "frechet_distance" else ".3f"
            real = f"{samples['of_training_images'][key]:{digits}} for training images"
            yield section, name, _value(samples[key], digits), "", f"{meaning}; {real}"


def _value(figure, digits=".2f"):
    error = "" if figure["standard_error"] is None else f" ± {figure['standard_error']:{digits}}"
    return f"{figure['value']:{digits}}{error}"


def remarks(report):
    """What a reader should know about these very figures, a sentence or two each."""
    yield from _on_the_code(report)
    if report["evidence"]:
        yield _on_the_samples_of_the_evidence(report["evidence"]["curve"])
    if report["likelihood"] in DENSITIES:
        yield (
            f"'{report['likelihood']}' gives densities over [0, 1], not probabilities: their logarithm can be above 0, "
            "and compares only with that of other densities on the same images. For 256 grey levels, add 8 bits a "
            "dimension."
        )
    samples = report["samples"]
    if samples:
        yield (
            "The features are those of a classifier trained on this data set, which is right about "
            f"{samples['classifier_accuracy']:.1%} of the test images; {samples['images']:,} means of p(x|z) are "
            "compared with as many images. The distance compares models of this data set with each other; it is not "
            "the Inception FID of the papers."
        )
    else:
        yield f"Samples were not compared with images: {report['samples_left_out']}."


def _on_the_code(report):
    code, latents = report["code"], report["latents"]
    if report["posterior"] == "point":
        yield "An autoencoder's code is a point without a density: it has no KL, no ELBO and no evidence."
        return
    information, active = code["mutual_information"]["value"], code["active_units"]
    if active == 0 or information < COLLAPSED:
        yield (
            "The posterior has collapsed: it is the prior whatever the image, and the decoder ignores its code. Try a "
            "KL warm-up (--set 'model.objective={name: beta, beta: {end: 1.0, steps: 5000}}'), a smaller beta, a "
            "smaller or weaker decoder, a lower learning rate, or another seed."
        )
    elif active < latents:
        yield (
            f"{latents - active} of {latents} latents are not in use: their posterior is the prior, whatever the "
            "image, and they cost nothing. To bring more into use, try a KL warm-up, a smaller beta, or a weaker "
            "decoder."
        )
    elif information > code["log_images"] - 0.5:
        yield (
            f"The mutual information is near log N = {code['log_images']:.2f}, the most that {report['images']:,} "
            "images can show: the code tells them all apart, and holds that much or more."
        )
    if code["kl_per_latent"] is None:
        yield "The KL is not divided among the latents: only that of a normal posterior to a diagonal normal prior is."
    elif report["posterior"] != "diagonal_normal":
        yield "The KL of the latents is that of their marginals: what the correlations of q(z|x) cost is left out."


def _on_the_samples_of_the_evidence(curve):
    last = curve[-1]
    if last["samples"] == 1:
        return "One sample estimates the ELBO, not log p(x): raise --importance-samples."
    before = [point for point in curve if 10 * point["samples"] <= last["samples"]] or curve[:1]
    rise = last["value"] - before[-1]["value"]
    verdict = "more of them would raise it further" if rise > SETTLED else "more of them would hardly change it"
    counts = f"From {before[-1]['samples']:,} to {last['samples']:,} samples"
    return f"{counts} the estimate of log p(x) rose by {rise:.2f} nats: {verdict}."


def headline(report):
    """Which run, on what, with what."""
    data = Path(report["data"]).name
    binarized = "" if report["binarize"] == "none" else f" ({report['binarize']} binarization)"
    return f"{report['recipe']} on {report['images']:,} test images of {data}{binarized}, seed {report['seed']}"


def as_text(report):
    """The report for a terminal."""
    table = aligned([("", "", "nats", "bits/dim", ""), *rows(report)])
    return "\n".join([headline(report), "", table, "", *(f"- {remark}" for remark in remarks(report))])


def as_markdown(report, pictures=()):
    """The report as a page; `pictures` are the names of files beside it, with what they show."""
    table = [("", "", "nats", "bits/dim", "what it is"), ("-",) * 5, *rows(report)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    versions = report["versions"]
    made_by = [f"{name} {versions[name]}" for name in ("vaezoo", "tensorflow", "keras", "tensorflow-probability")]
    parts = [
        f"# {headline(report)}",
        "\n".join(lines),
        "±: the standard error of the mean over the images; of precision, recall and the Fréchet distance, over sets "
        f"of samples. Bits per dimension: what an image costs, in nats / ({report['dimensions']:,} ln 2).",
        "\n".join(f"- {remark}" for remark in remarks(report)),
        "\n\n".join(f"![{text}]({name})" for name, text in pictures),
        f"Posterior {report['posterior']}, prior {report['prior']}, likelihood {report['likelihood']}. "
        f"{', '.join(made_by)}; {versions['device']}; {report['seconds']:,.0f} s.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"

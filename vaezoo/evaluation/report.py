"""A report in words: a table for the screen, a Markdown page, and what the figures mean for this run."""

import math
from pathlib import Path

from vaezoo.evaluation.figures import DENSITIES

COLLAPSED = 0.1  # nats of I(x; z): no image can be told from another
SETTLED = 0.1  # nats: more samples are worth their time if the last tenfold raised the estimate by more


def rows(report):
    """The figures as rows (section, name, value, what it is), each a text."""
    bound, evidence, code, samples = (report[part] for part in ("bound", "evidence", "code", "samples"))
    if bound["elbo"]:
        yield "bound", "ELBO", _nats(report, bound["elbo"]), "−reconstruction − KL, below log p(x)"
    where = "at the code" if bound["elbo"] is None else "on average over q(z|x)"
    yield "", "reconstruction", _nats(report, bound["reconstruction"]), f"−log p(x|z), {where}"
    if bound["kl"]:
        method = {"closed_form": "in closed form", "monte_carlo": "from samples"}[bound["kl_method"]]
        yield "", "KL", _nats(report, bound["kl"]), f"KL(q(z|x) ‖ p(z)), {method}"
    if evidence:
        k = report["importance_samples"]
        yield "evidence", "log p(x)", _nats(report, evidence["log_evidence"]), f"log 1/K Σ p(x, z) / q(z|x), K = {k:,}"
        yield "", "gap", _nats(report, evidence["gap"]), "log p(x) − ELBO = KL(q(z|x) ‖ p(z|x))"
        effective = evidence["effective_samples"]["percentile_50"]
        yield "", "effective samples", f"{effective:,.1f}", f"(Σ w)² / Σ w² of {k:,}, the median image"
    active = f"{code['active_units']} of {report['latents']}"
    yield "code", "active units", active, "latents whose mean varies over the images by more than 0.01"
    if code["mutual_information"]:
        bounded = f"I(x; z), estimated; at most log N = {code['log_images']:.2f}"
        yield "", "mutual information", _nats(None, code["mutual_information"]), bounded
        divergence = _nats(None, code["marginal_kl"])
        yield "", "marginal KL", divergence, "KL(q(z) ‖ p(z)) of all codes together; KL = I + this"
    if samples:
        of_training = samples["of_training_images"]
        for key, name, meaning in (
            ("frechet_distance", "Fréchet distance", "of samples to test images, in features"),
            ("precision", "precision", "share of samples among the test images"),
            ("recall", "recall", "share of test images among the samples"),
        ):
            value = f"{_number(samples[key]['value'])} ± {_number(samples[key]['standard_error'])}"
            meaning += f"; training images: {_number(of_training[key])}"
            yield "samples" if key == "frechet_distance" else "", name, value, meaning


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
    table = list(rows(report))
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    lines = [
        f"{section:<{widths[0]}}  {name:<{widths[1]}}  {value:<{widths[2]}}  {meaning}"
        for section, name, value, meaning in table
    ]
    return "\n".join([headline(report), "", *lines, "", *(f"- {remark}" for remark in remarks(report))])


def as_markdown(report, pictures=()):
    """The report as a page; `pictures` are the names of files beside it, with what they show."""
    table = [("", "figure", "nats, ± its standard error", "what it is"), ("-",) * 4, *rows(report)]
    k, versions = report["importance_samples"], report["versions"]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    parts = [
        f"# {headline(report)}",
        "\n".join(lines),
        f"A standard error is that of the mean over the images (of precision, recall and the Fréchet distance: over "
        f"sets of samples). b/d: bits per dimension, nats / ({report['dimensions']:,} ln 2).",
        "\n".join(f"- {remark}" for remark in remarks(report)),
        "\n\n".join(f"![{text}]({name})" for name, text in pictures),
        f"Posterior {report['posterior']}, prior {report['prior']}, likelihood {report['likelihood']}; K = {k:,}; "
        + ", ".join(f"{name} {versions[name]}" for name in ("vaezoo", "tensorflow", "keras", "tensorflow-probability"))
        + f"; {versions['device']}; {report['seconds']:,.0f} s.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _nats(report, figure):
    text = f"{figure['value']:.2f}" + ("" if figure["standard_error"] is None else f" ± {figure['standard_error']:.2f}")
    if report is None:
        return text
    return f"{text}  ({figure['value'] / report['dimensions'] / math.log(2):.4f} b/d)"


def _number(value):
    return f"{value:.3g}"

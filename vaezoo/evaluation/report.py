"""A report in words: a table for the screen, a Markdown page, and what the metrics mean for this run."""

import math
from pathlib import Path

from vaezoo.evaluation.latent_code import SATURATED
from vaezoo.tables import aligned

FEWEST = 20  # examples, of which the code can be told from chance
COLLAPSED = 0.1  # nats of I(x; z): no example can be told from another
CONVERGED = 0.1  # nats: more samples are worth their time if the last tenfold lowered the NLL by more
CORRELATED = 0.005  # nats between the KL and its sum over the latents: what two decimals show
SHOWN_COLUMNS = 20  # of a table, in the report
COPIES = 0.01  # the share of samples, above that of test images, that counts as memorization


def rows(report):
    """The metrics as rows (section, name, value in nats, the same in bits per dimension, what it is), each a text."""
    bound, nll, code = (report[part] for part in ("bound", "nll", "code"))

    def in_nats(section, name, metric, meaning, cost=1):
        bits = cost * metric["value"] / report["dimensions"] / math.log(2)
        return section, name, _value(metric), f"{bits:.4f}", meaning

    if bound["elbo"]:
        yield in_nats("bound", "ELBO", bound["elbo"], "−reconstruction − KL, below log p(x)", cost=-1)
    where = "at the code" if bound["elbo"] is None else "averaged over q(z|x)"
    yield in_nats("", "reconstruction", bound["reconstruction"], f"−log p(x|z), {where}")
    if report["psnr"]:
        meaning = "of the reconstructions, decoded from the means of q(z|x)"
        yield "", "PSNR", f"{_value(report['psnr'])} dB", "", meaning
    if report["accuracy"]:
        yield from _rows_of_accuracy(report["accuracy"])
    if bound["kl"]:
        method = {"closed_form": "in closed form", "monte_carlo": "from samples"}[bound["kl_method"]]
        yield in_nats("", "KL", bound["kl"], f"KL(q(z|x) ‖ p(z)), {method}")
    if nll:
        k, effective = report["importance_samples"], nll["effective_samples"]["percentile_50"]
        yield in_nats("NLL", "NLL", nll, f"−log p(x), by {k:,} importance samples")
        yield in_nats("", "gap", nll["gap"], "−NLL − ELBO = KL(q(z|x) ‖ p(z|x))")
        yield "", "effective samples", f"{effective:,.1f}", "", f"(Σ w)² / Σ w² of {k:,}, the median {report['kind']}"
    if report["columns"]:
        yield from _rows_of_columns(report["columns"])
    active = f"{code['active_units']} of {report['latents']}"
    yield "code", "active units", active, "", "latents whose posterior mean has a variance above 0.01"
    for number, group in enumerate(code["groups"], start=1):
        kl = "" if group["kl"] is None else f"{group['kl']:.2f}"
        held = f"KL of the group; {group['active_units']} of its {group['latents']} latents are active"
        yield "", f"group {number}", kl, "", held
    if code["mutual_information"]:
        most = f"I(x; z); this estimate is at most log N = {code['log_examples']:.2f}"
        yield "", "mutual information", _value(code["mutual_information"]), "", most
        yield "", "marginal KL", _value(code["marginal_kl"]), "", "KL(q(z) ‖ p(z)); KL = I(x; z) + this"
    if code["total_correlation"]:
        meaning = "KL(q(z) ‖ Π q(z_d)); 0 where the latents are independent"
        yield "", "total correlation", _value(code["total_correlation"]), "", meaning
    if report["disentanglement"]:
        section = "factors"
        for name, (title, meaning) in DISENTANGLEMENT.items():
            if name in report["disentanglement"]:
                yield section, title, _value(report["disentanglement"][name], ".3f"), "", meaning
                section = ""
    if report["samples"]:
        yield from _rows_of_samples(report["samples"])


def _rows_of_columns(columns):
    section, measured = "columns", [column for column in columns if column["reconstruction"]]
    costly = sorted(measured, key=lambda column: -column["reconstruction"]["value"])[:SHOWN_COLUMNS]
    for column in [column for column in measured if column in costly]:
        meaning = f"−log p(x|z) of this {column['type']} column"
        if column["missing"]:
            meaning += f"; {column['missing']:.1%} of its cells are missing"
        yield section, column["name"], _value(column["reconstruction"]), "", meaning
        section = ""
    if len(costly) < len(columns):
        yield (
            "",
            "...",
            "",
            "",
            f"{len(columns) - len(costly)} columns that cost less, or have no cells: see report.json",
        )


def _rows_of_accuracy(accuracy):
    meanings = {
        "tokens": f"right tokens of the reconstructions; {accuracy['most_common']:.3f} for the most common token alone",
        "changes": "the same, where the token is not the most common one",
        "perfect": "reconstructions without an error",
        "teacher_forced": "right tokens, given the true ones before",
    }
    for key, meaning in meanings.items():
        if key in accuracy:
            yield "", f"accuracy: {key.replace('_', ' ')}", _value(accuracy[key], ".4f"), "", meaning


DISENTANGLEMENT = {
    "beta_vae_score": ("beta-VAE score", "which factor two examples share, told from their codes; 1 is best"),
    "factor_vae_score": ("FactorVAE score", "which factor is fixed, told from the latent that varies least"),
    "mig": ("MIG", "gap in information between the two best latents of a factor"),
    "sap": ("SAP", "gap in predictive power between the two best latents of a factor"),
    "dci_disentanglement": ("DCI disentanglement", "whether a latent matters to one factor alone"),
    "dci_completeness": ("DCI completeness", "whether one latent alone matters to a factor"),
    "dci_informativeness": ("DCI informativeness", "how well the code predicts the factors"),
    "modularity": ("modularity", "whether a latent is informative of one factor alone"),
    "explicitness": ("explicitness", "how well a linear classifier of the code tells the values of a factor"),
}


def _rows_of_samples(samples):
    inception, floor = samples["features"]["kind"] == "inception", samples["of_real_images"]
    metrics = {
        "frechet_distance": ("FID" if inception else "Fréchet distance", ",.1f", "of samples to test images"),
        "kid": ("KID" if inception else "kernel distance", ",.4g", "MMD² of samples and test images, can be below 0"),
        "precision": ("precision", ".3f", "share of samples among the test images"),
        "recall": ("recall", ".3f", "share of test images among the samples"),
        "memorization": ("memorization", ".3f", "share of samples that copy a training image"),
    }
    section = "samples"
    for key, (name, digits, meaning) in metrics.items():
        if key in samples:
            real = "test" if key == "memorization" else "training"
            yield section, name, _value(samples[key], digits), "", f"{meaning}; {floor[key]:{digits}} for {real} images"
            section = ""


def _value(metric, digits=".2f"):
    error = "" if metric["standard_error"] is None else f" ± {metric['standard_error']:{digits}}"
    return f"{metric['value']:{digits}}{error}"


def remarks(report):
    """What a reader should know about the metrics of this run, a sentence or two each."""
    yield from _on_the_code(report)
    if report["disentanglement"]:
        yield from _on_the_factors(report["disentanglement"])
    if report["nll"]:
        yield _on_the_importance_samples(report["nll"]["curve"])
    if report["density"]:
        levels = " For 256 grey levels, add 8 bits per dimension." if report["kind"] == "image" else ""
        yield (
            f"'{report['likelihood']}' gives densities, not probabilities: their logarithm can be above 0. Compare it "
            f"only with that of other densities of the same {report['kind']}s.{levels}"
        )
    if report["samples"]:
        yield from _on_the_samples(report["samples"])
    else:
        yield f"Samples are not compared: {report['samples_left_out']}."


def _on_the_code(report):
    code, latents, kind = report["code"], report["latents"], report["kind"]
    if report["nll"] is None:
        yield "The code of an autoencoder is a point without a density: it has no KL, no ELBO and no NLL."
        return
    information, active = code["mutual_information"], code["active_units"]
    if report["examples"] < FEWEST:
        yield (
            f"With fewer than {FEWEST} test {kind}s the active units and the mutual information cannot be told from "
            "chance."
        )
    elif active == 0 or (information and information["value"] < COLLAPSED):
        yield (
            f"The posterior has collapsed: it is the prior for every {kind}, and the decoder ignores the code. Try a "
            "KL warm-up (model.objective={name: beta, beta: {end: 1.0, steps: 5000}}), a smaller beta, a smaller or "
            "weaker decoder, a lower learning rate, or another seed."
        )
    elif active < latents:
        yield (
            f"{latents - active} of {latents} latents are not in use: their posterior is the prior for every {kind}, "
            "and they cost nothing. To bring more into use, try a KL warm-up, a smaller beta, or a weaker decoder."
        )
    elif information and information["value"] > code["log_examples"] - SATURATED:
        yield (
            f"The mutual information is near log N = {code['log_examples']:.2f}, the most that {report['examples']:,} "
            f"{kind}s can show: the code tells them all apart, and holds that much or more. So "
            "the marginal KL is an upper estimate, and the total correlation is left out."
        )
    if information is None:
        yield "The mutual information is not estimated: the density of a group of latents depends on the groups above."
    per_latent = code["kl_per_latent"]
    if per_latent is None:
        yield "The KL of each latent is defined for a normal posterior and a diagonal normal prior alone."
    elif report["bound"]["kl"]["value"] - sum(per_latent) > CORRELATED:
        yield "The KL of each latent is that of its marginal: the cost of the correlations of q(z|x) is left out."


def _on_the_factors(found):
    factors = ", ".join(f"{name} ({count})" for name, count in found["factors"].items())
    yield (
        f"The factors and the number of their values: {factors}. The codes are the means of q(z|x) of "
        f"{found['points']:,} examples. Such metrics differ much between seeds: compare medians of several trainings."
    )
    for name, reason in found["factors_left_out"].items():
        yield f"The factor '{name}' is left out: {reason}."
    for reason in dict.fromkeys(found["left_out"].values()):
        names = [DISENTANGLEMENT[name][0] for name, other in found["left_out"].items() if other == reason]
        yield f"{', '.join(names)} left out: {reason}."


def _on_the_importance_samples(curve):
    last = curve[-1]
    if last["samples"] == 1:
        return "One sample estimates the ELBO, not the NLL: take more importance samples."
    before = [point for point in curve if 10 * point["samples"] <= last["samples"]] or curve[:1]
    fall = before[-1]["value"] - last["value"]
    verdict = "more of them would lower it further" if fall > CONVERGED else "more of them would hardly change it"
    counts = f"From {before[-1]['samples']:,} to {last['samples']:,} samples"
    return f"{counts} the estimate of the NLL fell by {fall:.2f} nats: {verdict}."


def _on_the_samples(samples):
    features, classifier, copies = samples["features"], samples["classifier"], samples["memorization"]["value"]
    compared = f"{samples['images']:,} means of p(x|z) are compared with as many test images."
    if features["kind"] == "inception":
        yield (
            "The features are those of InceptionV3 with Keras's weights for ImageNet. Most papers use other weights, "
            f"and other sets of images: their FIDs do not compare with this one. {compared}"
        )
    else:
        task = {
            "labels": "trained on this data set and its labels",
            "changes": "that tells turned images of this data set, and images whose quadrants are in disorder",
        }[features["kind"]]
        yield (
            f"The features are those of a classifier {task}. Its balanced accuracy on the test images is "
            f"{classifier['balanced_accuracy']:.1%} (accuracy {classifier['accuracy']:.1%}, largest class "
            f"{classifier['largest_class']:.1%}). {compared} The distances compare models of this data set; they are "
            "not the Inception FID and KID of the papers."
        )
    if features["instead"]:
        yield f"The labels are not used: {features['instead']}."
    if "frechet_distance" not in samples:
        yield (
            f"The FID is left out: a covariance of {features['size']:,} features needs more than that many images, and "
            f"{samples['images']:,} are compared. The KID is unbiased for any number."
        )
    if copies - samples["of_real_images"]["memorization"] > COPIES:
        yield (
            f"{copies:.1%} of the samples copy one of {samples['training_images']:,} training images: the model has "
            "memorized them, and the other metrics of the samples look better than they are."
        )


def headline(report):
    """Which run, on what, with what."""
    data = Path(report["data"]).name
    binarized = "" if report["binarize"] == "none" else f" ({report['binarize']} binarization)"
    examples = f"{report['examples']:,} test {report['kind']}s"
    return f"{report['recipe']} on {examples} of {data}{binarized}, seed {report['seed']}"


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
        f"±: the standard error of the mean over the {report['kind']}s; for the metrics of samples, over sets of "
        f"samples. Bits per dimension: nats / ({report['dimensions']:,} ln 2).",
        "\n".join(f"- {remark}" for remark in remarks(report)),
        "\n\n".join(f"![{text}]({name})" for name, text in pictures),
        f"Posterior {report['posterior']}, prior {report['prior']}, likelihood {report['likelihood']}. "
        f"{', '.join(made_by)}; {versions['device']}; {report['seconds']:,.0f} s.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"

"""The pictures of an evaluation report."""

import numpy as np

from vaezoo import plots
from vaezoo.evaluation.latent_code import ACTIVE
from vaezoo.evaluation.report import headline


def pictures(report):
    """Draw a report of `evaluate`.

    Args:
        report: the mapping.

    Returns:
        File name → (what it shows, matplotlib Figure), for the parts of the report that are defined for the model.
    """
    drawn = {}
    if nll := report["nll"]:
        curve, gaps = nll["curve"], [point["gap"] for point in nll["curve"]]
        figure = plots.nll_curve(
            [point["samples"] for point in curve],
            [gap["value"] for gap in gaps],
            [gap["standard_error"] or 0 for gap in gaps],
            report["bound"]["elbo"]["value"],
            f"{headline(report)}\nNLL by the number of samples",
        )
        drawn["nll.png"] = "the NLL by the number of importance samples", figure
    if kl := report["code"]["kl_per_latent"]:
        active = np.array(report["code"]["variance_of_means"]) > ACTIVE
        title = f"{headline(report)}\n{active.sum()} of {len(kl)} latents are active"
        drawn["latents.png"] = "the KL of each latent, the largest first", plots.latent_bars(kl, active, title)
    if (found := report["disentanglement"]) and found["mutual_information"]:
        title = f"{headline(report)}\nWhich latent holds which factor"
        figure = plots.information(found["mutual_information"], list(found["factors"]), title)
        drawn["factors.png"] = "the mutual information between each latent and each factor", figure
    return drawn

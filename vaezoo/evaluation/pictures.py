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
    if evidence := report["evidence"]:
        curve, rises = evidence["curve"], [point["above_elbo"] for point in evidence["curve"]]
        figure = plots.evidence_curve(
            [point["samples"] for point in curve],
            [rise["value"] for rise in rises],
            [rise["standard_error"] or 0 for rise in rises],
            report["bound"]["elbo"]["value"],
            f"{headline(report)}\nlog p(x) by the number of samples",
        )
        drawn["evidence.png"] = "log p(x) by the number of importance samples", figure
    if kl := report["code"]["kl_per_latent"]:
        active = np.array(report["code"]["variance_of_means"]) > ACTIVE
        title = f"{headline(report)}\n{active.sum()} of {len(kl)} latents are active"
        drawn["latents.png"] = "the KL of each latent, the largest first", plots.latent_bars(kl, active, title)
    return drawn

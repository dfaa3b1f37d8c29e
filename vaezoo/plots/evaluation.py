"""Pictures of an evaluation: the NLL by the number of samples, the KL of each latent, and what each latent holds."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from vaezoo.plots.style import DPI, PALETTE, Figure, plain_axes

WIDTH, HEIGHT = 6.2, 3.4  # inches


def nll_curve(samples, gaps, errors, elbo, title=""):
    """The estimate of the NLL over the number of importance samples, below the negative ELBO.

    Args:
        samples: K of each point [P].
        gaps: the mean over the examples of -NLL - ELBO [P], in nats.
        errors: the standard errors of `gaps` [P].
        elbo: the mean ELBO, in nats.
        title: above the picture.

    Returns:
        The Figure.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    x_label = "K, importance samples (bars: standard error of the gap to the ELBO)"
    axes = plain_axes(figure, title, x_label, "nats per example")
    estimates = -elbo - np.asarray(gaps)
    axes.axhline(-elbo, color=PALETTE[1], linestyle="--", linewidth=1.3)
    end = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}  # x in [0, 1] of the panel
    axes.text(1, -elbo, f"−ELBO {_nats(-elbo)}", fontsize=8, color=PALETTE[1], **end)
    axes.errorbar(samples, estimates, errors, fmt="o-", color=PALETTE[0], markersize=4, linewidth=1.5, capsize=3)
    above = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": PALETTE[0]}
    for count, value, error in zip(samples, estimates, errors, strict=True):
        axes.annotate(_nats(value), (count, value + error), (0, 6), **above)
    axes.set_xscale("log")
    axes.set_xticks(samples, [f"{count:,}" for count in samples])
    axes.minorticks_off()
    axes.margins(x=0.08, y=0.18)
    return figure


def latent_bars(kl, active, title=""):
    """The KL of each latent, the largest first.

    Args:
        kl: [D], in nats.
        active: [D], whether each is an active unit.
        title: above the picture.

    Returns:
        The Figure.
    """
    kl, active = np.asarray(kl), np.asarray(active, bool)
    order = np.argsort(-kl, kind="stable")
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, title, "latents, the largest KL first", "KL, nats per example")
    places = np.arange(len(kl))
    for mask, colour, label in ((active[order], PALETTE[0], "active"), (~active[order], "#BBBBBB", "not in use")):
        if mask.any():
            axes.bar(places[mask], kl[order][mask], color=colour, width=0.8, label=label)
    if len(kl) <= 50:
        size = 8 if len(kl) <= 25 else 6
        axes.set_xticks(places, [f"z{latent}" for latent in order], fontsize=size, rotation=90)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.7, len(kl) - 0.3)
    if not active.all():
        axes.legend(frameon=False, fontsize=8)
    return figure


def _nats(value):
    return f"{value:.2f}".replace("-", "−")


def information(nats, factors, title=""):
    """The mutual information between latents and factors, as a matrix; the latents in the order of their factors.

    Args:
        nats: [D,F].
        factors: the F names.
        title: above the picture.

    Returns:
        The Figure.
    """
    nats = np.asarray(nats)
    order = np.lexsort((-nats.max(1), nats.argmax(1)))  # by the factor that a latent holds most of
    figure = Figure(figsize=(1.6 + 0.55 * len(nats), 1.6 + 0.5 * len(factors)), dpi=DPI, layout="constrained")
    axes = plain_axes(figure, title, "latent", "")
    axes.grid(False)
    panel = axes.imshow(nats[order].T, cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(len(nats)), order)
    axes.set_yticks(range(len(factors)), factors)
    for (row, column), value in np.ndenumerate(nats[order].T):
        colour = "white" if value > 0.6 * nats.max() else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(panel, ax=axes, label="nats", fraction=0.05)
    return figure

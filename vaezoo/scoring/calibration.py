"""Scores of held-out normal examples → p-values, thresholds and the rate of false alarms.

The p-value is that of split conformal prediction: where an example and the n calibration examples are exchangeable, the
probability that its p-value is at most a is at most a, whatever the score is.

Source: Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"; for outliers Bates et al. 2023,
"Testing for outliers with conformal p-values", arXiv:2104.08279, equation 2.
"""

import dataclasses
import math

import numpy as np

from vaezoo.errors import VaezooError

ROUNDING = 1e-9  # 0.29 * 100 is 28.999999999999996 in binary
# Scores that differ by less than this, relative to 1 + |score|, are equal: the last digits of float32 depend on the
# batch and the runtime, and an example that is equal to a calibration example must have its p-value.
EQUAL = 1e-5


def p_values(scores, calibration):
    """How often a normal example scores as high: (1 + #{calibration scores >= s}) / (n + 1) for each score s.

    Args:
        scores: [N]; higher is less typical.
        calibration: the scores of n held-out normal examples.

    Returns:
        [N], from 1 / (n + 1) to 1.
    """
    ordered = np.sort(calibration)
    as_high = len(ordered) - np.searchsorted(ordered, lowered(scores), side="left")
    return (1 + as_high) / (len(ordered) + 1)


def lowered(scores, where=np.where):
    """The smallest numbers that are equal to the scores; of an array, or of a tensor with where=tf.where.

    Infinity for a score that is infinite or NaN, as that of an example so far out that float32 overflows.
    """
    with np.errstate(invalid="ignore"):  # infinity less infinity
        least = scores - EQUAL * (1 + abs(scores))
    return where(least <= np.inf, least, np.inf)


def threshold(calibration, fpr):
    """The score above which an example is an anomaly: there its p-value is at most `fpr`.

    Args:
        calibration: the scores of n held-out normal examples.
        fpr: the rate of false alarms to allow, in (0, 1): the share of normal examples that may be called anomalies.

    Returns:
        The k-th largest calibration score, for k = floor(fpr (n + 1)).

    Raises:
        VaezooError: for a rate outside (0, 1), or one that so few calibration scores cannot tell from 0, or if as many
            of them are not finite.
    """
    count = len(calibration)
    found = np.sort(calibration)[count - _allowed(count, fpr)]
    if not np.isfinite(found):
        wrong = np.sum(~np.isfinite(calibration))
        raise VaezooError(
            f"the scores of {wrong:,} of the {count:,} held-out examples overflow, as many as fpr={fpr:g} allows to be "
            "anomalies; correct these examples, or give a larger rate"
        )
    return found


def check_rate(count, fpr):
    """Raise a VaezooError unless `count` calibration examples can hold the rate `fpr`: it takes 1 / fpr - 1 of them."""
    _allowed(count, fpr)


def _allowed(count, fpr):
    """How many of `count` + 1 exchangeable examples may be called anomalies, at least 1."""
    if not 0 < fpr < 1:  # not for a NaN either
        raise VaezooError(
            f"fpr= is {fpr:g}; it must be in (0, 1): it is the share of normal examples that are called anomalies"
        )
    allowed = math.floor(fpr * (count + 1) + ROUNDING)
    if not allowed:
        needed = math.ceil(1 / fpr - 1 - ROUNDING)
        smallest = math.ceil(1e4 / (count + 1)) / 1e4
        hint = f"give {smallest:g} or more, or train" if smallest < 1 else "train"
        raise VaezooError(
            f"fpr= is {fpr:g}, which needs at least {needed:,} held-out examples to calibrate on, and there are "
            f"{count:,}; {hint} with more data or a larger data.validation"
        )
    return allowed


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of held-out normal examples, which turn any score into a p-value and a decision.

    Attributes:
        scores: of the examples that it is calibrated on [n].
        test: of other normal examples, on which the rate of false alarms is measured [m]; None where there are none.
    """

    scores: np.ndarray
    test: np.ndarray | None = None

    def p_values(self, scores):
        """The p-value of each score [N]; see the function of that name."""
        return p_values(scores, self.scores)

    def threshold(self, fpr):
        """The score above which an example is an anomaly; see the function of that name."""
        return threshold(self.scores, fpr)

    def anomalies(self, scores, fpr):
        """Whether each score is that of an anomaly [N]: its p-value is at most `fpr`."""
        return lowered(np.asarray(scores)) > self.threshold(fpr)

    def achieved(self, fpr):
        """The share of the test examples that are called anomalies, and its standard error; None without them.

        The error is that of the test examples: the standard deviation of the rate given k alarms in m examples, if
        every rate was equally likely before, Beta(k + 1, m - k + 1). It is not 0 where there was no alarm. The
        threshold itself varies with the calibration examples: over calibration sets of n examples the rate has a
        standard deviation of about sqrt(fpr (1 - fpr) / n).
        """
        if self.test is None or not len(self.test):
            return None
        alarms, count = int(self.anomalies(self.test, fpr).sum()), len(self.test)
        mean = (alarms + 1) / (count + 2)
        return alarms / count, math.sqrt(mean * (1 - mean) / (count + 3))

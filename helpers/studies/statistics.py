"""What a difference between two ways of training is worth, from runs in pairs. Notebook 07."""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np
from scipy.stats import t as students_t


class Difference(NamedTuple):
    """The mean of paired differences, its interval from low to high, and the p-value of "none"."""

    mean: float
    low: float
    high: float
    p: float


def paired_difference(
    scores: Sequence[float], baseline: Sequence[float], level: float = 0.95
) -> Difference:
    """How much higher scores are than a baseline's, where each pair shares what varies (the seed).

    The interval and the p-value are those of the two-sided paired t-test (Student 1908): it assumes
    that the differences are drawn from a normal distribution, which a few seeds cannot show. From
    one pair alone, low, high and p are NaN.

    Args:
        scores, baseline: in the same order of seeds.
        level: how often such an interval holds the true difference.

    Raises ValueError for none, and for different numbers of scores.
    """
    if len(scores) != len(baseline) or not len(scores):
        raise ValueError(f"{len(scores)} scores and {len(baseline)} of the baseline are no pairs")
    differences = np.subtract(scores, baseline)
    mean, count = float(differences.mean()), len(differences)
    if count == 1:
        return Difference(mean, nan, nan, nan)

    error = float(differences.std(ddof=1)) / count**0.5  # the standard error of the mean
    half = error * students_t.ppf((1 + level) / 2, count - 1)
    if error == 0:  # all differences are the same: as rounded numbers can be
        return Difference(mean, mean, mean, float(mean == 0))
    p = 2 * students_t.sf(abs(mean) / error, count - 1)
    return Difference(mean, mean - half, mean + half, float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979), in the same order.

    The smallest is multiplied by their number, the next by one less, and so on; none falls below
    one before it. With all those below 0.05 called differences, the chance that even one of them is
    none is at most 5 %. A NaN is no test, and stays NaN.
    """
    order = [i for i in np.argsort(p_values) if not np.isnan(p_values[i])]
    corrected, highest = [nan] * len(p_values), 0.0
    for done, i in enumerate(order):
        highest = max(highest, min(1.0, float(p_values[i]) * (len(order) - done)))
        corrected[i] = highest
    return corrected

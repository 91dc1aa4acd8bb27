"""How sure a success rate is, and whether two agents differ on the same episodes.

Letters: K training seeds, E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from arm_worldmodel.report import wilson_95

RESAMPLES = 4000


def training_seeds_95(wins: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the success rate of ``wins`` [K, E], 1 or 0, NaN where not run: percentile
    bootstrap that draws training seeds and episodes anew, each episode for all training seeds, as
    both are crossed (Owen 2007, "The pigeonhole bootstrap").

    It is at least as wide as the Wilson interval of all episodes: of equal outcomes a bootstrap
    sees no spread.
    """
    known = ~np.isnan(wins)
    rng = np.random.default_rng(0)
    k = rng.integers(wins.shape[0], size=(RESAMPLES, wins.shape[0], 1))
    e = rng.integers(wins.shape[1], size=(RESAMPLES, 1, wins.shape[1]))
    count = known[k, e].sum((1, 2))
    rates = np.nan_to_num(wins)[k, e].sum((1, 2))[count > 0] / count[count > 0]
    low, high = np.quantile(rates, [0.025, 0.975])
    wilson_low, wilson_high = wilson_95(int(np.nansum(wins)), int(known.sum()))
    return min(float(low), wilson_low), max(float(high), wilson_high)


@dataclass(frozen=True)
class Comparison:
    """Two agents on the same episodes: the difference of their success rates, its 95 % interval,
    and the probability of a difference as large were they equally good."""

    pairs: int
    difference: float
    interval_95: tuple[float, float]
    p: float


def compared(pairs: Sequence[tuple[bool, bool]]) -> Comparison:
    """Success of the first and of the second agent in each episode -> the first less the second.

    The exact McNemar test (McNemar 1947), two-sided; the interval is Newcombe's (1998, "Improved
    confidence intervals for the difference between binomial proportions based on paired data",
    method 10).  Raises ``ValueError`` for no pairs.
    """
    n = len(pairs)
    if n == 0:
        raise ValueError("no episode was run by both agents")
    both = sum(a and b for a, b in pairs)
    first = sum(a and not b for a, b in pairs)
    second = sum(b and not a for a, b in pairs)
    p = float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0
    return Comparison(n, (first - second) / n, _newcombe_95(both, first, second, n), p)


def _newcombe_95(both: int, first: int, second: int, n: int) -> tuple[float, float]:
    neither = n - both - first - second
    rate_1, rate_2 = (both + first) / n, (both + second) / n
    low_1, high_1 = wilson_95(both + first, n)
    low_2, high_2 = wilson_95(both + second, n)
    phi = 0.0
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins:
        agree = both * neither - first * second
        if agree > 0:  # corrected for continuity
            agree = max(agree - n / 2, 0.0)
        phi = agree / math.sqrt(margins)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = rate_1 - rate_2
    return (
        max(-1.0, difference - reach(rate_1 - low_1, high_2 - rate_2)),
        min(1.0, difference + reach(high_1 - rate_1, rate_2 - low_2)),
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected for their number (Holm 1979)."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = least
    return corrected

"""Shares of right answers: one share, the difference of two on the same images, and several tests at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from paretoboard.stats.interval import Interval, check_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a share of which `successes` of `n` were seen.

    Raises: ValueError without any trial, or with more successes than trials.
    Source: Wilson 1927, JASA 22(158), 209-212; recommended by Brown, Cai & DasGupta 2001,
        doi:10.1214/ss/1009213286.
    """
    check_confidence(confidence)
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n}; 0 to n of at least 1 would be right")
    z = _two_sided(confidence)
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exactly 0 and 1 where the formula gives them but for rounding.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == n else min(1.0, center + half)
    return Interval(low=low, high=high)


def mcnemar_exact(only_a_right: int, only_b_right: int) -> float:
    """Two-sided p value of two models being right equally often, by the images that tell them apart.

    1.0 where no image does.
    Source: McNemar 1947, doi:10.1007/BF02295996, with the binomial distribution in place of chi squared.
    """
    if min(only_a_right, only_b_right) < 0:
        raise ValueError(f"{only_a_right} and {only_b_right} images; counts can't be negative")
    told_apart = only_a_right + only_b_right
    if told_apart == 0:
        return 1.0
    return min(1.0, 2 * float(stats.binom.cdf(min(only_a_right, only_b_right), told_apart, 0.5)))


def paired_difference_interval(only_a_right: int, only_b_right: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of (share of a) - (share of b) on the same `n` images.

    It has a width even where no image tells the two apart, and it agrees with McNemar's score test at zero.

    Raises: ValueError without any image, or with more of them than there are.
    Source: Tango 1998, Statistics in Medicine 17(8), 891-908, the score interval; recommended by Fagerland,
        Lydersen & Laake 2014, doi:10.1002/sim.6148.
    """
    check_confidence(confidence)
    if min(only_a_right, only_b_right) < 0 or only_a_right + only_b_right > n or n < 1:
        raise ValueError(f"{only_a_right} and {only_b_right} of {n} images; counts within n would be right")
    z = _two_sided(confidence)
    high = _upper_end(only_a_right, only_b_right, n, z)
    return Interval(low=-_upper_end(only_b_right, only_a_right, n, z), high=high)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p values, in the order given: below alpha where a test stands among all of these.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70.
    """
    given = np.asarray(p_values, dtype=float)
    if given.size and not (np.all(given >= 0) and np.all(given <= 1)):
        raise ValueError(f"p values {tuple(p_values)}; shares from 0 to 1 would be right")
    order = np.argsort(given, kind="stable")
    factors = np.arange(given.size, 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return tuple(float(p) for p in adjusted)


def _two_sided(confidence: float) -> float:
    return float(stats.norm.ppf((1 + confidence) / 2))


def _upper_end(b: int, c: int, n: int, z: float) -> float:
    """The difference d above (b - c) / n whose score reaches -z."""

    def excess(d: float) -> float:
        # q is the likeliest share that only the second gets right, were d the true difference. Multiplied through
        # by the standard deviation, the equation has no pole at d = 1.
        linear = (2 * n - b + c) * d - b - c
        q = (math.sqrt(max(0.0, linear**2 + 8 * n * c * d * (1 - d))) - linear) / (4 * n)
        return (b - c - n * d) + z * math.sqrt(max(0.0, n * (2 * q + d * (1 - d))))

    if b == n:
        return 1.0
    # Where all images agree the excess is zero at the estimate itself, too: the search begins a hair above it.
    return float(brentq(excess, (b - c) / n + 1e-9, 1.0, xtol=1e-14))

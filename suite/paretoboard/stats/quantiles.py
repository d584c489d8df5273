"""Quantiles of times, with intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from paretoboard.stats.interval import Estimate, Interval, check_confidence

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantile_interval(samples: NDArray[Any], q: float, confidence: float = 0.95) -> Interval | None:
    """Interval of the `q` quantile of what `samples` were drawn from, whatever its distribution.

    It counts samples as independent; calls within one process are not quite, see `quantile_over_launches`.

    Returns: two of the samples, or None where they are too few to bound the quantile on both sides.
    Raises: ValueError for q outside of 0 to 1.
    Source: order statistics: David & Nagaraja 2003, Order Statistics, section 7.1.
    """
    check_confidence(confidence)
    if not 0 < q < 1:
        raise ValueError(f"quantile {q}; a share between 0 and 1 would be right")
    n = len(samples)
    tail = (1 - confidence) / 2
    # How many samples lie below the quantile is binomial; ranks are 1-based, each tail holds at most its share.
    below = int(stats.binom.ppf(tail, n, q)) if n else 0
    above = int(stats.binom.ppf(1 - tail, n, q)) + 1 if n else 1
    if below < 1 or above > n:
        return None
    ends = np.partition(samples, (below - 1, above - 1))
    return Interval(low=float(ends[below - 1]), high=float(ends[above - 1]))


def quantile_over_launches(samples: NDArray[Any], launch: NDArray[Any], q: float, confidence: float = 0.95) -> Estimate:
    """The `q` quantile of all samples, with an interval that knows that launches differ.

    One launch is one memory layout: an interval that counts its calls as independent is far too narrow. The
    width is Student's t over the logarithms of each launch's own quantile.

    Args:
        samples: (n,) times, above zero.
        launch: (n,) which process each was taken in.
    Raises: ValueError with fewer than two launches, or a time that is not above zero.
    """
    check_confidence(confidence)
    launches = np.unique(launch)
    if len(launches) < 2:
        raise ValueError(f"{len(launches)} launches; an interval over launches needs two or more")
    if not np.all(samples > 0):
        raise ValueError("a time that is not above zero")
    value = float(np.quantile(samples, q))
    each = np.log([np.quantile(samples[launch == number], q) for number in launches])
    t = float(stats.t.ppf((1 + confidence) / 2, len(each) - 1))
    factor = math.exp(t * float(each.std(ddof=1)) / math.sqrt(len(each)))
    return Estimate(value=value, low=value / factor, high=value * factor)

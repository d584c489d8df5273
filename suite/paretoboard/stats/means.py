"""The mean of a few independent values, with its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from paretoboard.stats.interval import Estimate, check_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of `values` with Student's t interval.

    Raises: ValueError with fewer than two values.
    """
    check_confidence(confidence)
    if len(values) < 2:
        raise ValueError(f"{len(values)} values; an interval of their mean needs two or more")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Estimate(value=mean, low=mean - half, high=mean + half)

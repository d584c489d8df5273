"""What draws of the same images say of two qualities that are no means over images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoboard.stats.bootstrap import p_value_of_zero, percentiles
from paretoboard.stats.interval import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnDifference:
    """How far one quality is from another over images drawn again."""

    interval: Interval
    p_value: float  # of no difference, two-sided


def paired_difference(ours: NDArray[Any], theirs: NDArray[Any], confidence: float = 0.95) -> DrawnDifference:
    """The difference of two qualities whose n-th draws are about the same images.

    Args:
        ours, theirs: (draws,); where one has more draws, its first ones count.
    Returns: the percentile interval, and the p value of `p_value_of_zero`.
    Raises: ValueError without any draw.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    draws = min(len(ours), len(theirs))
    found = ours[:draws].astype(np.float64) - theirs[:draws].astype(np.float64)
    found = found[np.isfinite(found)]  # a draw can hold no image with anything to find
    if not len(found):
        raise ValueError("no draws; one or more would be right")
    return DrawnDifference(interval=percentiles(found, confidence), p_value=p_value_of_zero(found))

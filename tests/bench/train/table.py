"""What the turns say, as text; nothing here measures."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from bench.train.measuring import KINDS, Case, FormatRates, Timed
from paretoboard import stats

AT_LEAST: Final = 0.9  # of the bare loop's images per second


def ratio(timed: Timed) -> stats.Estimate:
    """The trainer's images per second over the bare loop's, and the interval of its median over turns (95 %).

    Each turn of the trainer but the first lies between two of the bare loop, and is compared with their mean, so that
    a machine that gets steadily slower favours neither. With fewer than six such turns the interval is their range.
    """
    bare = np.asarray(timed.bare)
    logs = np.log(np.asarray(timed.trainer[1:])) - (np.log(bare[:-1]) + np.log(bare[1:])) / 2
    spread = stats.quantile_interval(logs, 0.5) or stats.Interval(low=float(logs.min()), high=float(logs.max()))
    return stats.Estimate(value=math.exp(np.median(logs)), low=math.exp(spread.low), high=math.exp(spread.high))


def line(case: Case, timed: Timed) -> str:
    """One row of the table."""
    found = ratio(timed)
    mark = "met   " if found.value >= AT_LEAST else "MISSED"
    rates = f"{np.median(timed.trainer):9,.0f}{np.median(timed.bare):9,.0f}"
    share = f"{found.value:8.1%}  ({found.low:.1%} to {found.high:.1%})"
    return f"  {mark} {case.network:16}{case.precision:10}{KINDS[case.kind]:32}{rates}{share}"


def formats_line(case: Case, rates: FormatRates) -> str:
    """What the memory format is worth to the bare loop."""
    return (
        f"  {case.network:16}{case.precision:10}contiguous {rates.contiguous:7,.0f}, channels_last "
        f"{rates.channels_last:7,.0f} images/s: {rates.channels_last / rates.contiguous:.2f}x"
    )

"""What the turns say, as text; nothing here measures."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from bench.train.measuring import ARMS, BATCH, KINDS, WARM_UP, Case, Steps, Timed
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


def arm_lines(network: str, steps: Steps) -> list[str]:
    """What precision and memory format are worth to the bare loop: the median over turns, and their range."""
    first = np.asarray(steps.of_arm[0])
    found = []
    for arm, seconds in zip(ARMS, steps.of_arm, strict=True):
        times = first / np.asarray(seconds)
        rate = f"{WARM_UP * BATCH / np.median(seconds):9,.0f}"
        ratio = f"{np.median(times):7.2f}x  ({times.min():.2f} to {times.max():.2f})"
        found.append(f"  {network:22}{arm.precision:10}{arm.memory_format:15}{rate}{ratio}")
    return found

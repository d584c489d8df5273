"""When to end a training that no longer gets better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a curve says so far."""

    best: int  # place of the best value: whose weights are to be kept
    stop: bool  # whether it is long enough ago


def judge(curve: Sequence[float], *, patience: int, min_delta: float = 0.0, higher_is_better: bool = True) -> Judgement:
    """Whether to stop after the last value of `curve`, and which value was the best.

    A value is better only by more than `min_delta` than the best so far: a slow rise counts once it adds up to that,
    and an equal value is not better. What is not a number is never better.

    Args:
        curve: what was read on held-out images, one value for each look, at least one.
        patience: how many looks in a row without a better value end the training, at least 1.
        min_delta: zero or more, in the curve's own unit.
        higher_is_better: True for an accuracy, False for a loss.
    Raises: ValueError for an empty curve, and for numbers out of range.
    Source: Prechelt 1998, Early Stopping - But When?; the rule with patience is Goodfellow et al. 2016, Deep Learning,
        algorithm 7.1. Prechelt's third criterion counts successive rises of the error, this one all looks since the
        best.
    """
    if not curve:
        raise ValueError("an empty curve says nothing")
    if patience < 1 or not min_delta >= 0:
        raise ValueError(f"patience {patience} must be at least 1, and min_delta {min_delta} at least 0")
    sign = 1.0 if higher_is_better else -1.0
    best, best_value = 0, -math.inf
    for place, value in enumerate(curve):
        if not math.isnan(value) and sign * value > best_value + min_delta:
            best, best_value = place, sign * value
    return Judgement(best=best, stop=len(curve) - 1 - best >= patience)

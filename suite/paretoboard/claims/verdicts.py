"""Five verdicts from a claimed and a measured number: arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard.claims.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.claims.model import ClaimedNumber, Difference, Measured, Scale

# Registered before anything was compared: a claim within these of the measured value counts as confirmed.
MARGIN_TIMES: Final = 0.05  # share of a speed-up or of another ratio
MARGIN_POINTS: Final = 0.3
VERDICTS: Final[tuple[Verdict, ...]] = ("confirmed", "falls short", "better", "undecided", "not comparable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and what it rests on, in a sentence."""

    verdict: Verdict
    reason: str


def judge(number: ClaimedNumber, measured: Measured, differences: Sequence[Difference] = ()) -> Judgement:
    """What the measurement says about the number.

    Where a condition that matters differs there is no verdict on the number. A claim outside of the 95 % interval and
    beyond the margin falls short or is exceeded; one inside of an interval that is wider than the margin is undecided:
    the measurement would not have noticed it to be wrong.
    """
    if differences:
        fields = ", ".join(difference.field for difference in differences)
        return Judgement(verdict="not comparable", reason=f"other {fields}")
    claimed, value = number.change, measured.value
    low, high = _ends(measured)
    if low is None or high is None:
        return Judgement(verdict="undecided", reason="measured without an interval")
    scale: Scale = number.about.scale
    if number.at_least and low >= claimed:
        return Judgement(verdict="confirmed", reason="our whole interval keeps the bound")
    if measured.exact and low == claimed:
        return Judgement(verdict="confirmed", reason="the same number")
    if low <= claimed <= high:
        if _arm(value, low, high, scale) > margin(scale) * (1 + 1e-12):
            return Judgement(verdict="undecided", reason=f"our interval is wider than {_margin_text(scale)}")
        return Judgement(verdict="confirmed", reason="claim inside our interval")
    if abs(_distance(value, claimed, scale)) <= margin(scale) * (1 + 1e-12):
        return Judgement(verdict="confirmed", reason=f"claim within {_margin_text(scale)}")
    if value > claimed:
        if number.at_least:
            return Judgement(verdict="confirmed", reason="more than the bound")
        return Judgement(verdict="better", reason="claim below our interval")
    return Judgement(verdict="falls short", reason="claim above our interval")


def margin(scale: Scale) -> float:
    """Points, or the logarithm of a ratio: 5 % more and 5 % less are the same distance."""
    return MARGIN_POINTS if scale == "points" else math.log1p(MARGIN_TIMES)


def ratio_of(number: ClaimedNumber, measured: Measured) -> float:
    """Measured / claimed, better being more, to sort all kinds of claims by.

    Of points the shares of quality that are kept are compared: 91 of 92 here against 90 of 92 there is 1.011.
    """
    if number.about.scale == "times" or number.is_level:
        return measured.value / number.change
    theirs, ours = number.baseline, measured.baseline
    if theirs is None or ours is None or not number.about.higher_is_better:
        return (100 + measured.value) / (100 + number.change)
    return (ours + measured.value) / ours / ((theirs + number.change) / theirs)


def _ends(measured: Measured) -> tuple[float | None, float | None]:
    return (measured.value, measured.value) if measured.exact else (measured.low, measured.high)


def _distance(value: float, other: float, scale: Scale) -> float:
    if scale == "points":
        return value - other
    return math.log(value / other) if value > 0 and other > 0 else math.inf


def _arm(value: float, low: float, high: float, scale: Scale) -> float:
    """The longer side of the interval."""
    return max(abs(_distance(high, value, scale)), abs(_distance(low, value, scale)))


def _margin_text(scale: Scale) -> str:
    return f"±{MARGIN_POINTS:g} points" if scale == "points" else f"±{100 * MARGIN_TIMES:g} %"

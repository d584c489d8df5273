"""From values to places on the canvas, and where ticks go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from paretoboard_reports.svg.canvas import RADIUS, Frame, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard_reports.view import Figure, Point

# A point whose quality lies this many times the core's height below it would squeeze all others: it is clipped.
_CLIP_BELOW: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From values to the canvas, and where ticks go."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]
    low: float
    high: float


def cost_axis(figure: Figure, frame: Frame) -> Axis:
    """Logarithmic where no cost is zero; better is to the left."""
    values = [point.x for point in figure.points]
    logarithmic = min(values) > 0
    to_line: Callable[[float], float] = math.log if logarithmic else lambda value: value
    low, high = to_line(min(values)), to_line(max(values))
    # All costs equal, or nearly: keep a factor of 1.3 (or a tenth) in view.
    least = math.log(1.3) if logarithmic else max(abs(high) * 0.1, 1e-9)
    spare = max(least - (high - low), 0) / 2
    low, high = low - spare, high + spare
    room = 0.2 if frame.width < 500 else 0.14  # for labels, which go to the left
    better, worse = (high - low) * room, (high - low) * 0.06
    low, high = (low - worse, high + better) if figure.x_higher_is_better else (low - better, high + worse)
    span = frame.right - frame.left

    def place(value: float) -> float:
        share = (to_line(value) - low) / (high - low)
        return frame.right - share * span if figure.x_higher_is_better else frame.left + share * span

    ends = (math.exp(low), math.exp(high)) if logarithmic else (low, high)
    ticks = log_ticks(*ends, frame.wanted_ticks) if logarithmic else linear_ticks(*ends, frame.wanted_ticks)
    return Axis(place=place, ticks=_apart(ticks, place, frame), low=ends[0], high=ends[1])


def quality_axis(figure: Figure, frame: Frame) -> Axis:
    """Linear, as high as the front and the baseline need."""
    low, high = _y_range(figure.points)
    span = frame.bottom - frame.top
    return Axis(
        place=lambda value: frame.bottom - (value - low) / (high - low) * span,
        ticks=tuple(linear_ticks(low, high, frame.wanted_ticks)),
        low=low,
        high=high,
    )


def place_point(point: Point, x_axis: Axis, y_axis: Axis, frame: Frame) -> Placed:
    """Where `point` and its whiskers are drawn; what lies outside of the frame is moved to its edge."""

    def x(value: float) -> float:
        inside = min(max(value, x_axis.low), x_axis.high)
        return x_axis.place(inside)

    def y(value: float) -> float:
        return min(max(y_axis.place(value), frame.top), frame.bottom)

    clipped = point.y < y_axis.low
    ends = sorted((x(point.x_low), x(point.x_high)))
    return Placed(
        point=point,
        x=x(point.x),
        y=frame.bottom - RADIUS - 2 if clipped else y(point.y),
        left=ends[0],
        right=ends[1],
        top=y(point.y_high),
        bottom=y(point.y_low),
        clipped=clipped,
    )


def _apart(ticks: Sequence[float], place: Callable[[float], float], frame: Frame) -> tuple[float, ...]:
    """Every so many of the ticks that their numbers do not touch: long ones need more room than short ones."""

    def touch(one: float, other: float) -> bool:
        # Wider than any proportional typeface of this size is on average.
        return abs(place(one) - place(other)) < 0.58 * frame.font * (len(tick_text(one)) + len(tick_text(other))) / 2

    for step in range(1, len(ticks)):
        kept = ticks[::step]
        if not any(touch(one, other) for one, other in pairwise(kept)):
            return tuple(kept)
    return tuple(ticks[:1])


def tick_text(value: float) -> str:
    """A number as a person writes it."""
    text = f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return text.replace("-", "−")


def _y_range(points: Sequence[Point]) -> tuple[float, float]:
    core = [point for point in points if point.standing in ("front", "tied") or point.family == "baseline"]
    low, high = min(p.y_low for p in core or points), max(p.y_high for p in core or points)
    height = max(high - low, 1e-3 * max(abs(high), 1e-9))
    floor = low - _CLIP_BELOW * height
    shown = [point.y for point in points if point.y >= floor]
    low, high = min([low, *shown]), max([high, *shown])
    margin = 0.08 * max(high - low, height)
    return low - margin, high + margin


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers between `low` and `high`, at most `wanted`; by decades, then finer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        inside = [value for value in found if low <= value <= high]
        if len(inside) <= wanted:
            best = inside
    if not best:
        # More decades than there is room for: every so many of them.
        powers = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
        best = powers[:: math.ceil(len(powers) / wanted)] if powers else []
    # Multiples of a step crowd at the dearer end of a wide range, and fill a narrow one.
    return best if len(best) >= 3 or high / low >= 10 else linear_ticks(low, high, wanted)


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`, at most `wanted`."""
    size = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (size * factor) <= wanted)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [index * step for index in range(first, last + 1)]

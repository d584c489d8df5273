"""Numbers as they are shown: in a unit people read, with as many digits as the interval supports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoboard.records import MetricValue

MINUS: Final = "−"

# unit of a record -> units to show it in, each with the factor that gets there, the smallest first
_LADDERS: Final[dict[str, tuple[tuple[str, float], ...]]] = {
    "1": (("%", 100.0),),
    "s": (("µs", 1e6), ("ms", 1e3), ("s", 1.0)),
    "B": (("B", 1.0), ("kB", 1e-3), ("MB", 1e-6), ("GB", 1e-9)),
    "1/s": (("images/s", 1.0),),
    "count": (("", 1.0), ("k", 1e-3), ("M", 1e-6), ("G", 1e-9)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The unit that a column is shown in."""

    source_unit: str  # the record's
    unit: str
    factor: float  # from the record's unit


# Of shares.
POINTS: Final = Scale(source_unit="1", unit="points", factor=100.0)
PERCENT: Final = Scale(source_unit="1", unit="%", factor=100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its interval, as measured and as shown."""

    value: float  # in the record's unit
    low: float | None
    high: float | None
    n: int
    text: str  # in `unit`, to the digits that the interval supports
    exact: str  # with one digit more, to go with `span`
    half: str  # half-width of the interval in `unit`, "" without one
    unit: str
    source_unit: str  # of `value`, `low` and `high`
    span: str  # the interval written out in `unit`, "" without one
    factor: float  # from `source_unit` to `unit`


def scale_for(unit: str, values: Iterable[float]) -> Scale:
    """The unit in which the middle one of `values` is at least 1, so that a column has one unit.

    For times 0.1 is enough: latencies of this field are read in milliseconds.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    ladder = _LADDERS.get(unit, ((unit, 1.0),))
    if not sizes:
        return Scale(source_unit=unit, unit=ladder[0][0], factor=ladder[0][1])
    middle = median(sizes)
    # Smaller units come first and have larger factors.
    least = 0.1 if unit == "s" else 1.0
    best = max((step for step in ladder if middle * step[1] >= least), key=lambda s: -s[1], default=ladder[0])
    return Scale(source_unit=unit, unit=best[0], factor=best[1])


def quantity(value: MetricValue, scale: Scale | None = None) -> Quantity:
    """`value` in the unit of `scale`, by default in its own best one."""
    return interval(value.value, value.low, value.high, value.n, scale or scale_for(value.unit, [value.value]))


def interval(value: float, low: float | None, high: float | None, n: int, scale: Scale) -> Quantity:
    """A number in the unit of `scale`; of an uneven interval the longer arm is shown."""
    shown = value * scale.factor
    counted = scale.factor == 1 and float(value).is_integer()
    text, half, span = significant(shown), "", ""
    exact = f"{value:,.0f}" if counted else significant(shown, 4)
    if low is not None and high is not None and all(math.isfinite(end) for end in (value, low, high)):
        arm = max(high - value, value - low) * scale.factor
        text, half = rounded(shown, arm)
        digits = decimals(arm) + 1
        exact = _fixed(shown, digits)
        span = " to ".join(_fixed(end * scale.factor, digits) for end in (low, high))
    return Quantity(
        value=value,
        low=low,
        high=high,
        n=n,
        text=text,
        exact=exact,
        half=half,
        unit=scale.unit,
        source_unit=scale.source_unit,
        span=span,
        factor=scale.factor,
    )


def rounded(value: float, half_width: float) -> tuple[str, str]:
    """The value to the last shown digit of its half-width: (93.132, 0.234) -> ("93.1", "0.2")."""
    if not half_width > 0:
        return significant(value), "0"
    digits = decimals(half_width)
    return _fixed(value, digits), _fixed(half_width, digits)


def decimals(half_width: float) -> int:
    """The decimal place to which a half-width is shown, negative above ten; 2 for zero.

    One significant digit, but two where that is a one: 1.4 and 1.6 are not to become 1 and 2.
    """
    if not half_width > 0:
        return 2
    place = -math.floor(math.log10(half_width))
    leading = half_width * 10.0**place
    # 1.95 would be shown as 2.0, and 0.96 as 1.0: one digit is what they round to.
    return place + 1 if leading < 1.95 else place


def significant(value: float, digits: int = 3) -> str:
    """To three significant digits, without an exponent."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return _fixed(value, digits - 1 - math.floor(math.log10(abs(value))))


def signed(text: str) -> str:
    """A difference with its sign."""
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"


def plain(value: float | None) -> str:
    """A number for programs, to twelve digits; "" where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.12g}"


def _fixed(value: float, digits: int) -> str:
    text = f"{round(value, digits):,.{max(digits, 0)}f}"
    return text.replace("-", MINUS) if text.strip("-0.,") else text.lstrip("-")

"""Effects with their intervals, one below the other, as inline SVG: how fast, and what it costs in quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, log_ticks, tick_text
from paretoboard_reports.svg.canvas import add_line, add_text
from paretoboard_reports.view import Effect

_WIDTH: Final = 960.0
_LINE: Final = 22.0
_TOP: Final = 26.0
_FOOT: Final = 26.0
_NAMES: Final = 370.0
_LEFT: Final = (388.0, 650.0)
_RIGHT: Final = (696.0, 946.0)
_RADIUS: Final = 4.0
# Names that are longer would run into the drawing.
_LONGEST: Final = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestLine:
    """One recipe: its name and its effects."""

    name: str
    speed: Effect | None
    quality: Effect | None


def forest_plot(lines: Sequence[ForestLine], title: str, name: str) -> str:
    """An <svg> element with a line for each recipe: speed on a logarithmic scale, points of quality on a linear one.

    Args:
        title: what the drawing says, for those who can't see it.
        name: unique on the page; the id of the drawing's title.
    """
    bottom = _TOP + _LINE * len(lines)
    root = ET.Element(
        "svg",
        {
            "class": "forest",
            "viewBox": f"0 0 {_WIDTH:g} {bottom + _FOOT:g}",
            "role": "img",
            "aria-labelledby": name,
        },
    )
    ET.SubElement(root, "title", {"id": name}).text = title
    speed = [_span(line.speed) for line in lines if line.speed is not None]
    points = [_span(line.quality) for line in lines if line.quality is not None]
    if speed:
        _draw(root, lines, "speed", _speed_axis(speed, bottom))
    if points:
        _draw(root, lines, "quality", _points_axis(points, bottom))
    for index, line in enumerate(lines):
        short = line.name if len(line.name) <= _LONGEST else f"{line.name[: _LONGEST - 1]}…"
        add_text(root, _NAMES, _TOP + _LINE * (index + 0.5) + 4, short, "end", "name")
    return ET.tostring(root, encoding="unicode")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    place: Callable[[float], float]
    ticks: Sequence[float]
    title: str
    none: float  # the value of no effect
    ends: tuple[float, float]  # on the canvas
    bottom: float


def _span(effect: Effect) -> tuple[float, float, float]:
    found = effect.quantity
    scale = 100.0 if found.unit == "points" else 1.0
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return scale * found.value, scale * low, scale * high


def _speed_axis(spans: Sequence[tuple[float, float, float]], bottom: float) -> _Axis:
    # An interval of too few windows is open: it reaches from nothing to infinity.
    values = [value for span in spans for value in span if 0 < value < math.inf]
    low, high = min([0.9, *values]), max([1.1, *values])
    return _Axis(
        place=_scale(math.log(low), math.log(high), _LEFT, math.log),
        ticks=log_ticks(low, high, 6),
        title="× as fast →",
        none=1.0,
        ends=_LEFT,
        bottom=bottom,
    )


def _points_axis(spans: Sequence[tuple[float, float, float]], bottom: float) -> _Axis:
    values = [value for span in spans for value in span if math.isfinite(value)]
    low, high = min([-0.5, *values]), max([0.5, *values])
    return _Axis(
        place=_scale(low, high, _RIGHT, lambda value: value),
        ticks=linear_ticks(low, high, 5),
        title="points of quality →",
        none=0.0,
        ends=_RIGHT,
        bottom=bottom,
    )


def _scale(
    low: float, high: float, ends: tuple[float, float], of: Callable[[float], float]
) -> Callable[[float], float]:
    spare = 0.04 * (high - low)
    low, high = low - spare, high + spare
    return lambda value: ends[0] + (of(value) - low) / (high - low) * (ends[1] - ends[0])


def _draw(root: ET.Element, lines: Sequence[ForestLine], which: str, axis: _Axis) -> None:
    back = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for tick in axis.ticks:
        add_line(back, axis.place(tick), _TOP, axis.place(tick), axis.bottom, "grid")
        add_text(back, axis.place(tick), axis.bottom + 17, tick_text(tick), "middle", "tick")
    add_line(back, axis.place(axis.none), _TOP - 4, axis.place(axis.none), axis.bottom, "none-line")
    add_text(back, sum(axis.ends) / 2, _TOP - 10, axis.title, "middle", "title")
    for index, line in enumerate(lines):
        effect = line.speed if which == "speed" else line.quality
        if effect is None:
            continue
        value, low, high = _span(effect)
        if not (math.isfinite(low) and math.isfinite(high)) or (which == "speed" and min(value, low, high) <= 0):
            continue
        y = _TOP + _LINE * (index + 0.5)
        mark = ET.SubElement(root, "g", {"class": f"effect {effect.verdict}"})
        ET.SubElement(
            mark, "title"
        ).text = f"{line.name}: {effect.quantity.text} {effect.quantity.unit}, {effect.words}"
        add_line(mark, axis.place(low), y, axis.place(high), y, "whisker")
        ET.SubElement(
            mark, "circle", {"cx": f"{axis.place(value):.1f}", "cy": f"{y:.1f}", "r": f"{_RADIUS:g}", "class": "dot"}
        )

"""Claimed against measured: on the diagonal both are the same, above it more was measured than is claimed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, log_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard_reports.view.claims import Diagonal, DiagonalPoint

# Square between the axes, and narrow enough that its text stays readable on a phone.
_FRAME: Final = Frame(width=360, height=372, left=44, right=348, top=20, bottom=324, font=13, wanted_ticks=6)
# Markers of about equal area around the origin; a cross for what can't be compared.
SHAPES: Final = {
    "confirmed": "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
    "falls short": "M0 6.5L-6.2 -4.8H6.2Z",
    "better": "M0 -6.5L6.2 4.8H-6.2Z",
    "undecided": "M0 -6.5L6.5 0L0 6.5L-6.5 0Z",
    "not comparable": "M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5",
}


def verdict_class(verdict: str) -> str:
    """The class that colours a verdict."""
    return "v-" + verdict.replace(" ", "-")


def verdict_marker(verdict: str) -> str:
    """One marker alone, for a legend or a table."""
    root = ET.Element("svg", {"class": "marker", "viewBox": "-9 -9 18 18", "aria-hidden": "true"})
    _mark(root, verdict, 0, 0)
    return ET.tostring(root, encoding="unicode")


def diagonal_plot(found: Diagonal, name: str) -> str:
    """`found` as an <svg> element.

    Args:
        name: unique on the page; ids of the drawing begin with it.
    """
    root = ET.Element(
        "svg",
        {
            "class": "diagonal",
            "viewBox": f"0 0 {_FRAME.width:g} {_FRAME.height:g}",
            "role": "group",
            "aria-labelledby": f"{name}-title",
        },
    )
    ET.SubElement(root, "title", {"id": f"{name}-title"}).text = found.title
    if not found.points:
        add_text(root, _FRAME.width / 2, _FRAME.height / 2, "Nothing was measured.", "middle", "tick")
        return ET.tostring(root, encoding="unicode")
    low, high = _range(found)
    to_line: Callable[[float], float] = math.log if found.logarithmic else float
    start, span = to_line(low), to_line(high) - to_line(low)

    def share(value: float) -> float:
        return (to_line(min(max(value, low), high)) - start) / span

    def x(value: float) -> float:
        return _FRAME.left + share(value) * (_FRAME.right - _FRAME.left)

    def y(value: float) -> float:
        return _FRAME.bottom - share(value) * (_FRAME.bottom - _FRAME.top)

    _draw_axes(root, found, low, high, x, y)
    # What counts is drawn last and lies on top.
    for counted in (False, True):
        group = ET.SubElement(root, "g", {"class": "points"} if counted else {"class": "points", "aria-hidden": "true"})
        for point in found.points:
            if (point.verdict != "not comparable") is counted:
                _draw_point(group, point, x, y)
    return ET.tostring(root, encoding="unicode")


def _range(found: Diagonal) -> tuple[float, float]:
    """One for both axes, so that the diagonal is one."""
    values = [value for point in found.points for value in (point.x, point.y)]
    if found.logarithmic:
        low, high = min([*values, 1.0]), max([*values, 1.0])
        room = max(high / low, 1.3) ** 0.06
        return low / room, high * room
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = max(high - low, 1.0) * 0.06
    return low - room, high + room


def _draw_axes(
    root: ET.Element,
    found: Diagonal,
    low: float,
    high: float,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    ticks = (log_ticks if found.logarithmic else linear_ticks)(low, high, _FRAME.wanted_ticks)
    for value in ticks:
        add_line(group, x(value), _FRAME.top, x(value), _FRAME.bottom, "grid")
        add_line(group, _FRAME.left, y(value), _FRAME.right, y(value), "grid")
        add_text(group, x(value), _FRAME.bottom + 17, tick_text(value), "middle", "tick")
        add_text(group, _FRAME.left - 6, y(value) + 4, tick_text(value), "end", "tick")
    nothing = 1.0 if found.logarithmic else 0.0
    add_line(group, x(nothing), _FRAME.top, x(nothing), _FRAME.bottom, "zero")
    add_line(group, _FRAME.left, y(nothing), _FRAME.right, y(nothing), "zero")
    ET.SubElement(group, "path", {"class": "band", "d": _band(found, low, high, x, y)})
    add_line(group, x(low), y(low), x(high), y(high), "same")
    add_line(group, _FRAME.left, _FRAME.bottom, _FRAME.right, _FRAME.bottom, "axis")
    add_text(group, (_FRAME.left + _FRAME.right) / 2, _FRAME.bottom + 38, found.x_label, "middle", "title")
    add_text(group, _FRAME.left, _FRAME.top - 7, f"↑ {found.y_label}", "start", "title")


def _band(found: Diagonal, low: float, high: float, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """What lies within the margin of the diagonal; cut off at the frame, where `y` clamps."""

    def beside(value: float, sign: int) -> float:
        return value * (1 + found.margin) ** sign if found.logarithmic else value + sign * found.margin

    upper, lower = (beside(low, 1), beside(high, -1)), (beside(high, -1), beside(low, 1))
    corners = [
        (x(low), y(low)),
        (x(low), y(upper[0])),
        (x(upper[1]), y(high)),
        (x(high), y(high)),
        (x(high), y(lower[0])),
        (x(lower[1]), y(low)),
    ]
    return "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in corners) + "Z"


def _draw_point(
    group: ET.Element, point: DiagonalPoint, x: Callable[[float], float], y: Callable[[float], float]
) -> None:
    # The table holds the same links; the plot is not a second list to tab through.
    link = ET.SubElement(
        group, "a", {"class": f"point {verdict_class(point.verdict)}", "href": f"#{point.anchor}", "tabindex": "-1"}
    )
    ET.SubElement(link, "title").text = point.text
    counted = point.verdict != "not comparable"
    across, up = x(point.x), y(point.y)
    if counted:
        add_line(link, across, y(point.low), across, y(point.high), "whisker")
    _mark(link, point.verdict, across, up)
    if counted:
        right = across < (_FRAME.left + _FRAME.right) / 2
        add_text(link, across + (9 if right else -9), up - 6, point.key, "start" if right else "end", "label")


def _mark(parent: ET.Element, verdict: str, x: float, y: float) -> None:
    group = ET.SubElement(parent, "g", {"class": verdict_class(verdict)})
    where = {"transform": f"translate({x:.1f} {y:.1f})"} if x or y else {}
    ET.SubElement(group, "path", {"class": "cm", "d": SHAPES[verdict], **where})

"""A roofline as inline SVG: arithmetic against MACs per byte, both logarithmic, below the machine's limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import log_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paretoboard_reports.view import Roof

_FRAME: Final = Frame(width=460, height=270, left=46, right=450, top=18, bottom=222, font=13, wanted_ticks=5)
_RADIUS: Final = 9.0  # of an operator that takes all the time


def roofline_plot(roof: Roof, name: str) -> str:
    """`roof` as an <svg> element.

    Args:
        name: unique on the page; the id of the drawing's title.
    """
    size = {"viewBox": f"0 0 {_FRAME.width:g} {_FRAME.height:g}"}
    root = ET.Element("svg", {"class": "roofline", **size, "role": "img", "aria-labelledby": name})
    ET.SubElement(root, "title", {"id": name}).text = roof.title
    limits = [rate for _, rate in roof.peaks]
    x_low, x_high = _range([point.macs_per_byte for point in roof.points], least=100.0)
    y_low, y_high = _range([*limits, *(point.macs_per_s for point in roof.points)], least=10.0)
    x = _scale(x_low, x_high, _FRAME.left, _FRAME.right)
    y = _scale(y_low, y_high, _FRAME.bottom, _FRAME.top)
    _draw_axes(root, x, y, log_ticks(x_low, x_high, 5), log_ticks(y_low, y_high, 5))
    top = max(limits)
    for label, rate in roof.peaks:
        add_line(root, _FRAME.left, y(rate), _FRAME.right, y(rate), "roof")
        add_text(root, _FRAME.right - 2, y(rate) - 4, label, "end", "tick")
    for label, rate in roof.bandwidths:
        _draw_slope(root, x, y, rate, label, (x_low, min(top, y_high)), y_low)
    for point in roof.points:
        where = {"cx": f"{x(point.macs_per_byte):.1f}", "cy": f"{y(point.macs_per_s):.1f}"}
        radius = f"{max(2.5, _RADIUS * math.sqrt(point.share)):.1f}"
        mark = ET.SubElement(root, "circle", {"class": "operator", **where, "r": radius})
        ET.SubElement(mark, "title").text = point.text
    return ET.tostring(root, encoding="unicode")


def _draw_axes(
    root: ET.Element,
    x: Callable[[float], float],
    y: Callable[[float], float],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for value in y_ticks:
        add_line(group, _FRAME.left, y(value), _FRAME.right, y(value), "grid")
        add_text(group, _FRAME.left - 6, y(value) + 4, tick_text(value / 1e9), "end", "tick")
    for value in x_ticks:
        add_text(group, x(value), _FRAME.bottom + 17, tick_text(value), "middle", "tick")
    add_line(group, _FRAME.left, _FRAME.bottom, _FRAME.right, _FRAME.bottom, "axis")
    add_text(group, (_FRAME.left + _FRAME.right) / 2, _FRAME.bottom + 38, "MACs per byte moved", "middle", "title")
    add_text(group, _FRAME.left, _FRAME.top - 6, "↑ GMAC/s", "start", "title")


def _draw_slope(
    root: ET.Element,
    x: Callable[[float], float],
    y: Callable[[float], float],
    bytes_per_s: float,
    label: str,
    ends: tuple[float, float],
    y_low: float,
) -> None:
    """The part of a bandwidth's line that is on the canvas: from `ends`' first MACs per byte to its last MACs/s."""
    start = max(ends[0], y_low / bytes_per_s)
    stop = ends[1] / bytes_per_s
    if stop <= start:
        return
    add_line(root, x(start), y(start * bytes_per_s), x(stop), y(stop * bytes_per_s), "roof")
    add_text(root, x(start) + 4, y(start * bytes_per_s) - 4, label, "start", "tick")


def _range(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """Ends with some room around positive values, at least a factor of `least` apart."""
    low, high = min(values) / 1.6, max(values) * 1.6
    spare = max(1.0, math.sqrt(least / (high / low)))
    return low / spare, high * spare


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    span = math.log(high / low)

    def place(value: float) -> float:
        share = min(max(math.log(value / low) / span, 0.0), 1.0)
        return first + share * (last - first)

    return place

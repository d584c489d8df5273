"""A search for settings as inline SVG: the best value so far against the images that it cost, a line for each seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard_reports.view import SearchCurves

    Place = Callable[[float], float]

_FRAME: Final = Frame(width=460, height=270, left=46, right=450, top=18, bottom=222, font=13, wanted_ticks=5)
_RADIUS: Final = 3.0


def search_plot(curves: SearchCurves, name: str) -> str:
    """`curves` as an <svg> element.

    Args:
        name: unique on the page; the id of the drawing's title.
    """
    size = {"viewBox": f"0 0 {_FRAME.width:g} {_FRAME.height:g}"}
    root = ET.Element("svg", {"class": "search", **size, "role": "img", "aria-labelledby": name})
    ET.SubElement(root, "title", {"id": name}).text = curves.title
    points = [point for curve in curves.lines for point in curve]
    most = max(point.images_seen for point in points)
    # What diverged is worth nothing, and would leave no height for the others.
    values = [point.value for point in points if point.value > 0] or [0.0]
    low, high = min(values), max(values)
    spare = max(0.05 * (high - low), 0.005)
    low, high = max(0.0, low - spare), min(1.0, high + spare)
    x = _scale(0.0, most, _FRAME.left, _FRAME.right - _RADIUS)
    y = _scale(low, high, _FRAME.bottom, _FRAME.top)
    _draw_axes(root, x, y, most, (low, high))
    for curve in curves.lines:
        reached = [point for point in curve if point.best is not None]
        line = [f"M{x(point.images_seen):.1f} {y(point.best or 0.0):.1f}" for point in reached[:1]]
        line += [f"H{x(point.images_seen):.1f}V{y(point.best or 0.0):.1f}" for point in reached[1:]]
        ET.SubElement(root, "path", {"class": "best", "d": "".join(line)})
        for point in curve:
            where = {"cx": f"{x(point.images_seen):.1f}", "cy": f"{y(point.value):.1f}", "r": f"{_RADIUS:g}"}
            mark = ET.SubElement(root, "circle", {"class": "trial" if point.whole else "trial pruned", **where})
            ET.SubElement(mark, "title").text = point.text
    return ET.tostring(root, encoding="unicode")


def _draw_axes(root: ET.Element, x: Place, y: Place, most: float, span: tuple[float, float]) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for value in linear_ticks(*span, _FRAME.wanted_ticks):
        add_line(group, _FRAME.left, y(value), _FRAME.right, y(value), "grid")
        add_text(group, _FRAME.left - 6, y(value) + 4, tick_text(100 * value), "end", "tick")
    for value in linear_ticks(0.0, most, _FRAME.wanted_ticks):
        add_text(group, x(value), _FRAME.bottom + 17, tick_text(value), "middle", "tick")
    add_line(group, _FRAME.left, _FRAME.bottom, _FRAME.right, _FRAME.bottom, "axis")
    add_text(
        group, (_FRAME.left + _FRAME.right) / 2, _FRAME.bottom + 38, "images seen by all trials", "middle", "title"
    )
    add_text(group, _FRAME.left, _FRAME.top - 6, "↑ held-out images right, %", "start", "title")


def _scale(low: float, high: float, first: float, last: float) -> Place:
    return lambda value: first + max(value - low, 0.0) / (high - low) * (last - first)

"""How searches and trainings went, as inline SVG: a line for each, and a mark for what was seen on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard_reports.view import Curves

    Place = Callable[[float], float]

_FRAME: Final = Frame(width=460, height=270, left=46, right=450, top=18, bottom=222, font=13, wanted_ticks=5)
_RADIUS: Final = 3.0


def curves_plot(curves: Curves, name: str) -> str:
    """`curves` as an <svg> element.

    Args:
        name: unique on the page; the id of the drawing's title.
    """
    size = {"viewBox": f"0 0 {_FRAME.width:g} {_FRAME.height:g}"}
    root = ET.Element("svg", {"class": "curves", **size, "role": "img", "aria-labelledby": name})
    ET.SubElement(root, "title", {"id": name}).text = curves.title
    most = max(mark.x for curve in curves.curves for mark in curve.marks)
    x = _scale(0.0, most, _FRAME.left, _FRAME.right - _RADIUS)
    y = _scale(curves.y_low, curves.y_high, _FRAME.bottom, _FRAME.top)
    _draw_axes(root, curves, x, y, most)
    for curve in curves.curves:
        corners = [f"{x(across):.1f} {y(up):.1f}" for across, up in curve.line]
        ET.SubElement(root, "path", {"class": "line", "d": "M" + "L".join(corners) if corners else ""})
        for mark in curve.marks:
            where = {"cx": f"{x(mark.x):.1f}", "cy": f"{y(mark.y):.1f}", "r": f"{_RADIUS:g}"}
            drawn = ET.SubElement(root, "circle", {"class": "mark hollow" if mark.hollow else "mark", **where})
            ET.SubElement(drawn, "title").text = mark.text
    return ET.tostring(root, encoding="unicode")


def _draw_axes(root: ET.Element, curves: Curves, x: Place, y: Place, most: float) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for value in linear_ticks(curves.y_low, curves.y_high, _FRAME.wanted_ticks):
        add_line(group, _FRAME.left, y(value), _FRAME.right, y(value), "grid")
        add_text(group, _FRAME.left - 6, y(value) + 4, tick_text(value), "end", "tick")
    for value in linear_ticks(0.0, most, _FRAME.wanted_ticks):
        add_text(group, x(value), _FRAME.bottom + 17, tick_text(value), "middle", "tick")
    add_line(group, _FRAME.left, _FRAME.bottom, _FRAME.right, _FRAME.bottom, "axis")
    middle = (_FRAME.left + _FRAME.right) / 2
    add_text(group, middle, _FRAME.bottom + 38, curves.x_title, "middle", "title")
    add_text(group, _FRAME.left, _FRAME.top - 6, f"↑ {curves.y_title}", "start", "title")


def _scale(low: float, high: float, first: float, last: float) -> Place:
    return lambda value: first + (min(max(value, low), high) - low) / (high - low) * (last - first)

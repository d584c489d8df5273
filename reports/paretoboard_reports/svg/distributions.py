"""How calls and seeds spread, as inline SVG: bars for thousands of calls, a dot for each seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard_reports.view.run import SeedDot
    from paretoboard_reports.view.timings import Histogram

_FRAME: Final = Frame(width=420, height=190, left=14, right=406, top=16, bottom=146, font=13, wanted_ticks=5)
_STRIP_ROW: Final = 22.0
_STRIP_LEFT: Final = 62.0
_STRIP_AXIS: Final = 40.0


def histogram_plot(found: Histogram, name: str) -> str:
    """The calls at one batch as an <svg> element; `name` is the id of its title, unique on the page."""
    unit, factor = ("ms", 1e3) if found.median_s < 1 else ("s", 1.0)
    title = f"{found.calls:,} calls at batch {found.batch}, median {found.median_s * factor:.4g} {unit}"
    root = _root("histogram", name, title, _FRAME.width, _FRAME.height)
    low, high = found.low_s * factor, found.high_s * factor
    width = (_FRAME.right - _FRAME.left) / len(found.counts)
    most = max(found.counts)
    for place, count in enumerate(found.counts):
        height = (_FRAME.bottom - _FRAME.top) * count / most
        where = {"x": _FRAME.left + place * width, "y": _FRAME.bottom - height, "width": width - 1, "height": height}
        bar = ET.SubElement(root, "rect", {"class": "bar", **{key: f"{value:.1f}" for key, value in where.items()}})
        ET.SubElement(bar, "title").text = f"{count:,} calls"
    add_line(root, _FRAME.left, _FRAME.bottom, _FRAME.right, _FRAME.bottom, "axis")
    for value in linear_ticks(low, high, _FRAME.wanted_ticks):
        x = _FRAME.left + (value - low) / (high - low) * (_FRAME.right - _FRAME.left)
        add_text(root, x, _FRAME.bottom + 17, tick_text(value), "middle", "tick")
    beyond = f"; {found.beyond:,} took longer" if found.beyond else ""
    middle = (_FRAME.left + _FRAME.right) / 2
    add_text(root, middle, _FRAME.bottom + 36, f"{unit} a call{beyond}", "middle", "title")
    return ET.tostring(root, encoding="unicode")


def seed_strip(dots: Sequence[SeedDot], unit: str, name: str) -> str:
    """A dot for each seed with its interval, as an <svg> element; `name` is the id of its title."""
    bottom = 12 + _STRIP_ROW * len(dots)
    title = f"{len(dots)} {'seed' if len(dots) == 1 else 'seeds'}: " + ", ".join(
        f"seed {dot.seed} {dot.value:.4g} {unit}" for dot in dots
    )
    root = _root("strip", name, title, _FRAME.width, bottom + _STRIP_AXIS)
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    room = (high - low) * 0.06 or abs(high) * 0.01 or 1.0
    low, high = low - room, high + room

    def x(value: float) -> float:
        return _STRIP_LEFT + (value - low) / (high - low) * (_FRAME.right - _STRIP_LEFT)

    for place, dot in enumerate(dots):
        y = 12 + _STRIP_ROW * (place + 0.5)
        add_text(root, 4, y + 4, f"seed {dot.seed}", "start", "tick")
        add_line(root, x(dot.low), y, x(dot.high), y, "whisker")
        ET.SubElement(root, "circle", {"class": "dot", "cx": f"{x(dot.value):.1f}", "cy": f"{y:.1f}", "r": "4.5"})
    add_line(root, _STRIP_LEFT, bottom, _FRAME.right, bottom, "axis")
    for value in linear_ticks(low, high, 4):
        add_text(root, x(value), bottom + 17, tick_text(value), "middle", "tick")
    add_text(root, (_STRIP_LEFT + _FRAME.right) / 2, bottom + 35, unit, "middle", "title")
    return ET.tostring(root, encoding="unicode")


def _root(kind: str, name: str, title: str, width: float, height: float) -> ET.Element:
    size = {"viewBox": f"0 0 {width:g} {height:g}"}
    root = ET.Element("svg", {"class": kind, **size, "role": "img", "aria-labelledby": name})
    ET.SubElement(root, "title", {"id": name}).text = title
    return root

"""A number night after night as inline SVG: its levels, its scatter, and where the software changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import linear_ticks, tick_text
from paretoboard_reports.svg.canvas import Frame, add_line, add_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paretoboard_reports.view.nights import Drawn, Shown

SeriesSize = Literal["usual", "large"]
_FRAMES: Final[dict[SeriesSize, Frame]] = {
    "usual": Frame(width=820, height=230, left=62, right=806, top=22, bottom=184, font=13, wanted_ticks=5),
    "large": Frame(width=820, height=400, left=62, right=806, top=22, bottom=354, font=13, wanted_ticks=8),
}
_SPARK: Final = (120.0, 24.0)
_RADIUS: Final = 3.0


def series_plot(shown: Shown, name: str, size: SeriesSize = "usual") -> str:
    """A series of nights as an <svg> element.

    Args:
        name: unique on the page; the id of the drawing's title.
    """
    frame = _FRAMES[size]
    view = {"viewBox": f"0 0 {frame.width:g} {frame.height:g}"}
    root = ET.Element("svg", {"class": "series", **view, "role": "img", "aria-labelledby": name})
    ET.SubElement(root, "title", {"id": name}).text = shown.sentence
    x, y = _scales(shown.nights, frame)
    _axes(root, shown, frame, x, y)
    for stretch in shown.stretches:
        _stretch(root, stretch, x, y)
    for night in shown.nights:
        where = {"cx": f"{x(night.place):.1f}", "cy": f"{y(night.value):.1f}", "r": f"{_RADIUS:g}"}
        mark = ET.SubElement(root, "circle", {"class": f"night {night.kind}".strip(), **where})
        ET.SubElement(mark, "title").text = night.text
    return ET.tostring(root, encoding="unicode")


def sparkline(values: Sequence[float], cuts: Sequence[int]) -> str:
    """A series in the height of a line; said in words elsewhere, so hidden from those who hear the page.

    Args:
        values: oldest first.
        cuts: before which values the software changed.
    """
    width, height = _SPARK
    root = ET.Element("svg", {"class": "spark", "viewBox": f"0 0 {width:g} {height:g}", "aria-hidden": "true"})
    low, high = min(values), max(values)
    spare = max(high - low, 0.02 * abs(high), 1e-12)
    middle = (low + high) / 2

    def place(index: int) -> tuple[float, float]:
        across = 4 + (width - 8) * (index / (len(values) - 1) if len(values) > 1 else 0.5)
        return across, height / 2 - (values[index] - middle) / spare * (height - 8)

    for cut in cuts:
        across = (place(cut - 1)[0] + place(cut)[0]) / 2
        add_line(root, across, 0, across, height, "cut")
    corners = "L".join(f"{across:.1f} {up:.1f}" for across, up in map(place, range(len(values))))
    ET.SubElement(root, "path", {"class": "line", "d": f"M{corners}"})
    across, up = place(len(values) - 1)
    ET.SubElement(root, "circle", {"class": "last", "cx": f"{across:.1f}", "cy": f"{up:.1f}", "r": "2.4"})
    return ET.tostring(root, encoding="unicode")


def _scales(nights: Sequence[Drawn], frame: Frame) -> tuple[Callable[[float], float], Callable[[float], float]]:
    last = max(night.place for night in nights)
    values = [night.value for night in nights]
    low, high = min(values), max(values)
    # A change of a hundredth must not look like one of the half.
    spare = max(0.1 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-12)
    low, high = low - spare, high + spare

    def x(place: float) -> float:
        share = place / last if last else 0.5
        return frame.left + 8 + share * (frame.right - frame.left - 16)

    def y(value: float) -> float:
        return frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top)

    return x, y


def _axes(
    root: ET.Element, shown: Shown, frame: Frame, x: Callable[[float], float], y: Callable[[float], float]
) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    values = [night.value for night in shown.nights]
    spare = max(0.1 * (max(values) - min(values)), 0.02 * max(map(abs, values)), 1e-12)
    for tick in linear_ticks(min(values) - spare, max(values) + spare, frame.wanted_ticks):
        add_line(group, frame.left, y(tick), frame.right, y(tick), "grid")
        add_text(group, frame.left - 6, y(tick) + 4, tick_text(tick), "end", "tick")
    add_text(group, frame.left, frame.top - 8, shown.axis, "start", "title")
    first, last = shown.nights[0], shown.nights[-1]
    add_text(group, x(first.place), frame.bottom + 20, first.day, "start", "tick")
    if last.place != first.place:
        add_text(group, x(last.place), frame.bottom + 20, last.day, "end", "tick")
    for cut in shown.cuts:
        add_line(group, x(cut), frame.top, x(cut), frame.bottom, "cut")


def _stretch(
    root: ET.Element,
    stretch: tuple[float, float, float, float],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> None:
    first, last, level, scatter = stretch
    left, right = x(first) - 5, x(last) + 5
    if scatter:
        top, bottom = y(level + scatter), y(level - scatter)
        where = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        ET.SubElement(root, "rect", {"class": "band", **{name: f"{value:.1f}" for name, value in where.items()}})
    add_line(root, left, y(level), right, y(level), "level")

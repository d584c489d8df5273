"""The Pareto plot as inline SVG: no script, no style of its own; colours come from the page's classes.

Lower cost is to the left and higher quality is up, so the ideal corner is at the top left and empty: labels go there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal
from xml.etree import ElementTree as ET

from paretoboard_reports.view import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard_reports.view import Figure

Size = Literal["wide", "narrow"]

# A point whose quality lies this many times the core's height below it would squeeze all others: it is clipped.
_CLIP_BELOW: Final = 1.5
_LONGEST_LABEL: Final = 26
_RADIUS: Final = 6.0

# Markers of about equal area around the origin; shape and colour say the same, for those who see only one of them.
SHAPES: Final = {
    "baseline": "M-5.5 0A5.5 5.5 0 1 0 5.5 0A5.5 5.5 0 1 0 -5.5 0Z",
    "runtime": "M-5 -5H5V5H-5Z",
    "quantize": "M0 -6.5L6.2 4.8H-6.2Z",
    "prune": "M0 -7L7 0L0 7L-7 0Z",
    "train": "M0 6.5L-6.2 -4.8H6.2Z",
    "combined": "M-2.2 -6.5H2.2V-2.2H6.5V2.2H2.2V6.5H-2.2V2.2H-6.5V-2.2H-2.2Z",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where on the canvas the data are drawn, in the canvas's units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    font: float
    wanted_ticks: int


_FRAMES: Final[dict[Size, _Frame]] = {
    "wide": _Frame(width=820, height=430, left=58, right=804, top=20, bottom=376, font=13, wanted_ticks=7),
    "narrow": _Frame(width=320, height=360, left=38, right=314, top=16, bottom=306, font=13, wanted_ticks=4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A point with its place on the canvas."""

    point: Point
    x: float
    y: float
    left: float  # ends of the whiskers
    right: float
    top: float
    bottom: float
    clipped: bool  # drawn at the lower edge, really below it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    text: str
    x: float
    y: float
    anchor: Literal["start", "middle", "end"]
    box: _Box


def pareto_plot(figure: Figure, name: str, size: Size = "wide") -> str:
    """`figure` as an <svg> element.

    Args:
        name: unique on the page; ids of the drawing begin with it.
    """
    frame = _FRAMES[size]
    root = ET.Element(
        "svg",
        {
            "class": f"plot {size}",
            "viewBox": f"0 0 {frame.width:g} {frame.height:g}",
            "role": "group",
            "aria-labelledby": f"{name}-{size}",
        },
    )
    ET.SubElement(root, "title", {"id": f"{name}-{size}"}).text = figure.title
    if figure.points:
        x_axis, y_axis = _x_axis(figure, frame), _y_axis(figure, frame)
        placed = [_place(point, x_axis, y_axis, frame) for point in figure.points]
        _draw_axes(root, figure, frame, x_axis, y_axis)
        _draw_front(root, placed, frame)
        _draw_points(root, placed)
        _draw_labels(root, placed, frame, y_axis)
    else:
        _text(root, frame.width / 2, frame.height / 2, "Nothing was measured on this axis.", "middle", "tick")
    return ET.tostring(root, encoding="unicode")


def marker(family: str, standing: str) -> str:
    """One marker alone, for a legend or a table."""
    root = ET.Element("svg", {"class": "marker", "viewBox": "-9 -9 18 18", "aria-hidden": "true"})
    group = ET.SubElement(root, "g", {"class": f"point f-{family} s-{standing}"})
    ET.SubElement(group, "path", {"class": "mark", "d": SHAPES[family]})
    return ET.tostring(root, encoding="unicode")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """From values to the canvas, and where ticks go."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]
    low: float
    high: float


def _x_axis(figure: Figure, frame: _Frame) -> _Axis:
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
    ticks = _log_ticks(*ends, frame.wanted_ticks) if logarithmic else _ticks(*ends, frame.wanted_ticks)
    return _Axis(place=place, ticks=tuple(ticks), low=ends[0], high=ends[1])


def _y_axis(figure: Figure, frame: _Frame) -> _Axis:
    low, high = _y_range(figure.points)
    span = frame.bottom - frame.top
    return _Axis(
        place=lambda value: frame.bottom - (value - low) / (high - low) * span,
        ticks=tuple(_ticks(low, high, frame.wanted_ticks)),
        low=low,
        high=high,
    )


def _y_range(points: Sequence[Point]) -> tuple[float, float]:
    core = [point for point in points if point.standing in ("front", "tied") or point.family == "baseline"]
    low, high = min(p.y_low for p in core or points), max(p.y_high for p in core or points)
    height = max(high - low, 1e-3 * max(abs(high), 1e-9))
    floor = low - _CLIP_BELOW * height
    shown = [point.y for point in points if point.y >= floor]
    low, high = min([low, *shown]), max([high, *shown])
    margin = 0.08 * max(high - low, height)
    return low - margin, high + margin


def _place(point: Point, x_axis: _Axis, y_axis: _Axis, frame: _Frame) -> _Placed:
    def x(value: float) -> float:
        inside = min(max(value, x_axis.low), x_axis.high)
        return x_axis.place(inside)

    def y(value: float) -> float:
        return min(max(y_axis.place(value), frame.top), frame.bottom)

    clipped = point.y < y_axis.low
    ends = sorted((x(point.x_low), x(point.x_high)))
    return _Placed(
        point=point,
        x=x(point.x),
        y=frame.bottom - _RADIUS - 2 if clipped else y(point.y),
        left=ends[0],
        right=ends[1],
        top=y(point.y_high),
        bottom=y(point.y_low),
        clipped=clipped,
    )


def _draw_axes(root: ET.Element, figure: Figure, frame: _Frame, x_axis: _Axis, y_axis: _Axis) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for value in y_axis.ticks:
        y = y_axis.place(value)
        _line(group, frame.left, y, frame.right, y, "grid")
        _text(group, frame.left - 8, y + 4, _tick_text(value), "end", "tick")
    for value in x_axis.ticks:
        x = x_axis.place(value)
        _line(group, x, frame.top, x, frame.bottom, "grid")
        _text(group, x, frame.bottom + 19, _tick_text(value), "middle", "tick")
    _line(group, frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    middle = (frame.left + frame.right) / 2
    _text(group, middle, frame.bottom + 42, figure.x_label, "middle", "title")
    _text(group, frame.left, frame.bottom + 42, "← better", "start", "title")
    _text(group, frame.left + 2, frame.top - 5, f"↑ {figure.y_label}", "start", "title")


def _draw_front(root: ET.Element, placed: Sequence[_Placed], frame: _Frame) -> None:
    front = _front(placed)
    if not front:
        return
    steps = [f"M{front[0].x:.1f} {frame.bottom:.1f}V{front[0].y:.1f}"]
    steps += [f"H{after.x:.1f}V{after.y:.1f}" for _, after in pairwise(front)]
    steps.append(f"H{frame.right:.1f}")
    ET.SubElement(root, "path", {"class": "staircase", "d": "".join(steps), "aria-hidden": "true"})


def _draw_points(root: ET.Element, placed: Sequence[_Placed]) -> None:
    # What matters most is drawn last and lies on top.
    for standing in ("dominated", "tied", "front"):
        group = ET.SubElement(root, "g", {"class": f"points {standing}"})
        if standing == "dominated":
            group.set("aria-hidden", "true")
        for one in placed:
            if one.point.standing == standing:
                _draw_point(group, one)


def _draw_point(group: ET.Element, one: _Placed) -> None:
    point = one.point
    link = ET.SubElement(
        group,
        "a",
        {
            "class": f"point f-{point.family} s-{point.standing}",
            "href": f"#{point.anchor}",
            "data-row": point.anchor,
            # The table below holds the same links; the plot is not a second list to tab through.
            "tabindex": "-1",
        },
    )
    ET.SubElement(link, "title").text = point.text
    if point.standing != "dominated":
        _line(link, one.left, one.y, one.right, one.y, "whisker")
        if not one.clipped:
            _line(link, one.x, one.top, one.x, one.bottom, "whisker")
    where = f"translate({one.x:.1f} {one.y:.1f})"
    ET.SubElement(link, "path", {"class": "mark", "d": SHAPES[point.family], "transform": where})


def _draw_labels(root: ET.Element, placed: Sequence[_Placed], frame: _Frame, y_axis: _Axis) -> None:
    group = ET.SubElement(root, "g", {"class": "labels", "aria-hidden": "true"})
    for one, label in _labels(placed, frame, y_axis):
        standing = "baseline" if one.point.family == "baseline" else one.point.standing
        _text(group, label.x, label.y, label.text, label.anchor, f"label s-{standing}")


def _labels(placed: Sequence[_Placed], frame: _Frame, y_axis: _Axis) -> Iterable[tuple[_Placed, _Label]]:
    """Labels that overlap neither each other nor a marker; the front chooses first."""
    importance = {"front": 0, "tied": 1, "dominated": 2}
    half, edge = frame.font / 2, frame.left - 4
    taken = [_marker_box(one) for one in placed]
    taken += [_Box(left=0, top=y - half, right=edge, bottom=y + half) for y in map(y_axis.place, y_axis.ticks)]
    lines = [box for one in placed if one.point.standing != "dominated" for box in _whisker_boxes(one)]
    lines += _staircase_boxes(placed, frame)
    for one in sorted(placed, key=lambda p: (importance[p.point.standing], p.x, p.y)):
        own = _marker_box(one)
        others = [box for box in taken if box != own]
        candidates = [found for found in _candidates(one, frame) if _inside(found.box, frame)]
        free = [found for found in candidates if not any(found.box.overlaps(box) for box in others)]
        # Rather across a line than no name at all.
        clear = [found for found in free if not any(found.box.overlaps(box) for box in lines)]
        for label in (*clear, *free)[:1]:
            taken.append(label.box)
            yield one, label


def _candidates(one: _Placed, frame: _Frame) -> Iterable[_Label]:
    name = one.point.recipe
    text = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    if one.clipped:
        text = f"↓ {text} {_tick_text(round(one.point.y, 1))}"
    # Wider than any proportional typeface of this size is on average.
    width, height = 0.58 * frame.font * len(text), frame.font
    for dx, dy, anchor in (
        (-9.0, -8.0, "end"),
        (-12.0, 4.0, "end"),
        (9.0, -8.0, "start"),
        (12.0, 4.0, "start"),
        (-9.0, 17.0, "end"),
        (9.0, 17.0, "start"),
        (0.0, -13.0, "middle"),
        (0.0, 22.0, "middle"),
    ):
        x, y = one.x + dx, one.y + dy
        left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
        box = _Box(left=left, top=y - 0.8 * height, right=left + width, bottom=y + 0.25 * height)
        yield _Label(text=text, x=x, y=y, anchor=anchor, box=box)  # type: ignore[arg-type]


def _marker_box(one: _Placed) -> _Box:
    return _Box(left=one.x - _RADIUS, top=one.y - _RADIUS, right=one.x + _RADIUS, bottom=one.y + _RADIUS)


def _whisker_boxes(one: _Placed) -> Iterable[_Box]:
    yield _Box(left=one.left, top=one.y - 1, right=one.right, bottom=one.y + 1)
    if not one.clipped:
        yield _Box(left=one.x - 1, top=one.top, right=one.x + 1, bottom=one.bottom)


def _staircase_boxes(placed: Sequence[_Placed], frame: _Frame) -> Iterable[_Box]:
    for before, after in pairwise([*_front(placed), None]):
        if before is not None:
            right = after.x if after is not None else frame.right
            yield _Box(left=before.x, top=before.y - 1, right=right, bottom=before.y + 1)


def _front(placed: Sequence[_Placed]) -> list[_Placed]:
    """From the cheapest on."""
    return sorted((p for p in placed if p.point.standing == "front"), key=lambda p: (p.x, -p.y))


def _inside(box: _Box, frame: _Frame) -> bool:
    return box.left >= 2 and box.top >= frame.top and box.right <= frame.width - 2 and box.bottom <= frame.bottom


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers between `low` and `high`, at most `wanted`; by decades, then finer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        inside = [value for value in found if low <= value <= high]
        if len(inside) <= wanted:
            best = inside
    return best if len(best) >= 3 else _ticks(low, high, wanted)


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`, at most `wanted`."""
    size = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (size * factor) <= wanted)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [index * step for index in range(first, last + 1)]


def _tick_text(value: float) -> str:
    text = f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return text.replace("-", "−")


def _line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    ET.SubElement(parent, "line", {"class": kind, **{name: f"{value:.1f}" for name, value in ends.items()}})


def _text(parent: ET.Element, x: float, y: float, text: str, anchor: str, kind: str) -> None:
    where = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
    ET.SubElement(parent, "text", where).text = text

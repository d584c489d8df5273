"""Axes, the front's staircase, points with their whiskers, and labels, drawn in this order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from paretoboard_reports.svg.axes import Axis, cost_axis, place_point, quality_axis, tick_text
from paretoboard_reports.svg.canvas import FRAMES, Frame, Placed, Size, add_line, add_text, on_front
from paretoboard_reports.svg.labels import place_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard_reports.view import Figure

# Markers of about equal area around the origin; shape and colour say the same, for those who see only one of them.
SHAPES: Final = {
    "baseline": "M-5.5 0A5.5 5.5 0 1 0 5.5 0A5.5 5.5 0 1 0 -5.5 0Z",
    "runtime": "M-5 -5H5V5H-5Z",
    "quantize": "M0 -6.5L6.2 4.8H-6.2Z",
    "prune": "M0 -7L7 0L0 7L-7 0Z",
    "train": "M0 6.5L-6.2 -4.8H6.2Z",
    "combined": "M-2.2 -6.5H2.2V-2.2H6.5V2.2H2.2V6.5H-2.2V2.2H-6.5V-2.2H-2.2Z",
}


def pareto_plot(figure: Figure, name: str, size: Size = "wide") -> str:
    """`figure` as an <svg> element.

    Args:
        name: unique on the page; ids of the drawing begin with it.
    """
    frame = FRAMES[size]
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
        x_axis, y_axis = cost_axis(figure, frame), quality_axis(figure, frame)
        placed = [place_point(point, x_axis, y_axis, frame) for point in figure.points]
        _draw_axes(root, figure, frame, x_axis, y_axis)
        _draw_front(root, placed, frame)
        _draw_points(root, placed)
        _draw_labels(root, placed, frame, y_axis)
        _draw_clipped(root, placed, frame)
    else:
        add_text(root, frame.width / 2, frame.height / 2, "Nothing was measured on this axis.", "middle", "tick")
    return ET.tostring(root, encoding="unicode")


def marker(family: str, standing: str, *, single: bool = False) -> str:
    """One marker alone, for a legend or a table."""
    root = ET.Element("svg", {"class": "marker", "viewBox": "-9 -9 18 18", "aria-hidden": "true"})
    group = ET.SubElement(root, "g", {"class": f"point f-{family} s-{standing}{' single' if single else ''}"})
    ET.SubElement(group, "path", {"class": "mark", "d": SHAPES[family]})
    if single and standing == "front":
        ET.SubElement(group, "circle", {"class": "core", "r": "2.2"})
    return ET.tostring(root, encoding="unicode")


def _draw_axes(root: ET.Element, figure: Figure, frame: Frame, x_axis: Axis, y_axis: Axis) -> None:
    group = ET.SubElement(root, "g", {"class": "axes", "aria-hidden": "true"})
    for value in y_axis.ticks:
        y = y_axis.place(value)
        add_line(group, frame.left, y, frame.right, y, "grid")
        add_text(group, frame.left - 8, y + 4, tick_text(value), "end", "tick")
    for value in x_axis.ticks:
        x = x_axis.place(value)
        add_line(group, x, frame.top, x, frame.bottom, "grid")
        add_text(group, x, frame.bottom + 19, tick_text(value), "middle", "tick")
    add_line(group, frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    middle = (frame.left + frame.right) / 2
    add_text(group, middle, frame.bottom + 42, figure.x_label, "middle", "title")
    add_text(group, frame.left, frame.bottom + 42, "← better", "start", "title")
    add_text(group, frame.left + 2, frame.top - 5, f"↑ {figure.y_label}", "start", "title")


def _draw_front(root: ET.Element, placed: Sequence[Placed], frame: Frame) -> None:
    front = on_front(placed)
    if not front:
        return
    steps = [f"M{front[0].x:.1f} {frame.bottom:.1f}V{front[0].y:.1f}"]
    steps += [f"H{after.x:.1f}V{after.y:.1f}" for _, after in pairwise(front)]
    steps.append(f"H{frame.right:.1f}")
    ET.SubElement(root, "path", {"class": "staircase", "d": "".join(steps), "aria-hidden": "true"})


def _draw_points(root: ET.Element, placed: Sequence[Placed]) -> None:
    front = on_front(placed)
    # What matters most is drawn last and lies on top.
    for standing in ("dominated", "tied", "front"):
        group = ET.SubElement(root, "g", {"class": f"points {standing}"})
        if standing == "dominated":
            group.set("aria-hidden", "true")
        # The front in the order in which arrow keys walk along it: from the cheapest on.
        for one in front if standing == "front" else placed:
            if one.point.standing == standing:
                _draw_point(group, one, first=bool(front) and one is front[0])


def _draw_point(group: ET.Element, one: Placed, *, first: bool) -> None:
    point = one.point
    kinds = [f"point f-{point.family} s-{point.standing}"]
    kinds += ["fragile"] * point.fragile + ["single"] * point.single
    link = ET.SubElement(
        group,
        "a",
        {
            "class": " ".join(kinds),
            "href": f"#{point.anchor}",
            "data-row": point.anchor,
            # One tab stop for the whole plot: arrow keys go on from there, and the table holds the same links.
            "tabindex": "0" if first else "-1",
            "data-x": f"{point.x:.12g}",
            "data-y": f"{point.y:.12g}",
        },
    )
    if point.standing != "dominated":
        link.set("aria-label", point.text)
    ET.SubElement(link, "title").text = point.text
    if point.standing != "dominated":
        add_line(link, one.left, one.y, one.right, one.y, "whisker")
        if not one.clipped:
            add_line(link, one.x, one.top, one.x, one.bottom, "whisker")
    where = f"translate({one.x:.1f} {one.y:.1f})"
    ET.SubElement(link, "path", {"class": "mark", "d": SHAPES[point.family], "transform": where})
    if point.single and point.standing == "front":
        # Hollow and yet on the front: a core in the outline.
        ET.SubElement(link, "circle", {"class": "core", "r": "2.2", "transform": where})


def _draw_clipped(root: ET.Element, placed: Sequence[Placed], frame: Frame) -> None:
    count = sum(one.clipped for one in placed)
    if count:
        # Above the frame, where no label goes.
        add_text(root, frame.right, frame.top - 5, f"{count} below the plot ↓", "end", "below")


def _draw_labels(root: ET.Element, placed: Sequence[Placed], frame: Frame, y_axis: Axis) -> None:
    group = ET.SubElement(root, "g", {"class": "labels", "aria-hidden": "true"})
    for one, label in place_labels(placed, frame, y_axis):
        standing = "baseline" if one.point.family == "baseline" else one.point.standing
        text = add_text(group, label.x, label.y, label.text, label.anchor, f"label s-{standing}")
        text.set("data-row", one.point.anchor)

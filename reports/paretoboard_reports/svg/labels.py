"""Names beside the points, where there is room for them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from paretoboard_reports.svg.axes import Axis, tick_text
from paretoboard_reports.svg.canvas import RADIUS, Box, Frame, Placed, on_front

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_LABEL: Final = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A name with its place on the canvas."""

    text: str
    x: float
    y: float
    anchor: Literal["start", "middle", "end"]
    box: Box


def place_labels(placed: Sequence[Placed], frame: Frame, y_axis: Axis) -> Iterable[tuple[Placed, Label]]:
    """Labels that overlap neither each other nor a marker; the front chooses first."""
    importance = {"front": 0, "tied": 1, "dominated": 2}
    half, edge = frame.font / 2, frame.left - 4
    taken = [_marker_box(one) for one in placed]
    taken += [Box(left=0, top=y - half, right=edge, bottom=y + half) for y in map(y_axis.place, y_axis.ticks)]
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


def _candidates(one: Placed, frame: Frame) -> Iterable[Label]:
    name = one.point.recipe
    text = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    if one.clipped:
        text = f"↓ {text} {tick_text(round(one.point.y, 1))}"
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
        box = Box(left=left, top=y - 0.8 * height, right=left + width, bottom=y + 0.25 * height)
        yield Label(text=text, x=x, y=y, anchor=anchor, box=box)  # type: ignore[arg-type]


def _marker_box(one: Placed) -> Box:
    return Box(left=one.x - RADIUS, top=one.y - RADIUS, right=one.x + RADIUS, bottom=one.y + RADIUS)


def _whisker_boxes(one: Placed) -> Iterable[Box]:
    yield Box(left=one.left, top=one.y - 1, right=one.right, bottom=one.y + 1)
    if not one.clipped:
        yield Box(left=one.x - 1, top=one.top, right=one.x + 1, bottom=one.bottom)


def _staircase_boxes(placed: Sequence[Placed], frame: Frame) -> Iterable[Box]:
    for before, after in pairwise([*on_front(placed), None]):
        if before is not None:
            right = after.x if after is not None else frame.right
            yield Box(left=before.x, top=before.y - 1, right=right, bottom=before.y + 1)


def _inside(box: Box, frame: Frame) -> bool:
    return box.left >= 2 and box.top >= frame.top and box.right <= frame.width - 2 and box.bottom <= frame.bottom

"""What is drawn on: its size, what has a place on it, and the two elements that everything is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from xml.etree import ElementTree as ET

from paretoboard_reports.view import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

Size = Literal["wide", "narrow"]
RADIUS: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where on the canvas the data are drawn, in the canvas's units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    font: float
    wanted_ticks: int


FRAMES: Final[dict[Size, Frame]] = {
    "wide": Frame(width=820, height=430, left=58, right=804, top=20, bottom=376, font=13, wanted_ticks=7),
    "narrow": Frame(width=320, height=360, left=38, right=314, top=16, bottom=306, font=13, wanted_ticks=4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of the canvas, in its units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A point with its place on the canvas."""

    point: Point
    x: float
    y: float
    left: float  # ends of the whiskers
    right: float
    top: float
    bottom: float
    clipped: bool  # drawn at the lower edge, really below it


def on_front(placed: Sequence[Placed]) -> list[Placed]:
    """Those on the front, from the cheapest on."""
    return sorted((p for p in placed if p.point.standing == "front"), key=lambda p: (p.x, -p.y))


def add_line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    """A line of class `kind`."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    ET.SubElement(parent, "line", {"class": kind, **{name: f"{value:.1f}" for name, value in ends.items()}})


def add_text(parent: ET.Element, x: float, y: float, text: str, anchor: str, kind: str) -> ET.Element:
    """A text of class `kind`; `anchor` says which part of it is at `x`."""
    where = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
    found = ET.SubElement(parent, "text", where)
    found.text = text
    return found

"""Records -> what a page says. Arithmetic only: no HTML, no files, no clock."""

from __future__ import annotations

from paretoboard_reports.view.answers import ALLOWED_LOSS
from paretoboard_reports.view.boards import page
from paretoboard_reports.view.model import (
    Board,
    Breaks,
    Contribution,
    Contributions,
    CorruptionLine,
    Curves,
    Details,
    Effect,
    Figure,
    Page,
    Place,
    Point,
    Roof,
    Row,
)
from paretoboard_reports.view.numbers import Quantity, signed

__all__ = [
    "ALLOWED_LOSS",
    "Board",
    "Breaks",
    "Contribution",
    "Contributions",
    "CorruptionLine",
    "Curves",
    "Details",
    "Effect",
    "Figure",
    "Page",
    "Place",
    "Point",
    "Quantity",
    "Roof",
    "Row",
    "page",
    "signed",
]

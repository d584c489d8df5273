"""From records to boards."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from paretoboard.records import STATUSES
from paretoboard_reports.view import header
from paretoboard_reports.view.answers import answers
from paretoboard_reports.view.details import metric_label
from paretoboard_reports.view.effects import speed_effect
from paretoboard_reports.view.model import Board, Figure, Page, Point
from paretoboard_reports.view.ranking import AXES, Axis
from paretoboard_reports.view.rows import Columns, axis_column, rows
from paretoboard_reports.view.select import groups
from paretoboard_reports.view.subsets import subset_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Effect, Row
    from paretoboard_reports.view.numbers import Quantity, Scale
    from paretoboard_reports.view.select import Group


def page(records: Iterable[RunRecord], damaged: Sequence[str] = ()) -> Page:
    """Everything a page says about `records`.

    Args:
        records: with their predictions, in any order; without them there are no paired verdicts on quality.
        damaged: what could not be read, in words.
    """
    found = groups(records)
    return Page(boards=tuple(board(group, found) for group in found), damaged=tuple(damaged))


def board(group: Group, others: Sequence[Group] = ()) -> Board:
    """The board of one group of comparable records; `others` may be of the same model on more images."""
    record, columns = group.latest, Columns.of(group)
    found = rows(group, columns)
    self_check = _self_check(group, columns)
    statuses = Counter(row.status for row in found)
    return Board(
        anchor=_anchor(record),
        task=record.task,
        title=record.title,
        dataset=record.dataset,
        profile=record.profile,
        hardware_id=record.provenance.hardware_id,
        hardware=header.hardware_line(record),
        about=header.about(record, found),
        quality_metric=columns.quality,
        quality_name=metric_label(columns.quality),
        small_batch=columns.small_batch,
        large_batch=columns.large_batch,
        timed=record.spec["measure"].get("budget") != "none",
        units={column: scale.unit for column, scale in columns.scales.items()},
        facts=header.facts(group, columns, found),
        warnings=header.warnings(group, self_check),
        unscored=header.unscored(record),
        resolution=header.resolution(columns, found),
        subset_ranks=subset_ranks(group, others),
        self_check=self_check,
        answers=tuple(answers(found, metric_label(columns.quality))),
        figures=tuple(_figure(axis, found, columns) for axis in AXES if any(axis.name in row.places for row in found)),
        rows=found,
        counts=tuple((status, statuses[status]) for status in STATUSES if statuses[status]),
        superseded=_superseded(group),
        measured_at=record.started_at,
    )


def _self_check(group: Group, columns: Columns) -> Effect | None:
    """The baseline against itself: anything but "same" says how far this board can be trusted."""
    baselines = [cell for cell in group.cells if cell.is_baseline and cell.measured]
    newest = max(baselines, key=lambda cell: cell.latest.started_at, default=None)
    return speed_effect(newest.measured, columns.small_batch) if newest is not None else None


def _figure(axis: Axis, found: Sequence[Row], columns: Columns) -> Figure:
    column = axis_column(axis.name)
    batch = columns.batch(axis.name)
    at_batch = f" at batch {batch}" if batch is not None else ""
    measured = [row for row in found if row.status == "ok" and row.quality is not None]
    scales = columns.scales
    points = tuple(_points(axis, measured, scales[column], scales["quality"]))
    shown = {point.anchor for point in points}
    unit, quality = scales[column].unit, metric_label(columns.quality)
    return Figure(
        axis=axis.name,
        label=axis.label,
        x_label=f"{axis.label}{at_batch}, {unit}" if unit else f"{axis.label}{at_batch}",
        y_label=f"{quality}, {scales['quality'].unit}",
        x_higher_is_better=axis.higher_is_better,
        title=f"{quality} against {axis.label.lower()}{at_batch}: {len(points)} recipes, "
        f"{sum(point.standing == 'front' for point in points)} of them on the front",
        note=axis.note,
        points=points,
        missing=tuple(row.recipe for row in measured if row.anchor not in shown),
    )


def _points(axis: Axis, found: Sequence[Row], x: Scale, y: Scale) -> Iterable[Point]:
    for row in found:
        cost, place = row.costs.get(axis.name), row.places[axis.name]
        if cost is None or row.quality is None:
            continue
        said = {"front": "on the front", "tied": "not distinguishable from the front"}.get(place.standing, "dominated")
        yield Point(
            anchor=row.anchor,
            recipe=row.recipe,
            family=row.family,
            standing=place.standing,
            x=cost.value * x.factor,
            x_low=_end(cost.low, cost.value) * x.factor,
            x_high=_end(cost.high, cost.value) * x.factor,
            y=row.quality.value * y.factor,
            y_low=_end(row.quality.low, row.quality.value) * y.factor,
            y_high=_end(row.quality.high, row.quality.value) * y.factor,
            text=f"{row.recipe}: {_with_half(row.quality)}, {_with_half(cost)}, {said}",
        )


def _superseded(group: Group) -> str:
    if not group.superseded:
        return ""
    return (
        f"{group.superseded} earlier results of this task are not on this page: the task has changed since, "
        "so they answer another question."
    )


def _end(end: float | None, value: float) -> float:
    return value if end is None else end


def _with_half(shown: Quantity) -> str:
    space = "" if shown.unit in ("×", "") else " "
    return f"{shown.text}{f' ± {shown.half}' if shown.half else ''}{space}{shown.unit}"


def _anchor(record: RunRecord) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", f"{record.task} {record.profile}".lower()).strip("-")
    return f"{words}-{record.provenance.hardware_id[:6]}"

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
from paretoboard_reports.view.presets import presets
from paretoboard_reports.view.ranking import AXES, Axis, axis_column
from paretoboard_reports.view.rows import Columns, order_on, rows
from paretoboard_reports.view.select import groups
from paretoboard_reports.view.subsets import subset_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Effect, Row
    from paretoboard_reports.view.numbers import Quantity, Scale
    from paretoboard_reports.view.select import Group, Nights


def page(records: Iterable[RunRecord], damaged: Sequence[str] = (), nights: Nights | None = None) -> Page:
    """Everything a page says about `records`.

    Args:
        records: with their predictions, in any order; without them there are no paired verdicts on quality.
        damaged: what could not be read, in words.
        nights: on how many nights each cell was measured, where more than `records` is known.
    """
    found = groups(records, nights)
    return Page(boards=tuple(board(group, found) for group in found), damaged=tuple(damaged))


def board(group: Group, others: Sequence[Group] = ()) -> Board:
    """The board of one group of comparable records; `others` may be of the same model on more images."""
    record, columns = group.latest, Columns.of(group)
    found = rows(group, columns)
    self_check = _self_check(group, columns)
    statuses = Counter(row.status for row in found)
    figures = tuple(_figure(axis, found, columns) for axis in AXES if any(axis.name in row.places for row in found))
    return Board(
        anchor=_anchor(record),
        board_id=record.board_id,
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
        figures=figures,
        rows=found,
        orders={
            figure.axis: tuple(row.anchor for row in sorted(found, key=lambda row: order_on(row, figure.axis)))
            for figure in figures
        },
        presets=presets(found, figures, columns),
        hypervolume_note=_hypervolume_note(found, columns, figures),
        single_note=_single_note(found),
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
        if place.standing in ("front", "tied"):
            said += f", on it in {share_of_draws(place.probability)} of repetitions"
        if row.single:
            said += f"; {row.single}"
        yield Point(
            anchor=row.anchor,
            recipe=row.recipe,
            family=row.family,
            standing=place.standing,
            fragile=place.fragile,
            single=bool(row.single),
            x=cost.value * x.factor,
            x_low=_end(cost.low, cost.value) * x.factor,
            x_high=_end(cost.high, cost.value) * x.factor,
            y=row.quality.value * y.factor,
            y_low=_end(row.quality.low, row.quality.value) * y.factor,
            y_high=_end(row.quality.high, row.quality.value) * y.factor,
            text=f"{row.recipe}: {_with_half(row.quality)}, {_with_half(cost)}, {said}",
        )


def share_of_draws(probability: float) -> str:
    """A share of the draws as it is written: never 100 % of a part of them, nor 0 %."""
    percent = 100 * probability
    if 0 < percent < 1 or 99 < percent < 100:
        return "under 1 %" if percent < 1 else "over 99 %"
    return f"{percent:.0f} %"


def _hypervolume_note(found: Sequence[Row], columns: Columns, figures: Sequence[Figure]) -> str:
    if not figures or all(row.hypervolume is None for row in found):
        return ""
    return (
        f"The share of the area below the front that would be lost without a recipe: from chance in "
        f"{metric_label(columns.quality)} up, and from the baseline’s {figures[0].label.lower()} down on a logarithmic "
        "axis. It depends on that corner, is 0 off the front, and small for two that are nearly alike."
    )


def _single_note(found: Sequence[Row]) -> str:
    measured, single = [row for row in found if row.status == "ok"], [row for row in found if row.single]
    if not single:
        return ""
    words = {row.single for row in single}
    why = f" ({words.pop()})" if len(words) == 1 else ""
    every = "All" if len(single) == len(measured) else f"{len(single)} of"
    return (
        f"{every} {len(measured)} measured rows are tagged single{why} and drawn hollow: their intervals hold for that "
        "night and those seeds, and say nothing about the next night."
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

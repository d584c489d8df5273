"""Published numbers beside the measured ones, as a page says them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard import claims
from paretoboard.claims import Difference, Verdict
from paretoboard_reports.view.numbers import MINUS, PERCENT, POINTS, Quantity, Scale, interval, signed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.claims import ClaimedNumber, ClaimSet, Conditions, Line, Measured
    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Board

_TIMES: Final = Scale(source_unit="1", unit="×", factor=1.0)
_FIELDS: Final = ("model", "dataset", "technique", "hardware", "cores", "batch", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLine:
    """One published number."""

    key: str
    anchor: str  # unique on the page of its set
    says: str
    technique: str | None  # registered name
    label: str  # what the number is about
    claimed: str  # the change, with its unit
    values: str  # the two published values, "" where the change alone is
    measured: Quantity | None
    unit: str
    ratio: str  # measured / claimed, "–" where nothing was measured
    verdict: Verdict
    reason: str
    differences: tuple[Difference, ...]
    theirs: tuple[tuple[str, str], ...]  # the claim's conditions
    ours: tuple[tuple[str, str], ...]
    task: str  # "" where nothing was measured
    recipe: str
    against: str
    board: str  # anchor of the board that it stands on, "" where there is none
    row: str  # and of its row
    source: str
    note: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagonalPoint:
    """One number in the figure: what is claimed to the right, what was measured upwards."""

    anchor: str
    key: str
    verdict: Verdict
    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagonal:
    """Claimed against measured, of numbers in one unit."""

    title: str
    x_label: str
    y_label: str
    logarithmic: bool
    margin: float  # points, or a share
    points: tuple[DiagonalPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTable:
    """All numbers of one set."""

    name: str
    title: str
    about: str
    counts: tuple[tuple[Verdict, int], ...]  # the five verdicts
    unmeasured: int
    claims: int  # that its numbers belong to
    lines: tuple[ClaimLine, ...]
    diagonals: tuple[Diagonal, ...]  # those with points


def tables(
    sets: Sequence[ClaimSet], records: Sequence[RunRecord], boards: Sequence[Board] = ()
) -> tuple[ClaimTable, ...]:
    """What `records` say about the claims of each set; lines link to `boards` where they stand on one."""
    return tuple(_table(found, records, boards) for found in sets)


def of_technique(found: Sequence[ClaimTable], technique: str) -> tuple[ClaimLine, ...]:
    """The published numbers about one technique, by its registered name, in the order of their tables."""
    return tuple(line for table in found for line in table.lines if line.technique == technique)


def _table(found: ClaimSet, records: Sequence[RunRecord], boards: Sequence[Board]) -> ClaimTable:
    judged = claims.lines(found, records)
    counted = claims.counts(judged)
    shown = tuple(_line(found.name, line, boards) for line in judged)
    drawn = [(line, shown[index]) for index, line in enumerate(judged) if not line.number.is_level]
    return ClaimTable(
        name=found.name,
        title=found.title,
        about=found.about,
        counts=tuple((verdict, counted[verdict]) for verdict in claims.VERDICTS),
        unmeasured=counted["not measured"],
        claims=len(found.claims),
        lines=shown,
        diagonals=tuple(d for d in (_times(drawn), _points(drawn)) if d.points),
    )


def _line(of: str, line: Line, boards: Sequence[Board]) -> ClaimLine:
    measured = line.measured
    board, row = _on_board(measured, boards)
    return ClaimLine(
        key=line.key,
        anchor=f"{of}-{line.key}".replace(".", "-").lower(),
        says=line.claim.says,
        technique=line.claim.conditions.technique,
        label=line.number.about.label,
        claimed=_claimed(line.number),
        values=_values(line.number),
        measured=None if measured is None else _measured(line.number, measured),
        unit=_scale(line.number).unit,
        ratio="–" if line.ratio is None else significant(line.ratio),
        verdict=line.verdict,
        reason=line.reason,
        differences=line.differences,
        theirs=_conditions(line.claim.conditions, line.claim.conditions.method, line.claim.under),
        ours=() if measured is None else _ours(line.number, measured),
        task="" if measured is None else measured.link.task,
        recipe="" if measured is None else measured.link.recipe,
        against="" if measured is None or line.number.is_level else measured.link.against,
        board=board,
        row=row,
        source=line.claim.source,
        note=line.claim.note,
        next_step=line.next_step,
    )


def _on_board(measured: Measured | None, boards: Sequence[Board]) -> tuple[str, str]:
    if measured is None:
        return "", ""
    for board in boards:
        same = (board.task, board.profile) == (measured.link.task, measured.profile)
        if same and board.hardware_id == measured.hardware_id:
            rows = [row.anchor for row in board.rows if row.recipe == measured.link.recipe]
            return (board.anchor, rows[0]) if rows else (board.anchor, "")
    return "", ""


def _scale(number: ClaimedNumber) -> Scale:
    if number.is_level:
        return PERCENT if number.about.scale == "points" else Scale(source_unit="1", unit=number.about.unit, factor=1.0)
    return POINTS if number.about.scale == "points" else _TIMES


def _measured(number: ClaimedNumber, found: Measured) -> Quantity:
    scale = _scale(number)
    # Shares of quality are kept in percent here, and as shares everywhere else.
    low, high = (None, None) if found.exact else (found.low, found.high)
    value, low, high = (None if end is None else end / scale.factor for end in (found.value, low, high))
    assert value is not None
    return interval(value, low, high, found.n, scale)


def _claimed(number: ClaimedNumber) -> str:
    change = number.change
    if number.is_level:
        return f"{change:g} {number.about.unit}"
    if number.about.scale == "points":
        # As published: differences of decimal numbers have no digits beyond theirs.
        text = signed(f"{round(change, 3):g}".replace("-", MINUS))
        return f"{'at least ' if number.at_least else ''}{text} points"
    return f"{'at least ' if number.at_least else ''}{significant(change)} ×"


def _values(number: ClaimedNumber) -> str:
    if number.baseline is None or number.claimed is None:
        return ""
    return f"{number.baseline:g} → {number.claimed:g} {number.about.unit}"


def _conditions(found: Conditions, technique: str, under: str) -> tuple[tuple[str, str], ...]:
    said = {field: getattr(found, field) for field in _FIELDS} | {"technique": technique}
    rows = [(field, str(said[field])) for field in _FIELDS if said[field]]
    return tuple([*rows, ("further", under)] if under else rows)


def _ours(number: ClaimedNumber, found: Measured) -> tuple[tuple[str, str], ...]:
    rows = _conditions(found.conditions, found.conditions.technique or "the model as it is", "")
    if number.about.scale != "points":
        return rows
    baseline = "" if found.baseline is None or number.is_level else f", from a baseline of {found.baseline:.1f} %"
    return (*rows, ("quality on", f"{found.n:,} images{baseline}"))


def _times(drawn: Sequence[tuple[Line, ClaimLine]]) -> Diagonal:
    points = [
        _point(line, shown)
        for line, shown in drawn
        if line.number.about.scale == "times" and line.measured is not None and line.measured.value > 0
    ]
    return Diagonal(
        title=f"Speed-ups and savings: {_numbers(points)}, claimed against measured, both × the baseline",
        x_label="claimed, ×",
        y_label="measured, ×",
        logarithmic=True,
        margin=claims.MARGIN_TIMES,
        points=tuple(points),
    )


def _points(drawn: Sequence[tuple[Line, ClaimLine]]) -> Diagonal:
    points = [
        _point(line, shown)
        for line, shown in drawn
        if line.number.about.scale == "points" and line.measured is not None
    ]
    return Diagonal(
        title=f"Changes in quality: {_numbers(points)}, claimed against measured, in points",
        x_label="claimed, points",
        y_label="measured, points",
        logarithmic=False,
        margin=claims.MARGIN_POINTS,
        points=tuple(points),
    )


def _numbers(points: Sequence[DiagonalPoint]) -> str:
    return f"{len(points)} number{'' if len(points) == 1 else 's'}"


def _point(line: Line, shown: ClaimLine) -> DiagonalPoint:
    measured = line.measured
    assert measured is not None
    assert shown.measured is not None
    half = f" ± {shown.measured.half}" if shown.measured.half else ""
    low = measured.value if measured.exact or measured.low is None else measured.low
    high = measured.value if measured.exact or measured.high is None else measured.high
    return DiagonalPoint(
        anchor=shown.anchor,
        key=line.key,
        verdict=line.verdict,
        x=line.number.change,
        y=measured.value,
        low=low,
        high=high,
        text=f"{line.key}, {shown.label}: claimed {shown.claimed}, measured {shown.measured.text}{half} {shown.unit}: "
        f"{line.verdict}",
    )

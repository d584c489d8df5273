"""How each two recipes of a board differ on the same images, for the page that puts results side by side."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paretoboard.compare import quality_change
from paretoboard.detection.average_precision import DRAWN
from paretoboard.metrics import GUESSES
from paretoboard_reports.view.history import key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoboard.compare import Change
    from paretoboard.records import RunRecord
    from paretoboard_reports.view.select import Group

# Pairs grow with the square of the rows: beyond so many rows only those with a baseline are compared. 60 rows are
# 1,770 pairs, which take about a second.
MOST_ROWS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How one result differs from another, as a page needs it; not corrected for how many pairs there are."""

    difference: float  # this minus the other
    low: float
    high: float
    n: int
    p_value: float
    test: str
    verdict: str


def pairs(group: Group, metric: str) -> Mapping[str, Mapping[str, Pair]]:
    """For each newest run of a board's rows its differences from the others, by `history.key`.

    Differences of a quality that has to be drawn again for each pair are left out but for those with a baseline.
    """
    records = [cell.latest for cell in group.cells if cell.measured]
    cheap = (metric in GUESSES or metric in DRAWN) and len(records) <= MOST_ROWS
    baselines = {key(cell.latest) for cell in group.cells if cell.is_baseline}
    found: dict[str, dict[str, Pair]] = {key(record): {} for record in records}
    for one, two in itertools.combinations(records, 2):
        if not cheap and not baselines & {key(one), key(two)}:
            continue
        change = _change(one, two, metric)
        if change is not None:
            found[key(one)][key(two)] = _pair(change, 1)
            found[key(two)][key(one)] = _pair(change, -1)
    return found


def _change(one: RunRecord, two: RunRecord, metric: str) -> Change | None:
    return quality_change(one, two, metric)


def _pair(change: Change, sign: int) -> Pair:
    swapped: dict[Any, Any] = {"better": "worse", "worse": "better"}
    ends = sorted((sign * change.low, sign * change.high))
    return Pair(
        difference=sign * change.difference,
        low=ends[0],
        high=ends[1],
        n=change.n,
        p_value=change.p_value,
        test=change.test,
        verdict=change.verdict if sign > 0 else swapped.get(change.verdict, change.verdict),
    )

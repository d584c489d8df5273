"""Two sets of results side by side: which runs answer the same question, and what changed between them."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Literal

from paretoboard.comparable import Guard, conditions, guard
from paretoboard.compare import CONFIDENCE, Change, quality_change, under_holm
from paretoboard.records import RunRecord, Verdict
from paretoboard.spec import BASELINE
from paretoboard.stats import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.records import Comparison

Basis = Literal["timed side by side", "each against its own baseline", "independent medians"]

# Two nights on one machine differ by as much; where a calibration says more, that counts.
SAME_TIME_WITHIN: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChange:
    """How much longer a call takes in the second than in the first, at the smallest batch of both."""

    batch: int
    ratio: float
    low: float  # of the 95 % interval
    high: float
    tolerance: float  # the smallest effect that counts, as a share
    basis: Basis
    p_value: float  # of no effect, by a normal approximation on the logarithm
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Two runs of the same question, or the reason why they are not."""

    first: RunRecord
    second: RunRecord
    guard: Guard
    quality: Change | None  # of the second against the first; None where they share no images, or can't be compared
    time: TimeChange | None

    @property
    def regressed(self) -> bool:
        """Whether the second is significantly worse, or has no numbers where the first has.

        Never across a change of the environment: there it is not known what is to blame.
        """
        if self.guard.level != "same":
            return False
        lost = self.first.status == "ok" and self.second.status not in ("ok", "skipped")
        worse = any(found is not None and found.verdict == "worse" for found in (self.quality, self.time))
        return lost or worse


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """All that two sets of results have in common, and what only one has."""

    pairings: tuple[Pairing, ...]  # by task, profile, recipe and seed
    only_first: tuple[str, ...]  # cells in words
    only_second: tuple[str, ...]


def side_by_side(first: Iterable[RunRecord], second: Iterable[RunRecord], *, by_recipe: bool = True) -> SideBySide:
    """The runs of two sets, each beside the other's of the same cell; the newest counts.

    Args:
        by_recipe: whether the same recipe is meant on both sides; else two recipes are compared.
    Returns: verdicts corrected for the number of pairs (Holm), qualities and times each as one family.
    """
    ours, theirs = _cells(first, by_recipe=by_recipe), _cells(second, by_recipe=by_recipe)
    common = [cell for cell in sorted(ours) if cell in theirs]
    pairings = [_pairing(*_best(ours[cell], theirs[cell])) for cell in common]
    return SideBySide(
        pairings=tuple(_corrected(pairings)),
        only_first=tuple(_words(cell) for cell in sorted(set(ours) - set(theirs))),
        only_second=tuple(_words(cell) for cell in sorted(set(theirs) - set(ours))),
    )


_Cell = tuple[str, str, str, int]


def _cells(records: Iterable[RunRecord], *, by_recipe: bool) -> dict[_Cell, list[RunRecord]]:
    found: defaultdict[_Cell, list[RunRecord]] = defaultdict(list)
    for record in records:
        found[record.task, record.profile, record.recipe if by_recipe else "", record.seed].append(record)
    return dict(found)


def _words(cell: _Cell) -> str:
    task, profile, recipe, seed = cell
    return " ".join(part for part in (task, profile, recipe, f"seed {seed}") if part)


def _best(first: Sequence[RunRecord], second: Sequence[RunRecord]) -> tuple[RunRecord, RunRecord]:
    """The newest of the first, and of the second what is most like it, then the newest."""
    one = max(first, key=lambda record: (record.started_at, record.run_id))
    levels = {"same": 2, "compatible": 1, "different": 0}

    def likeness(record: RunRecord) -> tuple[object, ...]:
        found = guard(conditions(one), conditions(record))
        return levels[found.level], -len(found.differences), record.started_at, record.run_id

    return one, max(second, key=likeness)


def _pairing(one: RunRecord, two: RunRecord) -> Pairing:
    found = guard(conditions(one), conditions(two))
    measured = found.comparable and one.status == two.status == "ok"
    quality = quality_change(two, one, str(two.spec["quality"])) if measured else None
    return Pairing(
        first=one, second=two, guard=found, quality=quality, time=time_change(one, two) if measured else None
    )


def time_change(one: RunRecord, two: RunRecord) -> TimeChange | None:
    """How much longer a call of `two` takes: as they were timed side by side, else through their baselines.

    A baseline that was timed in the same processes takes with it what the machine did that night; without it only the
    two medians are left, whose intervals know nothing of the difference between nights.
    Returns: None where a batch or a number is missing.
    """
    direct = _smallest(two.against(one.recipe)) if two.recipe != one.recipe else None
    if direct is not None:
        return _judged(
            direct.batch, (direct.ratio, direct.low, direct.high), direct.confidence, "timed side by side", [direct]
        )
    ours, theirs = _smallest(one.against(BASELINE)), _smallest(two.against(BASELINE))
    baselines = BASELINE in (one.recipe, two.recipe)
    # The baseline against itself says nothing about how fast it is; other software moves the baseline too.
    same_software = one.provenance.environment_id == two.provenance.environment_id
    if ours and theirs and ours.batch == theirs.batch and same_software and not baselines:
        spread = math.hypot(
            _deviation(ours.low, ours.high, ours.confidence), _deviation(theirs.low, theirs.high, theirs.confidence)
        )
        return _estimated(
            ours.batch, theirs.ratio / ours.ratio, spread, "each against its own baseline", [ours, theirs]
        )
    batch = min((int(size) for size in one.spec["measure"]["batches"]), default=0)
    before, after = one.metric("latency", f"batch={batch}"), two.metric("latency", f"batch={batch}")
    if (
        before is None
        or after is None
        or before.low is None
        or after.low is None
        or before.high is None
        or after.high is None
    ):
        return None
    spread = math.hypot(_deviation(before.low, before.high, CONFIDENCE), _deviation(after.low, after.high, CONFIDENCE))
    known = [found for found in (ours, theirs) if found is not None]
    return _estimated(batch, after.value / before.value, spread, "independent medians", known)


def _smallest(found: Sequence[Comparison]) -> Comparison | None:
    return min(found, key=lambda comparison: comparison.batch, default=None)


def _deviation(low: float, high: float, confidence: float) -> float:
    """The standard deviation of the logarithm of a ratio, from its interval; infinite where that is open."""
    if not 0 < low <= high < math.inf:
        return math.inf
    return (math.log(high) - math.log(low)) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))


def _estimated(batch: int, ratio: float, deviation: float, basis: Basis, known: Sequence[Comparison]) -> TimeChange:
    reach = math.exp(NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * deviation) if deviation < math.inf else math.inf
    return _judged(batch, (ratio, ratio / reach, ratio * reach), CONFIDENCE, basis, known)


def _judged(
    batch: int, found: tuple[float, float, float], confidence: float, basis: Basis, known: Sequence[Comparison]
) -> TimeChange:
    ratio, low, high = found
    tolerance = max([SAME_TIME_WITHIN, *(comparison.tolerance for comparison in known)])
    deviation = _deviation(low, high, confidence)
    distance = abs(math.log(ratio))
    p_value = 1.0 if deviation == math.inf else 0.0 if not deviation else 2 * NormalDist().cdf(-distance / deviation)
    if not deviation and not distance:
        p_value = 1.0
    verdict: Verdict = "undecided"
    if low > 1 + tolerance:
        verdict = "worse"
    elif high < 1 / (1 + tolerance):
        verdict = "better"
    elif 1 / (1 + tolerance) <= low and high <= 1 + tolerance:
        verdict = "same"
    return TimeChange(
        batch=batch,
        ratio=ratio,
        low=low,
        high=high,
        tolerance=tolerance,
        basis=basis,
        p_value=min(p_value, 1.0),
        verdict=verdict,
    )


def _corrected(pairings: Sequence[Pairing]) -> list[Pairing]:
    qualities = iter(under_holm([found.quality for found in pairings if found.quality is not None]))
    adjusted = iter(holm([found.time.p_value for found in pairings if found.time is not None]))

    def stands(found: TimeChange) -> TimeChange:
        kept = next(adjusted) < 1 - CONFIDENCE or found.verdict not in ("better", "worse")
        return found if kept else dataclasses.replace(found, verdict="undecided")

    return [
        dataclasses.replace(
            pairing,
            quality=next(qualities) if pairing.quality is not None else None,
            time=stands(pairing.time) if pairing.time is not None else None,
        )
        for pairing in pairings
    ]

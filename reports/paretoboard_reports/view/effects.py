"""Differences between recipes, with verdicts in words."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from paretoboard.compare import quality_change, under_holm
from paretoboard.metrics import METRICS
from paretoboard.spec import BASELINE
from paretoboard.stats import wilson
from paretoboard_reports.view.model import Effect, Resolves
from paretoboard_reports.view.numbers import PERCENT, POINTS, Scale, interval, significant
from paretoboard_reports.view.select import baseline_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoboard.compare import Change
    from paretoboard.records import Comparison, RunRecord, Verdict
    from paretoboard_reports.view.numbers import Quantity
    from paretoboard_reports.view.select import Cell

Key = TypeVar("Key")
TIMES: Final = Scale(source_unit="1", unit="×", factor=1.0)
SPEED_WORDS: Final[Mapping[Verdict, str]] = {
    "better": "faster",
    "worse": "slower",
    "same": "same",
    "undecided": "undecided",
}


def quality_effects(cells: Sequence[Cell], metric: str) -> tuple[Effect | None, ...]:
    """How the quality of each recipe differs from the baseline's on the same images; None for the baseline.

    The verdicts of one board are corrected for their number.
    """
    pairs: defaultdict[int, list[tuple[RunRecord, RunRecord]]] = defaultdict(list)
    for index, cell in enumerate(cells):
        for record in () if cell.is_baseline else cell.measured:
            baseline = baseline_for(record, cell, cells)
            if baseline is not None:
                pairs[index].append((record, baseline))
    found = paired_qualities(pairs, metric)
    return tuple(found.get(index) for index in range(len(cells)))


def paired_qualities(pairs: Mapping[Key, Sequence[tuple[RunRecord, RunRecord]]], metric: str) -> dict[Key, Effect]:
    """How the qualities of two recipes differ on the same images, from a pair of runs for each seed.

    The verdicts are corrected for how many there are of each seed. Of several seeds the mean is shown, the interval
    covers every seed's, and a verdict stands only where all agree. What can't be compared is left out.
    """
    by_seed: defaultdict[int, dict[Key, Change]] = defaultdict(dict)
    for key, runs in pairs.items():
        for record, other in runs:
            change = quality_change(record, other, metric)
            if change is not None:
                by_seed[record.seed][key] = change
    found: defaultdict[Key, list[Change]] = defaultdict(list)
    for changes in by_seed.values():
        for key, change in zip(changes, under_holm(list(changes.values())), strict=True):
            found[key].append(change)
    return {key: _quality(changes) for key, changes in found.items()}


def _quality(changes: Sequence[Change]) -> Effect:
    verdict = _common([change.verdict for change in changes])
    return Effect(
        quantity=interval(
            sum(change.difference for change in changes) / len(changes),
            min(change.low for change in changes),
            max(change.high for change in changes),
            changes[0].n,
            POINTS,
        ),
        verdict=verdict,
        words=verdict,
        reason=_reason(verdict, [change.reason for change in changes]),
        note="; ".join(_quality_note(change) for change in changes),
        resolves=_resolves(changes),
    )


def _resolves(changes: Sequence[Change]) -> Resolves | None:
    """Of several seeds the one whose images show least; None where all boxes are alike, so that nothing varies."""
    change = max(changes, key=lambda found: found.decided_from)
    if not change.decided_from:
        return None
    return Resolves(
        discordant=_discordant(change),
        decided=interval(change.decided_from, None, None, change.n, POINTS),
        found=interval(change.found_from, None, None, change.n, POINTS),
    )


def _discordant(change: Change) -> Quantity | None:
    if change.gained is None or change.lost is None:
        return None
    count = change.gained + change.lost
    ends = wilson(count, change.n)
    return interval(count / change.n, ends.low, ends.high, change.n, PERCENT)


def speed_effect(records: Sequence[RunRecord], batch: int) -> Effect | None:
    """How many times as fast a recipe is as the baseline, from the runs' own interleaved timing."""
    return speed_against(records, BASELINE, batch)


def speed_against(records: Sequence[RunRecord], other: str, batch: int) -> Effect | None:
    """The same beside another recipe than the baseline, by its name."""
    found = [comparison for record in records for comparison in record.against(other) if comparison.batch == batch]
    return _speed(found) if found else None


def speed_effects(record: RunRecord) -> tuple[tuple[str, Effect], ...]:
    """One effect for each comparison with the baseline that a run holds."""
    return tuple(
        (f"speed at batch {found.batch} against {found.against}", _speed([found])) for found in record.against(BASELINE)
    )


def _speed(found: Sequence[Comparison]) -> Effect:
    verdict = _common([comparison.verdict for comparison in found])
    ratio = math.exp(sum(math.log(comparison.ratio) for comparison in found) / len(found))
    return Effect(
        quantity=interval(
            1 / ratio,
            _inverse(max(comparison.high for comparison in found)),
            _inverse(min(comparison.low for comparison in found)),
            sum(comparison.launches for comparison in found),
            TIMES,
        ),
        verdict=verdict,
        words=SPEED_WORDS[verdict],
        reason=_reason(verdict, [comparison.reason for comparison in found]),
        note="; ".join(_speed_note(comparison) for comparison in found),
    )


def _inverse(ratio: float) -> float:
    # Too few windows for an interval leave it open: from 0 to infinity.
    return 1 / ratio if ratio else math.inf


def _common(verdicts: Sequence[Verdict]) -> Verdict:
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def _reason(verdict: Verdict, reasons: Sequence[str]) -> str:
    said = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    return said or ("the seeds do not agree" if verdict == "undecided" and len(reasons) > 1 else "")


def _quality_note(change: Change) -> str:
    name = METRICS[change.metric].name
    other = "the baseline" if change.against == BASELINE else change.against
    if change.gained is None or change.lost is None:
        return (
            f"{name} on the same {change.n:,} images; both from the same images drawn again, "
            f"{change.test} {p_text(change.p_value)}"
        )
    return (
        f"{name} on the same {change.n:,} images: {change.gained:,} only this one gets right, "
        f"{change.lost:,} only {other}; {change.test} {p_text(change.p_value)}"
    )


def _speed_note(found: Comparison) -> str:
    chance = "" if found.p_value is None else f", {p_text(found.p_value)}"
    return (
        f"{found.launches} launches, {found.windows} windows, {found.clock} time, "
        f"{100 * found.confidence:g} % interval, "
        f"effects under {100 * found.tolerance:.1f} % do not count{chance}"
    )


def p_text(p_value: float) -> str:
    """A p-value as it is written."""
    return "p < 0.001" if p_value < 0.001 else f"p = {significant(p_value, 2)}"

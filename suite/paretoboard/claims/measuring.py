"""What stored records say about the number of a claim."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from paretoboard.claims.model import Conditions, Measured
from paretoboard.compare import quality_change
from paretoboard.metrics import GUESSES, METRICS
from paretoboard.stats import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.claims.model import ClaimedNumber, Link
    from paretoboard.records import RunRecord

# Counted from the model or its file: two runs of one recipe give the same.
_COUNTED = ("size", "compute")


def measured(number: ClaimedNumber, link: Link, records: Sequence[RunRecord]) -> Measured | None:
    """The change that `link` measures, over all seeds of its newest measurement; None where nothing did.

    Args:
        records: any; with predictions, since qualities are compared on the same images.
    """
    runs = newest(link, records)
    metric = number.about.measured_as
    if not runs or not metric:
        return None
    found = _level(runs, metric) if number.is_level else _change(number, runs, link, records)
    if found is None:
        return None
    value, low, high, n = found
    last = runs[-1]
    references = [other for run in runs if (other := _reference(run, link.against, records)) is not None]
    return Measured(
        value=value,
        low=low,
        high=high,
        exact=METRICS[metric].kind in _COUNTED or (number.is_level and number.images == n),
        n=n,
        baseline=_mean_quality(references, metric) if number.about.scale == "points" else None,
        link=link,
        conditions=conditions(last, number, link),
        run_id=last.run_id,
        profile=last.profile,
        hardware_id=last.provenance.hardware_id,
        measured_at=last.started_at,
    )


def newest(link: Link, records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """The newest measured run of a link's recipe and its siblings of other seeds: same board, machine and software."""
    runs = [r for r in records if r.task == link.task and r.recipe == link.recipe and r.status == "ok"]
    if not runs:
        return ()
    last = max(runs, key=lambda run: (run.started_at, run.run_id))
    by_seed: dict[int, RunRecord] = {}
    for run in sorted(runs, key=lambda run: (run.started_at, run.run_id)):
        if _comparable(run, last) and run.steps == last.steps:
            by_seed[run.seed] = run
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def conditions(run: RunRecord, number: ClaimedNumber, link: Link) -> Conditions:
    """Under which conditions a run was made, as far as claims state them."""
    names = [str(step["name"]) for step in run.steps]
    parameters: dict[str, Any] = {}
    for step in run.steps:
        parameters.update({f"{step['name']}.{key}": value for key, value in step.get("parameters", {}).items()})
    batch = _batch(run, number)
    return Conditions(
        model=run.model,
        dataset=run.dataset,
        technique=" > ".join(names),
        method=link.recipe,
        parameters=parameters,
        hardware=_hardware(run),
        cores=str(run.spec.get("profile", {}).get("cores", "")) or None,
        batch=str(batch) if number.about.timed else None,
        runtime=run.artifact.runtime if run.artifact is not None else None,
    )


def _hardware(run: RunRecord) -> str:
    hardware = run.provenance.hardware
    accelerators = hardware.get("accelerators") or ()
    on_cpu = run.artifact is None or run.artifact.runtime not in ("cuda", "tensorrt")
    return str(hardware.get("cpu", "")) if on_cpu or not accelerators else str(accelerators[0])


def _change(
    number: ClaimedNumber, runs: Sequence[RunRecord], link: Link, records: Sequence[RunRecord]
) -> tuple[float, float | None, float | None, int] | None:
    if number.about.scale == "points":
        return _points(number.about.measured_as, runs, link, records)
    if number.about.timed and number.about.measured_as != "train_time":
        return _side_by_side(number, runs, link)
    return _ratio(number.about.measured_as, runs, link, records)


def _points(
    metric: str, runs: Sequence[RunRecord], link: Link, records: Sequence[RunRecord]
) -> tuple[float, float | None, float | None, int] | None:
    changes = [
        change
        for run in runs
        if (other := _reference(run, link.against, records)) is not None
        and (change := quality_change(run, other, metric)) is not None
    ]
    if len(changes) < len(runs):
        return None
    return (
        100 * sum(change.difference for change in changes) / len(changes),
        100 * min(change.low for change in changes),
        100 * max(change.high for change in changes),
        changes[0].n,
    )


def _side_by_side(
    number: ClaimedNumber, runs: Sequence[RunRecord], link: Link
) -> tuple[float, float | None, float | None, int] | None:
    """Speed-up from calls that were timed interleaved; None where they were not."""
    found = [c for run in runs for c in run.against(link.against) if c.batch == _batch(run, number)]
    if len(found) < len(runs) or not all(c.ratio > 0 for c in found):
        return None
    value = math.exp(-sum(math.log(c.ratio) for c in found) / len(found))
    closed = all(c.low > 0 and math.isfinite(c.high) for c in found)
    low = min(1 / c.high for c in found) if closed else None
    high = max(1 / c.low for c in found) if closed else None
    return value, low, high, sum(c.launches for c in found)


def _ratio(
    metric: str, runs: Sequence[RunRecord], link: Link, records: Sequence[RunRecord]
) -> tuple[float, float | None, float | None, int] | None:
    ratios = []
    for run in runs:
        other = _reference(run, link.against, records)
        ours, theirs = run.metric(metric), other.metric(metric) if other is not None else None
        if ours is None or theirs is None or not ours.value > 0 or not theirs.value > 0:
            return None
        ratios.append(theirs.value / ours.value)
    value = math.exp(sum(map(math.log, ratios)) / len(ratios))
    several = len(ratios) > 1
    return value, min(ratios) if several else None, max(ratios) if several else None, len(ratios)


def _level(runs: Sequence[RunRecord], metric: str) -> tuple[float, float | None, float | None, int] | None:
    values = [run.metric(metric) for run in runs]
    found = [value for value in values if value is not None and math.isfinite(value.value)]
    if not found:
        return None
    factor = 100.0 if found[0].unit == "1" else 1.0
    ends: list[tuple[float | None, float | None]] = []
    for one in found:
        if one.low is None and metric in GUESSES and one.n:
            near = wilson(round(one.value * one.n), one.n)
            ends.append((near.low, near.high))
        else:
            ends.append((one.low, one.high))
    lows, highs = [low for low, _ in ends if low is not None], [high for _, high in ends if high is not None]
    whole = len(lows) == len(highs) == len(found)
    value = factor * sum(one.value for one in found) / len(found)
    return value, factor * min(lows) if whole else None, factor * max(highs) if whole else None, found[0].n


def _reference(run: RunRecord, recipe: str, records: Sequence[RunRecord]) -> RunRecord | None:
    """What a run is compared with: of the same board, machine and software, the same seed if there is one."""
    found = [r for r in records if r.recipe == recipe and r.status == "ok" and _comparable(r, run)]
    return max(found, key=lambda r: (r.seed == run.seed, r.started_at, r.run_id), default=None)


def _comparable(run: RunRecord, other: RunRecord) -> bool:
    def where(record: RunRecord) -> tuple[str, ...]:
        made = record.provenance
        return record.task, record.board_id, record.profile, made.hardware_id, made.environment_id

    return where(run) == where(other)


def _mean_quality(references: Sequence[RunRecord], metric: str) -> float | None:
    values = [value.value for record in references if (value := record.metric(metric)) is not None]
    return 100 * sum(values) / len(values) if values else None


def _batch(run: RunRecord, number: ClaimedNumber) -> int:
    batches = [int(batch) for batch in run.spec["measure"]["batches"]]
    return max(batches) if number.metric == "throughput" else min(batches)

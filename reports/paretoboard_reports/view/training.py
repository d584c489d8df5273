"""What it cost to train a row's models, beside the baseline's, and how many settings were tried for them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from paretoboard.metrics import METRICS
from paretoboard.records import MetricValue
from paretoboard.stats import mean_interval
from paretoboard_reports.view.effects import TIMES
from paretoboard_reports.view.model import Effect
from paretoboard_reports.view.numbers import interval, significant
from paretoboard_reports.view.select import baseline_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import RunRecord, Verdict
    from paretoboard_reports.view.select import Cell


def training_time_effect(cell: Cell, cells: Sequence[Cell]) -> Effect | None:
    """How many times as fast as the baseline's a recipe's training was, its search included, over seeds.

    None for the baseline itself and where one of the two was not trained. The interval is Student's t over the
    logarithms of the seeds' ratios.
    """
    logs = []
    for record in () if cell.is_baseline else cell.measured:
        baseline = baseline_for(record, cell, cells)
        if baseline is None or baseline.seed != record.seed:
            continue
        own_s, other_s = _seconds(record), _seconds(baseline)
        if own_s and other_s:
            logs.append(math.log(other_s / own_s))
    if not logs:
        return None
    if len(logs) == 1:
        value, low, high = math.exp(logs[0]), 0.0, math.inf
        verdict, reason = _verdict(low, high), "one seed has no interval"
    else:
        found = mean_interval(logs)
        value, low, high = (math.exp(log) for log in (found.value, found.low, found.high))
        verdict, reason = _verdict(low, high), ""
    return Effect(
        quantity=interval(value, low, high, len(logs), TIMES),
        verdict=verdict,
        words={"better": "faster", "worse": "slower"}.get(verdict, verdict),
        reason=reason,
        note=f"one ratio for each of {len(logs)} seeds; the trainings ran one after the other and not side by side",
    )


def training_time(records: Sequence[RunRecord]) -> MetricValue | None:
    """Seconds of training and of the search before it, the geometric mean over seeds; None where nothing was trained.

    The interval is Student's t over the seeds' logarithms; one seed has none.
    """
    logs = [math.log(seconds) for seconds in map(_seconds, records) if seconds]
    if not logs:
        return None
    found = mean_interval(logs) if len(logs) > 1 else None
    return MetricValue(
        name="train_time",
        scope="",
        value=math.exp(found.value if found else logs[0]),
        low=math.exp(found.low) if found else None,
        high=math.exp(found.high) if found else None,
        n=len(logs),
        unit=METRICS["train_time"].unit,
    )


def cost_of_training(records: Sequence[RunRecord]) -> tuple[tuple[int, str], ...]:
    """(seed, what its trainings took and how their settings were found); nothing for what was not trained."""
    return tuple((record.seed, _cost(record)) for record in records if record.trainings)


def _cost(record: RunRecord) -> str:
    images = sum(training.images_seen for training in record.trainings)
    seconds = sum(training.seconds for training in record.trainings)
    said = f"{images:,} images in {significant(seconds)} s"
    if not record.trials:
        return f"{said}; settings as declared, none searched"
    ended = Counter(trial.ending for trial in record.trials)
    lost = ", ".join(f"{ended[how]} {how}" for how in ("pruned", "diverged") if ended[how])
    last = record.trials[-1]
    trials = f"{len(record.trials)} trial{'' if len(record.trials) == 1 else 's'}{f' ({lost})' if lost else ''}"
    return f"{said}; settings found by {trials} with {last.images_seen:,} images in {significant(last.seconds)} s"


def _seconds(record: RunRecord) -> float:
    """Of all trainings, and of the search for their settings."""
    searched_s = record.trials[-1].seconds if record.trials else 0.0
    return searched_s + sum(training.seconds for training in record.trainings)


def _verdict(low: float, high: float) -> Verdict:
    return "better" if low > 1 else "worse" if high < 1 else "undecided"

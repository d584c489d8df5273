"""What it cost to train a row's models, beside the baseline's, and how many settings were tried for them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from paretoboard.metrics import METRICS
from paretoboard.records import MetricValue
from paretoboard.stats import Interval, mean_interval
from paretoboard_reports.view.effects import SPEED_WORDS, TIMES
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
    ratios = []
    for record in () if cell.is_baseline else cell.measured:
        baseline = baseline_for(record, cell, cells)
        if baseline is None or baseline.seed != record.seed:
            continue
        own_s, other_s = _seconds(record), _seconds(baseline)
        if own_s and other_s:
            ratios.append(other_s / own_s)
    if not ratios:
        return None
    value, spread = _geometric_mean(ratios)
    low, high = (spread.low, spread.high) if spread else (0.0, math.inf)
    verdict: Verdict = "better" if low > 1 else "worse" if high < 1 else "undecided"
    return Effect(
        quantity=interval(value, low, high, len(ratios), TIMES),
        verdict=verdict,
        words=SPEED_WORDS[verdict],
        reason="" if spread else "one seed has no interval",
        note=f"one ratio for each of {len(ratios)} seeds; the trainings ran one after the other and not side by side",
    )


def training_time(records: Sequence[RunRecord]) -> MetricValue | None:
    """Seconds of training and of the search before it, the geometric mean over seeds; None where nothing was trained.

    The interval is Student's t over the seeds' logarithms; one seed has none.
    """
    seconds = [spent for spent in map(_seconds, records) if spent]
    if not seconds:
        return None
    value, spread = _geometric_mean(seconds)
    return MetricValue(
        name="train_time",
        scope="",
        value=value,
        low=spread.low if spread else None,
        high=spread.high if spread else None,
        n=len(seconds),
        unit=METRICS["train_time"].unit,
    )


def cost_of_training(records: Sequence[RunRecord]) -> tuple[tuple[int, str], ...]:
    """(seed, what its trainings took and how their settings were found); nothing for what was not trained."""
    return tuple((record.seed, _cost(record)) for record in records if record.trainings)


def _cost(record: RunRecord) -> str:
    images = sum(training.images_seen for training in record.trainings)
    said = f"{images:,} images in {significant(_trained_s(record))} s"
    if not record.trials:
        return f"{said}; settings as declared, none searched"
    ended = Counter(trial.ending for trial in record.trials)
    lost = ", ".join(f"{ended[how]} {how}" for how in ("pruned", "diverged") if ended[how])
    last = record.trials[-1]
    trials = f"{len(record.trials)} trial{'' if len(record.trials) == 1 else 's'}{f' ({lost})' if lost else ''}"
    return f"{said}; settings found by {trials} with {last.images_seen:,} images in {significant(last.seconds)} s"


def _seconds(record: RunRecord) -> float:
    """Of all trainings, and of the search for their settings."""
    return _trained_s(record) + (record.trials[-1].seconds if record.trials else 0.0)


def _trained_s(record: RunRecord) -> float:
    return sum(training.seconds for training in record.trainings)


def _geometric_mean(values: Sequence[float]) -> tuple[float, Interval | None]:
    """The mean of positive values, and Student's t interval over their logarithms; one value has none."""
    logs = [math.log(value) for value in values]
    if len(logs) == 1:
        return math.exp(logs[0]), None
    found = mean_interval(logs)
    return math.exp(found.value), Interval(low=math.exp(found.low), high=math.exp(found.high))

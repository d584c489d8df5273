"""Time a candidate against a reference: launches, one or two looks, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paretoboard import stats
from paretoboard.metrics import METRICS
from paretoboard.plan import digest
from paretoboard.records import Calls, Comparison, MetricValue, WindowState
from paretoboard.spec import BASELINE
from paretoboard_runners import jobs
from paretoboard_runners.budgets import BUDGETS
from paretoboard_runners.launch import CALLS
from paretoboard_runners.timing import KeptOutput, LaunchPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from paretoboard.plan import RunSpec
    from paretoboard_runners.client import JobLimits, Worker

# Differences below this are of no practical use to anyone; PROTOCOL ab1, point 8.
RELEVANT: Final = 0.015
CANDIDATE: Final = 1  # the candidate's arm, the reference is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedComparison:
    """One comparison at one batch size, with everything it rests on."""

    comparison: Comparison
    metrics: tuple[MetricValue, ...]
    calls: Calls
    windows: tuple[WindowState, ...]
    outputs: tuple[KeptOutput, ...]  # of the candidate
    repeat_effects: tuple[tuple[float, ...], ...]  # of the candidate, by launch: `repeats.caching` judges them


def time_against(
    worker: Worker,
    *,
    reference: Path,
    candidate: Path,
    run: RunSpec,
    batch: int,
    threads: int,
    input_file: Path,
    preload: Sequence[str],
    noise_floor: float,
    limits: Callable[[], JobLimits],
    watch: Callable[[float, str], None],
) -> TimedComparison:
    """Time two artifacts in the same processes until the budget is spent or, at a second look, spent twice.

    Args:
        noise_floor: the effect that identical programs reach here, from the last calibration; 0 without one.
    """
    budget = BUDGETS[run.measure.budget]
    calls: list[Calls] = []
    windows: list[WindowState] = []
    outputs: list[KeptOutput] = []
    repeat_effects: list[tuple[float, ...]] = []
    for look in (1, 2):
        for number in range((look - 1) * budget.count, look * budget.count):
            label = f"batch {batch}, launch {number + 1} of {look * budget.count}"
            share = number / (look * budget.count)
            watch(share, label)
            job = jobs.LaunchJob(
                artifacts=(reference, candidate),
                batch=batch,
                plan=LaunchPlan(seconds=budget.seconds, seed=_launch_seed(run, batch, number), threads=threads),
                input_file=input_file,
            )
            result, folder = worker.do(
                "paretoboard_runners.launch:launch", job, jobs.LaunchResult, preload=preload, limits=limits()
            )
            calls.append(read_calls(folder / CALLS, batch=batch, launch=number))
            windows += [_state(batch, number, index, seen) for index, seen in enumerate(result.windows)]
            outputs += [kept for kept in result.outputs if kept.arm == CANDIDATE]
            repeat_effects.append(result.repeat_effects)
        joined = join_calls(calls)
        comparison = stats.compare_calls(
            joined, batch=batch, threads=threads, against=BASELINE, tolerance=max(RELEVANT, noise_floor), look=look
        )
        if not stats.wants_second_look(comparison):
            break
    return TimedComparison(
        comparison=comparison,
        metrics=absolute_metrics(joined, batch),
        calls=joined,
        windows=tuple(windows),
        outputs=tuple(outputs),
        repeat_effects=tuple(repeat_effects),
    )


def absolute_metrics(calls: Calls, batch: int) -> tuple[MetricValue, ...]:
    """Latency quantiles and throughput of the candidate's calls, in wall time, with intervals over launches."""
    chosen = calls.arm == CANDIDATE
    wall_s = calls.wall_ns[chosen] / 1e9
    launch = calls.launch[chosen]
    scope = f"batch={batch}"
    values = []
    for name, share in (("latency", 0.5), ("latency_p90", 0.9), ("latency_p99", 0.99)):
        found = stats.quantile_over_launches(wall_s, launch, share)
        values.append(_value(name, scope, found, len(wall_s)))
    median = stats.quantile_over_launches(wall_s, launch, 0.5)
    rate = stats.Estimate(value=batch / median.value, low=batch / median.high, high=batch / median.low)
    values.append(_value("throughput", scope, rate, len(wall_s)))
    return tuple(values)


def join_calls(parts: Sequence[Calls]) -> Calls:
    """Several tables of calls as one, in order; at least one."""
    names = Calls.__dataclass_fields__
    return Calls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def read_calls(path: Path, *, batch: int, launch: int, reference: int = 0) -> Calls:
    """The calls that one launch left, as those of `batch`, of launch number `launch` and of a reference."""
    with np.load(path, allow_pickle=False) as stored:
        columns: dict[str, Any] = dict(stored)
    size = len(columns["arm"])
    return Calls(
        batch=np.full(size, batch, dtype=np.int32),
        launch=np.full(size, launch, dtype=np.int16),
        reference=np.full(size, reference, dtype=np.int8),
        **columns,
    )


def _state(batch: int, launch: int, window: int, seen: Any) -> WindowState:
    return WindowState(
        batch=batch,
        launch=launch,
        window=window,
        steal=seen.steal,
        load1=seen.load1,
        pressure=seen.pressure,
        clock_mhz=seen.clock_mhz,
        temperature_c=seen.temperature_c,
    )


def _launch_seed(run: RunSpec, batch: int, launch: int) -> int:
    return int(digest({"run": run.run_id, "batch": batch, "launch": launch})[:8], 16)


def _value(name: str, scope: str, found: stats.Estimate, n: int) -> MetricValue:
    return MetricValue(
        name=name,
        scope=scope,
        value=found.value,
        low=found.low,
        high=found.high,
        n=n,
        unit=METRICS[name].unit,
    )

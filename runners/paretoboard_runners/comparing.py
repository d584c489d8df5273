"""Time a candidate against its references: launches, one or two looks, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from paretoboard import stats
from paretoboard.plan import RunSpec, digest
from paretoboard.records import Calls, Comparison, MetricValue, WindowState
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_runners import jobs
from paretoboard_runners.budgets import BUDGETS
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.launch import CALLS
from paretoboard_runners.measured import measured
from paretoboard_runners.timing import KeptOutput, LaunchPlan

CANDIDATE: Final = 1  # the candidate's arm, the reference is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a recipe is timed against."""

    name: str  # of its recipe
    artifact: Path
    number: int = 0  # 0 is the baseline, n the n-th of the recipe's references
    input_file: Path | None = None  # of its own, where it takes images of another size than the candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedComparison:
    """One comparison at one batch size, with everything it rests on."""

    comparison: Comparison
    metrics: tuple[MetricValue, ...]  # of the candidate's own speed; none beside another reference than the baseline
    calls: Calls
    windows: tuple[WindowState, ...]
    outputs: tuple[KeptOutput, ...]  # of the candidate
    repeat_effects: tuple[tuple[float, ...], ...]  # of the candidate, by launch: `repeats.caching` judges them


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What all comparisons of one run have in common."""

    worker: Worker
    run: RunSpec
    candidate: Path  # its artifact
    input_file: Path
    preload: Sequence[str]
    noise_floor: float  # the effect that identical programs reach here, from the last calibration; 0 without one
    limits: Callable[[], JobLimits]
    watch: Callable[[float, str], None]
    salt: str = ""  # of the launches' seeds, where they are to be others than the last time

    def against(self, reference: Reference, batch: int) -> TimedComparison:
        """Time candidate and reference in the same processes until the budget is spent or, at a second look, twice."""
        budget = BUDGETS[self.run.measure.budget].count
        launches = _Launches(timing=self, reference=reference, batch=batch)
        for look in (1, 2):
            for number in range((look - 1) * budget, look * budget):
                about = f"batch {batch} against {reference.name}, launch {number + 1} of {look * budget}"
                self.watch(number / (look * budget), about)
                launches.add(number)
            comparison = launches.compared(look)
            if not stats.wants_second_look(comparison):
                break
        return launches.timed(comparison)

    def launch(self, reference: Reference, batch: int, number: int) -> tuple[jobs.LaunchResult, Path]:
        """One launch, and the file with its calls."""
        plan = LaunchPlan(
            seconds=BUDGETS[self.run.measure.budget].seconds,
            seed=_launch_seed(self.run, batch, number, self.salt),
            threads=len(self.worker.cores),
        )
        job = jobs.LaunchJob(
            artifacts=(reference.artifact, self.candidate),
            batch=batch,
            plan=plan,
            input_file=self.input_file,
            other_inputs=(reference.input_file, self.input_file) if reference.input_file else (),
            detection=self.run.detection,
            # Each runtime has threads of its own, and in one process those of one would wait beside the other's work.
            apart=plan.threads > 1,
        )
        result, folder = self.worker.do(
            "paretoboard_runners.launch:launch", job, jobs.LaunchResult, preload=self.preload, limits=self.limits()
        )
        return result, folder / CALLS


@dataclass(slots=True, kw_only=True)
class _Launches:
    """The launches of one comparison, so far."""

    timing: Timing
    reference: Reference
    batch: int
    calls: list[Calls] = field(default_factory=list)
    windows: list[WindowState] = field(default_factory=list)
    outputs: list[KeptOutput] = field(default_factory=list)
    repeat_effects: list[tuple[float, ...]] = field(default_factory=list)
    input_s: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, number: int) -> None:
        """Make launch `number` of this comparison and keep what it gave."""
        # Numbers of all a run's launches at a batch differ, whether or not there was a second look at each comparison.
        own = 2 * BUDGETS[self.timing.run.measure.budget].count * self.reference.number + number
        result, file = self.timing.launch(self.reference, self.batch, own)
        self.calls.append(read_calls(file, batch=self.batch, launch=own, reference=self.reference.number))
        self.windows += [_state(self.batch, own, index, seen) for index, seen in enumerate(result.windows)]
        self.outputs += [kept for kept in result.outputs if kept.arm == CANDIDATE]
        self.repeat_effects.append(result.repeat_effects)
        self.input_s.append(result.input_s)

    def compared(self, look: Literal[1, 2]) -> Comparison:
        """What the launches say."""
        return stats.compare_calls(
            join_calls(self.calls),
            batch=self.batch,
            threads=len(self.timing.worker.cores),
            against=self.reference.name,
            tolerance=max(RELEVANT, self.timing.noise_floor),
            reference=self.reference.number,
            look=look,
        )

    def timed(self, comparison: Comparison) -> TimedComparison:
        """All that they gave, with what was made of them."""
        calls = join_calls(self.calls)
        metrics = (*absolute_metrics(calls, self.batch), *input_metrics(self.input_s, self.batch))
        return TimedComparison(
            comparison=comparison,
            metrics=metrics if self.reference.number == 0 else (),
            calls=calls,
            windows=tuple(self.windows),
            outputs=tuple(self.outputs),
            repeat_effects=tuple(self.repeat_effects),
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
        values.append(measured(name, found.value, len(wall_s), scope=scope, interval=found))
    median = stats.quantile_over_launches(wall_s, launch, 0.5)
    rate = stats.Estimate(value=batch / median.value, low=batch / median.high, high=batch / median.low)
    values.append(measured("throughput", rate.value, len(wall_s), scope=scope, interval=rate))
    return tuple(values)


def input_metrics(calls_s: Sequence[tuple[float, ...]], batch: int) -> tuple[MetricValue, ...]:
    """Time of the input pipeline per image, from its calls of `batch` images by launch; nothing without a pipeline."""
    if not any(calls_s):
        return ()
    per_image_s = np.concatenate([np.asarray(calls) for calls in calls_s]) / batch
    launch = np.repeat(np.arange(len(calls_s)), [len(calls) for calls in calls_s])
    found = stats.quantile_over_launches(per_image_s, launch, 0.5)
    return (measured("input_time", found.value, len(per_image_s), scope=f"batch={batch}", interval=found),)


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


def _launch_seed(run: RunSpec, batch: int, launch: int, salt: str) -> int:
    salted = {"salt": salt} if salt else {}
    return int(digest({"run": run.run_id, "batch": batch, "launch": launch, **salted})[:8], 16)

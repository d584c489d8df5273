"""A record in the making."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from paretoboard.metrics import METRICS
from paretoboard.plan import RunSpec, plain
from paretoboard.records import (
    ArtifactInfo,
    Comparison,
    ControlState,
    Diagnosis,
    MetricValue,
    Predictions,
    Provenance,
    RunRecord,
    Status,
    Training,
)
from paretoboard_runners.comparing import TimedComparison, join_calls

_LOG_TAIL: Final = 4000  # characters


@dataclass(slots=True, kw_only=True)
class Draft:
    """A record in the making: what was found before a failure is kept."""

    run: RunSpec
    provenance: Provenance
    started_at: datetime
    start: float
    controls: tuple[ControlState, ...] = ()
    artifact: ArtifactInfo | None = None
    metrics: list[MetricValue] = field(default_factory=list)
    timed: list[TimedComparison] = field(default_factory=list)
    predictions: Predictions | None = None
    diagnosis: Diagnosis | None = None
    trainings: tuple[Training, ...] = ()
    notes: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Start over."""
        self.artifact = self.predictions = self.diagnosis = None
        self.metrics, self.timed, self.notes, self.trainings = [], [], [], ()

    def add(self, name: str, value: float, *, n: int, scope: str = "") -> None:
        """A metric with no interval of its own."""
        self.metrics.append(MetricValue(name=name, scope=scope, value=value, n=n, unit=METRICS[name].unit))

    def record(self, status: Status, reason: str, *, log_tail: str = "") -> RunRecord:
        """The finished record."""
        run = self.run
        comparisons: tuple[Comparison, ...] = tuple(timed.comparison for timed in self.timed)
        return RunRecord(
            run_id=run.run_id,
            board_id=run.board_id,
            task=run.task,
            task_version=run.task_version,
            title=run.title,
            dataset=run.dataset.name,
            subset=run.dataset.subset.name,
            model=run.model.name,
            recipe=run.recipe.name,
            steps=tuple(plain(step) for step in run.recipe.steps),
            profile=run.profile.name,
            seed=run.seed,
            spec=run.content(),
            status=status,
            reason=reason,
            started_at=self.started_at,
            duration_s=time.monotonic() - self.start,
            provenance=self.provenance,
            artifact=self.artifact,
            metrics=(*self.metrics, *(value for timed in self.timed for value in timed.metrics)),
            comparisons=comparisons,
            controls=self.controls,
            windows=tuple(window for timed in self.timed for window in timed.windows),
            calls=join_calls([timed.calls for timed in self.timed]) if self.timed else None,
            predictions=self.predictions,
            diagnosis=self.diagnosis,
            trainings=self.trainings,
            notes=tuple(self.notes),
            log_tail=log_tail[-_LOG_TAIL:],
        )

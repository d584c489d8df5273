"""A record in the making."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from paretoboard.plan import RunSpec, plain
from paretoboard.records import (
    ArtifactInfo,
    Comparison,
    ControlState,
    Detections,
    Diagnosis,
    ExplanationShift,
    MetricValue,
    Predictions,
    Provenance,
    RunRecord,
    SearchTrial,
    Status,
    Training,
)
from paretoboard_runners.comparing import TimedComparison, join_calls
from paretoboard_runners.measured import measured

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
    detections: Detections | None = None
    # (images,) of the scored images, as `scoring.answering` tells them apart, also where they mean nothing
    answers: NDArray[np.int64] | None = None
    diagnosis: Diagnosis | None = None
    trainings: tuple[Training, ...] = ()
    trials: tuple[SearchTrial, ...] = ()
    explanation: ExplanationShift | None = None
    notes: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Start over."""
        self.artifact = self.answers = self.predictions = self.detections = None
        self.diagnosis = self.explanation = None
        self.metrics, self.timed, self.notes = [], [], []
        self.trainings, self.trials = (), ()

    def add(self, name: str, value: float, *, n: int, scope: str = "") -> None:
        """A metric with no interval of its own."""
        self.metrics.append(measured(name, value, n, scope=scope))

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
            detections=self.detections,
            diagnosis=self.diagnosis,
            trainings=self.trainings,
            trials=self.trials,
            explanation=self.explanation,
            notes=tuple(self.notes),
            log_tail=log_tail[-_LOG_TAIL:],
        )

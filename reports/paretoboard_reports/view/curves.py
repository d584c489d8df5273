"""How searches for settings and trainings went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from paretoboard_reports.view.model import Curve, Curves, Mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import RunRecord, SearchTrial, TrainedEpoch

_SPARE: Final = 0.05  # of the height, above and below
_LEAST_SPARE: Final = 0.5  # percent, where all trials are alike


def search_curves(records: Sequence[RunRecord]) -> Curves | None:
    """Every trial, and the best value so far, of the searches of one recipe; None where nothing was searched."""
    searched = [record for record in records if record.trials]
    if not searched:
        return None
    # What diverged is worth nothing, and would leave no height for the others.
    percent = [100 * trial.value for record in searched for trial in record.trials if trial.value > 0] or [0.0]
    spare = max(_SPARE * (max(percent) - min(percent)), _LEAST_SPARE)
    return Curves(
        title=f"Best value so far against images seen; seeds {_seeds(searched)}",
        x_title="images seen by all trials",
        y_title="held-out images right, %",
        y_low=max(0.0, min(percent) - spare),
        y_high=min(100.0, max(percent) + spare),
        curves=tuple(_search(record) for record in searched),
    )


def training_curves(records: Sequence[RunRecord]) -> Curves | None:
    """The loss of the last training that went into each of one recipe's models; None where nothing was trained."""
    trained = [record for record in records if record.trainings and record.trainings[-1].curve]
    if not trained:
        return None
    losses = [point.loss for record in trained for point in record.trainings[-1].curve]
    spare = max(_SPARE * (max(losses) - min(losses)), 1e-3)
    return Curves(
        title=f"Training loss against images seen; seeds {_seeds(trained)}",
        x_title="images seen",
        y_title="mean loss of the epoch",
        y_low=max(0.0, min(losses) - spare),
        y_high=max(losses) + spare,
        curves=tuple(_training(record) for record in trained),
    )


def _seeds(records: Sequence[RunRecord]) -> str:
    return ", ".join(str(record.seed) for record in records)


def _search(record: RunRecord) -> Curve:
    line: list[tuple[float, float]] = []
    for trial in record.trials:
        if trial.best is not None:
            if line:
                line.append((trial.images_seen, line[-1][1]))
            line.append((trial.images_seen, 100 * trial.best))
    return Curve(marks=tuple(_trial(record.seed, trial) for trial in record.trials), line=tuple(line))


def _trial(seed: int, trial: SearchTrial) -> Mark:
    ended = "" if trial.ending == "whole" else f", {trial.ending}"
    return Mark(
        x=trial.images_seen,
        y=100 * trial.value,
        hollow=trial.ending == "pruned",
        text=f"seed {seed}, trial {trial.number}: {_settings(trial.settings)}; {100 * trial.value:.2f} %{ended}",
    )


def _training(record: RunRecord) -> Curve:
    points = record.trainings[-1].curve
    return Curve(
        marks=tuple(_epoch(record.seed, point) for point in points),
        line=tuple((point.images_seen, point.loss) for point in points),
    )


def _epoch(seed: int, point: TrainedEpoch) -> Mark:
    held_out = "" if point.held_out_top1 is None else f", {100 * point.held_out_top1:.2f} % held out right"
    return Mark(
        x=point.images_seen,
        y=point.loss,
        text=f"seed {seed}, epoch {point.epoch}: loss {point.loss:.4g}{held_out}, after {point.seconds:.1f} s",
    )


def _settings(text: str) -> str:
    found: dict[str, Any] = json.loads(text)
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {json.dumps(value)}"
        for name, value in found.items()
    )

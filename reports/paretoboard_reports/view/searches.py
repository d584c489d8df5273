"""How searches for settings went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paretoboard_reports.view.model import SearchCurves, SearchPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import RunRecord, SearchTrial


def search_curves(records: Sequence[RunRecord]) -> SearchCurves | None:
    """The searches of one recipe's records, a line for each; None where nothing was searched."""
    searched = [record for record in records if record.trials]
    if not searched:
        return None
    seeds = ", ".join(str(record.seed) for record in searched)
    return SearchCurves(
        title=f"Best value so far against images seen; seeds {seeds}",
        lines=tuple(tuple(_point(record.seed, trial) for trial in record.trials) for record in searched),
    )


def _point(seed: int, trial: SearchTrial) -> SearchPoint:
    ended = "" if trial.ending == "whole" else f", {trial.ending}"
    return SearchPoint(
        images_seen=trial.images_seen,
        value=trial.value,
        best=trial.best,
        whole=trial.ending != "pruned",
        text=f"seed {seed}, trial {trial.number}: {_settings(trial.settings)}; {100 * trial.value:.2f} %{ended}",
    )


def _settings(text: str) -> str:
    found: dict[str, Any] = json.loads(text)
    return ", ".join(
        f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {json.dumps(value)}"
        for name, value in found.items()
    )

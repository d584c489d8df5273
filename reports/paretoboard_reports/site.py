"""Everything the pages are made from, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard import store
from paretoboard_reports.view import page as page_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd  # noqa: TC004 - nothing resolves these annotations

    from paretoboard.records import RunRecord  # noqa: TC004
    from paretoboard_reports.view import Page  # noqa: TC004
    from paretoboard_reports.view.select import Nights


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a folder of results holds, as the pages need it."""

    page: Page  # the boards
    records: tuple[RunRecord, ...]  # the newest of each cell, with what the models answered
    history: pd.DataFrame  # a row for each stored record: store.history
    damaged: tuple[str, ...]  # record files that can't be read, in words


def read(results: Path) -> Site:
    """Read a folder of results for its pages; damaged files are named and left out."""
    reading = store.read(results, with_predictions=True)
    damaged = tuple(str(found) for found in reading.damaged)
    history = store.history(results)
    return Site(
        page=page_of(reading.records, damaged, nights_of(history)),
        records=reading.records,
        history=history,
        damaged=damaged,
    )


def nights_of(history: pd.DataFrame) -> Nights:
    """On how many nights (days, UTC) each recipe was measured in each environment; failed runs do not count."""
    measured = history[history["status"] == "ok"]
    columns = ["task", "task_version", "profile", "hardware_id", "environment_id", "recipe"]
    days = measured["started_at"].dt.date.groupby([measured[name] for name in columns], sort=True).nunique()
    return {(task, int(version), *rest): int(count) for (task, version, *rest), count in days.items()}

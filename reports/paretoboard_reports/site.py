"""Everything the pages are made from, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from paretoboard import claims, regressions, store
from paretoboard.errors import StoreError
from paretoboard.store.calibrations import all_latest
from paretoboard_reports.view import claims as claims_view
from paretoboard_reports.view import page as page_of
from paretoboard_reports.view.history import described, key
from paretoboard_reports.view.select import groups
from paretoboard_reports.view.timings import histograms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping  # noqa: TC004 - nothing resolves these annotations
    from pathlib import Path

    import pandas as pd  # noqa: TC004 - nothing resolves these annotations

    from paretoboard.records import Calibration, RunRecord  # noqa: TC004
    from paretoboard.regressions import Regressions  # noqa: TC004
    from paretoboard.store.nightlies import Nightly  # noqa: TC004
    from paretoboard_reports.view import Page  # noqa: TC004
    from paretoboard_reports.view.claims import ClaimTable  # noqa: TC004
    from paretoboard_reports.view.select import (
        Group,  # noqa: TC004
        Nights,
    )
    from paretoboard_reports.view.timings import Histogram  # noqa: TC004

# Folders of results in which benchmarks of known truth leave what they counted, as `table.txt`.
RECORDED: Final = ("rigor", "regressions", "fixture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a folder of results holds, as the pages need it."""

    page: Page  # the boards
    records: tuple[RunRecord, ...]  # the newest of each cell, with what the models answered
    history: pd.DataFrame  # a row for each stored record: store.history
    regressions: Regressions  # what the nights say
    damaged: tuple[str, ...]  # files that can't be read, in words
    nightlies: tuple[Nightly, ...] = ()  # oldest first
    calibrations: tuple[Calibration, ...] = ()  # what the protocol does on these machines with known differences
    recorded: Mapping[str, str] = field(default_factory=dict)  # tables of RECORDED at length, as they were written
    claims: tuple[ClaimTable, ...] = ()  # published numbers beside the measured ones
    timings: Mapping[str, tuple[Histogram, ...]] = field(default_factory=dict)  # of runs on a board, by history.key
    groups: tuple[Group, ...] = field(init=False)  # the records of each board, in the order of the boards
    runs: pd.DataFrame = field(init=False)  # `history`, with what the pages call each run and whether a board shows it

    def __post_init__(self) -> None:
        """What follows from the rest."""
        found = groups(self.records)
        object.__setattr__(self, "groups", found)
        anchors = [board.anchor for board in self.page.boards]
        object.__setattr__(self, "runs", described(self.history, found, anchors))


def read(results: Path) -> Site:
    """Read a folder of results for its pages; damaged files are named and left out."""
    history = store.history(results)
    reading = store.pick(results, store.newest(history), with_predictions=True)
    judge = regressions.judge_of(results)
    unreadable = {*history.attrs["damaged"], *judge.damaged, *(str(found) for found in reading.damaged)}
    try:
        calibrations = all_latest(results)
    except StoreError as error:
        unreadable.add(str(error))
        calibrations = ()
    damaged = sorted(unreadable)
    boards = page_of(reading.records, damaged, nights_of(history))
    return Site(
        page=boards,
        records=reading.records,
        history=history,
        regressions=judge(history),
        damaged=tuple(damaged),
        nightlies=judge.nights,
        calibrations=calibrations,
        recorded=_recorded(results),
        claims=claims_view.tables(claims.load_all(), reading.records, boards.boards),
        timings=_timings(results, reading.records, history),
    )


def _timings(results: Path, records: Iterable[RunRecord], history: pd.DataFrame) -> Mapping[str, tuple[Histogram, ...]]:
    """How long the calls of those runs took that a board shows in full, one file read at a time."""
    columns = ("run_id", "started_at", "hardware_id", "environment_id")
    rows = zip(*(history[name] for name in columns), strict=True)
    paths = dict(zip(rows, history["path"], strict=True))
    found = {}
    for group in groups(records):
        for cell in group.cells:
            record = cell.latest
            made = record.provenance
            path = paths.get((record.run_id, record.started_at, made.hardware_id, made.environment_id))
            calls = store.calls_of(results / path) if path is not None and record.status == "ok" else None
            if calls is not None:
                found[key(record)] = histograms(*calls)
    return found


def _recorded(results: Path) -> dict[str, str]:
    """The tables that there are."""
    files = {name: results / name / "table.txt" for name in RECORDED}
    return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}


def nights_of(history: pd.DataFrame) -> Nights:
    """On how many nights (days, UTC) each recipe was measured in each environment; failed runs do not count."""
    measured = history[history["status"] == "ok"]
    columns = ["task", "task_version", "profile", "hardware_id", "environment_id", "recipe"]
    days = measured["started_at"].dt.date.groupby([measured[name] for name in columns], sort=True).nunique()
    return {(task, int(version), *rest): int(count) for (task, version, *rest), count in days.items()}

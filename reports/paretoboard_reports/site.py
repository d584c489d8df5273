"""Everything the pages are made from, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard import claims, store
from paretoboard.errors import StoreError
from paretoboard.store.calibrations import all_latest
from paretoboard_reports.view import claims as claims_view
from paretoboard_reports.view import page as page_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd  # noqa: TC004 - nothing resolves these annotations

    from paretoboard.records import Calibration, RunRecord  # noqa: TC004
    from paretoboard_reports.view import Page  # noqa: TC004
    from paretoboard_reports.view.claims import ClaimTable  # noqa: TC004


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a folder of results holds, as the pages need it."""

    page: Page  # the boards
    records: tuple[RunRecord, ...]  # the newest of each cell, with what the models answered
    history: pd.DataFrame  # a row for each stored record: store.history
    damaged: tuple[str, ...]  # files that can't be read, in words
    calibrations: tuple[Calibration, ...] = ()  # what the protocol does on these machines with known differences
    rigor: str = ""  # the same at length, as `make bench-rigor` recorded it
    claims: tuple[ClaimTable, ...] = ()  # published numbers beside the measured ones


def read(results: Path) -> Site:
    """Read a folder of results for its pages; damaged files are named and left out."""
    history = store.history(results)
    reading = store.pick(results, store.newest(history), with_predictions=True)
    damaged = sorted({*history.attrs["damaged"], *(str(found) for found in reading.damaged)})
    try:
        calibrations = all_latest(results)
    except StoreError as error:
        damaged.append(str(error))
        calibrations = ()
    boards = page_of(reading.records, damaged)
    return Site(
        page=boards,
        records=reading.records,
        history=history,
        damaged=tuple(damaged),
        calibrations=calibrations,
        rigor=_rigor(results),
        claims=claims_view.tables(claims.load_all(), reading.records, boards.boards),
    )


def _rigor(results: Path) -> str:
    try:
        return (results / "rigor" / "table.txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""

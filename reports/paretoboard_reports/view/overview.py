"""What the first page says: where optimization pays off, and what was measured last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

from paretoboard.records import STATUSES, Status
from paretoboard_reports.view.model import Board
from paretoboard_reports.view.techniques import FamilyView, families, techniques

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from paretoboard_reports.view.model import Answer

# Days of measuring that are listed, the newest first.
DAYS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that boards were measured on: a column of the matrix."""

    hardware_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One board, as a cell of the matrix shows it."""

    board: Board
    on_front: int
    measured: int
    fell_out: int  # failed, timed out, refused, unstable, or skipped

    @property
    def fastest(self) -> Answer | None:
        """The first of the board's answers: the fastest recipe that loses next to nothing."""
        return self.board.answers[0] if self.board.answers else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """A task: a row of the matrix."""

    task: str
    title: str
    about: str
    cells: tuple[tuple[Standing, ...], ...]  # for each machine its boards of this task, by profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """The tasks on one dataset."""

    dataset: str
    lines: tuple[TaskLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What was measured on one day, UTC."""

    day: date
    counts: tuple[tuple[Status, int], ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything on the first page."""

    machines: tuple[Machine, ...]
    families: tuple[FamilyView, ...]  # what each technique did
    chapters: tuple[Chapter, ...]
    days: tuple[Day, ...]
    records: int
    newest: datetime | None


def overview(boards: Sequence[Board], history: pd.DataFrame) -> Overview:
    """The first page of these boards; `history` is a row for each stored record."""
    machines = {board.hardware_id: Machine(hardware_id=board.hardware_id, name=board.hardware) for board in boards}
    columns = tuple(sorted(machines.values(), key=lambda machine: (machine.name, machine.hardware_id)))
    return Overview(
        machines=columns,
        families=families(techniques(boards)),
        chapters=_chapters(boards, columns),
        days=_days(history),
        records=len(history),
        newest=max((board.measured_at for board in boards), default=None),
    )


def _chapters(boards: Sequence[Board], machines: Sequence[Machine]) -> tuple[Chapter, ...]:
    by_dataset: defaultdict[str, defaultdict[str, list[Board]]] = defaultdict(lambda: defaultdict(list))
    for board in boards:
        by_dataset[board.dataset][board.task].append(board)
    return tuple(
        Chapter(dataset=dataset, lines=tuple(_line(task, found, machines) for task, found in sorted(tasks.items())))
        for dataset, tasks in sorted(by_dataset.items())
    )


def _line(task: str, boards: Sequence[Board], machines: Sequence[Machine]) -> TaskLine:
    newest = max(boards, key=lambda board: board.measured_at)
    ordered = sorted(boards, key=lambda board: (board.profile, board.anchor))
    return TaskLine(
        task=task,
        title=newest.title,
        about=newest.about,
        cells=tuple(
            tuple(_standing(board) for board in ordered if board.hardware_id == machine.hardware_id)
            for machine in machines
        ),
    )


def _standing(board: Board) -> Standing:
    return Standing(
        board=board,
        on_front=sum(row.standing == "front" for row in board.ranked),
        measured=len(board.ranked),
        fell_out=len(board.rows) - len(board.ranked),
    )


def _days(history: pd.DataFrame) -> tuple[Day, ...]:
    if history.empty:
        return ()
    found = []
    days = history["started_at"].dt.date
    for day in sorted(days.unique(), reverse=True)[:DAYS]:
        rows = history[days == day]
        counts = rows["status"].value_counts()
        found.append(
            Day(
                day=day,
                counts=tuple((status, int(counts[status])) for status in STATUSES if counts.get(status, 0)),
                tasks=tuple(sorted(rows["task"].astype(str).unique())),
            )
        )
    return tuple(found)

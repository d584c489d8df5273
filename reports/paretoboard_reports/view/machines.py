"""A machine: what its fingerprint is made of, and the software that it had over time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from paretoboard.regressions.shifts import differences
from paretoboard_reports.view.model import Board

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from paretoboard.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The software of a machine for some time."""

    environment_id: str
    first: date
    last: date
    runs: int
    differs: tuple[tuple[str, str, str], ...]  # from what came before: (field, before, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """Everything that is known of one machine."""

    hardware_id: str
    name: str
    hashed: tuple[tuple[str, str], ...]  # what the fingerprint is made of
    software: tuple[Software, ...]  # oldest first
    newest: tuple[tuple[str, str], ...]  # all fields of its newest software
    boards: tuple[Board, ...]
    runs: int


def machines(records: Iterable[RunRecord], boards: Sequence[Board], history: pd.DataFrame) -> tuple[MachineView, ...]:
    """Every machine that something was measured on, by name."""
    newest: dict[str, RunRecord] = {}
    for record in records:
        known = newest.get(record.provenance.hardware_id)
        if known is None or (record.started_at, record.run_id) > (known.started_at, known.run_id):
            newest[record.provenance.hardware_id] = record
    found = [_machine(record, boards, history) for record in newest.values()]
    return tuple(sorted(found, key=lambda machine: (machine.name, machine.hardware_id)))


def _machine(record: RunRecord, boards: Sequence[Board], history: pd.DataFrame) -> MachineView:
    hardware_id = record.provenance.hardware_id
    own = tuple(board for board in boards if board.hardware_id == hardware_id)
    rows = history[history["hardware_id"] == hardware_id]
    return MachineView(
        hardware_id=hardware_id,
        name=own[0].hardware if own else str(record.provenance.hardware.get("cpu", "unknown")),
        hashed=_fields(record.provenance.hardware),
        software=_software(rows),
        newest=_fields(record.provenance.environment),
        boards=own,
        runs=len(rows),
    )


def _software(rows: pd.DataFrame) -> tuple[Software, ...]:
    found: list[Software] = []
    before = ""
    groups = rows.groupby("environment_id", observed=True, sort=False)
    # In the order in which each was first seen: rows are ordered by time.
    for environment_id, group in sorted(groups, key=lambda pair: (pair[1]["started_at"].iloc[0], str(pair[0]))):
        environment = str(group["environment"].iloc[0])
        found.append(
            Software(
                environment_id=str(environment_id),
                first=group["started_at"].iloc[0].date(),
                last=group["started_at"].iloc[-1].date(),
                runs=len(group),
                differs=differences(before, environment) if before else (),
            )
        )
        before = environment
    return tuple(found)


def _fields(values: object) -> tuple[tuple[str, str], ...]:
    return tuple((name, now) for name, _, now in differences("{}", json.dumps(values, default=dict)))

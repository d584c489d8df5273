"""Which records stand together on a board, and which of them in one row."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.records import RunRecord
from paretoboard.spec import BASELINE
from paretoboard.stats import under_holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Task, version, profile, machine, environment, recipe; and on how many nights each was measured.
NightKey = tuple[str, int, str, str, str, str]
Nights = Mapping[NightKey, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The latest records of one recipe in one environment, one for each seed."""

    records: tuple[RunRecord, ...]  # by seed; all with the same steps
    nights: int = 1  # on which the recipe was measured in this environment, earlier records counted

    @property
    def measured(self) -> tuple[RunRecord, ...]:
        """Those with numbers."""
        return tuple(record for record in self.records if record.status == "ok")

    @property
    def latest(self) -> RunRecord:
        """The newest with numbers, or the newest."""
        return max(self.measured or self.records, key=_age)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the model as it is."""
        return self.records[0].recipe == BASELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The records of one board, and how many older ones of the same task could not join them."""

    cells: tuple[Cell, ...]
    superseded: int

    @property
    def latest(self) -> RunRecord:
        """The newest record."""
        return max((cell.latest for cell in self.cells), key=_age)


def groups(records: Iterable[RunRecord], nights: Nights | None = None) -> tuple[Group, ...]:
    """One group for each task, profile and machine, by name.

    `nights` counts those on which each cell was ever measured; without it only the given records are counted.

    Where a task has changed its meaning, the board is that of its newest record: results from before the
    change answer another question and are only counted.
    """
    families: defaultdict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        families[record.task, record.profile, record.provenance.hardware_id].append(record)
    found = []
    for _, family in sorted(families.items()):
        board_id = max(family, key=_age).board_id
        current = [record for record in family if record.board_id == board_id]
        found.append(Group(cells=_corrected(_cells(current, nights)), superseded=len(family) - len(current)))
    return tuple(found)


def baseline_cell(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The baseline's row of the same environment, if it has numbers."""
    environment = cell.latest.provenance.environment_id
    for candidate in cells:
        if candidate.is_baseline and candidate.measured and candidate.latest.provenance.environment_id == environment:
            return candidate
    return None


def baseline_for(record: RunRecord, cell: Cell, cells: Sequence[Cell]) -> RunRecord | None:
    """The baseline's run that a record of `cell` is judged against: same environment, the same seed if there is one."""
    reference = baseline_cell(cell, cells)
    candidates = reference.measured if reference is not None else ()
    return max(candidates, key=lambda found: (found.seed == record.seed, _age(found)), default=None)


def night_key(record: RunRecord) -> NightKey:
    """What the nights of a cell are counted by."""
    where = record.provenance
    return record.task, record.task_version, record.profile, where.hardware_id, where.environment_id, record.recipe


def _cells(records: Iterable[RunRecord], nights: Nights | None) -> tuple[Cell, ...]:
    by_cell: defaultdict[tuple[str, str], dict[int, RunRecord]] = defaultdict(dict)
    for record in sorted(records, key=_age):
        by_cell[record.recipe, record.provenance.environment_id][record.seed] = record
    cells = []
    for _, by_seed in sorted(by_cell.items()):
        # A recipe that was rewritten under its name is another recipe: only runs of the newest wording count.
        steps = max(by_seed.values(), key=_age).steps
        kept = tuple(r for _, r in sorted(by_seed.items()) if r.steps == steps)
        days = {record.started_at.date() for record in kept if record.status == "ok"}
        known = nights.get(night_key(kept[0]), 0) if nights is not None else 0
        cells.append(Cell(records=kept, nights=max(len(days), known)))
    return tuple(cells)


def _corrected(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The cells with the verdicts on speed that stand among all like comparisons of the board (Holm).

    All comparisons with the baseline are one family, all with other references another: what a technique adds to its
    runtime is another question than which recipe beats the baseline, and asking it takes no power from the other.
    The baseline against itself is a check of the machine and in neither.
    """
    found = [c for cell in cells if not cell.is_baseline for record in cell.records for c in record.comparisons]
    corrected = {
        with_baseline: iter(under_holm([c for c in found if (c.against == BASELINE) is with_baseline]))
        for with_baseline in (True, False)
    }

    def with_verdicts(record: RunRecord) -> RunRecord:
        kept = tuple(next(corrected[comparison.against == BASELINE]) for comparison in record.comparisons)
        return dataclasses.replace(record, comparisons=kept)

    return tuple(
        cell if cell.is_baseline else dataclasses.replace(cell, records=tuple(map(with_verdicts, cell.records)))
        for cell in cells
    )


def _age(record: RunRecord) -> tuple[object, ...]:
    return record.started_at, record.run_id

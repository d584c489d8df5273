"""What each technique of a recipe contributes: the recipe beside itself without it, in the same runtime.

Everything here was measured: speeds side by side in the same processes, qualities on the same images. Verdicts on
quality are corrected (Holm) among all such pairs of the board, apart from those against the baseline, as are speeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from paretoboard.plan import digest
from paretoboard.spec import BASELINE
from paretoboard_reports.view.details import step, steps_in_words
from paretoboard_reports.view.effects import paired_qualities, speed_against
from paretoboard_reports.view.model import Contribution, Contributions
from paretoboard_reports.view.select import Cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import RunRecord
    from paretoboard_reports.view.model import Effect

_Variant = Mapping[str, Any]  # a spec.Variant as it is stored
_Pair = tuple[str, str, str]  # environment, steps with the techniques, steps without them


@dataclass(frozen=True, slots=True, kw_only=True)
class _Board:
    """The cells of a board, found by what is in their recipes."""

    cells: Mapping[tuple[str, str], Cell]  # by environment and steps
    batch: int

    def cell(self, beside: Cell, variant: _Variant) -> Cell | None:
        """The cell of a variant in the environment of `beside`, which it may be itself."""
        if variant["steps"] == list(beside.latest.steps):
            return beside
        return self.cells.get((_environment(beside), digest(variant["steps"])))


def contributions(cells: Sequence[Cell], metric: str, batch: int) -> tuple[tuple[Contributions, ...], ...]:
    """For each cell what its techniques contribute, () where there is nothing to tell apart.

    Args:
        batch: that recipes were timed against their references at.
    """
    board = _Board(
        cells={(_environment(cell), digest(list(cell.latest.steps))): cell for cell in cells},
        batch=batch,
    )
    wanted = [_wanted(cell) for cell in cells]
    pairs = {
        _key(cell, with_them, without): _runs(board, cell, with_them, without)
        for cell, tables in zip(cells, wanted, strict=True)
        for lines in tables.values()
        for with_them, without in lines
    }
    qualities = paired_qualities(pairs, metric)

    def line(cell: Cell, with_them: _Variant, without: _Variant) -> Contribution:
        return _line(board, cell, with_them, without, qualities.get(_key(cell, with_them, without)))

    return tuple(
        tuple(
            Contributions(view=view, lines=tuple(line(cell, *pair) for pair in lines)) for view, lines in tables.items()
        )
        for cell, tables in zip(cells, wanted, strict=True)
    )


def _wanted(cell: Cell) -> dict[Any, list[tuple[_Variant, _Variant]]]:
    """By point of view, which variants of a recipe stand beside which."""
    ablation = cell.latest.spec.get("recipe", {}).get("ablation")
    if not ablation:
        return {}
    ladder, left_out = ablation["ladder"], ablation["left_out"]
    alone, itself = ladder[0], ladder[-1]
    tables = {"runtime alone": [(itself, alone)]} if alone["steps"] else {}
    if left_out:
        baseline = [{"name": BASELINE, "steps": [], "reason": ""}] if alone["steps"] else []
        tables["step by step"] = [(rung, below) for below, rung in pairwise([*baseline, *ladder])]
        tables["left out"] = [(itself, part) for part in left_out]
    return tables


def _line(board: _Board, cell: Cell, with_them: _Variant, without: _Variant, quality: Effect | None) -> Contribution:
    there, other = board.cell(cell, with_them), board.cell(cell, without)
    speed = speed_against(there.measured, _called(there, without), board.batch) if there else None
    added = _added(with_them["steps"], without["steps"])
    return Contribution(
        techniques=tuple(map(step, added)),
        words=steps_in_words(added),
        recipe=_name(there, with_them),
        against=_name(other, without),
        speed=speed,
        quality=quality,
        size_ratio=_size_ratio(there, other),
        missing=_missing(there, with_them) or _missing(other, without) or ("" if speed else "not timed side by side"),
    )


def _runs(board: _Board, cell: Cell, with_them: _Variant, without: _Variant) -> list[tuple[RunRecord, RunRecord]]:
    """The runs of both, by seed; a recipe that trains nothing may have run with one seed only."""
    there, other = board.cell(cell, with_them), board.cell(cell, without)
    if there is None or other is None or not other.measured:
        return []
    by_seed = {record.seed: record for record in other.measured}
    return [(record, by_seed.get(record.seed, other.latest)) for record in there.measured]


def _called(cell: Cell, variant: _Variant) -> str:
    """What a variant was called when the cell's recipe was timed against it."""
    references = cell.latest.spec.get("recipe", {}).get("references", [])
    return next((str(found["name"]) for found in references if found["steps"] == variant["steps"]), variant["name"])


def _missing(cell: Cell | None, variant: _Variant) -> str:
    """Why there are no numbers of a variant, "" where there are."""
    if variant["reason"]:
        return f"{variant['name']} can't be made: {variant['reason']}"
    if cell is None:
        return f"{variant['name']} was not measured on its own"
    if not cell.measured:
        found = cell.latest
        return f"{found.recipe}: {found.status}" + (f", {found.reason}" if found.reason else "")
    return ""


def _size_ratio(cell: Cell | None, other: Cell | None) -> float | None:
    sizes = [found.latest.metric("file_size") if found and found.measured else None for found in (cell, other)]
    ours, theirs = sizes
    return ours.value / theirs.value if ours and theirs and theirs.value else None


def _added(longer: Sequence[Any], shorter: Sequence[Any]) -> list[Any]:
    """The steps that `longer` has beyond those of `shorter`, in order."""
    rest, added = list(shorter), []
    for found in longer:
        if rest and found == rest[0]:
            rest.pop(0)
        else:
            added.append(found)
    return added


def _name(cell: Cell | None, variant: _Variant) -> str:
    return cell.latest.recipe if cell else str(variant["name"])


def _environment(cell: Cell) -> str:
    return cell.latest.provenance.environment_id


def _key(cell: Cell, with_them: _Variant, without: _Variant) -> _Pair:
    return _environment(cell), digest(with_them["steps"]), digest(without["steps"])

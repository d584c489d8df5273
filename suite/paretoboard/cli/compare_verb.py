"""`paretoboard compare`: two folders of results, sessions or recipes side by side."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from paretoboard.cli import options
from paretoboard.cli.compare_tables import show
from paretoboard.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoboard.records import RunRecord
    from paretoboard.side_by_side import Pairing

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Kind = Literal["folder", "session", "recipe"]
_SESSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}(:\d{2})?)?)?", re.ASCII)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A folder of results, a day (2026-11-22), or a recipe.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, of the same kind.")],
    results: options.Results = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="Only this task, by its name; may be repeated.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Two folders of results, two sessions or two recipes side by side: what differs, and is it real?

    A session is what was measured on a day, or in an hour of it (2026-11-22T21). Sessions and recipes are looked for
    in --results. Results that answer different questions are not compared; it is said why, field by field.

    Exit code 1 when B is significantly worse than A in a run that both have, or has no numbers where A has; two
    recipes are alternatives, so of them none is a regression. Across different software nothing is called one either.
    """
    from paretoboard.side_by_side import side_by_side

    kinds = {name: _kind(name) for name in (first, second)}
    if len({*kinds.values()}) > 1:
        said = ", ".join(f"'{name}' is a {kind}" for name, kind in kinds.items())
        raise InputError(f"{said}; two folders, two days or two recipes would be right")
    kind = kinds[first]
    folder = options.results_folder(results)
    ours, theirs = (_records(name, kind, folder, tasks) for name in (first, second))
    found = side_by_side(ours, theirs, by_recipe=kind != "recipe")
    regressed = kind != "recipe" and any(pairing.regressed for pairing in found.pairings)
    if as_json:
        print(json.dumps([_plain(pairing) for pairing in found.pairings], indent=1))
    else:
        show(found, first, second, regressed=regressed)
    if regressed:
        raise typer.Exit(1)


def _kind(name: str) -> Kind:
    if _SESSION.fullmatch(name):
        return "session"
    return "folder" if "/" in name or Path(name).is_dir() else "recipe"


def _records(name: str, kind: Kind, results: Path, tasks: Sequence[str] | None) -> list[RunRecord]:
    """The records that an argument means, with what the models answered.

    Raises: InputError where there are none, naming what is near.
    """
    from paretoboard import store

    folder = Path(name) if kind == "folder" else results
    if kind == "folder" and not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a folder that holds `records` would be right")
    reading = store.read(folder, tasks=tasks, with_predictions=True)
    for damaged in reading.damaged:
        print(f"left out: {damaged}", file=sys.stderr)
    records = list(reading.records)
    if kind == "session":
        records = [record for record in records if record.started_at.isoformat().startswith(name)]
    if kind == "recipe":
        known = {record.recipe for record in records}
        if known and name not in known:
            raise UnknownNameError("recipe", name, known)
        records = [record for record in records if record.recipe == name]
    if not records:
        where = f" of {', '.join(tasks)}" if tasks else ""
        raise InputError(f"{folder}: no results{where}{f' from {name}' if kind == 'session' else ''}")
    return records


def _plain(pairing: Pairing) -> dict[str, Any]:
    """A pair for programs: nothing rounded."""
    return {
        "task": pairing.first.task,
        "profile": pairing.first.profile,
        "seed": pairing.first.seed,
        "first": _side(pairing.first),
        "second": _side(pairing.second),
        "comparable": pairing.guard.level,
        "differences": [asdict(difference) for difference in pairing.guard.differences],
        "quality": None if pairing.quality is None else _finite(asdict(pairing.quality)),
        "time": None if pairing.time is None else _finite(asdict(pairing.time)),
        "regressed": pairing.regressed,
    }


def _side(record: RunRecord) -> dict[str, Any]:
    where = record.provenance
    return {
        "run_id": record.run_id,
        "recipe": record.recipe,
        "status": record.status,
        "reason": record.reason,
        "started_at": record.started_at.isoformat(),
        "hardware_id": where.hardware_id,
        "environment_id": where.environment_id,
        "commit": where.commit,
    }


def _finite(found: dict[str, Any]) -> dict[str, Any]:
    # JSON has neither NaN nor infinity.
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in found.items()}

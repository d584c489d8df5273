"""`paretoboard claims`: published numbers beside the measured ones."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard.cli import options
from paretoboard.cli.tables import Column, fitting, number, text

if TYPE_CHECKING:
    from rich.console import Console

    from paretoboard_reports.view.claims import ClaimLine, ClaimTable

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDEST: Final = 118
_GLYPHS: Final = {
    "confirmed": "●",
    "falls short": "▼",
    "better": "▲",
    "undecided": "?",
    "not comparable": "×",
    "not measured": "–",
}


@app.command("claims")
def show_claims(
    name: Annotated[
        str | None, typer.Option("--set", metavar="NAME", help="Only this set: a file's name below tasks/claims.")
    ] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """Published numbers beside the measured ones, with one of five verdicts.

    A claim is a change against its own baseline. What was measured in other conditions is shown with what differs, and
    not counted.
    """
    from paretoboard import claims, store
    from paretoboard_reports.view.claims import tables

    sets = claims.load_all(name)
    folder = options.results_folder(results)
    linked = sorted({link.task for found in sets for claim in found.claims for link in claim.measured_by})
    reading = store.read(folder, tasks=linked, with_predictions=True)
    for damaged in reading.damaged:
        print(f"left out: {damaged}", file=sys.stderr)
    shown = tables(sets, reading.records)
    if as_json:
        print(json.dumps([_plain(table) for table in shown], indent=1, ensure_ascii=False))
        return
    _print(shown)


def _print(shown: tuple[ClaimTable, ...]) -> None:
    from rich.console import Console

    terminal = Console()
    # Into a file or a pipe there is no width to heed, unless one was asked for.
    free = not terminal.is_terminal and "COLUMNS" not in os.environ
    width = _WIDEST if free else min(terminal.width, _WIDEST)
    console = Console(highlight=False, width=width)
    for place, table in enumerate(shown):
        if place:
            console.print()
        _print_set(console, table, width)


def _print_set(console: Console, table: ClaimTable, width: int) -> None:
    from rich.text import Text

    console.print(Text(table.title, style="bold"), width=width)
    measured = [line for line in table.lines if line.measured is not None]
    if measured:
        console.print(
            fitting(console, _columns(), measured, width, bold=lambda line: line.verdict != "not comparable"),
            width=width,
        )
    for line in table.lines:
        if line.verdict != "not measured":
            continue
        step = f" {line.next_step}" if line.next_step else ""
        console.print(Text(f"– {line.key} {line.label}: not measured: {line.reason}.{step}", style="dim"), width=width)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in table.counts)
    console.print(Text(f"{counts}; {table.unmeasured} not measured.", style="bold"), width=width)


def _columns() -> list[Column]:
    return [
        Column(head="", cell=lambda line: text(_GLYPHS[line.verdict]), left=True),
        Column(head="claim", cell=lambda line: text(line.key), left=True),
        Column(head="of", cell=lambda line: text(line.label), left=True),
        Column(head="claimed", cell=lambda line: text(line.claimed)),
        Column(head="measured", cell=lambda line: text(f"{number(line.measured)} {line.unit}")),
        Column(head="÷", cell=lambda line: text(line.ratio), drop_first=2),
        Column(head="verdict", cell=lambda line: text(line.verdict), left=True),
        Column(head="why", cell=lambda line: text(_why(line)), left=True, drop_first=1),
    ]


def _why(line: ClaimLine) -> str:
    fields = [difference.field for difference in line.differences]
    if not fields:
        return line.reason
    return f"other {fields[0]}" + (f" and {len(fields) - 1} more" if len(fields) > 1 else "")


def _plain(table: ClaimTable) -> dict[str, Any]:
    return {
        "set": table.name,
        "title": table.title,
        "counts": {**dict(table.counts), "not measured": table.unmeasured},
        "numbers": [_plain_line(line) for line in table.lines],
    }


def _plain_line(line: ClaimLine) -> dict[str, Any]:
    measured = line.measured
    return {
        "claim": line.key,
        "says": line.says,
        "about": line.label,
        "claimed": line.claimed,
        "verdict": line.verdict,
        "reason": line.reason,
        "differences": [dataclasses.asdict(found) for found in line.differences],
        "measured": None
        if measured is None
        else {
            "value": _finite(measured.value),
            "low": _finite(measured.low),
            "high": _finite(measured.high),
            "n": measured.n,
            "unit": measured.source_unit,
            "shown_in": line.unit,
        },
        "task": line.task or None,
        "recipe": line.recipe or None,
        "against": line.against or None,
        "source": line.source,
        "next_step": line.next_step or None,
    }


def _finite(value: float | None) -> float | None:
    # JSON has neither NaN nor infinity.
    return value if value is not None and math.isfinite(value) else None

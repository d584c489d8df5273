"""`paretoboard board`: the ranking table of a task, in the terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import taskfile
from paretoboard.cli import break_tables, contribution_tables, options
from paretoboard.cli.report_verb import read_page
from paretoboard.cli.tables import Column, effect, fitting, number, text
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.text import Text

    from paretoboard.records import Diagnosis
    from paretoboard_reports.view import Board, Effect, Page, Quantity, Row

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDEST: Final = 118
_GLYPHS: Final = {"front": "●", "tied": "○", "dominated": "·", "none": "–"}


@app.command()
def board(
    tasks: options.Tasks,
    results: options.Results = None,
    as_json: options.AsJson = False,
    why: Annotated[
        bool, typer.Option("--why", help="Below the table, say of each recipe why it is as fast as it is.")
    ] = False,
    breaks: Annotated[
        bool,
        typer.Option(
            "--breaks", help="Below the table, say what each recipe breaks: flips, classes, calibration, robustness."
        ),
    ] = False,
) -> None:
    """The ranking table of a task, in the terminal."""
    names = [taskfile.task_name(file) for file in taskfile.find(tasks)]
    folder = options.results_folder(results)
    page = read_page(folder, names)
    for line in page.damaged:
        print(f"left out: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps([_plain(board, row) for board in page.boards for row in board.rows], indent=1))
        return
    if not page.boards:
        raise InputError(f"{folder}: no results of {', '.join(names)}. `paretoboard run {' '.join(tasks)}` makes them.")
    _print(page, why=why, breaks=breaks)
    print(f"Next: paretoboard report --results {folder}  (the same with all details, as a page)", file=sys.stderr)


def _print(page: Page, *, why: bool, breaks: bool) -> None:
    from rich.console import Console

    terminal = Console()
    # Into a file or a pipe there is no width to heed, unless one was asked for.
    free = not terminal.is_terminal and "COLUMNS" not in os.environ
    width = _WIDEST if free else min(terminal.width, _WIDEST)
    console = Console(highlight=False, width=width)
    for place, found in enumerate(page.boards):
        if place:
            console.print()
        _print_board(console, found, width)
        if why:
            _print_reasons(console, found, width)
        if breaks:
            break_tables.show(console, found, width)


def _print_reasons(console: Console, found: Board, width: int) -> None:
    from rich.text import Text

    console.print()
    for row in found.ranked:
        explanation = row.details.explanation
        said = explanation.sentence if explanation is not None else "nobody looked."
        console.print(Text(f"{row.recipe}: ", style="bold").append(said, style="not bold"), width=width)


def _print_board(console: Console, found: Board, width: int) -> None:
    from rich.text import Text

    title = Text(f"{found.title}: {found.task} × {found.hardware} × {found.profile}", style="bold")
    console.print(title, width=width)
    for warning in found.warnings:
        console.print(Text(f"! {warning}", style="yellow"), width=width)
    table = fitting(console, _columns(found), found.ranked, width, bold=lambda row: row.standing == "front")
    console.print(table, width=width)
    for row in found.rows:
        if row.status != "ok":
            console.print(Text(f"✗ {row.recipe}: {row.status}: {row.reason}", style="red"), width=width)
    if found.self_check is not None:
        check = found.self_check
        said = f"Self-check, baseline against itself: {check.words}, ratio {number(check.quantity)}"
        console.print(Text(said, style="dim"), width=width)
    for said in (found.resolution, found.subset_ranks):
        if said:
            console.print(Text(said, style="dim"), width=width)
    contribution_tables.show(console, found, width)
    counts = ", ".join(f"{count} {'measured' if status == 'ok' else status}" for status, count in found.counts)
    legend = "● front  ○ can't be told from it  · beaten   ▲ better  ▼ worse  = same  ? undecided"
    console.print(Text(legend, style="dim"), width=width)
    console.print(Text(f"{counts}.", style="dim"), width=width)


def _columns(found: Board) -> list[Column]:
    quality = [
        Column(head="", cell=lambda row: text(_GLYPHS[row.standing]), left=True),
        Column(head="recipe", cell=lambda row: text(row.recipe), left=True),
        Column(head=f"{found.quality_name}\n{found.units['quality']}", cell=lambda row: text(number(row.quality))),
        Column(head="baseline\npoints", cell=lambda row: _beside_baseline(row, row.quality_effect, signed=True)),
    ]
    units, small, large = found.units, found.small_batch, found.large_batch
    size = Column(head=f"file\n{units['file_size']}", cell=lambda row: text(number(row.file_size)), drop_first=3)
    if not found.timed:
        return [
            *quality,
            Column(head=f"training\n{units['training']}", cell=lambda row: text(number(row.train_time))),
            Column(head="speed-up\n×, training", cell=lambda row: _beside_baseline(row, row.train_speedup)),
            size,
        ]
    return [
        *quality,
        Column(head=f"latency\n{units['latency']}, b{small}", cell=lambda row: text(number(row.latency)), drop_first=1),
        Column(head=f"speed-up\n×, b{small}", cell=lambda row: _beside_baseline(row, row.speedup)),
        Column(
            head=f"throughput\n{units['throughput']}, b{large}",
            cell=lambda row: text(number(row.throughput)),
            drop_first=2,
        ),
        size,
        Column(head=f"memory\n{units['memory']}", cell=lambda row: text(number(row.memory)), drop_first=4),
    ]


def _beside_baseline(row: Row, found: Effect | None, *, signed: bool = False) -> Text:
    from rich.text import Text

    return Text("reference", style="dim") if row.is_baseline else effect(found, signed=signed)


def _plain(board: Board, row: Row) -> Mapping[str, Any]:
    """A row for programs: values in the units of the records, nothing rounded."""
    shown = {
        board.quality_metric: row.quality,
        "latency": row.latency,
        "latency_p90": row.latency_p90,
        "latency_p99": row.latency_p99,
        "throughput": row.throughput,
        "file_size": row.file_size,
        "peak_memory": row.memory,
        "process_memory": row.process_memory,
        "parameters": row.parameters,
        "macs": row.macs,
        "build_time": row.build_time,
        "train_time": row.train_time,
    }
    effects = {
        board.quality_metric: row.quality_effect,
        "latency": None if row.is_baseline else row.speedup,
        "throughput": None if row.is_baseline else row.throughput_speedup,
        "train_time": row.train_speedup,
    }
    return {
        "task": board.task,
        "profile": board.profile,
        "hardware": board.hardware,
        "recipe": row.recipe,
        "status": row.status,
        "reason": row.reason,
        "unscored": board.unscored,
        "layers": {axis: place.layer for axis, place in row.places.items()},
        "metrics": {name: _value(found) for name, found in shown.items() if found is not None},
        "verdicts": {name: _verdict(found) for name, found in effects.items() if found is not None},
        "diagnosis": _diagnosis(row.details.diagnosis),
        "contributions": contribution_tables.plain(row, _verdict),
        "breaks": break_tables.plain(row, _value, _verdict),
    }


def _value(found: Quantity) -> Mapping[str, Any]:
    return {
        "value": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "n": found.n,
        "unit": found.source_unit,
    }


def _verdict(found: Effect) -> Mapping[str, Any]:
    quantity = found.quantity
    ends = {"low": _finite(quantity.low), "high": _finite(quantity.high)}
    return {"verdict": found.verdict, "value": _finite(quantity.value), **ends, "reason": found.reason}


def _diagnosis(found: Diagnosis | None) -> Mapping[str, Any] | None:
    return None if found is None else json.loads(json.dumps(asdict(found)), parse_constant=lambda name: None)


def _finite(value: float | None) -> float | None:
    # JSON has neither NaN nor infinity.
    return value if value is not None and math.isfinite(value) else None

"""`paretoboard board`: the ranking table of a task, in the terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import taskfile
from paretoboard.cli import options
from paretoboard.cli.report_verb import read_page
from paretoboard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from paretoboard.records import Diagnosis
    from paretoboard_reports.view import Board, Effect, Page, Quantity, Row

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDEST: Final = 118
_GLYPHS: Final = {"front": "●", "tied": "○", "dominated": "·", "none": "–"}
_VERDICTS: Final = {"better": "▲", "worse": "▼", "same": "=", "undecided": "?"}
_COLORS: Final = {"better": "green", "worse": "red", "same": "", "undecided": "yellow"}


@app.command()
def board(
    tasks: options.Tasks,
    results: options.Results = None,
    as_json: options.AsJson = False,
    why: Annotated[
        bool, typer.Option("--why", help="Below the table, say of each recipe why it is as fast as it is.")
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
    _print(page, why=why)
    print(f"Next: paretoboard report --results {folder}  (the same with all details, as a page)", file=sys.stderr)


def _print(page: Page, *, why: bool) -> None:
    from rich.console import Console

    terminal = Console()
    # Into a file or a pipe there is no width to heed, unless one was asked for.
    free = not terminal.is_terminal and "COLUMNS" not in os.environ
    width = _WIDEST if free else min(terminal.width, _WIDEST)
    console = Console(highlight=False, width=width)
    for number, found in enumerate(page.boards):
        if number:
            console.print()
        _print_board(console, found, width)
        if why:
            _print_reasons(console, found, width)


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
    console.print(_table(console, found, width), width=width)
    for row in found.rows:
        if row.status != "ok":
            console.print(Text(f"✗ {row.recipe}: {row.status}: {row.reason}", style="red"), width=width)
    if found.self_check is not None:
        check = found.self_check
        said = f"Self-check, baseline against itself: {check.words}, ratio {_number(check.quantity)}"
        console.print(Text(said, style="dim"), width=width)
    counts = ", ".join(f"{count} {'measured' if status == 'ok' else status}" for status, count in found.counts)
    legend = "● front  ○ can't be told from it  · beaten   ▲ better  ▼ worse  = same  ? undecided"
    console.print(Text(legend, style="dim"), width=width)
    console.print(Text(f"{counts}.", style="dim"), width=width)


def _table(console: Console, found: Board, width: int) -> Table:
    """The widest table that fits: what is needed least is left out first, names are never cut."""
    columns = _columns(found)
    while True:
        table = _drawn(found, columns)
        optional = [column for column in columns if column.drop_first]
        natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
        if not optional or natural <= width:
            return table
        columns.remove(max(optional, key=lambda column: column.drop_first))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    head: str
    cell: Callable[[Any], Any]  # Row -> Text
    drop_first: int = 0  # the higher the sooner it gives way on a narrow terminal; 0 never does


def _columns(found: Board) -> list[_Column]:
    units, small, large = found.units, found.small_batch, found.large_batch
    return [
        _Column(head="", cell=lambda row: _text(_GLYPHS[row.standing])),
        _Column(head="recipe", cell=lambda row: _text(row.recipe)),
        _Column(head=f"{found.quality_name}\n{units['quality']}", cell=lambda row: _text(_number(row.quality))),
        _Column(head="baseline\npoints", cell=lambda row: _effect(row, row.quality_effect, signed=True)),
        _Column(
            head=f"latency\n{units['latency']}, b{small}", cell=lambda row: _text(_number(row.latency)), drop_first=1
        ),
        _Column(head=f"speed-up\n×, b{small}", cell=lambda row: _effect(row, row.speedup)),
        _Column(
            head=f"throughput\n{units['throughput']}, b{large}",
            cell=lambda row: _text(_number(row.throughput)),
            drop_first=2,
        ),
        _Column(head=f"file\n{units['file_size']}", cell=lambda row: _text(_number(row.file_size)), drop_first=3),
        _Column(head=f"memory\n{units['memory']}", cell=lambda row: _text(_number(row.memory)), drop_first=4),
    ]


def _drawn(found: Board, columns: Sequence[_Column]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column.head, justify="left" if place < 2 else "right", no_wrap=True)
    for row in found.rows:
        if row.status == "ok":
            table.add_row(*(column.cell(row) for column in columns), style="bold" if row.standing == "front" else None)
    return table


def _text(shown: str) -> Text:
    # Not a plain string: rich would read "[...]" in a name as markup.
    from rich.text import Text

    return Text(shown)


def _number(shown: Quantity | None) -> str:
    if shown is None:
        return "–"
    return f"{shown.text} ± {shown.half}" if shown.half else shown.text


def _effect(row: Row, effect: Effect | None, *, signed: bool = False) -> Text:
    from rich.text import Text

    from paretoboard_reports.view import signed as with_sign

    if row.is_baseline:
        return Text("reference", style="dim")
    if effect is None:
        return Text("–")
    sign = with_sign(effect.quantity.text) if signed else effect.quantity.text
    half = f" ± {effect.quantity.half}" if effect.quantity.half else ""
    return Text(f"{sign}{half} ").append(_VERDICTS[effect.verdict], style=_COLORS[effect.verdict])


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
    }
    effects = {
        board.quality_metric: row.quality_effect,
        "latency": None if row.is_baseline else row.speedup,
        "throughput": None if row.is_baseline else row.throughput_speedup,
    }
    return {
        "task": board.task,
        "profile": board.profile,
        "hardware": board.hardware,
        "recipe": row.recipe,
        "status": row.status,
        "reason": row.reason,
        "layers": {axis: place.layer for axis, place in row.places.items()},
        "metrics": {name: _value(found) for name, found in shown.items() if found is not None},
        "verdicts": {name: _verdict(found) for name, found in effects.items() if found is not None},
        "diagnosis": _diagnosis(row.details.diagnosis),
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

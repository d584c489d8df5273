"""What each technique of a board's recipes contributes, in the terminal and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paretoboard.cli.tables import Column, effect, fitting, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from paretoboard_reports.view import Board, Contribution, Effect, Row

_TITLES: Final = {
    "step by step": "{}, step by step: each technique added to those above it",
    "left out": "{}, left out: the recipe beside itself without one technique",
}


def show(console: Console, board: Board, width: int) -> None:
    """Print every contribution: against the runtimes alone in one table, two tables for each ablated recipe."""
    beside = [row.beside_runtime for row in board.rows if row.beside_runtime is not None]
    if beside:
        title = "Beside their runtimes alone: all techniques of a recipe together"
        _print(console, board, title, beside, width, recipes_differ=True)
    for row in board.rows:
        for table in row.contributions:
            if table.view in _TITLES:
                _print(console, board, _TITLES[table.view].format(row.recipe), table.lines, width)


def plain(row: Row, verdict: Callable[[Effect], Mapping[str, Any]]) -> Mapping[str, Any]:
    """A row's contributions for programs: by point of view, a list of lines."""
    return {
        table.view: [
            {
                "techniques": [step.name for step in line.techniques],
                "recipe": line.recipe,
                "against": line.against,
                "speedup": verdict(line.speed) if line.speed else None,
                "quality": verdict(line.quality) if line.quality else None,
                "size_ratio": line.size_ratio,
                "missing": line.missing,
            }
            for line in table.lines
        ]
        for table in row.contributions
    }


def _print(
    console: Console,
    board: Board,
    title: str,
    lines: Sequence[Contribution],
    width: int,
    *,
    recipes_differ: bool = False,
) -> None:
    from rich.text import Text

    columns = [
        # What tells the lines apart never gives way: the recipes, or the techniques of one.
        Column(head="technique", cell=lambda line: text(_names(line)), left=True, drop_first=4 * recipes_differ),
        Column(head="with", cell=lambda line: text(line.recipe), left=True, drop_first=4 * (not recipes_differ)),
        Column(head="without", cell=lambda line: text(line.against), left=True, drop_first=3),
        Column(head=f"speed-up\n×, b{board.small_batch}", cell=lambda line: effect(line.speed)),
        Column(head=f"{board.quality_name}\npoints", cell=lambda line: effect(line.quality, signed=True)),
        Column(head="file\n×", cell=lambda line: text(_ratio(line.size_ratio)), drop_first=1),
    ]
    console.print()
    console.print(Text(title, style="bold"), width=width)
    console.print(fitting(console, columns, lines, width, bold=lambda line: False), width=width)
    for missing in dict.fromkeys(line.missing for line in lines if line.missing):
        console.print(Text(f"– {missing}", style="dim"), width=width)


def _names(line: Contribution) -> str:
    return " + ".join(step.name for step in line.techniques)


def _ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3g}"

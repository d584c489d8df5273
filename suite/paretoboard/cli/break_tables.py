"""What the recipes of a board break beside overall quality, in the terminal and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paretoboard.cli.tables import VERDICTS, Column, effect, fitting, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console
    from rich.text import Text

    from paretoboard_reports.view import Board, Breaks, Effect, Quantity, Row


def show(console: Console, board: Board, width: int) -> None:
    """Print how the recipes' answers differ from the baseline's, and what corruptions cost them."""
    from rich.text import Text

    rows = [row for row in board.ranked if row.details.breaks is not None]
    console.print()
    if not rows:
        console.print(Text("What they break follows from predictions, and no recipe here has any."), width=width)
        return
    console.print(Text("What they break: answers beside the baseline's, on the same images", style="bold"), width=width)
    console.print(fitting(console, _columns(), rows, width, bold=lambda row: False), width=width)
    for row in rows:
        console.print(Text(f"{row.recipe}: ", style="bold").append(_sentence(row), style="not bold"), width=width)
    corrupted = [(row.recipe, line) for row in rows for line in _breaks(row).corruptions]
    if corrupted:
        console.print()
        console.print(Text("Under corruptions: what each costs, and how much more than the baseline", style="bold"))
        table = fitting(console, _corruption_columns(), corrupted, width, bold=lambda row: False)
        console.print(table, width=width)


def plain(
    row: Row, value: Callable[[Quantity], Mapping[str, Any]], verdict: Callable[[Effect], Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The same for programs; None for a row without predictions."""
    found = row.details.breaks
    if found is None:
        return None
    moved, resolves = found.explanation, row.quality_effect.resolves if row.quality_effect else None
    return {
        "agreement": value(found.agreement) if found.agreement else None,
        "resolution": None
        if resolves is None
        else {
            "discordant": resolves.discordant.value if resolves.discordant else None,
            "decided_from": resolves.decided.value,
            "found_from": resolves.found.value,
        },
        "flips": {
            flips.direction: {"count": flips.count, "first": [line.image for line in flips.lines]}
            for flips in found.flips
        },
        "classes": [
            {
                "class": line.index,
                "images": line.images,
                "lost": line.lost,
                "gained": line.gained,
                "recall": verdict(line.effect),
            }
            for line in found.classes
        ],
        "calibration_error": value(found.calibration) if found.calibration else None,
        "calibration_change": verdict(found.calibration_effect) if found.calibration_effect else None,
        "corruptions": {
            line.corruption: {
                "score": line.score,
                "drop": value(line.drop),
                "beyond_baseline": verdict(line.further) if line.further else None,
            }
            for line in found.corruptions
        },
        "explanation": None
        if moved is None
        else {
            "method": moved.method,
            "reason": moved.reason,
            "similarity": value(moved.similarity) if moved.similarity else None,
        },
    }


def _columns() -> list[Column]:
    return [
        Column(head="recipe", cell=lambda row: text(row.recipe), left=True),
        Column(head="same answer\n%", cell=lambda row: text(number(_breaks(row).agreement))),
        Column(head="right to\nwrong", cell=lambda row: text(_count(row, "right to wrong"))),
        Column(head="wrong to\nright", cell=lambda row: text(_count(row, "wrong to right"))),
        Column(head="to other\nwrong", cell=lambda row: text(_count(row, "wrong to other wrong")), drop_first=3),
        Column(head="calibration\nerror, %", cell=lambda row: text(number(_breaks(row).calibration)), drop_first=1),
        Column(head="change\npoints", cell=_calibration_change, drop_first=2),
    ]


def _corruption_columns() -> list[Column]:
    """Of rows (recipe, what one corruption costs it)."""
    return [
        Column(head="recipe", cell=lambda pair: text(pair[0]), left=True),
        Column(head="corruption", cell=lambda pair: text(pair[1].corruption), left=True),
        Column(head="value\n%", cell=lambda pair: text(pair[1].value)),
        Column(head="drop\npoints", cell=lambda pair: text(number(pair[1].drop))),
        Column(head="baseline's\ndrop", cell=lambda pair: text(pair[1].baseline_drop), drop_first=1),
        Column(head="beyond it\npoints", cell=lambda pair: effect(pair[1].further, signed=True)),
    ]


def _sentence(row: Row) -> str:
    """What its images can show, the classes that lose, and what became of its explanations."""
    found, said = _breaks(row), []
    if row.quality_effect is not None and row.quality_effect.resolves is not None:
        said.append(f"differences from {row.quality_effect.resolves.decided.text} points on are told from none")
    sure = [line for line in found.classes if line.effect.verdict == "worse"]
    if sure:
        said.append("classes that lose: " + ", ".join(_class(line.index, line.effect) for line in sure))
    elif found.classes:
        worst = found.classes[0]
        said.append(f"the class that loses most: {_class(worst.index, worst.effect)}")
    if found.explanation is not None:
        similarity = found.explanation.similarity
        said.append(found.explanation.reason or f"explanations similar by {number(similarity)}")
    return "; ".join(said) + "." if said else "nothing to compare it with."


def _class(index: int, found: Effect) -> str:
    return f"{index} ({found.quantity.text} points {VERDICTS[found.verdict]})"


def _calibration_change(row: Row) -> Text:
    found = _breaks(row).calibration_effect
    return effect(found, signed=True)


def _count(row: Row, direction: str) -> str:
    found = next((flips for flips in _breaks(row).flips if flips.direction == direction), None)
    return "–" if found is None else f"{found.count:,}"


def _breaks(row: Row) -> Breaks:
    assert row.details.breaks is not None
    return row.details.breaks

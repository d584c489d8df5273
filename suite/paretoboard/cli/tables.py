"""Tables in the terminal: the widest that fits, numbers with their half-widths, effects with their glyphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from paretoboard_reports.view import Effect, Quantity

VERDICTS: Final = {"better": "▲", "worse": "▼", "same": "=", "undecided": "?"}
_COLORS: Final = {"better": "green", "worse": "red", "same": "", "undecided": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    head: str
    cell: Callable[[Any], Any]  # what it says of a row, as a rich Text
    drop_first: int = 0  # the higher the sooner it gives way on a narrow terminal; 0 never does
    left: bool = False  # words, not numbers


def fitting(
    console: Console, columns: Sequence[Column], rows: Sequence[Any], width: int, bold: Callable[[Any], bool]
) -> Table:
    """The widest table that fits: what is needed least is left out first, names are never cut."""
    kept = list(columns)
    while True:
        table = _drawn(kept, rows, bold)
        optional = [column for column in kept if column.drop_first]
        natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
        if not optional or natural <= width:
            return table
        kept.remove(max(optional, key=lambda column: column.drop_first))


def text(shown: str) -> Text:
    """Words as they are; rich would read "[...]" in a plain string as markup."""
    from rich.text import Text

    return Text(shown)


def number(shown: Quantity | None) -> str:
    """A number with its half-width, "–" where there is none."""
    if shown is None:
        return "–"
    return f"{shown.text} ± {shown.half}" if shown.half else shown.text


def effect(found: Effect | None, *, signed: bool = False) -> Text:
    """A difference with its verdict's glyph, "–" where there is none."""
    from rich.text import Text

    from paretoboard_reports.view import signed as with_sign

    if found is None:
        return Text("–")
    sign = with_sign(found.quantity.text) if signed else found.quantity.text
    half = f" ± {found.quantity.half}" if found.quantity.half else ""
    return Text(f"{sign}{half} ").append(VERDICTS[found.verdict], style=_COLORS[found.verdict])


def _drawn(columns: Sequence[Column], rows: Sequence[Any], bold: Callable[[Any], bool]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in columns:
        table.add_column(column.head, justify="left" if column.left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns), style="bold" if bold(row) else None)
    return table

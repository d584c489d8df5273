"""What two sets of results have in common and where they differ, in the terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from paretoboard.cli.tables import VERDICTS, Column, fitting, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.text import Text

    from paretoboard.records import RunRecord
    from paretoboard.side_by_side import Pairing, SideBySide

_WIDEST: Final = 118
_STYLES: Final = {"better": "green", "worse": "red", "same": "", "undecided": "yellow"}
_MOST_NAMED: Final = 10  # cells that only one side has


def show(found: SideBySide, first: str, second: str, *, regressed: bool) -> None:
    """Print the pairs that can be compared as a table, the others with what keeps them apart."""
    from rich.console import Console
    from rich.text import Text

    terminal = Console()
    # Into a file or a pipe there is no width to heed, unless one was asked for.
    free = not terminal.is_terminal and "COLUMNS" not in os.environ
    width = _WIDEST if free else min(terminal.width, _WIDEST)
    console = Console(highlight=False, width=width)
    console.print(Text(f"{second} against {first}", style="bold"))
    comparable = [pairing for pairing in found.pairings if pairing.guard.comparable]
    if comparable:
        console.print(fitting(console, _columns(), comparable, width, bold=lambda pairing: pairing.regressed))
    for pairing in found.pairings:
        if not pairing.guard.comparable:
            console.print(Text(f"✗ {_cell(pairing)}: not comparable", style="yellow"))
            for difference in pairing.guard.differences:
                console.print(Text(f"    {difference}"))
    for name, cells in ((first, found.only_first), (second, found.only_second)):
        _only(console, name, cells)
    _last_lines(console, found, regressed=regressed)


def _last_lines(console: Console, found: SideBySide, *, regressed: bool) -> None:
    from rich.text import Text

    levels = [pairing.guard.level for pairing in found.pairings]
    apart, cut = levels.count("different"), levels.count("compatible")
    said = [f"{len(levels) - apart} compared"]
    said += [f"{apart} not comparable"] if apart else []
    said += [f"{cut} with other software, where nothing is called a regression"] if cut else []
    console.print(
        Text("▲ better  ▼ worse  = same  ? undecided   corrected for the number of pairs (Holm)", style="dim")
    )
    end = "Exit code 1: worse than before." if regressed else "Exit code 0: no regression."
    console.print(Text(f"{', '.join(said)}. {end}", style="dim"))


def _only(console: Console, name: str, cells: tuple[str, ...]) -> None:
    from rich.text import Text

    if not cells:
        return
    more = f", and {len(cells) - _MOST_NAMED} more" if len(cells) > _MOST_NAMED else ""
    console.print(Text(f"Only in {name}: {', '.join(cells[:_MOST_NAMED])}{more}", style="dim"))


def _columns() -> list[Column]:
    return [
        Column(head="task, profile, recipe", cell=lambda pairing: text(_cell(pairing)), left=True),
        Column(head="quality\npoints", cell=_quality),
        Column(head="time a call", cell=_time),
        Column(head="file\n×", cell=lambda pairing: text(_ratio(pairing, "file_size")), drop_first=2),
        Column(head="memory\n×", cell=lambda pairing: text(_ratio(pairing, "peak_memory")), drop_first=1),
    ]


def _cell(pairing: Pairing) -> str:
    one, two = pairing.first, pairing.second
    recipe = one.recipe if one.recipe == two.recipe else f"{two.recipe} / {one.recipe}"
    return f"{one.task} {one.profile} {recipe} seed {one.seed}"


def _quality(pairing: Pairing) -> Text:
    from rich.text import Text

    found = pairing.quality
    if found is None:
        return Text(_missing(pairing.first, pairing.second))
    half = 100 * (found.high - found.low) / 2
    shown = f"{100 * found.difference:+.2f} ± {half:.2f} ".replace("-", "−")
    return Text(shown).append(VERDICTS[found.verdict], style=_STYLES[found.verdict])


def _time(pairing: Pairing) -> Text:
    from rich.text import Text

    found = pairing.time
    if found is None:
        return Text("–")
    if pairing.guard.level == "compatible":
        return Text(f"n/a: {_changed(pairing)}")
    words = {"same": "= within noise", "undecided": "? can’t be told", "worse": "", "better": ""}[found.verdict]
    if not words:
        percent = 100 * abs(found.ratio - 1)
        words = f"▼ {percent:.1f}% slower" if found.verdict == "worse" else f"▲ {percent:.1f}% faster"
    return Text(words, style=_STYLES[found.verdict])


def _changed(pairing: Pairing) -> str:
    """Which software differs, in few words."""
    before, after = (_flat(record.provenance.environment) for record in (pairing.first, pairing.second))
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return f"{', '.join(names[:2])}{' …' if len(names) > 2 else ''} changed" if names else "environment changed"


def _flat(environment: Mapping[str, object]) -> dict[str, str]:
    plain = {key: str(value) for key, value in environment.items() if key != "libraries"}
    libraries = environment.get("libraries")
    return plain | ({key: str(value) for key, value in libraries.items()} if isinstance(libraries, dict) else {})


def _missing(one: RunRecord, two: RunRecord) -> str:
    if one.status != two.status:
        return f"{one.status} → {two.status}"
    return "–" if one.status == "ok" else one.status


def _ratio(pairing: Pairing, name: str) -> str:
    before, after = pairing.first.metric(name), pairing.second.metric(name)
    if before is None or after is None or not before.value:
        return "–"
    return f"{after.value / before.value:.3g}"

"""`paretoboard regressions`: what changed between nights, as text, Markdown or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from paretoboard.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.regressions import Regressions
    from paretoboard_reports.view.nights import Told

app = typer.Typer(add_completion=False, rich_markup_mode=None)
Format = Literal["text", "md", "json"]


@app.command()
def regressions(
    results: options.Results = None,
    form: Annotated[Format, typer.Option("--format", help="text, md (a table for an issue), or json.")] = "text",
) -> None:
    """What changed between nights.

    Exits with 1 where a regression is confirmed and neither fixed nor acknowledged in acks.toml of the results.
    """
    from paretoboard.regressions import of_folder
    from paretoboard_reports.view.evidence import addresses
    from paretoboard_reports.view.nights import told

    found = of_folder(options.results_folder(results))
    for line in found.damaged:
        print(f"left out: {line}", file=sys.stderr)
    changes = [told(change) for change in found.changes]
    if form == "json":
        pages = addresses(found)
        plain = [_plain(each, pages.get(each.anchor)) for each in changes]
        print(json.dumps(plain, indent=1))
    else:
        print("\n".join(_markdown(changes) if form == "md" else _lines(changes)))
    print(_summary(found), file=sys.stderr)
    if found.of("confirmed"):
        raise typer.Exit(1)


def _lines(changes: list[Told]) -> Iterator[str]:
    for each in changes:
        change = each.change
        key = change.series.key
        glyph = "▼" if change.worse else "▲"
        of = f"{key.recipe}, {key.what}, {key.task}, {key.profile}"
        yield f"{glyph} {change.state:<12} {each.by} {each.direction}  {of}"
        since = f", commits {each.commits}" if each.commits else ""
        yield f"    {each.before} -> {each.after} {each.unit} since {change.first.day}{since}; {each.says_so}"
        yield f"    beyond {each.rule}"
        if change.ack is not None:
            yield f"    {change.ack.by}: {change.ack.reason}"
        elif change.state in ("new", "confirmed"):
            yield f"    {each.command}"
            yield f"    acknowledge it in acks.toml: series = {json.dumps(key.name)}, night = {change.first.day}"


def _markdown(changes: list[Told]) -> Iterator[str]:
    yield "| state | series | from | to | change | beyond | since | confirmed |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in changes:
        change = each.change
        cells = (
            change.state,
            change.series.key.name,
            f"{each.before} {each.unit}",
            f"{each.after} {each.unit}",
            f"{each.by} {each.direction}",
            each.rule,
            f"{change.first.day} {each.commits}",
            f"{change.confirmed} of {change.asked}",
        )
        yield f"| {' | '.join(cell.strip().replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(each: Told, page: str | None) -> dict[str, Any]:
    change = each.change
    return {
        "series": change.series.key.name,
        "metric": change.series.metric,
        "kind": change.kind,
        "state": change.state,
        "worse": change.worse,
        "before": change.before,
        "after": change.after,
        "unit": change.series.unit,
        "share": change.share,
        "low": change.low,
        "high": change.high,
        "band": change.band,
        "limit": change.limit,
        "night": change.first.day.isoformat(),
        "last_good": change.last_good.day.isoformat(),
        "commits": [change.last_good.commit, change.first.commit],
        "confirmed": change.confirmed,
        "asked": change.asked,
        "command": each.command,
        "page": page,
        "acknowledged": None if change.ack is None else {"by": change.ack.by, "reason": change.ack.reason},
    }


def _summary(found: Regressions) -> str:
    nights = max((len(series.nights) for series in found.series), default=0)
    counts = [f"{len(found.of(state))} {state}" for state in ("confirmed", "new", "acknowledged", "fixed", "improved")]
    text = f"{len(found.series)} series of up to {nights} nights: {', '.join(counts)}; {len(found.noisy)} too noisy."
    if found.suspicious:
        text += " Many regressions and not one improvement: suspect the machine or the detector first."
    return text

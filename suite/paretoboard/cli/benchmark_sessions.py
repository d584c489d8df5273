"""`paretoboard results import` and `benchmarks`: sessions of pytest-benchmark, kept and judged as nights are."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoboard.cli import options
from paretoboard.errors import StoreError

if TYPE_CHECKING:
    from paretoboard.benchmarks import Document, Judged


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON files that pytest-benchmark 4 or 5 wrote.")
    ],
    results: options.Results = None,
) -> None:
    """Keep sessions of pytest-benchmark; one that is there already changes nothing."""
    from paretoboard import benchmarks

    folder = options.results_folder(results)
    documents = [(path, benchmarks.read(path)) for path in files]  # all are right before any is stored
    for path, document in documents:
        session, new = benchmarks.keep(folder, document)
        count = len(document.benchmarks)
        print(f"{path}: {count} benchmarks, {f'stored as {session.name}' if new else 'there already'}")


def benchmarks(results: options.Results = None, as_json: options.AsJson = False) -> None:
    """What imported sessions say, judged as nights are: the same machine and software, and several sessions.

    Exits with 1 where a regression is confirmed.
    """
    from paretoboard import benchmarks as sessions

    folder = options.results_folder(results)
    documents = []
    for session in sessions.sessions(folder):
        try:
            documents.append(session.read())
        except StoreError as error:
            print(f"left out: {error}", file=sys.stderr)
    found = sessions.judged(documents)
    if as_json:
        print(json.dumps([_plain(each) for each in found], indent=1))
    elif found:
        heads = ["benchmark", "machine", "sessions", "newest", "level", "change", "says"]
        print(options.table([heads, *(_row(each) for each in found)]))
    else:
        print(
            "No session of pytest-benchmark is stored; `paretoboard results import FILE` stores one.", file=sys.stderr
        )
    if any(each.change is not None and each.change.state == "confirmed" for each in found):
        raise typer.Exit(1)


def verify(folder: Path) -> bool:
    """Read all sessions of a folder and print how many hold; whether one is damaged."""
    from paretoboard.benchmarks import sessions

    found, damaged = sessions(folder), 0
    for session in found:
        try:
            session.read()
        except StoreError as error:
            damaged += 1
            print(f"damaged: {error}", file=sys.stderr)
    if found:
        print(f"{folder}: {len(found)} sessions of pytest-benchmark, {damaged or 'none'} of them damaged")
    return damaged > 0


def stored(folder: Path) -> list[Document]:
    """All sessions of a folder.

    Raises: StoreError where one is damaged.
    """
    from paretoboard.benchmarks import sessions

    return [session.read() for session in sessions(folder)]


def merge(folder: Path, other: Path, documents: list[Document]) -> None:
    """Store sessions of another folder and print how many."""
    from paretoboard.benchmarks import keep

    copied = sum(keep(folder, document)[1] for document in documents)
    print(f"{other}: {copied} sessions copied, {len(documents) - copied} there already")


def _row(each: Judged) -> list[str]:
    change = each.change
    by = "" if change is None else f"{change.share:+.1%} [{change.low:+.1%}, {change.high:+.1%}]"
    level = "" if each.level is None else _seconds(each.level)
    name, machine = _printable(each.series.key.recipe), each.series.key.hardware_id[:8]
    return [name, machine, str(len(each.series.nights)), _seconds(each.newest), level, by, each.says]


def _printable(name: str) -> str:
    """A name from a stranger's file, without what moves a terminal's cursor."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)


def _seconds(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.4g} {unit}"
    return f"{value * 1e9:.4g} ns"


def _plain(each: Judged) -> dict[str, Any]:
    change = each.change
    return {
        "benchmark": each.series.key.recipe,
        "hardware_id": each.series.key.hardware_id,
        "sessions": len(each.series.nights),
        "newest_s": each.newest,
        "level_s": each.level,
        "says": each.says,
        "change": None
        if change is None
        else {
            "state": change.state,
            "share": change.share,
            "low": change.low,
            "high": change.high,
            "since": change.first.day.isoformat(),
            "commits": [change.last_good.commit, change.first.commit],
        },
    }

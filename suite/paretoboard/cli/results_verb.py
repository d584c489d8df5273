"""`paretoboard results`: look after stored records: check, merge, gather in packs, search and export them."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from paretoboard import store
from paretoboard.cli import benchmark_sessions, options, results_rows
from paretoboard.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoboard.store import Damaged

app = typer.Typer(
    help="Stored records: verify, merge, compact, query, export; sessions of pytest-benchmark: import, benchmarks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("query")(results_rows.query)
app.command("export")(results_rows.export)
app.command("import")(benchmark_sessions.import_)
app.command("benchmarks")(benchmark_sessions.benchmarks)


@app.command()
def verify(results: options.Results = None) -> None:
    """Read every record and every session of pytest-benchmark whole and check each against its name.

    Exit code 3 where one is damaged.
    """
    folder = _existing(results)
    damaged = store.verify(folder)
    files = len(store.record_files(folder))
    packs = len(store.pack_files(folder))
    _report(damaged)
    print(f"{folder}: {files} single records and {packs} packs, {len(damaged) or 'none'} of them damaged")
    if benchmark_sessions.verify(folder) or damaged:
        raise typer.Exit(StoreError.exit_code)


@app.command()
def compact(results: options.Results = None) -> None:
    """Gather the single record files of each task in packs, which hold many records each.

    A pack is read back before the single files go. Killed at any moment, nothing is lost, and the same command goes on.
    """
    folder = _existing(results)
    done = store.compact(folder)
    _report(done.damaged)
    print(f"{folder}: {done.records} records in {len(done.packs)} new packs, {done.removed} single files removed")
    if done.damaged:
        raise typer.Exit(StoreError.exit_code)


@app.command()
def merge(
    others: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Folders of results whose records and sessions are copied."),
    ],
    results: options.Results = None,
) -> None:
    """Copy what other folders hold and this one does not yet; a folder with a damaged file is refused."""
    from paretoboard.store.merging import merge as merge_one

    folder = options.results_folder(results)
    for other in others:
        sessions = benchmark_sessions.stored(other)  # before anything is copied: one may be damaged
        if not sessions or store.record_files(other) or store.pack_files(other):
            done = merge_one(folder, other)
            print(f"{other}: {done.copied} records copied, {done.there_already} there already")
        if sessions:
            benchmark_sessions.merge(folder, other, sessions)


def _existing(results: Path | None) -> Path:
    folder = options.results_folder(results)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results")
    return folder


def _report(damaged: Iterable[Damaged]) -> None:
    for found in damaged:
        print(f"damaged: {found}", file=sys.stderr)

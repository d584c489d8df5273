"""`paretoboard results query` and `export`: rows of the light table of all that was ever measured."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from paretoboard import durable, store
from paretoboard.cli import options
from paretoboard.errors import InputError, UnknownNameError
from paretoboard.records import STATUSES
from paretoboard.store.spreadsheets import disarmed

if TYPE_CHECKING:
    import pandas as pd

    from paretoboard.benchmarks import Session

COLUMNS: Final = ("started_at", "task", "recipe", "seed", "profile", "status", "quality", "latency", "ratio", "verdict")
FORMATS: Final = (".parquet", ".csv", ".json")

_Task = Annotated[list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task; may be repeated.")]
_Recipe = Annotated[
    list[str] | None, typer.Option("--recipe", metavar="NAME", help="Only this recipe; may be repeated.")
]
_Status = Annotated[
    list[str] | None, typer.Option("--status", metavar="STATUS", help=f"Only these: {', '.join(STATUSES)}.")
]
_Since = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help="Only runs started then or later, such as 2026-11-21.")
]


def query(
    results: options.Results = None,
    task: _Task = None,
    recipe: _Recipe = None,
    status: _Status = None,
    since: _Since = None,
    columns: Annotated[
        str, typer.Option("--columns", metavar="LIST", help="Which columns, with commas between; 'all' for all.")
    ] = ",".join(COLUMNS),
    as_json: options.AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Print a row for each stored record, oldest first."""
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other")
    rows = _chosen(options.results_folder(results), task, recipe, status, since)
    names = list(rows.columns) if columns == "all" else [name.strip() for name in columns.split(",")]
    for name in names:
        if name not in rows.columns:
            raise UnknownNameError("column", name, rows.columns)
    rows = rows[names]
    if as_json:
        print(_json(rows))
    elif as_csv:
        sys.stdout.write(_csv(rows))
    else:
        print(options.table([names, *([_cell(value) for value in row] for row in rows.itertuples(index=False))]))


def export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help=f"Ends in {', '.join(FORMATS)}.")],
    results: options.Results = None,
    task: _Task = None,
    recipe: _Recipe = None,
    status: _Status = None,
    since: _Since = None,
    form: Annotated[
        Literal["pytest-benchmark"] | None,
        typer.Option("--format", help="Write timed calls, or a session that was imported, for pytest-benchmark."),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session", metavar="NAME", help="With --format: the imported session of this name; 'last' is the newest."
        ),
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="ID", help="With --format: only runs of this machine.")
    ] = None,
) -> None:
    """Write a row for each stored record, with all columns, into one file.

    With --format pytest-benchmark the timed calls of the newest record of each run, or an imported session as it was.
    """
    if out.suffix not in FORMATS or (form is not None and out.suffix != ".json"):
        wanted = ".json" if form else ", ".join(FORMATS)
        raise InputError(f"{out}: can't be written in this format; a name that ends in {wanted} can")
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}")
    folder = options.results_folder(results)
    if form is None and (session or machine):
        raise InputError("--session and --machine go with --format pytest-benchmark")
    if session is not None:
        stored = _session(folder, session)
        durable.write(out, stored.read().to_json())
        print(f"{out}: session {stored.name}")
        return
    rows = _chosen(folder, task, recipe, status, since)
    if form is not None:
        durable.write(out, _benchmarks(folder, rows, machine))
        print(f"{out}: for pytest-benchmark")
        return
    if out.suffix == ".parquet":
        content = bytes(_parquet(rows))
    else:
        content = (_csv(rows) if out.suffix == ".csv" else _json(rows) + "\n").encode()
    durable.write(out, content)
    print(f"{out}: {len(rows)} rows")


def _session(folder: Path, name: str) -> Session:
    from paretoboard import benchmarks

    stored = {each.name: each for each in benchmarks.sessions(folder)}
    if name == "last" and stored:
        return stored[max(stored)]
    if name not in stored:
        raise UnknownNameError(f"session of pytest-benchmark in {folder}", name, stored)
    return stored[name]


def _chosen(
    folder: Path, task: list[str] | None, recipe: list[str] | None, status: list[str] | None, since: str | None
) -> pd.DataFrame:
    """The rows of the history that pass all filters; damaged files are named on stderr.

    Raises: InputError for a status or a date that there is not, and where there is no such folder.
    """
    for name in status or ():
        if name not in STATUSES:
            raise UnknownNameError("status", name, STATUSES)
    begin = _moment(since) if since else None
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results")
    rows = store.history(folder, tasks=task)
    for line in rows.attrs["damaged"]:
        print(f"left out: {line}", file=sys.stderr)
    for name, wanted in (("recipe", recipe), ("status", status)):
        if wanted:
            rows = rows[rows[name].isin(wanted)]
    return rows if begin is None else rows[rows["started_at"] >= begin]


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--since {text}: no date; 2026-11-21 or 2026-11-21T10:30 would be right") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _csv(rows: pd.DataFrame) -> str:
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

    shown = rows.copy()
    for name in rows.columns:
        if not (is_numeric_dtype(rows[name]) or is_datetime64_any_dtype(rows[name])):
            shown[name] = [disarmed(str(value)) for value in rows[name]]
    return shown.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def _benchmarks(folder: Path, rows: pd.DataFrame, machine: str | None) -> bytes:
    """The timed calls of the newest record of each cell, as pytest-benchmark writes such things."""
    from paretoboard import benchmarks

    if machine is not None:
        rows = rows[rows["hardware_id"].astype(str).str.startswith(machine)]
    newest = store.newest(rows[rows["status"] == "ok"])
    reading = store.pick(folder, newest, with_samples=True)
    for found in reading.damaged:
        print(f"left out: {found}", file=sys.stderr)
    return benchmarks.of_records(reading.records).to_json()


def _json(rows: pd.DataFrame) -> str:
    """Rows as a list; what was not measured, and the end of an open interval, is null."""
    plain = [
        {
            name: None
            if isinstance(value, float) and not math.isfinite(value)
            else value.isoformat()
            if isinstance(value, datetime)
            else value
            for name, value in zip(rows.columns, row, strict=True)
        }
        for row in rows.itertuples(index=False, name=None)
    ]
    return json.dumps(plain, indent=2, allow_nan=False)


def _parquet(rows: pd.DataFrame) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), sink, compression="zstd")
    return memoryview(sink.getvalue())

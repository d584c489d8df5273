"""`paretoboard results query` and `export`: rows of the light table of all that was ever measured."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paretoboard import durable, store
from paretoboard.cli import options
from paretoboard.errors import InputError, UnknownNameError
from paretoboard.records import STATUSES

if TYPE_CHECKING:
    import pandas as pd

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
) -> None:
    """Write a row for each stored record, with all columns, into one file."""
    if out.suffix not in FORMATS:
        raise InputError(f"{out}: can't be written in this format; a name that ends in {', '.join(FORMATS)} can")
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}")
    rows = _chosen(options.results_folder(results), task, recipe, status, since)
    if out.suffix == ".parquet":
        content = bytes(_parquet(rows))
    else:
        content = (_csv(rows) if out.suffix == ".csv" else _json(rows) + "\n").encode()
    durable.write(out, content)
    print(f"{out}: {len(rows)} rows")


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
    return rows.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


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

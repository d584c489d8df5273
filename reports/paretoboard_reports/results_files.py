"""All results as files that people take away: parquet for programs, CSV for everything else."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from paretoboard.store.light import COLUMNS
from paretoboard.store.spreadsheets import FORMULA

if TYPE_CHECKING:
    import pandas as pd

# Too long for a cell of a spreadsheet, and in the parquet file.
_NOT_IN_CSV: Final = ("environment",)


def parquet(history: pd.DataFrame) -> bytes:
    """All columns of the history; the same rows give the same bytes."""
    table = pa.Table.from_pandas(history, preserve_index=False).replace_schema_metadata(None)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def csv_gz(history: pd.DataFrame) -> bytes:
    """The history as CSV for spreadsheets: units in the header, full precision, no text that could be a formula."""
    shown = history[[name for name in COLUMNS if name not in _NOT_IN_CSV]]
    table = pa.Table.from_pandas(shown, preserve_index=False)
    columns, names = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        unit = COLUMNS[name][0]
        names.append(f"{name} [{unit}]" if unit else name)
        columns.append(_as_text(column))
    stream = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, names=names), stream)
    # No time of writing in the header: the same rows give the same bytes.
    return gzip.compress(stream.getvalue(), mtime=0)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.replace_substring_regex(column, FORMULA, r"'\1")
    return column

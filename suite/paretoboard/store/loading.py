"""Columns of record files, checked and of the current version, one row group after the other."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from paretoboard.errors import StoreError
from paretoboard.store.names import key_of, name_of
from paretoboard.store.schema import VERSION, check_columns, migrate, version_of
from paretoboard.store.sources import Damaged, Source, located

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KEYS: Final = ("started_at", "run_id", "hardware_id", "environment_id", "status")  # what a record's name is made of


def load(path: Path, columns: Sequence[str]) -> pa.Table:
    """The asked-for columns of one file, of the current version; struct parts come inside their struct.

    Of a path below a pack only that record's.

    Raises: StoreError where the file is damaged or of an unknown version.
    """
    tables = []
    for part in parts(located(path), columns):
        if isinstance(part, Damaged):
            raise StoreError(part.reason)
        tables.append(part)
    if not tables:
        raise StoreError("damaged: no record in it")
    return pa.concat_tables(tables)


def parts(source: Source, columns: Sequence[str], *, repeated: Sequence[str] = ()) -> Iterator[pa.Table | Damaged]:
    """The asked-for columns of one file, or of some of its rows, a table for each row group that has any.

    What is wrong comes instead of the table it is about: a damaged row group costs nothing of the others.

    Args:
        repeated: columns of text, all among `columns`, that come as dictionaries where the file is of this version.
    """
    start = 0
    try:
        with _opened(source.path) as file:
            version = version_of(file.schema_arrow.metadata)
            if version != VERSION:
                whole = migrate(file.read(use_threads=False), version)
                check_columns(whole.schema)
                outer = list(dict.fromkeys(name.partition(".")[0] for name in columns))
                yield _kept(whole.select(outer), source, 0)
                return
            check_columns(file.schema_arrow)
            encoded = pq.ParquetFile(
                source.path, metadata=file.metadata, page_checksum_verification=True, read_dictionary=list(repeated)
            )
            with encoded:
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    if _any_kept(source, start, rows):
                        yield _part(encoded, group, columns, source, start)
                    start += rows
    except FileNotFoundError as error:
        moved = located(source.path)
        if moved.path == source.path:
            yield Damaged(path=source.path, reason=f"damaged: {error}")
        else:  # packed since it was listed
            yield from parts(moved, columns, repeated=repeated)
    except (OSError, pa.ArrowException) as error:
        yield Damaged(path=source.path, reason=f"damaged: {error}")
    except StoreError as error:
        yield Damaged(path=source.path, reason=str(error))


def stored_names(pack: Path) -> tuple[str, ...]:
    """The file names that the records of a pack had, from the records themselves.

    Raises: StoreError where the pack is damaged.
    """
    return names_of_rows(load(pack, KEYS))


def names_of_rows(table: pa.Table) -> tuple[str, ...]:
    """The names that records are stored under as files, of a table that has the columns `KEYS`."""
    return tuple(
        name_of(row["started_at"], key_of(row["run_id"], row["hardware_id"], row["environment_id"]), row["status"])
        for row in table.select(list(KEYS)).to_pylist()
    )


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def _part(file: pq.ParquetFile, group: int, columns: Sequence[str], source: Source, start: int) -> pa.Table | Damaged:
    try:
        return _kept(file.read_row_group(group, columns=list(columns), use_threads=False), source, start)
    except (OSError, pa.ArrowException) as error:
        return Damaged(path=source.path, reason=f"damaged: {error}")


def _any_kept(source: Source, start: int, rows: int) -> bool:
    if source.rows is None:
        return True
    return bisect.bisect_left(source.rows, start) < bisect.bisect_left(source.rows, start + rows)


def _kept(table: pa.Table, source: Source, start: int) -> pa.Table:
    """The rows of a table that count, its first being row `start` of the file."""
    if source.rows is None:
        return table
    first = bisect.bisect_left(source.rows, start)
    last = bisect.bisect_left(source.rows, start + table.num_rows)
    return table.take([row - start for row in source.rows[first:last]])

"""Gathering single files into packs, so that a kill at any moment loses nothing.

A pack gets its name only once it is whole on the disk and has been read back; the single files go after that. What is
cut short leaves records in a pack and in files of their own: they count once, and the next call takes the files away.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard.store.alike import same_tables
from paretoboard.store.codec import decode
from paretoboard.store.loading import load, parts
from paretoboard.store.names import file_name, record_files_in, record_folders, task_folder
from paretoboard.store.packs import listed_names, names_of, pack_name, packs_in, write_names
from paretoboard.store.schema import SCHEMA
from paretoboard.store.sources import Damaged, Source
from paretoboard.store.writing import LEFTOVER_AGE_S, parquet_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations

MOST_RECORDS: Final = 20_000  # in one pack
_FEWEST: Final = 2  # single files that are worth a pack
# Of one row group, in memory: one record with all its calls is read from a pack by reading its group.
_GROUP_BYTES: Final = 32 * 2**20
_GROUP_ROWS: Final = 8192
_REPEATED: Final = (
    *("run_id", "board_id", "task", "title", "dataset", "subset", "model", "recipe", "steps", "profile", "spec"),
    *("status", "reason", "hardware_id", "hardware", "environment_id", "environment", "commit"),
    *(f"artifact.{name}" for name in ("build_id", "digest", "file", "runtime", "form")),
    *(f"metrics.list.element.{name}" for name in ("name", "scope", "n", "unit")),
    *(f"comparisons.list.element.{name}" for name in ("against", "clock", "verdict", "reason")),
    *(f"controls.list.element.{name}" for name in ("name", "requested", "applied", "observed")),
    "notes.list.element",
)
PACK_OPTIONS: Final[Mapping[str, Any]] = parquet_options(repeated=_REPEATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What became of the single files below a folder."""

    packs: tuple[Path, ...]  # that were written
    records: int  # in them
    removed: int  # single files whose records are in a pack now
    damaged: tuple[Damaged, ...]  # left as they are


def compact(folder: Path, *, tasks: Iterable[str] | None = None, clock: Callable[[], float] = time.time) -> Compacted:
    """Gather the single files of each task into packs.

    Records that are appended meanwhile stay files of their own.

    Args:
        folder: of results.
        tasks: only these.
        clock: seconds since the epoch; says when leftovers of killed writers may go.
    Raises: StoreError where the disk refuses, or a pack reads back as something else. Nothing is removed then that is
        not in a pack.
    """
    packs: list[Path] = []
    records = removed = 0
    damaged: list[Damaged] = []
    for group in record_folders(folder, tasks=tasks):
        try:
            durable.remove_leftovers(group, before=clock() - LEFTOVER_AGE_S)
            removed += _finish(group, damaged)
            files = _whole(folder, record_files_in(group), damaged)
            for start in range(0, len(files), MOST_RECORDS):
                chosen = files[start : start + MOST_RECORDS]
                if len(chosen) >= _FEWEST:
                    packs.append(write_pack(group, chosen))
                    records += len(chosen)
                    removed += _remove(group, chosen)
        except OSError as error:
            raise StoreError(
                f"{group}: can't be compacted: {error.strerror or error}. No record was lost; the same command goes on."
            ) from error
    return Compacted(packs=tuple(packs), records=records, removed=removed, damaged=tuple(damaged))


def write_pack(group: Path, files: Sequence[Path]) -> Path:
    """Write the records of whole single files, in the order of their names, into a pack of `group`; the pack.

    Raises: StoreError where it does not read back as what is in the files; it gets no name then.
    """
    names = [path.name for path in files]
    target = group / pack_name(names)
    partial = group / f".pack.{secrets.token_hex(8)}{durable.TEMPORARY_SUFFIX}"
    try:
        with partial.open("xb") as stream:
            with pq.ParquetWriter(stream, SCHEMA, **PACK_OPTIONS) as writer:
                for tables in _groups(files):
                    joined = pa.concat_tables(tables)
                    writer.write_table(joined, row_group_size=joined.num_rows)
            stream.flush()
            os.fsync(stream.fileno())
        _check_rows(partial, range(len(files)), files)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    durable.sync_folder(group)
    write_names(target, names)
    return target


def _groups(files: Iterable[Path]) -> Iterator[list[pa.Table]]:
    """The tables of files, as many together as make a row group."""
    tables: list[pa.Table] = []
    size = 0
    for path in files:
        table = load(path, SCHEMA.names)
        if tables and (size + table.nbytes > _GROUP_BYTES or len(tables) >= _GROUP_ROWS):
            yield tables
            tables, size = [], 0
        tables.append(table)
        size += table.nbytes
    if tables:
        yield tables


def _check_rows(pack: Path, rows: Sequence[int], files: Sequence[Path]) -> None:
    """Read rows of a pack back, one row group at a time, and compare them with the files that hold the same.

    Raises: StoreError where a value differs, or something can't be read.
    """
    start = 0
    for part in parts(Source(path=pack, rows=tuple(rows)), SCHEMA.names):
        if isinstance(part, Damaged):
            raise StoreError(part.reason)
        some = files[start : start + part.num_rows]
        if not same_tables(part, pa.concat_tables([load(path, SCHEMA.names) for path in some])):
            raise StoreError(f"what it holds is not what is in {some[0].name} to {some[-1].name}")
        start += part.num_rows
    if start != len(files):
        raise StoreError(f"{start} of {len(files)} records read back")


def _whole(folder: Path, files: Iterable[Path], damaged: list[Damaged]) -> list[Path]:
    """The files that hold what their names say; the others are added to `damaged`."""
    whole = []
    for path in files:
        try:
            [record] = decode(load(path, SCHEMA.names))
            belongs = task_folder(folder, record.task) / file_name(record)
            if path != belongs:
                raise StoreError(f"holds the record that belongs into {belongs}")
        except (StoreError, ValueError) as error:
            damaged.append(Damaged(path=path, reason=str(error)))
        else:
            whole.append(path)
    return whole


def _finish(group: Path, damaged: list[Damaged]) -> int:
    """Finish what was cut short: write lists of names again, and remove files whose records are in a pack; how many."""
    removed = 0
    for pack in packs_in(group):
        try:
            names = names_of(pack)
            if listed_names(pack) is None:
                write_names(pack, names)
            there = set(record_files_in(group))
            twice = [(row, group / name) for row, name in enumerate(names) if group / name in there]
            _check_rows(pack, [row for row, _ in twice], [path for _, path in twice])
            removed += _remove(group, [path for _, path in twice])
        except StoreError as error:
            damaged.append(Damaged(path=pack, reason=str(error)))
    return removed


def _remove(group: Path, files: Iterable[Path]) -> int:
    removed = 0
    for path in files:
        path.unlink(missing_ok=True)
        removed += 1
    durable.sync_folder(group)
    return removed

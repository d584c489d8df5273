"""Records back from disk; what is damaged is reported and costs nothing of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import StoreError
from paretoboard.records import RunRecord
from paretoboard.store.names import file_name, record_files, task_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


# What of a record is left out unless it is asked for, by who asks.
_SAMPLES: Final = ("calls",)
_ANSWERS: Final = ("predictions", "detections")
_TIMES: Final = ("calls.batch", "calls.arm", "calls.wall_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A record file that can't be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a folder of results holds."""

    records: tuple[RunRecord, ...]  # by task, then by time
    damaged: tuple[Damaged, ...]


def read(
    folder: Path,
    *,
    tasks: Iterable[str] | None = None,
    with_samples: bool = False,
    with_predictions: bool = False,
) -> Reading:
    """Every record below `folder`; raw calls, predictions and detections are not even read unless asked for.

    Args:
        tasks: read only the records of these tasks.
        with_predictions: and detections: what models answered.
    """
    left_out = {*(() if with_samples else _SAMPLES), *(() if with_predictions else _ANSWERS)}
    records: list[RunRecord] = []
    damaged: list[Damaged] = []
    for path in record_files(folder, tasks=tasks):
        try:
            records.append(_record(path, left_out=left_out))
        except StoreError as error:
            damaged.append(Damaged(path=path, reason=str(error)))
    return Reading(records=tuple(records), damaged=tuple(damaged))


def read_one(path: Path) -> RunRecord:
    """The record of one file, whole.

    Raises: StoreError naming the file where it is damaged or of an unknown version.
    """
    try:
        return _record(path)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error


def verify(folder: Path) -> tuple[Damaged, ...]:
    """The files that don't hold when each is read whole and checked against its name and place."""
    damaged = []
    for path in record_files(folder):
        try:
            record = _record(path)
            belongs = task_folder(folder, record.task) / file_name(record)
        except StoreError as error:
            damaged.append(Damaged(path=path, reason=str(error)))
            continue
        if path != belongs:
            damaged.append(Damaged(path=path, reason=f"holds the record that belongs into {belongs}"))
    return tuple(damaged)


def table(folder: Path, columns: Sequence[str], *, tasks: Iterable[str] | None = None) -> pa.Table:
    """Some columns of every record below `folder`, for sums over many: no Python object is made per call.

    Args:
        columns: names of the schema; a dotted name is one part of a struct, as in "calls.wall_ns".
    Returns: a row per record, in `read`'s order, and the columns as asked for.
    Raises: StoreError naming a column that isn't there, or all files that can't be read.
    """
    import pyarrow as pa

    from paretoboard.store.schema import SCHEMA

    parts = [_picked(SCHEMA.empty_table(), columns)]
    damaged = []
    for path in record_files(folder, tasks=tasks):
        try:
            parts.append(_picked(load(path, columns), columns))
        except StoreError as error:
            damaged.append(f"{path}: {error}")
    if damaged:
        raise StoreError("\n".join(damaged))
    return pa.concat_tables(parts)


def calls_of(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Batch, arm and wall time in nanoseconds of every timed call of one file, as `Calls` has them.

    Returns: None without any, and where this part of the file can't be read: `verify` names such files.
    """
    try:
        columns = _picked(load(path, _TIMES), _TIMES)
    except StoreError:
        return None
    batch, arm, wall = (column.combine_chunks().flatten().to_numpy(zero_copy_only=False) for column in columns.columns)
    return (batch, arm, wall) if len(wall) else None


def _record(path: Path, *, left_out: Iterable[str] = ()) -> RunRecord:
    from paretoboard.store.codec import decode
    from paretoboard.store.schema import SCHEMA

    records = decode(load(path, [name for name in SCHEMA.names if name not in left_out]))
    if len(records) != 1:
        raise StoreError(f"{len(records)} records in one file, one would be right")
    return records[0]


def load(path: Path, columns: Sequence[str]) -> pa.Table:
    """The asked-for columns of one file, of the current version; struct parts come inside their struct.

    Raises: StoreError where the file is damaged or of an unknown version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from paretoboard.store.schema import VERSION, check_columns, migrate, version_of

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            version = version_of(schema.metadata)
            if version == VERSION:
                check_columns(schema)
                return file.read(columns=list(columns), use_threads=False)
            whole = migrate(file.read(use_threads=False), version)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"damaged: {error}") from error
    check_columns(whole.schema)
    return whole.select(list(dict.fromkeys(name.partition(".")[0] for name in columns)))


def _picked(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Exactly `columns` of a table, parts of structs taken out of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays: list[Any] = []
    for name in columns:
        outer, *inner = name.split(".")
        try:
            column = table.column(outer)
            arrays.append(pc.struct_field(column, inner) if inner else column)
        except (KeyError, pa.ArrowException) as error:
            raise StoreError(f"no column '{name}' in a record") from error
    return pa.table(dict(zip(columns, arrays, strict=True)))

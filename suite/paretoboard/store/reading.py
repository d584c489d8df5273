"""Records back from disk; what is damaged is reported and costs nothing of the rest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from paretoboard.errors import StoreError
from paretoboard.records import RunRecord
from paretoboard.store.names import file_name, key_of, name_of, record_files, record_folders, task_folder
from paretoboard.store.packs import is_pack, listed_names, names_of, packs_in
from paretoboard.store.sources import Damaged, Source, located, sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


# What of a record is left out unless it is asked for, by who asks.
_SAMPLES: Final = ("calls",)
_ANSWERS: Final = ("predictions", "detections")
_TIMES: Final = ("calls.batch", "calls.arm", "calls.wall_ns")


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
    found = sources(folder, tasks=tasks)
    return _read(found, _columns(with_samples=with_samples, with_predictions=with_predictions))


def pick(folder: Path, rows: pd.DataFrame, *, with_samples: bool = False, with_predictions: bool = False) -> Reading:
    """The records of some rows of `history`; only these are read, of packs only the row groups that they lie in."""
    found = []
    packed: defaultdict[Path, set[str]] = defaultdict(set)
    for path in sorted({folder / path for path in rows["path"]}):
        if is_pack(path.parent):
            packed[path.parent].add(path.name)
        else:
            found.append(Source(path=path))
    for pack, names in packed.items():
        chosen = tuple(row for row, name in enumerate(names_of(pack)) if name in names)
        found.append(Source(path=pack, rows=chosen))
    return _read(found, _columns(with_samples=with_samples, with_predictions=with_predictions))


def read_one(path: Path) -> RunRecord:
    """The record of one file, whole; one that has gone into a pack is found there, by the name it had.

    Raises: StoreError naming the file where it is damaged or of an unknown version.
    """
    try:
        return _only(located(path))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error


def verify(folder: Path) -> tuple[Damaged, ...]:
    """The files that don't hold when each is read whole and checked against its name and place."""
    damaged: list[Damaged] = []
    for path in record_files(folder):
        try:
            record = _only(Source(path=path))
            belongs = task_folder(folder, record.task) / file_name(record)
        except StoreError as error:
            damaged.append(Damaged(path=path, reason=str(error)))
            continue
        if path != belongs:
            damaged.append(Damaged(path=path, reason=f"holds the record that belongs into {belongs}"))
    for group in record_folders(folder):
        for pack in packs_in(group):
            damaged.extend(Damaged(path=pack, reason=reason) for reason in _wrong_with(pack, folder))
    return tuple(sorted(damaged, key=lambda found: (found.path, found.reason)))


def table(folder: Path, columns: Sequence[str], *, tasks: Iterable[str] | None = None) -> pa.Table:
    """Some columns of every record below `folder`, for sums over many: no Python object is made per call.

    Args:
        columns: names of the schema; a dotted name is one part of a struct, as in "calls.wall_ns".
    Returns: a row per record, in `read`'s order, and the columns as asked for.
    Raises: StoreError naming a column that isn't there, or all files that can't be read.
    """
    import pyarrow as pa

    from paretoboard.store.loading import KEYS, names_of_rows, parts
    from paretoboard.store.schema import SCHEMA

    picked = [_picked(SCHEMA.empty_table(), columns)]
    order: list[tuple[Path, str]] = []
    damaged = []
    for source in sources(folder, tasks=tasks):
        for part in parts(source, list(dict.fromkeys((*columns, *KEYS)))):
            if isinstance(part, Damaged):
                damaged.append(str(part))
                continue
            picked.append(_picked(part, columns))
            order.extend((source.path.parent, name) for name in names_of_rows(part))
    if damaged:
        raise StoreError("\n".join(damaged))
    whole = pa.concat_tables(picked)
    ascending = sorted(range(len(order)), key=order.__getitem__)
    return whole if ascending == list(range(len(order))) else whole.take(ascending)


def calls_of(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Batch, arm and wall time in nanoseconds of every timed call of one file, as `Calls` has them.

    Returns: None without any, and where this part of the file can't be read: `verify` names such files.
    """
    from paretoboard.store.loading import load

    try:
        columns = _picked(load(path, _TIMES), _TIMES)
    except StoreError:
        return None
    batch, arm, wall = (column.combine_chunks().flatten().to_numpy(zero_copy_only=False) for column in columns.columns)
    return (batch, arm, wall) if len(wall) else None


def _columns(*, with_samples: bool, with_predictions: bool) -> list[str]:
    from paretoboard.store.schema import SCHEMA

    left_out = {*(() if with_samples else _SAMPLES), *(() if with_predictions else _ANSWERS)}
    return [name for name in SCHEMA.names if name not in left_out]


def _read(found: Iterable[Source], columns: Sequence[str]) -> Reading:
    from paretoboard.store.codec import decode
    from paretoboard.store.loading import parts

    records: list[RunRecord] = []
    damaged: list[Damaged] = []
    for source in found:
        own: list[RunRecord] = []
        wrong: list[Damaged] = []
        for part in parts(source, columns):
            if isinstance(part, Damaged):
                wrong.append(part)
                continue
            try:
                own += decode(part)
            except StoreError as error:
                wrong.append(Damaged(path=source.path, reason=str(error)))
        if not wrong and len(own) != 1 and not is_pack(source.path):
            wrong.append(Damaged(path=source.path, reason=f"{len(own)} records in one file, one would be right"))
            own = []
        records += own
        damaged += wrong
    records.sort(key=lambda record: (PurePosixPath(record.task).parts, _sortable_name(record)))
    return Reading(records=tuple(records), damaged=tuple(damaged))


def _sortable_name(record: RunRecord) -> str:
    provenance = record.provenance
    key = key_of(record.run_id, provenance.hardware_id, provenance.environment_id)
    return name_of(record.started_at, key, record.status)


def _only(source: Source) -> RunRecord:
    reading = _read([source], _columns(with_samples=True, with_predictions=True))
    if reading.damaged:
        raise StoreError(reading.damaged[0].reason)
    return reading.records[0]


def _wrong_with(pack: Path, folder: Path) -> list[str]:
    """What does not hold of a pack; nothing where it is whole."""
    from paretoboard.store.codec import decode
    from paretoboard.store.loading import parts
    from paretoboard.store.packs import pack_name

    names = []
    for part in parts(Source(path=pack), _columns(with_samples=True, with_predictions=True)):
        if isinstance(part, Damaged):
            return [part.reason]
        try:
            for record in decode(part):
                names.append(file_name(record))
                if task_folder(folder, record.task) != pack.parent:
                    return [f"row {len(names)} holds a record of {record.task}"]
        except StoreError as error:
            return [str(error)]
    if not names or pack_name(names) != pack.name:
        return [f"holds {len(names)} records that are not those it is named after"]
    if listed_names(pack) is None:
        return ["its list of names is missing or damaged; 'paretoboard results compact' writes it again"]
    return []


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

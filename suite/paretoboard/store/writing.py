"""Storing a record so that it is there in whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from paretoboard import durable
from paretoboard.errors import StoreError
from paretoboard.store.names import file_name, task_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from paretoboard.records import RunRecord

# A write takes well under a second. One hour on, its writer is dead even where two machines' clocks disagree.
LEFTOVER_AGE_S: Final = 3600.0
_FEW_VALUES: Final = ("batch", "launch", "window", "block", "arm", "switches", "reference")
_TIMES: Final = ("start_ns", "wall_ns", "cpu_ns")


def append(folder: Path, record: RunRecord, *, clock: Callable[[], float] = time.time) -> Path:
    """Store a record below `folder`; once this returns, it survives a power cut.

    Args:
        folder: of results, made where it is missing.
        clock: seconds since the epoch, as in file times; says when leftovers of killed writers may go.
    Returns: the record's file.
    Raises: StoreError where the file is there already, a value doesn't fit, or the disk refuses. Nothing is
        stored then.
    """
    from paretoboard.store.codec import encode

    target = task_folder(folder, record.task) / file_name(record)
    content = _parquet(encode(record))
    try:
        make_folder(target.parent)
        durable.remove_leftovers(target.parent, before=clock() - LEFTOVER_AGE_S)
        with durable.written_beside(target, content) as temporary:
            publish(temporary, target)
        durable.sync_folder(target.parent)
    except FileExistsError as error:
        raise StoreError(f"{target}: already there. Result files are never rewritten.") from error
    except OSError as error:
        raise StoreError(f"{target}: can't be stored: {error.strerror or error}. Nothing was left behind.") from error
    return target


def _parquet(table: Any) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **parquet_options())
    return memoryview(sink.getvalue())


def parquet_options(*, repeated: Sequence[str] = ()) -> dict[str, Any]:
    """How record files are encoded.

    Args:
        repeated: columns whose values repeat in a file of many records, by their names in parquet.
    """
    return {
        "compression": "zstd",
        "use_dictionary": [*repeated, *(_leaf(name) for name in _FEW_VALUES)],
        # 40,000 calls take 325 kB so, 619 kB with dictionaries, 1.64 MB in memory (pyarrow 26, 2026-11).
        "column_encoding": {_leaf(name): "DELTA_BINARY_PACKED" for name in _TIMES},
        "write_statistics": False,  # of one row they say nothing, and they are a quarter of a small file
        "write_page_checksum": True,  # so that a flipped bit is found and not averaged
    }


def _leaf(name: str) -> str:
    return f"calls.{name}.list.element"


def publish(temporary: Path, target: Path) -> None:
    """Give a file its final name, at once and never over another."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links (FAT, some network disks). Looking first leaves a short gap, and only
        # another record of this run, started in the same microsecond, could fall into it.
        if target.exists():
            raise FileExistsError(target) from None
        temporary.rename(target)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it so that they survive a power cut too."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        durable.sync_folder(path.parent)

"""Results on disk: one parquet file per record, written once, never changed.

    <results>/records/<task as folders>/<started>-<run id>-<hardware id>-<environment id>-<status>.parquet

Where there are many, `compact` gathers them in packs (`store.packs`); all that reads takes both alike. `known`
answers from file names alone, so that planning opens no record. What needs pyarrow imports it on call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.store.names import Key, Known, key_of, record_files
from paretoboard.store.newest import newest
from paretoboard.store.packs import pack_files
from paretoboard.store.reading import Reading, calls_of, pick, read, read_one, table, verify
from paretoboard.store.sources import Damaged, known
from paretoboard.store.writing import append

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from paretoboard.store.packing import Compacted

__all__ = [
    "Damaged",
    "Key",
    "Known",
    "Reading",
    "append",
    "calls_of",
    "compact",
    "history",
    "key_of",
    "known",
    "newest",
    "pack_files",
    "pick",
    "read",
    "read_one",
    "record_files",
    "table",
    "verify",
]


def compact(folder: Path, *, tasks: Iterable[str] | None = None) -> Compacted:
    """Gather the single files of each task into packs: `store.packing.compact`."""
    from paretoboard.store import packing

    return packing.compact(folder, tasks=tasks)


def history(folder: Path, *, tasks: Iterable[str] | None = None) -> pd.DataFrame:
    """One light row for each stored record, oldest first; its columns are those of `store.light`."""
    from paretoboard.store import light

    return light.history(folder, tasks=tasks)

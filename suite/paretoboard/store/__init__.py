"""Results on disk: one parquet file per record, written once, never changed.

    <results>/records/<task as folders>/<started>-<run id>-<hardware id>-<environment id>-<status>.parquet

`known` answers from file names alone, so that planning opens no file. What needs pyarrow imports it on call.
"""

from __future__ import annotations

from paretoboard.store.names import Key, Known, key_of, known, record_files
from paretoboard.store.reading import Damaged, Reading, read, read_one, table, verify
from paretoboard.store.writing import append

__all__ = [
    "Damaged",
    "Key",
    "Known",
    "Reading",
    "append",
    "key_of",
    "known",
    "read",
    "read_one",
    "record_files",
    "table",
    "verify",
]

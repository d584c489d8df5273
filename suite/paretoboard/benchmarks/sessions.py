"""Sessions of pytest-benchmark in a folder of results: a parquet file each, written once, from which all comes back.

    <results>/benchmarks/<when>-<digest>.parquet    a row for each benchmark, its rounds as numbers

They are no runs of a task: they have no recipe, no quality and no artifact. So they lie beside the records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from paretoboard import durable
from paretoboard.benchmarks.document import Document
from paretoboard.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path  # noqa: TC004 - nothing resolves these annotations

    import pyarrow as pa

FOLDER: Final = "benchmarks"
_VERSION: Final = b"1"
_STARTED: Final = "%Y%m%dT%H%M%S.%fZ"
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A stored session, by its name; what is in it is read on demand."""

    path: Path

    @property
    def name(self) -> str:
        """By what a person names it."""
        return self.path.stem

    @property
    def measured_at(self) -> datetime:
        """When it ended, UTC."""
        return datetime.fromisoformat(self.name.partition("-")[0])

    def read(self) -> Document:
        """All of it, as it was imported.

        Raises: StoreError where the file is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.path, page_checksum_verification=True)
            if table.schema.metadata.get(b"paretoboard.version") != _VERSION:
                raise StoreError(f"{self.path}: of another version of this store; this one reads version 1")
            document = _document(table)
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.path}: damaged: {error}") from error
        if not self.name.endswith(document.digest[:_DIGITS]):
            raise StoreError(f"{self.path}: damaged: what it holds is not what it is named after")
        return document


def keep(results: Path, document: Document) -> tuple[Session, bool]:
    """Store a session; it, and whether it was new: the same content is the same file.

    Raises: StoreError where the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = f"{document.measured_at.strftime(_STARTED)}-{document.digest[:_DIGITS]}"
    session = Session(path=results / FOLDER / f"{name}.parquet")
    if session.path.is_file():
        return session, False
    table = _table(document)
    if _document(table).digest != document.digest:
        raise StoreError(f"{session.path}: would not come back as it is; nothing was stored")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    try:
        session.path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(session.path, memoryview(sink.getvalue()))
    except OSError as error:
        raise StoreError(f"{session.path}: can't be stored: {error.strerror or error}") from error
    return session, True


def sessions(results: Path) -> tuple[Session, ...]:
    """All that are stored, oldest first."""
    return tuple(Session(path=path) for path in sorted((results / FOLDER).glob("[0-9]*.parquet")))


def _table(document: Document) -> pa.Table:
    import pyarrow as pa

    rest = {**document.content, "benchmarks": None}
    metadata = {b"paretoboard.version": _VERSION, b"paretoboard.document": json.dumps(rest).encode()}
    columns = {
        "fullname": [each["fullname"] for each in document.benchmarks],
        "data": [each["stats"]["data"] if _as_column(each) else None for each in document.benchmarks],
        "benchmark": [json.dumps(_without_data(each)) for each in document.benchmarks],
    }
    types = (pa.string(), pa.list_(pa.float64()), pa.string())
    arrays = [pa.array(values, kind) for values, kind in zip(columns.values(), types, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(columns)).replace_schema_metadata(metadata)


def _document(table: pa.Table) -> Document:
    content = json.loads(table.schema.metadata[b"paretoboard.document"])
    content["benchmarks"] = [_joined(row) for row in table.to_pylist()]
    return Document(content=content)


def _as_column(benchmark: dict[str, Any]) -> bool:
    """Whether the rounds are what a column of float64 gives back; whole numbers would come back as others."""
    data = benchmark["stats"].get("data")
    return isinstance(data, list) and all(isinstance(each, float) for each in data)


def _without_data(benchmark: dict[str, Any]) -> dict[str, Any]:
    """A benchmark whose rounds are left out where a column has them, and where they were in it."""
    if not _as_column(benchmark):
        return benchmark
    return {**benchmark, "stats": {**benchmark["stats"], "data": None}}


def _joined(row: dict[str, Any]) -> dict[str, Any]:
    benchmark: dict[str, Any] = json.loads(row["benchmark"])
    if row["data"] is not None:
        benchmark["stats"]["data"] = row["data"]
    return benchmark

"""Any number of records, straight into packs and always the same: `python tests/generated_results.py FOLDER --rows N`.

48 boards, of 16 tasks on three machines each, as if ten recipes with three seeds had been measured again and again for
years. Of each cell one whole record is built (`builders.run_record`); the others are its rows with other starts and
commits and with times that scatter, made column by column. One recipe gets slower halfway, by 8 %, at every board.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import builders
from paretoboard.spec import BASELINE
from paretoboard.store.codec import encode
from paretoboard.store.loading import KEYS, names_of_rows
from paretoboard.store.names import task_folder
from paretoboard.store.packing import MOST_RECORDS, PACK_OPTIONS
from paretoboard.store.packs import pack_name, write_names
from paretoboard.store.schema import SCHEMA

if TYPE_CHECKING:
    from paretoboard.records import RunRecord

TASKS: Final = 16
MACHINES: Final = ("AMD EPYC 9R14 (25/17/1)", "Intel Xeon 8375C (6/106/6)", "Apple M2")
BOARDS: Final = TASKS * len(MACHINES)
SEEDS: Final = 3
SLOWED: Final = "ort-int8"  # the recipe that gets slower halfway
_FIRST_US: Final = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_LAST_US: Final = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
_GROUP_ROWS: Final = 8192
# recipe: (accuracy, latency in ms, bytes of the file, bytes of memory)
_MEASURED: Final = {
    BASELINE: (0.972, 1.42, 331_000, 11_200_000),
    "channels-last": (0.972, 1.31, 331_000, 11_900_000),
    "bf16": (0.969, 1.36, 172_000, 10_100_000),
    "ort-fp32": (0.972, 0.42, 318_000, 8_300_000),
    "ort-int8": (0.967, 0.197, 104_000, 6_900_000),
    "ort-int8-dynamic": (0.969, 0.71, 103_000, 7_400_000),
    "magnitude-50": (0.953, 1.42, 331_000, 11_200_000),
    "structured-30": (0.731, 0.35, 224_000, 7_900_000),
    "structured-30-tuned": (0.961, 0.351, 224_000, 7_900_000),
}
CELLS: Final = (len(_MEASURED) + 1) * SEEDS  # of a board; the last recipe fails


def write(folder: Path, rows: int, *, seed: int = 0) -> None:
    """Write `rows` records below `folder`, of results; the tasks get as many each, the first ones one more."""
    for number in range(TASKS):
        share = rows // TASKS + (number < rows % TASKS)
        if share:
            _write_task(folder, number, share, np.random.default_rng([seed, number]))


def _write_task(folder: Path, number: int, rows: int, rng: np.random.Generator) -> None:
    templates = pa.concat_tables([encode(record) for record in _records(number)]).combine_chunks()
    group = task_folder(folder, templates.column("task")[0].as_py())
    group.mkdir(parents=True, exist_ok=True)
    for start in range(0, rows, MOST_RECORDS):
        size = min(MOST_RECORDS, rows - start)
        partial = group / "pack.partial"
        names: list[str] = []
        with pq.ParquetWriter(partial, SCHEMA, **PACK_OPTIONS) as writer:
            for first in range(start, start + size, _GROUP_ROWS):
                chosen = np.arange(first, min(first + _GROUP_ROWS, start + size))
                table = _rows(templates, chosen, rows, rng)
                writer.write_table(table, row_group_size=len(chosen))
                names += names_of_rows(table.select(list(KEYS)))
        pack = group / pack_name(names)
        partial.rename(pack)
        write_names(pack, names)


def _records(number: int) -> list[RunRecord]:
    """A record of each cell of one task, without calls and predictions."""
    task, title = f"made/task-{number:02}", f"Made task {number}"
    light: dict[str, Any] = {"calls": None, "predictions": None}
    found = []
    for seed in range(SEEDS):
        for name, (accuracy, latency_ms, file_bytes, memory_bytes) in _MEASURED.items():
            spec = builders.run_spec(task=task, title=title, recipe=builders.recipe(name), seed=seed)
            record = builders.run_record(
                name,
                accuracy=accuracy - 0.002 * number,
                latency_s=latency_ms / 1e3 * (1 + number),
                speedup=_MEASURED[BASELINE][1] / latency_ms,
                file_bytes=file_bytes,
                memory_bytes=memory_bytes,
                spec=spec,
                seed=seed,
                **light,
            )
            found.append(record)
        spec = builders.run_spec(task=task, title=title, recipe=builders.recipe("compile"), seed=seed)
        found.append(builders.failed_record("compile", spec=spec, seed=seed))
    return found


def _rows(templates: pa.Table, places: np.ndarray[Any, Any], rows: int, rng: np.random.Generator) -> pa.Table:
    """The rows at some places of a task's history, oldest first."""
    table = templates.take(pa.array(places // len(MACHINES) % CELLS)).combine_chunks()
    late = places >= rows // 2
    slowed = pc.equal(table.column("recipe"), SLOWED).to_numpy() & late
    factor = np.exp(rng.normal(0.0, 0.01, len(places))) * np.where(slowed, 1.08, 1.0)
    machine = pa.array(places % len(MACHINES))
    provenances = [builders.provenance(hardware={"cpu": name}) for name in MACHINES]
    hardware = pa.array([_canonical(found.hardware) for found in provenances]).take(machine)
    started = _FIRST_US + places * ((_LAST_US - _FIRST_US) // rows)
    rounds = places // (CELLS * len(MACHINES))
    commits = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(int(rounds[-1]) + 1)]
    changed = {
        "started_at": pa.array(started, pa.timestamp("us", tz="UTC")),
        "hardware": hardware,
        "hardware_id": pa.array([found.hardware_id for found in provenances]).take(machine),
        "commit": pa.array(commits).take(pa.array(rounds)),
        "metrics": _scaled(table.column("metrics"), factor, "name", ("latency",), ("value", "low", "high")),
        "comparisons": _scaled(table.column("comparisons"), factor, "against", (BASELINE,), ("ratio", "low", "high")),
    }
    for name, column in changed.items():
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table


def _scaled(
    column: pa.ChunkedArray, factor: np.ndarray[Any, Any], key: str, which: tuple[str, ...], fields: tuple[str, ...]
) -> pa.Array:
    """A column of lists of structs with some numbers of each row times its factor."""
    lists = column.combine_chunks()
    entries = lists.flatten()
    parents = lists.value_parent_indices().to_numpy()
    chosen = pc.is_in(entries.field(key), pa.array(which)).to_numpy(zero_copy_only=False)
    times = np.where(chosen, factor[parents], 1.0)
    kind = entries.type
    children = [
        pc.multiply(entries.field(place), pa.array(times)) if kind[place].name in fields else entries.field(place)
        for place in range(kind.num_fields)
    ]
    values = pa.StructArray.from_arrays(children, fields=list(kind))
    return pa.ListArray.from_arrays(lists.offsets, values, type=column.type)


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.rows)


if __name__ == "__main__":
    main()

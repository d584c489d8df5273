"""Everything that was recorded: one part per item while it runs, three files of a size that belongs in git at the end.

Times are kept in units of 0.1 us, a 30,000th of the shortest call here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.rigor.others import Times
from bench.rigor.ours import Recorded
from bench.rigor.plan import Item
from paretoboard import durable
from paretoboard.records import Calls

TICK_NS: Final = 100
CALLS: Final = "calls.parquet"  # of references and ours
TIMES: Final = "sequential.parquet"  # of the others
ITEMS: Final = "items.json"
_CALL_TYPES: Final = {
    "item": pa.int16(),
    "launch": pa.int8(),
    "window": pa.int16(),
    "block": pa.int16(),
    "arm": pa.int8(),
    "start": pa.int32(),
    "wall": pa.int32(),
    "cpu": pa.int32(),
    "switches": pa.int16(),
}
_TIME_TYPES: Final = {
    "item": pa.int16(),
    "recording": pa.int8(),  # index in RECORDINGS
    "side": pa.int8(),
    "process": pa.int8(),
    "wall": pa.int32(),
}
RECORDINGS: Final = ("rounds", "processes", "commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One item as it was recorded; exactly one of `calls` and `times` is there."""

    item: Item
    facts: dict[str, Any]  # started_at, load1 before and after, seconds of each launch
    calls: Calls | None
    times: tuple[Times, Times] | None


def is_recorded(folder: Path, item: Item) -> bool:
    """Whether `item` lies in `folder` as a whole."""
    return _facts_file(folder, item).exists()


def write_ours(folder: Path, item: Item, recorded: Recorded, facts: dict[str, Any]) -> None:
    """Keep the calls of one item; its facts are written last and say that it is whole."""
    calls = recorded.calls
    columns = {
        "item": np.full(len(calls.arm), item.index),
        "launch": calls.launch,
        "window": calls.window,
        "block": calls.block,
        "arm": calls.arm,
        "start": _ticks(calls.start_ns),
        "wall": _ticks(calls.wall_ns),
        "cpu": _ticks(calls.cpu_ns),
        "switches": np.minimum(calls.switches, 32767),
    }
    seconds = {"wall_s": recorded.wall_s, "elapsed_s": recorded.elapsed_s, "timed_s": recorded.timed_s}
    _write(
        folder, item, _table(columns, _CALL_TYPES), facts | {k: [round(s, 4) for s in v] for k, v in seconds.items()}
    )


def write_others(folder: Path, item: Item, recorded: tuple[Times, Times], facts: dict[str, Any]) -> None:
    """Keep the times of one item."""
    rows = [
        (recording, side, process, times)
        for side, of_side in enumerate(recorded)
        for recording, groups in enumerate(([of_side.rounds], of_side.processes, [of_side.commands]))
        for process, times in enumerate(groups)
    ]
    sizes = [len(times) for *_, times in rows]
    columns = {
        "item": np.full(sum(sizes), item.index),
        "recording": np.repeat([row[0] for row in rows], sizes),
        "side": np.repeat([row[1] for row in rows], sizes),
        "process": np.repeat([row[2] for row in rows], sizes),
        "wall": _ticks(np.concatenate([row[3] for row in rows])),
    }
    _write(folder, item, _table(columns, _TIME_TYPES), facts | {"loops": recorded[0].loops})


def publish(parts: Path, folder: Path) -> None:
    """Join all parts into the three files of `folder`."""
    facts = [json.loads(path.read_text()) for path in sorted(parts.glob("[0-9]*.json"))]
    folder.mkdir(parents=True, exist_ok=True)
    for name, types, kinds in ((CALLS, _CALL_TYPES, ("reference", "ours")), (TIMES, _TIME_TYPES, ("others",))):
        chosen = [fact["item"]["index"] for fact in facts if fact["item"]["kind"] in kinds]
        tables = [pq.read_table(parts / f"{index:04d}.parquet") for index in chosen]
        joined = pa.concat_tables(tables) if tables else _table({name: np.empty(0) for name in types}, types)
        pq.write_table(
            joined,
            folder / name,
            compression="zstd",
            compression_level=19,
            use_dictionary=[column for column in types if column not in ("start", "wall", "cpu")],
            column_encoding=dict.fromkeys(types.keys() & {"start", "wall", "cpu"}, "DELTA_BINARY_PACKED"),
        )
    lines = ",\n".join(json.dumps(fact) for fact in facts)
    durable.write(folder / ITEMS, f"[\n{lines}\n]\n".encode())


def read(folder: Path) -> Iterator[Part]:
    """What `publish` wrote, item by item."""
    calls, times = pq.read_table(folder / CALLS), pq.read_table(folder / TIMES)
    for fact in json.loads((folder / ITEMS).read_text()):
        item = Item(**fact.pop("item"))
        if item.kind == "others":
            rows = times.filter(pc.equal(times["item"], item.index))
            yield Part(item=item, facts=fact, calls=None, times=_times(rows, fact["loops"]))
        else:
            rows = calls.filter(pc.equal(calls["item"], item.index))
            yield Part(item=item, facts=fact, calls=_calls(rows), times=None)


def _calls(rows: pa.Table) -> Calls:
    column = {name: rows[name].to_numpy() for name in rows.column_names}
    return Calls(
        batch=np.ones(len(rows), dtype=np.int32),
        launch=column["launch"].astype(np.int16),
        window=column["window"],
        block=column["block"].astype(np.int32),
        arm=column["arm"],
        start_ns=column["start"].astype(np.int64) * TICK_NS,
        wall_ns=column["wall"].astype(np.int64) * TICK_NS,
        cpu_ns=column["cpu"].astype(np.int64) * TICK_NS,
        switches=column["switches"].astype(np.int32),
        reference=np.zeros(len(rows), dtype=np.int8),
    )


def _times(rows: pa.Table, loops: int) -> tuple[Times, Times]:
    recording, side, process = (rows[name].to_numpy() for name in ("recording", "side", "process"))
    wall_ns = rows["wall"].to_numpy().astype(np.int64) * TICK_NS

    def of_side(number: int) -> Times:
        chosen = side == number
        groups = process[chosen & (recording == 1)]
        return Times(
            rounds=wall_ns[chosen & (recording == 0)],
            processes=[wall_ns[chosen & (recording == 1) & (process == group)] for group in np.unique(groups)],
            loops=loops,
            commands=wall_ns[chosen & (recording == 2)],
        )

    return of_side(0), of_side(1)


def _ticks(times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.rint(times_ns / TICK_NS).astype(np.int64)


def _table(columns: dict[str, NDArray[Any]], types: dict[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array(columns[name].astype(np.int64)).cast(kind) for name, kind in types.items()})


def _write(folder: Path, item: Item, table: pa.Table, facts: dict[str, Any]) -> None:
    pq.write_table(table, folder / f"{item.index:04d}.parquet", compression="zstd")
    durable.write(_facts_file(folder, item), json.dumps({"item": asdict(item), **facts}).encode())


def _facts_file(folder: Path, item: Item) -> Path:
    return folder / f"{item.index:04d}.json"

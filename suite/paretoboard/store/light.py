"""All that was ever measured as one light table: a row for each record, whatever became of it.

Computed column by column: no Python object is made for a record, so that a million of them are a matter of seconds.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.types import union_categoricals

from paretoboard.spec import BASELINE
from paretoboard.store.codec import encode
from paretoboard.store.loading import parts
from paretoboard.store.names import SUFFIX, key_of
from paretoboard.store.packs import is_pack
from paretoboard.store.schema import SCHEMA
from paretoboard.store.sources import Damaged, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from paretoboard.records import RunRecord

# What stands in a record as it stands here.
_PLAIN: Final = (
    "run_id",
    "board_id",
    "task",
    "task_version",
    "title",
    "dataset",
    "subset",
    "model",
    "recipe",
    "profile",
    "seed",
    "status",
    "reason",
    "started_at",
    "duration_s",
    "hardware_id",
    "environment_id",
    "environment",
    "commit",
)
_READ: Final = (*_PLAIN, "steps", "spec", "hardware", "metrics", "comparisons")
# Every column, with its unit and what it says: what the Data page and the exports tell about them.
COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "run_id": ("", "SHA-256 of everything that decides the outcome of the run"),
    "board_id": ("", "SHA-256 of what all runs of one board share; results of another one answer another question"),
    "task": ("", "task, by its path below tasks/"),
    "task_version": ("", "version of the task file"),
    "title": ("", "title of the task"),
    "dataset": ("", "dataset"),
    "subset": ("", "list of images that was scored"),
    "model": ("", "network"),
    "recipe": ("", "recipe; baseline is the model as it is"),
    "techniques": ("", "techniques of the recipe in order, joined by ' > '"),
    "profile": ("", "what the hardware was held to"),
    "seed": ("", "seed of the run"),
    "status": ("", "ok, failed, timeout, refused, skipped or unstable"),
    "reason": ("", "why the status is not ok"),
    "started_at": ("UTC", "when the run began"),
    "duration_s": ("s", "how long it took as a whole"),
    "hardware_id": ("", "fingerprint of the hardware, which decides what is comparable"),
    "hardware_name": ("", "accelerators, or else the processor"),
    "environment_id": ("", "fingerprint of the software"),
    "environment": ("", "the software, as JSON"),
    "commit": ("", "commit of paretoboard; +dirty where it was changed"),
    "quality_metric": ("", "metric that the task is judged by"),
    "quality": ("1", "its value"),
    "quality_low": ("1", "lower end of its 95 % interval"),
    "quality_high": ("1", "upper end of its 95 % interval"),
    "quality_n": ("images", "images that it rests on"),
    "latency": ("s", "median time of a call at the smallest batch"),
    "latency_low": ("s", "lower end of its 95 % interval"),
    "latency_high": ("s", "upper end of its 95 % interval"),
    "throughput": ("images/s", "images per second at the largest batch"),
    "file_size": ("B", "size of the file that was scored and timed"),
    "peak_memory": ("B", "peak memory that the model adds to a process"),
    "train_time": ("s", "time of training, searches included"),
    "energy": ("J", "energy of one image"),
    "macs": ("count", "multiply-accumulates of one image"),
    "parameters": ("count", "parameters"),
    "ratio": ("1", "time of a call over the baseline's, measured side by side; below 1 is faster"),
    "ratio_low": ("1", "lower end of its interval"),
    "ratio_high": ("1", "upper end of its interval"),
    "small_batch": ("images", "batch of that comparison; 0 where there is none"),
    "verdict": ("", "better, worse, same or undecided by that comparison alone; '' where there is none"),
    "path": ("", "file of the record below the results folder; one in a pack is named below the pack"),
}
# Metrics with one value for a run, or one for each batch, of which the smallest is taken.
_COSTS: Final = ("file_size", "peak_memory", "train_time", "energy", "macs", "parameters")
# Strings that repeat in many rows.
_REPEATED: Final = (
    "board_id",
    "task",
    "title",
    "dataset",
    "subset",
    "model",
    "recipe",
    "techniques",
    "profile",
    "status",
    "hardware_id",
    "hardware_name",
    "environment_id",
    "environment",
    "commit",
    "quality_metric",
    "verdict",
)
# Texts as they are stored that repeat: read as dictionaries, so that what a million records say alike is there once.
_ENCODED: Final = (
    "board_id",
    "task",
    "title",
    "dataset",
    "subset",
    "model",
    "recipe",
    "profile",
    "status",
    "hardware_id",
    "environment_id",
    "environment",
    "commit",
    "steps",
    "spec",
    "hardware",
)
_AT_ONCE: Final = 16_384  # rows


def history(folder: Path, *, tasks: Iterable[str] | None = None) -> pd.DataFrame:
    """One row for each stored record, oldest first.

    Times are in seconds, sizes in bytes, energy in joules, throughput in images per second; what was not measured is
    NaN. `quality` is the metric that the task is judged by (`quality_metric`); `latency` is the median at the smallest
    batch, `throughput` that at the largest; `ratio` is the time of a call over the baseline's, measured side by side
    at `small_batch`, `verdict` what followed from it. `path` is the record's file below the folder.

    Args:
        folder: of results; no rows where there is no such folder.
        tasks: only these.
    Returns: a frame whose `attrs["damaged"]` names the files that can't be read, in words.
    """
    frames: list[pd.DataFrame] = []
    damaged: list[str] = []
    waiting: list[pa.Table] = []
    for source in sources(folder, tasks=tasks):
        where = source.path.relative_to(folder).as_posix()
        packed = is_pack(source.path)
        for part in parts(source, _READ, repeated=_ENCODED):
            if isinstance(part, Damaged):
                damaged.append(str(part))
                continue
            waiting.append(part.append_column("path", _paths(part, where, packed=packed)))
            if sum(table.num_rows for table in waiting) >= _AT_ONCE:
                frames.append(_frame(waiting))
                waiting = []
    return _ordered([*frames, _frame(waiting)], damaged)


def of(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The same of records at hand; their `path` is ""."""
    columns = [encode(record).select(list(_READ)) for record in records]
    tables = [table.append_column("path", pa.array([""] * table.num_rows, pa.string())) for table in columns]
    return _ordered([_frame(tables)], ())


def _frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Some rows, in any order."""
    table = _joined(tables)
    frame: pd.DataFrame = table.select([*_PLAIN, "path"]).to_pandas()
    frame["techniques"] = _decoded(table.column("steps"), _techniques)
    frame["hardware_name"] = _decoded(table.column("hardware"), _device)
    frame["quality_metric"] = _quality_metrics(frame["board_id"], table.column("spec"))
    _add_metrics(frame, table.column("metrics"))
    _add_comparisons(frame, table.column("comparisons"))
    for name in _REPEATED:
        frame[name] = frame[name].astype("category")
    return frame


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table; texts that repeat are dictionaries in it, whatever they are in the parts."""
    empty = SCHEMA.empty_table().select(list(_READ)).append_column("path", pa.array([], pa.string()))
    return pa.concat_tables([_encoded(table) for table in (*tables, empty)]).unify_dictionaries()


def _encoded(table: pa.Table) -> pa.Table:
    for name in _ENCODED:
        if not pa.types.is_dictionary(table.schema.field(name).type):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table.column(name).dictionary_encode())
    return table


def _paths(table: pa.Table, where: str, *, packed: bool) -> pa.Array:
    """The path of each record: its file's, or in a pack what `store.names.name_of` says, below the pack's."""
    if not packed:
        return pa.array([where] * table.num_rows, pa.string())
    # Of a time in microseconds arrow's %S has six decimals.
    started = pc.strftime(table.column("started_at"), "%Y%m%dT%H%M%SZ")
    digits = key_of(*("0" * 64,) * 3)
    ids = [
        pc.utf8_slice_codeunits(table.column(name).cast(pa.string()), 0, len(cut))
        for name, cut in zip(("run_id", "hardware_id", "environment_id"), digits, strict=True)
    ]
    names = pc.binary_join_element_wise(started, *ids, table.column("status").cast(pa.string()), "-")
    return pc.binary_join_element_wise(where, pc.binary_join_element_wise(names, SUFFIX, ""), "/")


def _ordered(frames: Sequence[pd.DataFrame], damaged: Iterable[str]) -> pd.DataFrame:
    """All rows by time, then by run and by where it ran; categories of texts are in alphabetical order."""
    columns = {}
    for name in frames[0].columns:
        pieces = [frame[name] for frame in frames if len(frame)] or [frames[0][name]]
        if name in _REPEATED:
            columns[name] = pd.Series(union_categoricals(pieces, sort_categories=True))
        else:
            columns[name] = pd.concat(pieces, ignore_index=True)
    frame = pd.DataFrame(columns)
    by = ["started_at", "run_id", "hardware_id", "environment_id"]
    ordered: pd.DataFrame = frame.sort_values(by, kind="stable", ignore_index=True)
    ordered = ordered[list(COLUMNS)]
    ordered.attrs["damaged"] = tuple(damaged)
    return ordered


def _add_metrics(frame: pd.DataFrame, column: pa.ChunkedArray) -> None:
    flat = _flat(column, ("name", "scope", "value", "low", "high", "n"))
    flat["batch"] = flat["scope"].map(_batch, na_action="ignore").astype(float)
    whole = flat["scope"] == ""
    judged = frame["quality_metric"].astype("category")
    rows_by = judged.cat.codes.to_numpy()[flat["row"]]
    wanted = np.zeros(len(flat), dtype=bool)
    for code, metric in enumerate(judged.cat.categories):
        wanted |= (rows_by == code) & (flat["name"] == metric).to_numpy()
    _spread(
        frame, flat[whole & wanted], {"": "quality", "low": "quality_low", "high": "quality_high", "n": "quality_n"}
    )
    ascending = flat[flat["batch"].notna() | whole].sort_values("batch", kind="stable", na_position="first")
    latency = {"": "latency", "low": "latency_low", "high": "latency_high"}
    _spread(frame, ascending[ascending["name"] == "latency"], latency)
    _spread(frame, ascending[ascending["name"] == "throughput"][::-1], {"": "throughput"})
    for cost in _COSTS:
        _spread(frame, ascending[ascending["name"] == cost], {"": cost})


def _add_comparisons(frame: pd.DataFrame, column: pa.ChunkedArray) -> None:
    flat = _flat(column, ("batch", "against", "ratio", "low", "high", "verdict"))
    flat = flat[flat["against"] == BASELINE].sort_values("batch", kind="stable").rename(columns={"ratio": "value"})
    _spread(frame, flat, {"": "ratio", "low": "ratio_low", "high": "ratio_high", "batch": "small_batch"})
    first = flat.drop_duplicates("row")
    verdicts = np.full(len(frame), "", dtype=object)
    verdicts[first["row"]] = first["verdict"]
    frame["verdict"] = verdicts
    frame["small_batch"] = frame["small_batch"].fillna(0).astype(int)


def _spread(frame: pd.DataFrame, flat: pd.DataFrame, names: Mapping[str, str]) -> None:
    """New columns of `frame`: of each row the first entry of `flat`, NaN where it has none."""
    first = flat.drop_duplicates("row")
    for source, name in names.items():
        values = np.full(len(frame), np.nan)
        values[first["row"]] = first[source or "value"]
        frame[name] = values


def _flat(column: pa.ChunkedArray, names: tuple[str, ...]) -> pd.DataFrame:
    """All entries of a column of lists of structs, each with the number of the row it is of."""
    lists = column.combine_chunks()
    entries = pc.list_flatten(lists)
    found = {name: pc.struct_field(entries, name) for name in names}
    plain = {
        name: (values.dictionary_encode() if pa.types.is_string(values.type) else values).to_pandas()
        for name, values in found.items()
    }
    return pd.DataFrame({"row": pc.list_parent_indices(lists).to_numpy(), **plain})


def _decoded(column: pa.ChunkedArray, of: Callable[[Any], str]) -> pd.Series[Any]:
    """What `of` makes of each JSON text; every different text is read once."""
    encoded = column.combine_chunks()
    texts = np.array([of(json.loads(text)) for text in encoded.dictionary.to_pylist()], dtype=object)
    return pd.Series(texts[encoded.indices.to_numpy()] if len(texts) else [], dtype=object)


def _quality_metrics(board_ids: pd.Series[Any], specs: pa.ChunkedArray) -> pd.Series[Any]:
    """The metric that each record's task is judged by: all of a board have the same."""
    first = board_ids.drop_duplicates()
    judged = {board: json.loads(specs[index].as_py())["quality"] for index, board in first.items()}
    return board_ids.astype(object).map(judged).astype(object)


def _techniques(steps: list[dict[str, Any]]) -> str:
    return " > ".join(step["name"] for step in steps)


def _device(hardware: dict[str, Any]) -> str:
    accelerators = [str(each.get("name", "accelerator")) for each in hardware.get("accelerators") or ()]
    return ", ".join(accelerators) or str(hardware.get("cpu", "unknown"))


@functools.cache
def _batch(scope: str) -> float:
    """The batch that a scope names, NaN for any other."""
    found = re.fullmatch(r"batch=(\d+)", scope)
    return float(found[1]) if found else math.nan

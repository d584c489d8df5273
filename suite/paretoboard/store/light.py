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

from paretoboard.errors import StoreError
from paretoboard.spec import BASELINE
from paretoboard.store.codec import encode
from paretoboard.store.names import record_files
from paretoboard.store.reading import Damaged, load
from paretoboard.store.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
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
    "path": ("", "file of the record below the results folder"),
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
    parts, damaged = [], []
    for path in record_files(folder, tasks=tasks):
        try:
            part = load(path, _READ)
        except StoreError as error:
            damaged.append(str(Damaged(path=path, reason=str(error))))
            continue
        parts.append(part.append_column("path", pa.array([path.relative_to(folder).as_posix()] * part.num_rows)))
    table = pa.concat_tables(parts) if parts else SCHEMA.empty_table().append_column("path", pa.array([], pa.string()))
    frame = _frame(table)
    frame.attrs["damaged"] = tuple(damaged)
    return frame


def of(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The same of records at hand; their `path` is ""."""
    tables = [encode(record).select(list(_READ)) for record in records]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    frame = _frame(table.append_column("path", pa.array([""] * table.num_rows, pa.string())))
    frame.attrs["damaged"] = ()
    return frame


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.select([*_PLAIN, "path"]).to_pandas()
    frame["techniques"] = _decoded(table.column("steps"), _techniques)
    frame["hardware_name"] = _decoded(table.column("hardware"), _device)
    frame["quality_metric"] = _quality_metrics(frame["board_id"], table.column("spec"))
    _add_metrics(frame, table.column("metrics"))
    _add_comparisons(frame, table.column("comparisons"))
    for name in _REPEATED:
        frame[name] = frame[name].astype("category")
    ordered: pd.DataFrame = frame.sort_values(["started_at", "run_id"], kind="stable", ignore_index=True)
    return ordered[list(COLUMNS)]


def _add_metrics(frame: pd.DataFrame, column: pa.ChunkedArray) -> None:
    flat = _flat(column, ("name", "scope", "value", "low", "high", "n"))
    flat["batch"] = flat["scope"].map(_batch, na_action="ignore").astype(float)
    whole = flat["scope"] == ""
    wanted = frame["quality_metric"].to_numpy(object)[flat["row"]] == flat["name"].to_numpy(object)
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
    found = {name: pc.struct_field(entries, name).to_pandas() for name in names}
    return pd.DataFrame({"row": pc.list_parent_indices(lists).to_numpy(), **found})


def _decoded(column: pa.ChunkedArray, of: Callable[[Any], str]) -> pd.Series[Any]:
    """What `of` makes of each JSON text; every different text is read once."""
    encoded = column.combine_chunks().dictionary_encode()
    texts = np.array([of(json.loads(text)) for text in encoded.dictionary.to_pylist()], dtype=object)
    return pd.Series(texts[encoded.indices.to_numpy()] if len(texts) else [], dtype=object)


def _quality_metrics(board_ids: pd.Series[Any], specs: pa.ChunkedArray) -> pd.Series[Any]:
    """The metric that each record's task is judged by: all of a board have the same."""
    first = board_ids.drop_duplicates()
    judged = {board: json.loads(specs[index].as_py())["quality"] for index, board in first.items()}
    return board_ids.map(judged).astype(object)


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

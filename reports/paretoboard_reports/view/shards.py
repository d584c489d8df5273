"""The data of single runs in at most 256 files: full for what a board shows, light for all others.

A light run holds the columns of `store.history` and no more, so that the size of a file grows with the count of runs
alone: about a hundred compressed bytes for each.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from paretoboard_reports.view.run import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

_COLUMNS: Final = (
    "run_id",
    "key",
    "board_id",
    "task",
    "task_version",
    "title",
    "dataset",
    "subset",
    "model",
    "recipe",
    "techniques",
    "family",
    "backend",
    "profile",
    "seed",
    "status",
    "reason",
    "started_at",
    "duration_s",
    "hardware_id",
    "hardware_name",
    "environment_id",
    "commit",
    "place",
    "board",
    "quality_metric",
    "quality",
    "quality_low",
    "quality_high",
    "quality_n",
    "latency",
    "latency_low",
    "latency_high",
    "small_batch",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "throughput",
    "file_size",
    "peak_memory",
    "train_time",
    "energy",
    "macs",
    "parameters",
    "path",
)


def shards(found: pd.DataFrame) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(first two digits of the run ids, the light runs of that file), by those digits.

    Args:
        found: `history.described`.
    """
    for prefix, rows in found.groupby(found["run_id"].str.slice(0, 2), sort=True):
        columns = [_plain(rows, name) for name in _COLUMNS]
        commands = [
            command(*cell)
            for cell in zip(*(rows[name] for name in ("task", "recipe", "profile", "seed", "commit")), strict=True)
        ]
        environments = rows.drop_duplicates("environment_id").sort_values("environment_id")
        yield (
            str(prefix),
            {
                "columns": [*_COLUMNS, "command"],
                "rows": [list(row) for row in zip(*columns, commands, strict=True)],
                "environments": {
                    str(name): json.loads(text)
                    for name, text in zip(environments["environment_id"], environments["environment"], strict=True)
                },
            },
        )


def _plain(rows: pd.DataFrame, name: str) -> list[Any]:
    """A column as JSON has it: no NaN, times as text."""
    values = rows[name]
    if name == "started_at":
        return [time.isoformat() for time in values]
    if values.dtype.kind == "f":
        return [value if math.isfinite(value) else None for value in values.tolist()]
    return values.tolist() if values.dtype.kind in "iu" else [str(value) for value in values]

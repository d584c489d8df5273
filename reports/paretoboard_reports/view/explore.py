"""All stored runs as columns for the page that searches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard_reports.packing import Column

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

# name -> heading. Their names are those of `store.history`, so that a CSV and the parquet speak of the same.
_WORDS: Final[Mapping[str, str]] = {
    "task": "Task",
    "recipe": "Recipe",
    "techniques": "Techniques",
    "family": "Family",
    "model": "Model",
    "dataset": "Dataset",
    "subset": "Subset",
    "backend": "Runtime",
    "profile": "Profile",
    "hardware": "Hardware",
    "hardware_id": "Machine",
    "environment_id": "Environment",
    "status": "Status",
    "reason": "Reason",
    "place": "Place",
    "board": "Board",
    "quality_metric": "Metric of quality",
    "verdict": "Speed against the baseline",
    "commit": "Commit",
}
# name -> (heading, unit)
_NUMBERS: Final[Mapping[str, tuple[str, str]]] = {
    "seed": ("Seed", ""),
    "task_version": ("Version of the task", ""),
    "quality": ("Quality", "share"),
    "quality_low": ("Quality, low end of the 95 % interval", "share"),
    "quality_high": ("Quality, high end of the 95 % interval", "share"),
    "quality_n": ("Images", ""),
    "latency": ("Latency", "s"),
    "latency_low": ("Latency, low end of the 95 % interval", "s"),
    "latency_high": ("Latency, high end of the 95 % interval", "s"),
    "small_batch": ("Batch of the latency ratio", "images"),
    "ratio": ("Time over the baseline's", ""),
    "ratio_low": ("Time over the baseline's, low end", ""),
    "ratio_high": ("Time over the baseline's, high end", ""),
    "throughput": ("Throughput", "images/s"),
    "file_size": ("File size", "bytes"),
    "peak_memory": ("Peak memory", "bytes"),
    "train_time": ("Training time", "s"),
    "energy": ("Energy", "J"),
    "macs": ("MACs", ""),
    "parameters": ("Parameters", ""),
    "duration_s": ("Duration of the run", "s"),
}
# A message of an error may be a page long; its whole text is on the page of the run.
_REASON_CHARACTERS: Final = 200
_ID_DIGITS: Final = 8


def columns(found: pd.DataFrame) -> tuple[Column, ...]:
    """The columns of `history.described`, newest row first.

    Times are whole seconds since 1970, UTC.
    """
    rows = found.iloc[::-1]
    words = {name: rows[name].astype(str) for name in _WORDS if name != "hardware"}
    words["reason"] = words["reason"].str.slice(0, _REASON_CHARACTERS)
    words["hardware"] = rows["hardware_name"].astype(str)
    for name in ("hardware_id", "environment_id"):
        words[name] = words[name].str.slice(0, _ID_DIGITS)
    started = rows["started_at"].to_numpy("datetime64[s]").astype(np.float64)
    return (
        _hexadecimal("run", "Run", rows["run_id"].str.slice(0, 16)),
        _hexadecimal("measurement", "Measurement", rows["measurement"]),
        Column(name="started", label="Started", unit="UTC", kind="number", values=started),
        *(Column(name=name, label=label, kind="words", values=words[name]) for name, label in _WORDS.items()),
        *(
            Column(name=name, label=label, unit=unit, kind="number", values=rows[name].to_numpy(np.float64))
            for name, (label, unit) in _NUMBERS.items()
        ),
    )


def _hexadecimal(name: str, label: str, texts: pd.Series[str]) -> Column:
    """Ids as bytes: as a dictionary of words every one of them would cost a string."""
    content = bytes.fromhex("".join(texts))
    values = np.frombuffer(content, np.uint8).reshape(len(texts), -1 if len(texts) else 1)
    return Column(name=name, label=label, kind="bytes", values=values)

"""What LoadGen wrote: the `:::MLLOG` lines of its detail log, and its accuracy log."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

DETAIL: Final = "mlperf_log_detail.txt"
ACCURACY: Final = "mlperf_log_accuracy.json"
_PREFIX: Final = ":::MLLOG "
# Lines worth keeping on a record; the others repeat settings or list every sample.
_KEPT: Final = (
    "loadgen_version",
    "effective_scenario",
    "effective_min_duration_ms",
    "effective_min_query_count",
    "effective_target_qps",
    "effective_target_latency_ns",
    "generated_samples_per_query",
    "result_validity",
    "result_invalid_reason",
    "result_min_duration_met",
    "result_min_queries_met",
    "early_stopping_met",
    "early_stopping_latency_ss",
    "early_stopping_latency_ms",
    "result_query_count",
    "result_overlatency_query_count",
    "result_samples_per_second",
    "result_scheduled_samples_per_sec",
    "result_completed_samples_per_sec",
    "result_50.00_percentile_latency_ns",
    "result_90.00_percentile_latency_ns",
    "result_99.00_percentile_latency_ns",
    "result_99.00_percentile_per_query_latency_ns",
    "num_errors",
)


@dataclass(frozen=True, slots=True)
class DetailLog:
    """Values by key; of a key that is written twice the last."""

    values: Mapping[str, Any]

    @property
    def valid(self) -> bool:
        """LoadGen's own word on the result, durations included."""
        return bool(self.values.get("result_validity") == "VALID")

    @property
    def version(self) -> str:
        """Of LoadGen, without its commit."""
        return str(self.values.get("loadgen_version", "of unknown version")).split(" ", maxsplit=1)[0]

    def number(self, key: str) -> float:
        """The value of a key that is a number. Raises: KeyError where LoadGen did not write it."""
        return float(self.values[key])

    def key_lines(self) -> str:
        """The lines that tell how the test went, as `key=value` in LoadGen's words."""
        kept = [f"{key}={self.values[key]}".strip() for key in _KEPT if self.values.get(key) not in (None, "", 0)]
        return "; ".join(kept)


def read_detail(folder: Path) -> DetailLog:
    """The detail log in `folder`; lines that are no MLLOG are passed over."""
    values: dict[str, Any] = {}
    with (folder / DETAIL).open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(_PREFIX):
                entry = json.loads(line.removeprefix(_PREFIX))
                values[entry["key"]] = entry["value"]
    return DetailLog(values)


def read_answers(folder: Path) -> dict[int, int]:
    """Index of the sample -> the class that was answered, from the accuracy log.

    LoadGen fills up the last query of MultiStream with samples that it asked for already; they count once.
    """
    entries = json.loads((folder / ACCURACY).read_text(encoding="utf-8"))
    return {entry["qsl_idx"]: struct.unpack("<i", bytes.fromhex(entry["data"]))[0] for entry in entries}

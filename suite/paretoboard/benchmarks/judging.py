"""Sessions of pytest-benchmark judged by the rule for nights: the same machine, the same software, several sessions.

The value of a session is the mean of the faster half of a benchmark's rounds, as in the protocol: what disturbs a round
only ever makes it longer. Rounds are wall time of one process and not paired with anything, so that sessions scatter
more than nights of recipes do; the rule looks at that scatter before it says anything.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoboard.plan import digest
from paretoboard.regressions.model import Change, Key, Night, Series
from paretoboard.regressions.shifts import LEAST_NIGHTS, changes, noisy, usual

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoboard.benchmarks.document import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is to be said of one benchmark on one machine."""

    series: Series
    change: Change | None  # the newest
    level: float | None  # seconds, of the sessions before the newest; None of too few
    too_noisy: bool

    @property
    def newest(self) -> float:
        """Seconds."""
        return self.series.nights[-1].value

    @property
    def says(self) -> str:
        """In words."""
        comparable = len(self.series.segments[-1])
        if self.too_noisy:
            return "sessions scatter too far to tell anything"
        if self.change is not None:
            return f"{'slower' if self.change.worse else 'faster'} since {self.change.first.day}, {self.change.state}"
        if comparable <= LEAST_NIGHTS:
            return f"{comparable} of {LEAST_NIGHTS + 1} sessions that a comparison needs"
        return "no change"


def judged(documents: Iterable[Document]) -> tuple[Judged, ...]:
    """Every benchmark of every machine, by name; sessions of different machines are never compared.

    Args:
        documents: in any order.
    """
    nights: dict[tuple[str, str], list[Night]] = {}
    for document in sorted(documents, key=lambda each: each.measured_at):
        machine, environment = _machine(document), _environment(document)
        for benchmark in document.benchmarks:
            night = Night(
                day=document.measured_at.date(),
                value=session_value(benchmark["stats"]),
                low=math.nan,
                high=math.nan,
                runs=int(benchmark["stats"]["rounds"]),
                environment_id=digest(environment),
                environment=json.dumps(environment),
                commit=document.commit,
                run_id=document.digest,
            )
            nights.setdefault((benchmark["fullname"], machine), []).append(night)
    return tuple(_judged(name, machine, found) for (name, machine), found in sorted(nights.items()))


def session_value(stats: dict[str, Any]) -> float:
    """Mean of the faster half of the rounds, in seconds; the median where a file has no rounds."""
    data = sorted(stats.get("data") or ())
    half = data[: max(1, len(data) // 2)]
    return sum(half) / len(half) if half else float(stats["median"])


def _judged(name: str, machine: str, nights: list[Night]) -> Judged:
    key = Key(task="pytest-benchmark", board_id="", profile="", hardware_id=machine, recipe=name, what="speed")
    series = Series(key=key, unit="s", metric="latency", title=name, hardware_name="", nights=tuple(nights))
    found = list(changes(series))
    level, _ = usual(series.segments[-1][:-1])
    return Judged(series=series, change=found[-1] if found else None, level=level, too_noisy=noisy(series) is not None)


def _machine(document: Document) -> str:
    """What says that two sessions ran on equal hardware: our fingerprint, or what pytest-benchmark knows."""
    info = document.content["machine_info"]
    ours = info.get("paretoboard")
    if isinstance(ours, dict) and isinstance(ours.get("hardware_id"), str):
        return str(ours["hardware_id"])
    cpu = info.get("cpu") if isinstance(info.get("cpu"), dict) else {}
    return digest([info.get("node"), info.get("machine"), cpu.get("brand_raw"), cpu.get("count")])


def _environment(document: Document) -> dict[str, Any]:
    info = document.content["machine_info"]
    ours = info.get("paretoboard")
    if isinstance(ours, dict) and isinstance(ours.get("environment"), dict):
        return dict(ours["environment"])
    return {name: info.get(name) for name in ("python_implementation", "python_version", "release", "system")}

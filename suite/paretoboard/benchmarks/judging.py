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
        machine = _machine(document)
        for benchmark in document.benchmarks:
            environment = _environment(document, benchmark)
            night = Night(
                day=document.measured_at.date(),
                value=session_value(benchmark["stats"]) * _unit(environment["timer"]),
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
    """Mean of the faster half of the rounds, in the timer's unit; the median where a file has no rounds."""
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


def _environment(document: Document, benchmark: dict[str, Any]) -> dict[str, Any]:
    """What must be the same of two sessions: the software, the timer, and whether there are rounds to take half of."""
    info = document.content["machine_info"]
    ours = info.get("paretoboard")
    how = {"timer": _field(benchmark, "options", "timer"), "rounds": bool(benchmark["stats"].get("data"))}
    if exported := _field(benchmark, "extra_info", "environment_id"):  # a run of ours has its own software
        return {"environment_id": exported, **how}
    if isinstance(ours, dict) and isinstance(ours.get("environment"), dict):
        return {**ours["environment"], **how}
    names = ("python_implementation", "python_version", "release", "system")
    return {**{name: info.get(name) for name in names}, **how}


def _field(benchmark: dict[str, Any], part: str, name: str) -> str:
    fields = benchmark.get(part)
    found = fields.get(name) if isinstance(fields, dict) else None
    return found if isinstance(found, str) else ""


def _unit(timer: str) -> float:
    """Seconds in what a timer counts; pytest-benchmark writes its numbers as they are."""
    return 1e-9 if timer.endswith("_ns") else 1.0

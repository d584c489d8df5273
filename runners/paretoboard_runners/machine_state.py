"""What the machine does around a window of timed calls: steal, load, pressure, clock, temperature."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_SYS_CPU: Final = Path("/sys/devices/system/cpu")
_THERMAL: Final = Path("/sys/class/thermal/thermal_zone0/temp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters at one moment; each is None where the machine does not have it."""

    steal_ticks: int
    total_ticks: int
    load1: float
    pressure: float | None
    clock_mhz: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What happened between two readings."""

    steal: float
    load1: float
    pressure: float | None
    clock_mhz: float | None
    temperature_c: float | None


def read(proc: Path = _PROC) -> Reading:
    """The counters now, of the cores this process may run on."""
    steal, total = _ticks((proc / "stat").read_text(), os.sched_getaffinity(0))
    return Reading(
        steal_ticks=steal,
        total_ticks=total,
        load1=float((proc / "loadavg").read_text().split()[0]),
        pressure=_pressure(proc / "pressure" / "cpu"),
        clock_mhz=_clock_mhz(min(os.sched_getaffinity(0))),
        temperature_c=_number(_THERMAL, 1000.0),
    )


def between(before: Reading, after: Reading) -> Snapshot:
    """The share of stolen time between two readings, and the rest as it was at the second."""
    total = after.total_ticks - before.total_ticks
    return Snapshot(
        steal=(after.steal_ticks - before.steal_ticks) / total if total > 0 else 0.0,
        load1=after.load1,
        pressure=after.pressure,
        clock_mhz=after.clock_mhz,
        temperature_c=after.temperature_c,
    )


def _ticks(stat: str, cores: set[int]) -> tuple[int, int]:
    names = {f"cpu{core}" for core in cores}
    steal = total = 0
    for line in stat.splitlines():
        fields = line.split()
        if fields and fields[0] in names:
            # user nice system idle iowait irq softirq steal (guest is part of user): proc_stat(5)
            numbers = [int(field) for field in fields[1:9]]
            total += sum(numbers)
            steal += numbers[7]
    return steal, total


def _pressure(path: Path) -> float | None:
    try:
        first = path.read_text().split()
    except OSError:
        return None
    return float(first[1].removeprefix("avg10=")) / 100


def _clock_mhz(core: int) -> float | None:
    return _number(_SYS_CPU / f"cpu{core}" / "cpufreq" / "scaling_cur_freq", 1000.0)


def _number(path: Path, divisor: float) -> float | None:
    try:
        return int(path.read_text()) / divisor
    except (OSError, ValueError):
        return None

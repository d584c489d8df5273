"""A short look at how evenly the cores run: a loop of known work, timed on two clocks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard_runners import machine_state

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE_NS: Final = 1_000_000  # of work between two looks at the clocks: the length of a short inference
_CALIBRATION_ROUNDS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spin:
    """What a loop of equal pieces of work saw; times in nanoseconds, shares from 0 to 1."""

    pieces: int
    cpu_share: float  # CPU time / wall time: 1 when the core was ours alone
    wall_jitter: float  # (90th percentile - median) / median of a piece's wall time
    cpu_jitter: float  # the same of its CPU time: clock, caches and memory, without the waiting
    steal: float  # share of the cores' time that a hypervisor gave to others
    switches: int  # times that another task was put in our place


def spin(cores: Sequence[int], seconds: float = 2.0) -> Spin:
    """Work on each of `cores` in turn, `seconds` in all. The affinity of the calling thread is put back.

    Raises: OSError if a core can't be used.
    """
    own = os.sched_getaffinity(0)
    walls: list[int] = []
    cpus: list[int] = []
    switches = 0
    steals = []
    try:
        for core in cores:
            os.sched_setaffinity(0, {core})
            before, state = _switches(), machine_state.read()
            _work(seconds / len(cores), walls, cpus)
            steals.append(machine_state.between(state, machine_state.read()).steal)
            switches += _switches() - before
    finally:
        os.sched_setaffinity(0, own)
    return Spin(
        pieces=len(walls),
        cpu_share=min(1.0, sum(cpus) / sum(walls)),
        wall_jitter=_jitter(walls),
        cpu_jitter=_jitter(cpus),
        steal=max(steals),
        switches=switches,
    )


def _work(seconds: float, walls: list[int], cpus: list[int]) -> None:
    rounds = _rounds()
    end = time.perf_counter_ns() + int(seconds * 1e9)
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    while wall < end:
        _piece(rounds)
        now_wall, now_cpu = time.perf_counter_ns(), time.thread_time_ns()
        walls.append(now_wall - wall)
        cpus.append(now_cpu - cpu)
        wall, cpu = now_wall, now_cpu


def _rounds() -> int:
    """How many rounds make a piece, by CPU time, so that a busy machine does not get shorter ones."""
    start = time.thread_time_ns()
    _piece(_CALIBRATION_ROUNDS)
    return max(1, int(_CALIBRATION_ROUNDS * _PIECE_NS / max(1, time.thread_time_ns() - start)))


def _piece(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += number
    return total


def _switches() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _jitter(times: Sequence[int]) -> float:
    ordered = sorted(times)
    median = ordered[len(ordered) // 2]
    return ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)] / median - 1

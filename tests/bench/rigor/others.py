"""The same kernels timed one program after the other, as the tools in common use do it.

Three recordings of wall times, `SIDE_S` for each program in each:

- `rounds`: one process, all rounds of a, then all rounds of b (pytest-benchmark: a round is one call of such a length)
- `processes`: 20 processes of a, then 20 of b, each a warm-up value and three values of 0.1 s (pyperf's defaults);
  asv's samples of 10 ms are cut from the same processes, after its warm-up of 0.1 s
- `commands`: hyperfine itself, ten runs of a command that takes about a second, its start-up included
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.rigor import kernels
from bench.rigor.ours import LIMITS, environment
from bench.rigor.plan import Item
from paretoboard_runners.client import Worker

PROCESSES: Final = 20  # pyperf's default
VALUES: Final = 4  # of each process: one warm-up and three
VALUE_S: Final = 0.1  # pyperf's min_time
RUNS: Final = 10  # hyperfine's fewest
TIMES: Final = "times.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurn:
    """Time calls of each program in turn, for `seconds` or `calls` of them."""

    kernel: str
    units: tuple[int, ...]
    model: Path
    seconds: float
    calls: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many calls there were of each program."""

    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Wall times of one program."""

    rounds: NDArray[np.int64]  # ns
    processes: list[NDArray[np.int64]]  # ns of each call, by process; `loops` calls make a value
    loops: int
    commands: NDArray[np.int64]  # ns; empty without hyperfine


def time_in_turn(job: InTurn, folder: Path, emit: Callable[[dict[str, Any]], None]) -> Counts:
    """The job of one process; leaves the wall times of all calls in `times.npy`."""
    clock = time.perf_counter_ns
    times: list[int] = []
    counts = []
    for units in job.units:
        work = kernels.build(job.kernel, job.model).work
        before, end = len(times), clock() + int(job.seconds * 1e9)
        while (clock() < end) if job.calls is None else (len(times) - before < job.calls):
            start = clock()
            work(units)
            times.append(clock() - start)
        counts.append(len(times) - before)
    np.save(folder / TIMES, np.asarray(times, dtype=np.int64), allow_pickle=False)
    return Counts(calls=tuple(counts))


def record(worker: Worker, item: Item, model: Path) -> tuple[Times, Times]:
    """The three recordings of both programs."""
    units = kernels.UNITS[item.kernel][item.planted]
    rounds = _calls(worker, item, model, units, seconds=item.seconds)
    per_call_s = float(np.median(rounds[0])) / 1e9
    loops = max(1, round(VALUE_S / per_call_s))
    processes = [_processes(worker, item, model, side, loops) for side in units]
    commands = _commands(item, model, units, per_call_s, min(worker.cores))
    sides = zip(rounds, processes, commands, strict=True)
    a, b = (Times(rounds=r, processes=p, loops=loops, commands=c) for r, p, c in sides)
    return a, b


def _calls(
    worker: Worker, item: Item, model: Path, units: tuple[int, ...], *, seconds: float = 0.0, calls: int | None = None
) -> list[NDArray[np.int64]]:
    job = InTurn(kernel=item.kernel, units=units, model=model, seconds=seconds, calls=calls)
    counts, folder = worker.do(
        "bench.rigor.others:time_in_turn", job, Counts, preload=["bench.rigor.others"], limits=LIMITS
    )
    times = np.load(folder / TIMES, allow_pickle=False)
    (folder / TIMES).unlink()
    return list(np.split(times, np.cumsum(counts.calls)[:-1]))


def _processes(worker: Worker, item: Item, model: Path, units: int, loops: int) -> list[NDArray[np.int64]]:
    """Up to 20 processes, as many as fit the time of one side."""
    end = time.perf_counter() + item.seconds
    found: list[NDArray[np.int64]] = []
    while len(found) < PROCESSES and (time.perf_counter() < end or len(found) < 2):
        found += _calls(worker, item, model, (units,), calls=VALUES * loops)
    return found


def _commands(
    item: Item, model: Path, units: tuple[int, ...], per_call_s: float, core: int
) -> tuple[NDArray[np.int64], ...]:
    """Whole runs of a command by hyperfine, none where it is not installed."""
    program = shutil.which("hyperfine")
    if program is None:
        return tuple(np.empty(0, dtype=np.int64) for _ in units)

    def pin() -> None:
        os.sched_setaffinity(0, [core])

    variables = {**os.environ, **environment(core)}

    def command(side: int, calls: int) -> list[str]:
        return [sys.executable, "-m", "bench.rigor.command", item.kernel, str(side), str(calls), str(model)]

    start = time.perf_counter()
    subprocess.run(command(units[0], 1), env=variables, preexec_fn=pin, check=True)
    start_up_s = time.perf_counter() - start
    run_s = item.seconds / RUNS
    calls = max(1, round(max(run_s - start_up_s, run_s / 2) / per_call_s))
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "hyperfine.json"
        subprocess.run(
            [program, "--shell=none", f"--runs={RUNS}", "--style=none", f"--export-json={answer}"]
            + [" ".join(command(side, calls)) for side in units],
            env=variables,
            preexec_fn=pin,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        results = json.loads(answer.read_text())["results"]
    return tuple(np.asarray(np.round(np.asarray(result["times"]) * 1e9), dtype=np.int64) for result in results)

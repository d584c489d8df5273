"""Comparisons by the project's own code: its worker, its controls, its launches, its two looks."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.rigor import kernels
from bench.rigor.plan import Item
from paretoboard import stats
from paretoboard.records import Calls, Comparison
from paretoboard.spec import HardwareProfile
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_runners import controls, timing
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.comparing import join_calls
from paretoboard_runners.launch import CALLS

# One core and nothing that needs privileges: no raised priority, no fixed clock. numpy asks the kernel for huge pages
# and gets them for some buffers only; that is a matter of luck, and it is held off for all rules alike.
PROFILE: Final = HardwareProfile(
    name="rigor", title="one core, as any user may hold it", cores=1, settings={"huge_pages": "off"}
)
TESTS: Final = Path(__file__).resolve().parents[2]
LIMITS: Final = JobLimits(timeout_s=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLaunch:
    """One launch of two kernels."""

    kernel: str
    units: tuple[int, int]
    shared: bool  # both arms on the same buffers: what is left is the slowdown alone
    model: Path
    plan: timing.LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """What one launch took."""

    elapsed: float
    timed: float  # inside timed calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The launches of one comparison."""

    calls: Calls
    wall_s: tuple[float, ...]  # of each launch, its process included
    elapsed_s: tuple[float, ...]  # inside the process
    timed_s: tuple[float, ...]  # inside timed calls


def start_worker(core: int, seed: int) -> Worker:
    """A worker that is pinned to `core` and finds this package."""
    return Worker(PROFILE, cores=(core,), environment=environment(core), seed=seed)


def environment(core: int) -> dict[str, str]:
    """What a measuring process is started with, to be added to what it inherits; ours and the others' alike."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return controls.session_environment(PROFILE, (core,)) | {"PYTHONPATH": path}


def launch(job: KernelLaunch, folder: Path, emit: Callable[[dict[str, Any]], None]) -> Seconds:
    """The job of one launch, done in a fresh process; leaves every call in `calls.npz`."""
    a, b = job.units
    if job.shared:
        kernel = kernels.build(job.kernel, job.model)
        arms = [kernels.KernelArm(kernel, a), kernels.KernelArm(kernel, b, owner=False)]
    else:
        # As in the runner's own launches: which one is loaded first, and so gets which memory, is drawn.
        built = {side: kernels.build(job.kernel, job.model) for side in random.Random(job.plan.seed).sample((0, 1), 2)}
        arms = [kernels.KernelArm(built[0], a), kernels.KernelArm(built[1], b)]
    done = timing.run_launch(arms, job.plan)
    np.savez(folder / CALLS, allow_pickle=False, **done.calls.arrays())
    return Seconds(elapsed=done.elapsed_s, timed=done.timed_s)


def record(worker: Worker, item: Item, model: Path, looks: int) -> Recorded:
    """Make the launches of `item`, and as many again where the protocol wants a second look."""
    parts: list[Calls] = []
    costs: list[tuple[float, float, float]] = []
    for look in range(1, looks + 1):
        for number in range((look - 1) * item.launches, look * item.launches):
            calls, cost = _one_launch(worker, item, model, number)
            parts.append(calls)
            costs.append(cost)
        if look < looks and not stats.wants_second_look(compare(join_calls(parts), look=1)):
            break
    wall_s, elapsed_s, timed_s = zip(*costs, strict=True)
    return Recorded(calls=join_calls(parts), wall_s=wall_s, elapsed_s=elapsed_s, timed_s=timed_s)


def compare(calls: Calls, *, look: Any = None, tolerance: float = RELEVANT) -> Comparison:
    """The project's verdict on recorded calls."""
    return stats.compare_calls(calls, batch=1, threads=1, against="a", tolerance=tolerance, look=look)


def _one_launch(worker: Worker, item: Item, model: Path, number: int) -> tuple[Calls, tuple[float, float, float]]:
    job = KernelLaunch(
        kernel=item.kernel,
        units=kernels.UNITS[item.kernel][item.planted],
        shared=item.kind == "reference",
        model=model,
        plan=timing.LaunchPlan(seconds=item.seconds, seed=item.seed + number, threads=1),
    )
    start = time.perf_counter()
    spent, folder = worker.do("bench.rigor.ours:launch", job, Seconds, preload=["bench.rigor.ours"], limits=LIMITS)
    with np.load(folder / CALLS, allow_pickle=False) as stored:
        columns: dict[str, Any] = dict(stored)
    wall_s = time.perf_counter() - start
    (folder / CALLS).unlink()
    size = len(columns["arm"])
    calls = Calls(
        batch=np.ones(size, dtype=np.int32),
        launch=np.full(size, number, dtype=np.int16),
        reference=np.zeros(size, dtype=np.int8),
        **columns,
    )
    return calls, (wall_s, spent.elapsed, spent.timed)

"""What measuring costs: time outside the timed calls, and the loop around each call."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.rigor import ours
from paretoboard import artifact, durable
from paretoboard_runners import jobs, launch, machine, timing
from paretoboard_runners.budgets import BUDGETS

FILE: Final = "machine.json"
CALL_S: Final = 0.003
LOOP_CALLS: Final = 100
LOOPS: Final = 2000


def record(path: Path, model: Path, core: int) -> None:
    """Measure the costs and write them with the machine, the software and the commit."""
    facts = {"machine": _machine(), "standard_comparison": standard_comparison(model, core), "loop": loop(core)}
    durable.write(path, json.dumps(facts, indent=2).encode())


def standard_comparison(model: Path, core: int) -> dict[str, float]:
    """Time and shares of one `standard` comparison of a model that takes about 3 ms, by the runner's own jobs."""
    with tempfile.TemporaryDirectory() as scratch, ours.start_worker(core, seed=1) as worker:
        folder, images = Path(scratch) / "artifact", Path(scratch) / "images.npy"
        artifact.save(
            artifact.Candidate(
                architecture="cifar-resnet8",
                classes=10,
                input_shape=(3, 32, 32),
                graph=model.read_bytes(),
                execution=artifact.Execution(runtime="onnxruntime"),
            ),
            folder,
        )
        np.save(images, np.random.default_rng(0).standard_normal((1024, 3, 32, 32), dtype=np.float32))
        walls_s, timed_s, elapsed_s, calls = [], [], [], 0
        batch = _batch_for(worker, folder, images)
        for number in range(BUDGETS["standard"].count):
            start = time.perf_counter()
            result, made = _launch(worker, folder, images, batch, BUDGETS["standard"].seconds, number)
            walls_s.append(time.perf_counter() - start)
            timed_s.append(result.timed_s)
            elapsed_s.append(result.elapsed_s)
            calls += made
    return {
        "batch": batch,
        "call_ms": sum(timed_s) / calls * 1e3,
        "wall_s": sum(walls_s),
        "timed_s": sum(timed_s),
        "inside_launches_s": sum(elapsed_s),
        "outside_share": 1 - sum(timed_s) / sum(walls_s),
        "processes_share": 1 - sum(elapsed_s) / sum(walls_s),
        "load1": os.getloadavg()[0],
    }


def loop(core: int) -> dict[str, float]:
    """Microseconds of the recording loop around a call that does nothing, beyond the two pairs of clock reads.

    In CPU time and in short turns, since on a busy machine other programs take wall time from either.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [core])
    spent = np.empty((LOOPS, 2))
    try:
        with timing.no_garbage_collection():
            for turn in range(LOOPS):
                log = timing.CallLog()
                start = time.thread_time_ns()
                timing.run_leg(_nothing, (None,), 0, LOOP_CALLS, log, 1, 0)
                middle = time.thread_time_ns()
                _clock_reads(LOOP_CALLS)
                spent[turn] = middle - start, time.thread_time_ns() - middle
    finally:
        os.sched_setaffinity(0, before)
    loop_us, clock_reads_us = np.median(spent, axis=0) / LOOP_CALLS / 1e3
    beyond_us = (spent[:, 0] - spent[:, 1]) / LOOP_CALLS / 1e3
    return {
        "calls": LOOPS * LOOP_CALLS,
        "loop_us": float(loop_us),
        "clock_reads_us": float(clock_reads_us),
        "beyond_us": float(np.median(beyond_us)),
        "beyond_p90_us": float(np.quantile(beyond_us, 0.9)),
    }


def _nothing(native: Any) -> None:
    return None


def _clock_reads(calls: int) -> None:
    """The two pairs of clock reads that any such record needs, and the loop that any repetition needs."""
    wall_clock, cpu_clock = time.perf_counter_ns, time.thread_time_ns
    for _ in range(calls):
        cpu_clock()
        wall_clock()
        _nothing(None)
        wall_clock()
        cpu_clock()


def _batch_for(worker: ours.Worker, folder: Path, images: Path) -> int:
    """The batch size whose call takes about 3 ms."""
    result, calls = _launch(worker, folder, images, 1, 0.3, 99)
    return min(32, max(1, round(CALL_S / (result.timed_s / calls))))


def _launch(
    worker: ours.Worker, folder: Path, images: Path, batch: int, seconds: float, number: int
) -> tuple[jobs.LaunchResult, int]:
    job = jobs.LaunchJob(
        artifacts=(folder, folder),
        batch=batch,
        plan=timing.LaunchPlan(seconds=seconds, seed=number, threads=1),
        input_file=images,
    )
    result, made = worker.do("paretoboard_runners.launch:launch", job, jobs.LaunchResult, limits=ours.LIMITS)
    with np.load(made / launch.CALLS, allow_pickle=False) as calls:
        return result, len(calls["arm"])


def _machine() -> dict[str, Any]:
    described = machine.hardware()
    return {
        "cpu": described["cpu"],
        "logical_cpus": described["logical_cpus"],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _output(["git", "rev-parse", "--short=10", "HEAD"]),
        "hyperfine": _output(["hyperfine", "--version"]),
        "versions": {name: metadata.version(name) for name in ("numpy", "onnxruntime", "scipy", "pyperf", "asv")},
    }


def _output(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()

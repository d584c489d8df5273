"""Whatever a job does, its worker lives on, nothing of it is left, and its end is told in plain words."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from faults import FaultJob, FaultResult
from paretoboard.spec import HardwareProfile
from paretoboard_runners import controls
from paretoboard_runners.client import JobFailedError, JobLimits, Worker, WorkerLostError

pytestmark = pytest.mark.alone

PROFILE = HardwareProfile(name="test", title="for tests", cores=1)
TESTS = Path(__file__).parent


def new_worker() -> Worker:
    cores = controls.choose_cores(PROFILE)
    environment = controls.session_environment(PROFILE, cores) | {"PYTHONPATH": str(TESTS)}
    return Worker(PROFILE, cores=cores, environment=environment)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with new_worker() as started:
        yield started


def do(worker: Worker, kind: str, *, timeout_s: float = 30.0, memory_bytes: int | None = None) -> FaultResult:
    limits = JobLimits(timeout_s=timeout_s, memory_bytes=memory_bytes)
    return worker.do("faults:misbehave", FaultJob(kind=kind), FaultResult, limits=limits)[0]


def failure(worker: Worker, kind: str, **limits: float | int) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        do(worker, kind, **limits)  # type: ignore[arg-type]
    assert_nothing_left(worker)
    return caught.value


def assert_nothing_left(worker: Worker) -> None:
    assert psutil.Process(worker.pid).children(recursive=True) == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("segmentation fault", "killed by SIGSEGV"),
        ("abort", "killed by SIGABRT"),
        ("be killed", "killed by SIGKILL"),
        ("raise", "ValueError: no good"),
        ("exit", "ended with exit code 3"),
        ("system exit", "SystemExit: enough"),
    ],
)
def test_a_job_that_dies_is_told_with_its_reason(worker: Worker, kind: str, reason: str) -> None:
    assert failure(worker, kind).reason == reason


@pytest.mark.parametrize("kind", ["native loop", "stop"])
def test_a_job_that_hangs_is_killed_at_its_time_limit(worker: Worker, kind: str) -> None:
    start = time.monotonic()
    error = failure(worker, kind, timeout_s=1.0)
    assert error.ending.timed_out
    assert time.monotonic() - start < 10.0
    assert "ran into its time limit" in error.reason


def test_a_job_that_eats_memory_past_its_limit_ends_alone(worker: Worker) -> None:
    error = failure(worker, "out of memory", memory_bytes=2 << 30)
    assert error.reason.startswith("out of memory")


def test_a_fork_bomb_is_cleared_away_with_its_grandchildren(worker: Worker) -> None:
    before = len(psutil.pids())
    assert do(worker, "fork bomb").text == "bombed"
    assert_nothing_left(worker)
    assert len(psutil.pids()) < before + 25


def test_a_job_that_closes_its_pipes_still_answers(worker: Worker) -> None:
    assert do(worker, "close pipes").text == "answered all the same"


def test_a_gigabyte_on_stdout_is_read_and_forgotten(worker: Worker) -> None:
    before = psutil.Process(worker.pid).memory_info().rss
    assert do(worker, "flood", timeout_s=120.0).text == "flooded"
    assert psutil.Process(worker.pid).memory_info().rss - before < 64 << 20


def test_a_job_that_changes_its_affinity_changes_only_its_own(worker: Worker) -> None:
    before = os.sched_getaffinity(worker.pid)
    assert do(worker, "change affinity").text == "moved"
    assert os.sched_getaffinity(worker.pid) == before


def test_garbage_among_the_events_is_passed_over(worker: Worker) -> None:
    events: list[object] = []
    worker.do(
        "faults:misbehave",
        FaultJob(kind="send garbage"),
        FaultResult,
        limits=JobLimits(timeout_s=30.0),
        on_event=events.append,
    )
    assert events == [{"stage": "test", "done": 1.0, "text": "after the garbage"}]


def test_watching_a_job_costs_nothing_while_it_works(worker: Worker) -> None:
    def spent_s() -> float:
        own, watcher = time.process_time(), psutil.Process(worker.pid).cpu_times()
        return own + watcher.user + watcher.system

    asleep_s: list[float] = []
    limits = JobLimits(timeout_s=30.0)
    job = FaultJob(kind="nap")
    worker.do("faults:misbehave", job, FaultResult, limits=limits, on_event=lambda event: asleep_s.append(spent_s()))
    # Two seconds in `select`; the rest is clearing away behind the job.
    assert spent_s() - asleep_s[0] < 0.1


def test_every_job_has_a_process_of_its_own(worker: Worker) -> None:
    pids = {do(worker, "name pid").text for _ in range(3)}
    assert len(pids) == 3
    assert str(worker.pid) not in pids


def test_a_worker_that_is_killed_is_reported_and_leaves_nothing() -> None:
    worker = new_worker()
    started: list[int] = []

    def kill_worker(event: object) -> None:
        assert isinstance(event, dict)
        started.extend(int(pid) for pid in event["text"].split())
        os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(WorkerLostError):
        worker.do(
            "faults:misbehave",
            FaultJob(kind="sleep"),
            FaultResult,
            limits=JobLimits(timeout_s=30.0),
            on_event=kill_worker,
        )
    worker.close()
    assert len(started) == 2
    assert not any(_runs(pid) for pid in started)


def test_no_orphan_survives_a_killed_parent() -> None:
    program = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import test_isolation as here
        worker = here.new_worker()
        worker.do("faults:misbehave", here.FaultJob(kind="sleep"), here.FaultResult,
                  limits=here.JobLimits(timeout_s=60.0),
                  on_event=lambda event: print(worker.pid, event["text"], flush=True))
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(TESTS)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert select.select([parent.stdout], [], [], 60.0)[0]
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 3
    assert all(_runs(pid) for pid in pids)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10.0
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

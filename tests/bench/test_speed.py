"""How fast the project itself is: `make bench` prints it. Nothing here fails because a machine is slow."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

import builders
from paretoboard import stats, store, taskfile
from paretoboard.locations import tasks_folder
from paretoboard.plan import expand
from paretoboard_runners import timing
from site_kit import board_html

CALLS = 10_000


@pytest.mark.benchmark(group="per timed call, 10,000 at a time")
@pytest.mark.parametrize("loop", ["the loop", "bare clock reads"])
def test_a_timed_call(benchmark, loop: str) -> None:
    def timed() -> None:
        timing.run_leg(lambda native: None, [0], 0, CALLS, timing.CallLog(), 1, 0)

    def bare() -> None:
        wall, cpu = time.perf_counter_ns, time.thread_time_ns
        for _ in range(CALLS):
            cpu()
            wall()
            wall()
            cpu()

    benchmark(timed if loop == "the loop" else bare)


@pytest.mark.benchmark(group="plan")
def test_reading_and_expanding_a_task(benchmark) -> None:
    runs = benchmark(lambda: list(expand([taskfile.load(tasks_folder() / "quick" / "digits.toml")])))
    assert runs


@pytest.mark.benchmark(group="store")
def test_appending_a_record(benchmark, tmp_path: Path) -> None:
    seconds = count()
    benchmark(
        lambda: store.append(
            tmp_path, builders.run_record(started_at=builders.MEASURED_AT + timedelta(seconds=next(seconds)))
        )
    )


@pytest.mark.benchmark(group="statistics")
def test_judging_a_comparison(benchmark) -> None:
    calls = builders.run_record().calls
    assert calls is not None
    benchmark(lambda: stats.compare_calls(calls, batch=1, threads=1, against="baseline", tolerance=0.015))


@pytest.mark.benchmark(group="report")
def test_rendering_a_board(benchmark) -> None:
    records = builders.board_records()
    assert "<html" in benchmark(lambda: board_html(records))

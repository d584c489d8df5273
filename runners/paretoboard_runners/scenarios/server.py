"""The Server scenario: queries come at random; looked for is the highest load at which they are answered in time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from paretoboard_runners import budgets
from paretoboard_runners.scenarios import durations
from paretoboard_runners.scenarios.loadgen import LoadTest, performance
from paretoboard_runners.scenarios.outcome import Outcome
from paretoboard_runners.scenarios.search import RESOLUTION, highest_load, lenient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from paretoboard_runners.scenarios.logs import DetailLog
    from paretoboard_runners.scenarios.system import System

START: Final = 0.5  # of the load that the system could answer back to back
# Of the load found; the first may have held by luck, and each that fails makes the next step down a larger one.
_CONFIRMED_AT: Final = tuple(RESOLUTION**-steps for steps in (0, 1, 3, 7, 15))


def serve(test: LoadTest, system: System, folder: Path, progress: Callable[[float, str], None]) -> Outcome:
    """Find the highest load that keeps the latency, and confirm it in a test of full length.

    Args:
        test: with the load to begin at, and the latency that 99 queries in 100 have to keep.
        folder: where LoadGen's logs go, one folder a test.
    """
    assert test.load_qps is not None
    assert test.latency_s is not None
    tests = 0

    def run(load_qps: float, least_s: float) -> DetailLog:
        nonlocal tests
        tests += 1
        progress(min(0.9, 0.2 + 0.05 * tests), f"{load_qps:.4g} queries per second")
        return performance(replace(test, load_qps=load_qps, least_s=least_s), system, folder / f"{tests:02d}")

    search_s = budgets.search_s(test.least_s, test.latency_s)

    # Slower loads would take longer than the longest test for the queries that a p99 needs.
    lowest_qps = durations.QUERIES_FOR_P99 / test.most_s
    search = highest_load(
        lenient(lambda load_qps: run(load_qps, search_s).valid), start=test.load_qps, lowest=lowest_qps
    )
    log = None
    full_s = max(test.least_s, search_s)
    for share in _CONFIRMED_AT if search.load is not None else ():
        load_qps = max(lowest_qps, share * (search.load or 0.0))
        log = run(load_qps, full_s)
        if log.valid or load_qps == lowest_qps:
            break
    return Outcome(test=replace(test, least_s=full_s), log=log, search=search, search_s=search_s)

"""Compare two callables: launches, one or two looks, and what they say."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final, Literal

from paretoboard import stats
from paretoboard.pytest_plugin import launches
from paretoboard.pytest_plugin.limits import TEST_BUDGETS
from paretoboard.pytest_plugin.verdict import Verdict, verdict_of
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_runners.comparing import join_calls
from paretoboard_runners.seeds import derive
from paretoboard_runners.timing import LaunchPlan

if TYPE_CHECKING:
    from paretoboard.records import Calls, Comparison

_PLAIN: Final = 0.001


def compare(
    pair: launches.Pair,
    *,
    test: str,
    budget: str,
    tolerance: float,
    seed: int,
    timeout_s: float,
    launcher: launches.Launcher,
) -> Verdict:
    """Time a pair in launches of the budget and, where these leave it open, in as many again.

    Args:
        timeout_s: of each launch.
        launcher: makes the launches.
    Raises: ComparisonError where a callable can't be timed.
    """
    launches.check(pair)
    begun, asked = time.monotonic(), TEST_BUDGETS[budget]
    calls: list[Calls] = []
    loads: list[float] = []
    look: Literal[1, 2]
    for look in (1, 2):
        for number in range((look - 1) * asked.count, look * asked.count):
            plan = LaunchPlan(seconds=asked.seconds, seed=derive(seed, f"launch {number}"), threads=1)
            with tempfile.TemporaryDirectory(prefix="paretoboard-") as folder:
                done = launcher(pair, plan, number=number, folder=Path(folder), timeout_s=timeout_s)
            calls.append(done.calls)
            loads.append(done.load1)
        found = _judged(calls, look, tolerance)
        if _settled(found):
            break
    return verdict_of(
        found,
        test=test,
        looks=look,
        budget=budget,
        seed=seed,
        load1=fmean(loads),
        elapsed_s=time.monotonic() - begun,
    )


def default_tolerance(results: Path) -> float:
    """1.5 %, or what identical programs differ by on this machine where a calibration says that it is more."""
    from paretoboard.store import calibrations

    if not (results / calibrations.FOLDER).is_dir():
        return RELEVANT
    from paretoboard_runners import machine

    hardware_id = machine.fingerprints().hardware_id
    found = calibrations.latest(results, hardware_id=hardware_id, profile="cpu-1")
    return max(RELEVANT, found.noise_floor) if found else RELEVANT


def _settled(found: Comparison) -> bool:
    """Whether a first look is enough: a difference has to be plain, since a failing test is looked into by a person.

    As in the designs of O'Brien and Fleming (Biometrics 35, 1979), whose first of two looks asks for p < 0.005. Of 60
    identical pairs beside a busy process, 3 were called different at a first look that asked for p < 0.025.
    """
    if found.verdict in ("better", "worse"):
        return found.p_value is not None and found.p_value < _PLAIN
    return not stats.wants_second_look(found)


def _judged(calls: list[Calls], look: Literal[1, 2], tolerance: float) -> Comparison:
    return stats.compare_calls(
        join_calls(calls), batch=1, threads=1, against="baseline", tolerance=tolerance, look=look
    )

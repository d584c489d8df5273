"""The machine's self-check: programs compared with themselves, and with twins that are slower by a known share."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import cycle, islice
from statistics import fmean, median
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import t as student_t

from paretoboard import stats
from paretoboard.records import Calibration, Comparison
from paretoboard.stats.ab1 import RELEVANT
from paretoboard_runners import controls, jobs, machine
from paretoboard_runners.client import JobLimits, Worker
from paretoboard_runners.comparing import join_calls, read_calls
from paretoboard_runners.kernels import KERNELS
from paretoboard_runners.launch import CALLS
from paretoboard_runners.seeds import derive
from paretoboard_runners.timing import LaunchPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoboard.spec import HardwareProfile
    from paretoboard_runners.kernels import Kernel

LAUNCHES: Final = 8
LAUNCH_S: Final = 0.6
PLANTED: Final = 0.03
POWER: Final = 0.8


def calibrate(
    profile: HardwareProfile,
    *,
    comparisons: int,
    planted_comparisons: int | None = None,
    watch: Callable[[float, str], None],
    seed: int = 0,
) -> Calibration:
    """Compare `comparisons` identical pairs and as many with a planted slowdown of 3 %, in turn.

    Args:
        planted_comparisons: so many with a slowdown instead, at most as many as identical ones.
    Raises: RefusedError where the profile requires what is not held.
    """
    cores = controls.choose_cores(profile)
    prints = machine.fingerprints()
    identical: list[Comparison] = []
    planted: list[Comparison] = []
    loads: list[float] = []
    with Worker(profile, cores=cores, environment=controls.session_environment(profile, cores)) as worker:
        controls.check_required(profile, worker.controls())
        for number, kernel in enumerate(islice(cycle(KERNELS), comparisons)):
            for extra, found in ((0.0, identical), (PLANTED, planted)):
                if extra and len(planted) == planted_comparisons:
                    continue
                share = (2 * number + (extra > 0)) / (2 * comparisons)
                watch(share, f"{kernel}, {'identical' if extra == 0 else f'{extra:.0%} slower'}")
                comparison, load1 = _compare(worker, kernel, extra, derive(seed, f"{number} {extra}"))
                found.append(comparison)
                loads.append(load1)
    return Calibration(
        profile=profile.name,
        hardware_id=prints.hardware_id,
        environment_id=prints.environment_id,
        measured_at=datetime.now(UTC),
        launches=LAUNCHES,
        launch_s=LAUNCH_S,
        identical=len(identical),
        false_alarms=sum(comparison.verdict in ("better", "worse") for comparison in identical),
        planted=len(planted),
        planted_extra=PLANTED,
        found=sum(comparison.verdict == "worse" for comparison in planted),
        wrong_way=sum(comparison.verdict == "better" for comparison in planted),
        noise_floor=noise_floor(identical),
        smallest_effect=smallest_effect(identical),
        load1=fmean(loads),
    )


def noise_floor(identical: list[Comparison]) -> float:
    """95th percentile of the size of the effects between identical programs, as a share."""
    return float(np.quantile([abs(comparison.ratio - 1) for comparison in identical], 0.95))


def smallest_effect(identical: list[Comparison]) -> float:
    """The effect that a test at each comparison's confidence finds with 80 % power, as a share; the median of all.

    An interval's half-width is t(confidence) standard errors; an effect of t(confidence) + t(power) of them is found
    with that power (Cohen 1988, Statistical Power Analysis, section 2.2).
    """

    def of(comparison: Comparison) -> float:
        degrees = comparison.launches - 1
        tested = float(student_t.ppf((1 + comparison.confidence) / 2, degrees))
        half_width = math.log(comparison.high / comparison.low) / 2
        return math.expm1(half_width * (1 + float(student_t.ppf(POWER, degrees)) / tested))

    return median(of(comparison) for comparison in identical)


def _compare(worker: Worker, kernel: Kernel, extra: float, seed: int) -> tuple[Comparison, float]:
    """One comparison of `LAUNCHES` launches, and the mean load meanwhile."""
    calls, loads = [], []
    for number in range(LAUNCHES):
        plan = LaunchPlan(seconds=LAUNCH_S, seed=derive(seed, f"launch {number}"), threads=len(worker.cores))
        job = jobs.KernelJob(kernel=kernel, extra=extra, plan=plan)
        limits = JobLimits(timeout_s=60.0 + 20.0 * LAUNCH_S)
        result, folder = worker.do("paretoboard_runners.kernels:launch", job, jobs.LaunchResult, limits=limits)
        calls.append(read_calls(folder / CALLS, batch=1, launch=number))
        loads += [window.load1 for window in result.windows]
    comparison = stats.compare_calls(
        join_calls(calls), batch=1, threads=len(worker.cores), against=kernel, tolerance=RELEVANT
    )
    return comparison, fmean(loads)

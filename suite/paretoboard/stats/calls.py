"""Protocol ab1, points 7 and 8: which calls and which clock decide, and what the comparison says."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from paretoboard.records import Comparison, Verdict
from paretoboard.stats.ab1 import MIN_LAUNCHES, Effect, estimate, judge, window_effect
from paretoboard.stats.proportions import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoboard.records import Calls

Clock = Literal["cpu", "wall"]
MIN_WINDOWS: Final = 12
LAUNCH_WINDOWS: Final = 2  # that every launch holds, however short
MIN_CALLS: Final = 4  # of each arm in a window: two blocks
WALL_OVER_CPU: Final = 1.02  # of a call that nothing else held up
# Two looks at 97.5 % together err no more often than one at 95 % (Bonferroni).
CONFIDENCE_OF_ONE_LOOK: Final = 0.95
CONFIDENCE_OF_EACH_OF_TWO: Final = 0.975

WALL_ONLY: Final = "wall only"
CLOCKS_DISAGREE: Final = "CPU and wall time disagree"
OVERLOADED: Final = "machine overloaded"
_SIDES: Final[tuple[Verdict, ...]] = ("better", "worse")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    effect: Effect | None  # None where no window is left
    verdict: Verdict
    reason: str


def compare_calls(
    calls: Calls,
    *,
    batch: int,
    threads: int,
    against: str,
    tolerance: float,
    reference: int = 0,
    look: Literal[1, 2] | None = None,
    clock: Clock | None = None,
) -> Comparison:
    """How long arm 1 takes against arm 0, from raw calls.

    Args:
        batch: only calls of this batch size count.
        threads: that each call may use. With one, CPU time decides and wall time is tested beside it. With
            several, wall time decides, of calls that nothing held up (no involuntary switch, wall time at most
            1.02 of the CPU time per thread); a window with too few of those counts with all its calls.
        against: name of the recipe of arm 0.
        tolerance: the smallest effect that counts, as a share.
        reference: only calls that were timed with this reference count; 0 is the baseline.
        look: which of two allowed looks this is; None where there will be only one.
        clock: decides in place of the rule above. "wall" for one thread is for times that another device took.
    Returns: ratio is time of arm 1 / time of arm 0. Without any window it is NaN, from 0 to infinity; with too few
        for an interval, that is from 0 to infinity.
    """
    decides: Clock = clock or ("cpu" if threads == 1 else "wall")
    confidence = CONFIDENCE_OF_ONE_LOOK if look is None else CONFIDENCE_OF_EACH_OF_TWO
    chosen = np.flatnonzero((calls.batch == batch) & (calls.reference == reference))
    judged = _judged(calls, chosen, threads, decides, confidence, tolerance)
    if decides == "cpu":
        judged = _beside(judged, _judged(calls, chosen, threads, "wall", confidence, tolerance))
    effect = judged.effect
    return Comparison(
        batch=batch,
        against=against,
        ratio=math.exp(effect.log_ratio) if effect else math.nan,
        low=math.exp(effect.low) if effect else 0.0,
        high=math.exp(effect.high) if effect else math.inf,
        confidence=confidence,
        launches=effect.launches if effect else 0,
        windows=effect.windows if effect else 0,
        clock=decides,
        tolerance=tolerance,
        p_value=effect.p_value if effect else None,
        verdict=judged.verdict,
        reason=judged.reason,
    )


def wants_second_look(comparison: Comparison) -> bool:
    """Whether as many launches again may decide what these did not."""
    return comparison.verdict == "undecided" and comparison.reason != CLOCKS_DISAGREE


def under_holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of one run, undecided where an effect does not stand among all of them."""
    tested = [comparison.p_value for comparison in comparisons if comparison.p_value is not None]
    adjusted = iter(holm(tested))
    kept = []
    for comparison in comparisons:
        p_value = 1.0 if comparison.p_value is None else next(adjusted)
        if comparison.verdict in _SIDES and p_value > 1 - comparison.confidence:
            reason = f"does not stand among {len(tested)} comparisons: p is {p_value:.2g} by Holm"
            kept.append(dataclasses.replace(comparison, verdict="undecided", reason=reason))
        else:
            kept.append(comparison)
    return tuple(kept)


def _judged(
    calls: Calls, chosen: NDArray[np.intp], threads: int, clock: Clock, confidence: float, tolerance: float
) -> _Judged:
    effects, launches = _window_effects(calls, chosen, threads, clock)
    if not effects:
        return _Judged(effect=None, verdict="undecided", reason=f"{OVERLOADED}: no window left")
    effect = estimate(effects, confidence)
    shortage = _shortage(effect, launches)
    if shortage:
        return _Judged(effect=effect, verdict="undecided", reason=shortage)
    verdict = judge(effect, tolerance)
    return _Judged(effect=effect, verdict=verdict, reason=_why(effect, tolerance) if verdict == "undecided" else "")


def _window_effects(
    calls: Calls, chosen: NDArray[np.intp], threads: int, clock: Clock
) -> tuple[list[list[float]], int]:
    """The effects of each launch that has any of the chosen calls, and how many launches there were."""
    launch, window, arm = calls.launch[chosen], calls.window[chosen], calls.arm[chosen]
    times = (calls.cpu_ns if clock == "cpu" else calls.wall_ns)[chosen]
    clean = _undisturbed(calls, threads)[chosen]
    order = np.lexsort((calls.start_ns[chosen], window, launch))
    starts = np.flatnonzero(np.diff(launch[order], prepend=-1) | np.diff(window[order], prepend=-1))
    effects: dict[int, list[float]] = defaultdict(list)
    for rows in np.split(order, starts[1:]) if len(order) else []:
        effect = _effect_of(times[rows], arm[rows], clean[rows])
        if effect is not None:
            effects[int(launch[rows[0]])].append(effect)
    return list(effects.values()), len(np.unique(launch))


def _undisturbed(calls: Calls, threads: int) -> NDArray[np.bool_]:
    if threads == 1:
        return np.ones(len(calls.arm), dtype=bool)
    held_up = calls.wall_ns * threads > WALL_OVER_CPU * calls.cpu_ns
    return np.asarray((calls.switches == 0) & ~held_up)


def _effect_of(times: NDArray[np.int64], arm: NDArray[np.int8], clean: NDArray[np.bool_]) -> float | None:
    """The effect of one window, None where it holds too little. Both arms are selected by the same rule."""
    settled = _settled(arm)
    for selected in (clean & settled, settled, np.ones_like(clean)):
        a, b = times[selected & (arm == 0)], times[selected & (arm == 1)]
        if min(len(a), len(b)) >= MIN_CALLS and min(a.min(), b.min()) > 0:
            return window_effect(a, b)
    return None


def _settled(arm: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which calls of a window come after one of their own arm; all of them where those would be too few.

    A call after the other arm's finds the caches full of the other's data. How often that happens to each arm is a
    matter of coins, and it hides a part of any difference: of equal passes over memory such calls took 30 % longer
    (two Zen 4 cores, 2026-11-22). Legs of two or more calls leave at least half of an arm's calls.
    """
    after_own = np.diff(arm, prepend=-1) == 0
    enough = all(2 * after_own[arm == side].sum() >= (arm == side).sum() for side in (0, 1))
    return after_own if enough else np.ones_like(after_own)


def _shortage(effect: Effect, launches: int) -> str:
    """What is missing for a decision, "" if nothing.

    A budget of fewer than five launches is not an overloaded machine: it needs all of its launches, and as many
    windows as make an interval. A launch too short for more than its two windows is not one either.
    """
    needed_launches = min(MIN_LAUNCHES, launches)
    needed_windows = min(MIN_WINDOWS, LAUNCH_WINDOWS * launches)
    if effect.launches < needed_launches or effect.windows < needed_windows:
        return (
            f"{OVERLOADED}: {effect.launches} launches with {effect.windows} windows left, "
            f"{needed_launches} with {needed_windows} are needed"
        )
    if effect.p_value is None:
        return f"{effect.windows} windows are too few for an interval of {effect.confidence:.1%}"
    return ""


def _why(effect: Effect, tolerance: float) -> str:
    low, high = math.expm1(effect.low), math.expm1(effect.high)
    span = f"{low:+.1%} to {high:+.1%}"
    decided = dataclasses.replace(effect, method="t over launches")
    if judge(decided, tolerance) != "undecided":
        return f"its {effect.launches} launches disagree"
    if effect.low > 0 or effect.high < 0:
        return f"an effect, but below the {tolerance:.1%} that count, or not surely within twice that: {span}"
    return f"the interval is too wide: {span}"


def _beside(cpu: _Judged, wall: _Judged) -> _Judged:
    """CPU time's verdict, in the light of wall time's.

    Where the two point in opposite directions, work went where the thread's clock can't see it.
    """
    if wall.verdict not in _SIDES or wall.verdict == cpu.verdict:
        return cpu
    if cpu.verdict in _SIDES:
        return dataclasses.replace(cpu, verdict="undecided", reason=CLOCKS_DISAGREE)
    if cpu.reason.startswith(OVERLOADED):
        return cpu
    return dataclasses.replace(cpu, reason=WALL_ONLY)

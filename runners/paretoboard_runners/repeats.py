"""Whether calls are faster where the input was seen before: a cache of answers would be (MLPerf's TEST04).

The inputs that timed calls cycle through would all be in such a cache after the first window, so the same input again
is timed against inputs that were never seen. A cache of the processor, where the same input lies warm, is what the
bound leaves room for.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from paretoboard import stats
from paretoboard_runners import timing

if TYPE_CHECKING:
    from collections.abc import Sequence

BOUND: Final = 0.10  # a repeated input may be so much faster,
SHORT_BOUND: Final = 0.20  # and so much where a call is short: reading an input that no cache holds is a part of it
SHORT_S: Final = 0.0002
BLOCKS: Final = 3  # at least, in each launch, however slow the calls: those of two launches make an interval
SECONDS: Final = 0.05  # and at least so long
_MOST_CALLS: Final = 16  # of a leg: every call needs an input of its own
_REPEATED: Final = 0
_UNSEEN: Final = 1


class RepeatableArm(Protocol):
    """An arm that can be asked what nobody asked before."""

    def call(self, native: Any) -> Any:
        """The timed call."""

    def unseen(self, count: int) -> Sequence[Any]:
        """Inputs that differ from each other and from all before."""


def measure(arm: RepeatableArm, plan: timing.LaunchPlan) -> tuple[float, ...]:
    """The effects of blocks: ln(time with one input again and again / time with inputs never seen), each.

    As in a window, blocks are ABBA or BAAB by coin, and legs as long as in a window.
    """
    rng = random.Random(plan.seed)
    [repeated] = arm.unseen(1)
    calls = min(_MOST_CALLS, timing.leg_of(timing.warm_up(arm.call, [repeated], calls=2)))
    effects: list[float] = []
    timed_s = 0.0
    with timing.no_garbage_collection():
        while len(effects) < BLOCKS or timed_s < SECONDS:
            log = timing.CallLog()
            order = rng.sample((_REPEATED, _UNSEEN), 2)
            legs = [*order, *reversed(order)]
            for leg in legs:
                inputs = [repeated] if leg == _REPEATED else arm.unseen(calls)
                timing.run_leg(arm.call, inputs, 0, calls, log, plan.threads, 0)
                log.arm.extend([leg] * calls)
            effects.append(_effect(log, plan.threads))
            timed_s += sum(log.wall_ns) / 1e9
    return tuple(effects)


def caching(effects_by_launch: Sequence[Sequence[float]], call_s: float) -> str:
    """What speaks for a cache of answers, "" where nothing does: a speed-up whose whole interval is past the bound.

    Args:
        call_s: how long a call takes, in seconds.
    """
    if not any(effects_by_launch):
        return ""
    effect = stats.estimate(effects_by_launch)
    bound = SHORT_BOUND if call_s < SHORT_S else BOUND
    if not effect.high < -math.log1p(bound):
        return ""
    faster = math.expm1(-effect.log_ratio)
    return f"calls with the same input again are {faster:.0%} faster than with inputs never seen: answers are cached"


def _effect(log: timing.CallLog, threads: int) -> float:
    columns = log.arrays()
    times = columns["cpu_ns" if threads == 1 else "wall_ns"]
    repeated, unseen = times[columns["arm"] == _REPEATED], times[columns["arm"] == _UNSEEN]
    # A clock can stand still during a call that does nothing.
    return stats.window_effect(unseen + 1, repeated + 1)

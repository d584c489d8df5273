"""How much to cut for what was asked: searches over the share of channels, which know nothing of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from paretoboard.techniques.prune.latency import TimeShare

if TYPE_CHECKING:
    from collections.abc import Callable

# Channels come in whole numbers, so the share of what is removed jumps; 2^-10 tells 1,024 channels apart.
BISECTIONS: Final = 10
# Times are measured: on a coarse grid, repeats mostly end at the same share of channels.
GRID: Final = 32

T = TypeVar("T")  # a network that was cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Generic[T]):
    """A cut and what it removes."""

    network: T
    removed: float  # the share of what is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[T]):
    """A cut and the time it leaves."""

    network: T
    step: int  # of GRID: the share of channels that was asked for
    time: TimeShare


def nearest_count(
    cut: Callable[[float], T | None],
    removed_by: Callable[[T], float],
    wanted: float,
    progress: Callable[[float], None] = lambda done: None,
) -> Counted[T] | None:
    """The cut that comes nearest to removing `wanted` of what is counted, by bisection.

    None where no cut that runs comes nearer than leaving the network as it is.

    Args:
        cut: the network without a share of its channels, None where it then doesn't run.
        removed_by: the share of what is counted that is gone from a network.
    """
    best: Counted[T] | None = None
    low, high = 0.0, 1.0
    for step in range(BISECTIONS):
        progress(step / BISECTIONS)
        ratio = (low + high) / 2
        network = cut(ratio)
        removed = 1.0 if network is None else removed_by(network)
        if network is not None and abs(removed - wanted) < abs((best.removed if best else 0.0) - wanted):
            best = Counted(network=network, removed=removed)
        low, high = (ratio, high) if removed < wanted else (low, ratio)
    return best


def least_cut(
    cut: Callable[[float], T | None],
    time_of: Callable[[T], TimeShare],
    wanted: float,
    progress: Callable[[float, str], None] = lambda done, text: None,
) -> tuple[Timed[T] | None, Timed[T] | None]:
    """The least cut on the grid that takes at most `wanted` of the whole network's time, and the fastest that was seen.

    By bisection, which takes time to fall as more is cut; where it doesn't, a lesser cut may do too. The first is None
    where `wanted` was not reached, the second where no cut runs.
    """
    least: Timed[T] | None = None
    fastest: Timed[T] | None = None
    low, high = 0, GRID
    while high - low > 1:
        step = (low + high) // 2
        progress(1 - (high - low) / GRID, f"timing a cut of {step}/{GRID} of the channels")
        network = cut(step / GRID)
        if network is None:
            high = step
            continue
        tried = Timed(network=network, step=step, time=time_of(network))
        if fastest is None or tried.time.share < fastest.time.share:
            fastest = tried
        if tried.time.share <= wanted:
            least, high = tried, step
        else:
            low = step
    return least, fastest

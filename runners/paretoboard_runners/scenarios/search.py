"""The highest load that a system bears, found by doubling and bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLUTION: Final = 1.05  # the lowest load known to be too high, over the one found


TRIES: Final = 2  # that a load has, to be told from a machine that was busy with something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search found."""

    load: float | None  # the highest that held, None where none down to the lowest did
    too_high: float | None  # the lowest that did not hold, None where the search ended before one
    tried: int  # how many loads


def lenient(holds: Callable[[float], bool], tries: int = TRIES) -> Callable[[float], bool]:
    """As `holds`, but a load has to fail `tries` times: what else the machine does only ever lengthens latencies."""
    return lambda load: any(holds(load) for _ in range(tries))


def highest_load(
    holds: Callable[[float], bool], *, start: float, lowest: float, resolution: float = RESOLUTION, most_loads: int = 16
) -> Search:
    """Double or halve from `start` until the answer changes, then bisect on a logarithmic scale.

    Args:
        holds: whether the system bears a load; asked at most `most_loads` times.
        lowest: loads below this are not tried.
        resolution: above 1; the search ends when what did not hold is at most so many times what did.
    """
    good: float | None = None
    bad: float | None = None
    tried = 0
    load = max(start, lowest)
    while tried < most_loads:
        tried += 1
        if holds(load):
            good = load
        else:
            bad = load
        if good is None:
            if load <= lowest:
                break
            load = max(load / 2, lowest)
        elif bad is None:
            load *= 2
        elif bad <= good * resolution:
            break
        else:
            load = math.sqrt(good * bad)
    return Search(load=good, too_high=bad, tried=tried)

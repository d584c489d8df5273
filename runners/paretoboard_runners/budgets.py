"""How long things are measured, by the budget's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from paretoboard.spec import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """Launches of one look at one comparison; a second look takes as many again."""

    count: int
    seconds: float  # of each


# Launches, not seconds, decide the interval: one launch is one memory layout.
BUDGETS: Final[dict[Budget, Launches]] = {
    "none": Launches(count=0, seconds=0.0),
    "smoke": Launches(count=2, seconds=2.5),
    "quick": Launches(count=5, seconds=0.5),
    "standard": Launches(count=8, seconds=2.5),
    "release": Launches(count=24, seconds=2.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """What one test of a scenario is held to."""

    least_s: float  # a test in performance mode lasts at least so long
    most_s: float  # and a query begins at most so long after its start
    images: int  # of the subset, evenly spaced, that queries draw from and that accuracy mode asks for once each


DURATIONS: Final[dict[Budget, Durations]] = {
    "smoke": Durations(least_s=1.0, most_s=10.0, images=64),
    "quick": Durations(least_s=2.0, most_s=20.0, images=256),
    "standard": Durations(least_s=10.0, most_s=60.0, images=1024),
    "release": Durations(least_s=60.0, most_s=600.0, images=1024),
}
# A test of the search for a server's highest load is so much shorter than others; how many queries it takes is what
# decides there.
SEARCH_DIVISOR: Final = 4
# A test of Server lasts at least so many times its latency: with 5 % more queries than the system can answer, the last
# ones then wait longer than that.
LATENCIES: Final = 20


def search_s(least_s: float, latency_s: float) -> float:
    """How long one test of the search for a server's highest load lasts at least."""
    return max(least_s / SEARCH_DIVISOR, LATENCIES * latency_s)

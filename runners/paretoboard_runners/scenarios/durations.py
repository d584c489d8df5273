"""How long LoadGen runs, by the budget's name, and how much longer the rules of MLPerf ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from paretoboard.spec import Budget, Scenario

# Below these LoadGen's early stopping vouches for no quantile: 64 queries for p90, 662 for p99 (99 % confidence).
# Source: MLPerf Inference rules, appendix "Early Stopping Criterion".
QUERIES_FOR_P90: Final = 64
QUERIES_FOR_P99: Final = 662
OFFICIAL_S: Final = 600.0
# A test of the search for the highest load is so much shorter; how many queries it takes is what decides there.
SEARCH_DIVISOR: Final = 4
# A test of Server lasts at least so many times its latency: with 5 % more queries than the system can answer, the last
# ones then wait longer than that.
LATENCIES: Final = 20


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


def least_queries(scenario: Scenario) -> int:
    """As many as the scenario's quantile needs; Offline is a single query of many samples."""
    wanted = {"single-stream": QUERIES_FOR_P90, "offline": 1}
    return wanted.get(scenario, QUERIES_FOR_P99)


def official(scenario: Scenario) -> str:
    """What the rules of MLPerf Inference (edge and data centre, image classification) ask for instead."""
    samples = 24576 if scenario == "offline" else 1024
    unit = "samples" if scenario == "offline" else "queries"
    return f"{OFFICIAL_S:.0f} s and {samples} {unit}" if scenario != "server" else f"{OFFICIAL_S:.0f} s"

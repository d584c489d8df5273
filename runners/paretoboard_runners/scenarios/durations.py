"""How many queries a scenario needs, and how much more the rules of MLPerf ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from paretoboard.spec import Scenario

# Below these LoadGen's early stopping vouches for no quantile: 64 queries for p90, 662 for p99 (99 % confidence).
# Source: MLPerf Inference rules, appendix "Early Stopping Criterion".
QUERIES_FOR_P90: Final = 64
QUERIES_FOR_P99: Final = 662
OFFICIAL_S: Final = 600.0


def least_queries(scenario: Scenario) -> int:
    """As many as the scenario's quantile needs; Offline is a single query of many samples."""
    wanted = {"single-stream": QUERIES_FOR_P90, "offline": 1}
    return wanted.get(scenario, QUERIES_FOR_P99)


def official(scenario: Scenario) -> str:
    """What the rules of MLPerf Inference (edge and data centre, image classification) ask for instead."""
    samples = 24576 if scenario == "offline" else 1024
    unit = "samples" if scenario == "offline" else "queries"
    return f"{OFFICIAL_S:.0f} s and {samples} {unit}" if scenario != "server" else f"{OFFICIAL_S:.0f} s"

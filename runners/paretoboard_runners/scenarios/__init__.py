"""Scenarios of MLPerf through its own LoadGen: who asks how fast, in accuracy and in performance mode.

LoadGen decides when each query comes, measures, and says whether a result is valid; nothing of that is done here.
Its durations are shortened, and every record says so.
"""

from paretoboard_runners.budgets import DURATIONS, Durations
from paretoboard_runners.scenarios.job import ScenarioJob, ScenarioResult, measure, require

__all__ = [
    "DURATIONS",
    "Durations",
    "ScenarioJob",
    "ScenarioResult",
    "measure",
    "require",
]

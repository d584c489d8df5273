"""Statistics of the board as pure functions: no clock, no file, no machine, and a source for each method.

`ab1` says how long one recipe takes against another; the rest are intervals of qualities and latencies.
"""

from __future__ import annotations

from paretoboard.stats.ab1 import Effect, estimate, judge, launch_effect, window_effect
from paretoboard.stats.bootstrap import bootstrap_f1_difference, bootstrap_macro
from paretoboard.stats.calls import compare_calls, under_holm, wants_second_look
from paretoboard.stats.interval import Estimate, Interval
from paretoboard.stats.means import mean_interval
from paretoboard.stats.proportions import holm, mcnemar_exact, paired_difference_interval, wilson
from paretoboard.stats.quantiles import quantile_interval, quantile_over_launches

__all__ = [
    "Effect",
    "Estimate",
    "Interval",
    "bootstrap_f1_difference",
    "bootstrap_macro",
    "compare_calls",
    "estimate",
    "holm",
    "judge",
    "launch_effect",
    "mcnemar_exact",
    "mean_interval",
    "paired_difference_interval",
    "quantile_interval",
    "quantile_over_launches",
    "under_holm",
    "wants_second_look",
    "wilson",
    "window_effect",
]

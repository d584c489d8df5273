"""Statistics of the board as pure functions: no clock, no file, no machine, and a source for each method.

`ab1` says how long one recipe takes against another; the rest are intervals of qualities and latencies, what images
can tell apart, and how alike they rank.
"""

from __future__ import annotations

from paretoboard.stats.ab1 import Effect, estimate, judge, launch_effect, window_effect
from paretoboard.stats.bootstrap import (
    MACRO,
    SCORES,
    Contrast,
    Score,
    bootstrap_contrast,
    bootstrap_macro,
    contrast_of,
    percentiles,
)
from paretoboard.stats.calls import compare_calls, under_holm, wants_second_look
from paretoboard.stats.drawn import DrawnDifference, paired_difference
from paretoboard.stats.interval import Estimate, Interval
from paretoboard.stats.means import mean_interval
from paretoboard.stats.proportions import holm, mcnemar_exact, paired_difference_interval, wilson
from paretoboard.stats.quantiles import quantile_interval, quantile_over_launches
from paretoboard.stats.rank_intervals import (
    Pairs,
    RankInterval,
    in_every,
    pairs_of_answers,
    pairs_of_draws,
    pairs_of_ratios,
    rank_intervals,
)
from paretoboard.stats.ranks import RankCorrelation, kendall_tau_b, spearman, subset_rank_correlation
from paretoboard.stats.reliability import calibration_error, calibration_error_difference
from paretoboard.stats.resolution import Resolution, images_to_resolve, interval_resolution, mcnemar_resolution
from paretoboard.stats.similarity import map_correlation

__all__ = [
    "MACRO",
    "SCORES",
    "Contrast",
    "DrawnDifference",
    "Effect",
    "Estimate",
    "Interval",
    "Pairs",
    "RankCorrelation",
    "RankInterval",
    "Resolution",
    "Score",
    "bootstrap_contrast",
    "bootstrap_macro",
    "calibration_error",
    "calibration_error_difference",
    "compare_calls",
    "contrast_of",
    "estimate",
    "holm",
    "images_to_resolve",
    "in_every",
    "interval_resolution",
    "judge",
    "kendall_tau_b",
    "launch_effect",
    "map_correlation",
    "mcnemar_exact",
    "mcnemar_resolution",
    "mean_interval",
    "paired_difference",
    "paired_difference_interval",
    "pairs_of_answers",
    "pairs_of_draws",
    "pairs_of_ratios",
    "percentiles",
    "quantile_interval",
    "quantile_over_launches",
    "rank_intervals",
    "spearman",
    "subset_rank_correlation",
    "under_holm",
    "wants_second_look",
    "wilson",
    "window_effect",
]

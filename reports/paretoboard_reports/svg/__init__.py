"""Plots as inline SVG: no script, no style of its own; colours come from the page's classes.

In the Pareto plot lower cost is to the left and higher quality is up, so the ideal corner is at the top left and empty:
labels go there.
"""

from __future__ import annotations

from paretoboard_reports.svg.canvas import Size
from paretoboard_reports.svg.curves import curves_plot
from paretoboard_reports.svg.diagonal import SHAPES as VERDICT_SHAPES
from paretoboard_reports.svg.diagonal import diagonal_plot, verdict_class, verdict_marker
from paretoboard_reports.svg.distributions import histogram_plot, seed_strip
from paretoboard_reports.svg.forest import ForestLine, forest_plot
from paretoboard_reports.svg.plot import SHAPES, marker, pareto_plot
from paretoboard_reports.svg.roofline import roofline_plot
from paretoboard_reports.svg.series import SeriesSize, series_plot, sparkline

__all__ = [
    "SHAPES",
    "VERDICT_SHAPES",
    "ForestLine",
    "SeriesSize",
    "Size",
    "curves_plot",
    "diagonal_plot",
    "forest_plot",
    "histogram_plot",
    "marker",
    "pareto_plot",
    "roofline_plot",
    "seed_strip",
    "series_plot",
    "sparkline",
    "verdict_class",
    "verdict_marker",
]

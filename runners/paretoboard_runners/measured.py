"""A measured number as a record keeps it, in its metric's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.metrics import METRICS
from paretoboard.records import MetricValue

if TYPE_CHECKING:
    from paretoboard import stats


def measured(
    name: str, value: float, n: int, *, scope: str = "", interval: stats.Interval | stats.Estimate | None = None
) -> MetricValue:
    """The metric `name` in `scope`; `interval` is None where it has none."""
    return MetricValue(
        name=name,
        scope=scope,
        value=value,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        n=n,
        unit=METRICS[name].unit,
    )

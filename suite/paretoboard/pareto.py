"""Which points no other point beats: the front, the layers below it, and how sure that is."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def dominates(quality: float, cost: float, other_quality: float, other_cost: float) -> bool:
    """Whether a point is at least as good as another in both, and better in one."""
    return quality >= other_quality and cost <= other_cost and (quality > other_quality or cost < other_cost)


def layers(quality: ArrayLike, cost: ArrayLike) -> NDArray[np.int64]:
    """The layer of each point: 1 is the front, 2 the front of what is left, and so on.

    Args:
        quality: (n,), higher is better.
        cost: (n,), lower is better.
    Returns: (n,); 0 where either value is NaN. Points with equal values share a layer. Takes O(n log n).
    Source: Jensen 2003, doi:10.1109/TEVC.2003.817234, for two objectives.
    """
    qualities, costs = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    if qualities.shape != costs.shape or qualities.ndim != 1:
        found_shapes = f"{qualities.shape} and {costs.shape}"
        raise ValueError(f"one quality and one cost per point: got shapes {found_shapes}")
    found = np.zeros(len(qualities), dtype=np.int64)
    # Cheapest first, best first among equals: whatever dominates a point has been placed before it.
    order = np.lexsort((-qualities, costs))
    # The best point of each layer as (-quality, cost). A layer dominates a point exactly if its best
    # point does, and the layers that dominate it are the first ones: so a binary search finds its own.
    best: list[tuple[float, float]] = []
    for index in order:
        if np.isnan(qualities[index]) or np.isnan(costs[index]):
            continue
        key = (-float(qualities[index]), float(costs[index]))
        layer = bisect_left(best, key)
        if layer == len(best):
            best.append(key)
        else:
            best[layer] = min(best[layer], key)
        found[index] = layer + 1
    return found


def front_probability(quality_draws: NDArray[np.float64], cost_draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each point is on the front when the measurement is drawn again.

    Args:
        quality_draws: (draws, n), higher is better; the values of one row were drawn together.
        cost_draws: (draws, n), lower is better.
    Returns: (n,) shares between 0 and 1; NaN values never are on a front and never push another off it.
    """
    share = np.empty(quality_draws.shape[1])
    for point in range(quality_draws.shape[1]):
        quality, cost = quality_draws[:, [point]], cost_draws[:, [point]]
        no_worse = (quality_draws >= quality) & (cost_draws <= cost)
        better = (quality_draws > quality) | (cost_draws < cost)
        missing = np.isnan(quality[:, 0]) | np.isnan(cost[:, 0])
        share[point] = (~((no_worse & better).any(axis=1) | missing)).mean()
    return share


def hypervolume_contribution(
    quality: ArrayLike, cost: ArrayLike, *, least_quality: float, most_cost: float
) -> NDArray[np.float64]:
    """What the front loses without each point: the share of the area it dominates that only this point dominates.

    The area is of quality above `least_quality` and of doublings of cost below `most_cost`, so that the unit of the
    cost does not matter. It depends on that reference point: state it with the number.

    Args:
        quality: (n,), higher is better.
        cost: (n,) above zero, lower is better.
    Returns: (n,) shares; 0 for dominated points, for equal points (each makes up for the other) and beyond the
        reference point; NaN where a value is.
    Source: Zitzler & Thiele 1999, doi:10.1109/4235.797969, section V.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.asarray(quality, dtype=np.float64) - least_quality
        saved = np.log2(most_cost) - np.log2(np.asarray(cost, dtype=np.float64))
    found = np.where(np.isnan(gain) | np.isnan(saved), np.nan, 0.0)
    inside = np.flatnonzero((gain > 0) & (saved > 0))
    whole = _area(gain[inside], saved[inside])
    for index in inside:
        others = inside[inside != index]
        found[index] = 1.0 - _area(gain[others], saved[others]) / whole
    # The last digits depend on the order of summation.
    return np.asarray(np.maximum(np.round(found, 12), 0.0))


def _area(gain: NDArray[np.float64], saved: NDArray[np.float64]) -> float:
    """Of the union of rectangles from the origin to each (saved, gain)."""
    order = np.lexsort((-gain, -saved))
    # From the most saved on, a point adds the strip by which its gain exceeds all before it.
    highest = np.maximum.accumulate(gain[order])
    return float((np.diff(highest, prepend=0.0) * saved[order]).sum())

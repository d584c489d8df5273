"""Between which ranks each row of a board lies, and what the front loses without it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from paretoboard import stats
from paretoboard.compare import correct, drawn, quality_change, same_images
from paretoboard.metrics import GUESSES
from paretoboard.pareto import hypervolume_contribution
from paretoboard_reports.view.ranking import AXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from paretoboard.records import MetricValue, RunRecord
    from paretoboard_reports.view.model import AxisName, RankedBy
    from paretoboard_reports.view.ranking import Entry

# Counted and not measured: the same in every repetition.
_EXACT: Final = frozenset({"size"})


def ranks_of(entries: Sequence[Entry], quality_metric: str) -> list[dict[RankedBy, stats.RankInterval]]:
    """For each entry the ranks that the data leave open in quality and in each cost; what can't be judged is left out.

    Qualities are judged on the same images, seed by seed; costs by the intervals that the plot shows.
    """
    found: list[dict[RankedBy, stats.RankInterval]] = [{} for _ in entries]
    families: list[tuple[RankedBy, stats.Pairs]] = []
    if (quality := _quality_pairs(entries, quality_metric)) is not None:
        families.append(("quality", quality))
    families += [(axis.name, _cost_pairs(entries, axis.name)) for axis in AXES]
    for name, pairs in families:
        for index, one in enumerate(stats.rank_intervals(pairs)):
            if one is not None:
                found[index][name] = one
    return found


def hypervolumes(entries: Sequence[Entry], quality_metric: str, baseline: int | None) -> list[float | None]:
    """Each entry's share of what the front dominates, above chance and below the baseline's cost.

    Of the cost that the board is ranked by; None everywhere without a baseline, and where a number is missing.
    """
    axis = next((axis for axis in AXES if any(entry.costs[axis.name] for entry in entries)), None)
    most = entries[baseline].costs[axis.name] if axis is not None and baseline is not None else None
    if axis is None or most is None or baseline is None or not most.value > 0:
        return [None] * len(entries)
    sign = -1 if axis.higher_is_better else 1
    found = hypervolume_contribution(
        [math.nan if entry.quality is None else entry.quality.value for entry in entries],
        [_number(entry.costs[axis.name]) ** sign for entry in entries],
        least_quality=chance(entries, quality_metric),
        most_cost=most.value**sign,
    )
    return [None if math.isnan(share) else float(share) for share in found]


def chance(entries: Sequence[Entry], quality_metric: str) -> float:
    """The quality of guessing, each class as often as another; 0 where a quality is not of guesses."""
    for entry in entries:
        for record in entry.records:
            if record.predictions is not None and quality_metric in GUESSES and len(record.predictions.labels):
                return min(1.0, GUESSES[quality_metric] / len(np.unique(record.predictions.labels)))
    return 0.0


def _cost_pairs(entries: Sequence[Entry], axis: AxisName) -> stats.Pairs:
    sign = -1.0 if any(one.name == axis and one.higher_is_better for one in AXES) else 1.0
    values = [entry.costs[axis] for entry in entries]
    ends = np.array([_ends(value, exact=axis in _EXACT) for value in values]).reshape(-1, 3) ** sign
    low, high = np.minimum(ends[:, 1], ends[:, 2]), np.maximum(ends[:, 1], ends[:, 2])
    return stats.pairs_of_ratios(ends[:, 0], low, high)


def _ends(value: MetricValue | None, *, exact: bool) -> tuple[float, float, float]:
    if value is None or not value.value > 0:
        return math.nan, math.nan, math.nan
    if value.low is None or value.high is None:
        end = value.value if exact else math.nan
        return value.value, end, end
    return value.value, value.low, value.high


def _quality_pairs(entries: Sequence[Entry], metric: str) -> stats.Pairs | None:
    """All pairs of each seed, and of all seeds what holds in each; None where nothing was kept of the images."""
    seeds = sorted({record.seed for entry in entries for record in entry.records})
    by_seed = [pairs for seed in seeds for pairs in _same_subset([_of_seed(entry, seed) for entry in entries], metric)]
    return stats.in_every(by_seed) if by_seed else None


def _of_seed(entry: Entry, seed: int) -> RunRecord | None:
    return next((record for record in entry.records if record.seed == seed), None)


def _same_subset(records: Sequence[RunRecord | None], metric: str) -> Iterator[stats.Pairs]:
    """The pairs among records that answered the same images; several where the board holds several lists of them."""
    left = {index: record for index, record in enumerate(records) if record is not None}
    while left:
        first = next(iter(left.values()))
        alike = {index: one for index, one in left.items() if one is first or same_images(one, first)}
        left = {index: one for index, one in left.items() if index not in alike}
        pairs = _paired(list(alike.values()), metric) if len(alike) > 1 else None
        if pairs is not None:
            yield _spread_out(pairs, list(alike), len(records))


def _paired(records: Sequence[RunRecord], metric: str) -> stats.Pairs | None:
    right = [correct(record, metric) for record in records]
    if all(one is not None for one in right):
        return stats.pairs_of_answers(np.stack([one for one in right if one is not None]))
    draws, values = [drawn(record, metric) for record in records], [record.metric(metric) for record in records]
    kept = [one for one in draws if one is not None]
    if len(kept) == len(draws) and all(value is not None for value in values):
        shortest = min(len(one) for one in kept)
        same = np.stack([one[:shortest].astype(np.float64) for one in kept])
        return stats.pairs_of_draws(np.array([_number(value) for value in values]), same)
    return _pair_by_pair(records, metric)


def _pair_by_pair(records: Sequence[RunRecord], metric: str) -> stats.Pairs:
    size = len(records)
    better_by, p_values = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for row in range(size):
        for other in range(row):
            change = quality_change(records[row], records[other], metric)
            if change is not None:
                better_by[row, other], better_by[other, row] = change.difference, -change.difference
                p_values[row, other] = p_values[other, row] = change.p_value
    return stats.Pairs(better_by=better_by, p_values=p_values)


def _spread_out(pairs: stats.Pairs, places: Sequence[int], size: int) -> stats.Pairs:
    """The same pairs among `size` entries, of which they are those at `places`."""

    def among_all(part: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.full((size, size), np.nan)
        whole[np.ix_(places, places)] = part
        return whole

    return stats.Pairs(better_by=among_all(pairs.better_by), p_values=among_all(pairs.p_values))


def _number(value: MetricValue | None) -> float:
    return math.nan if value is None else value.value

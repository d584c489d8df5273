"""Between which ranks each of several values lies, judged pair by pair.

A rank is only as sure as the comparisons below it: one that significantly beats nobody, and that nobody significantly
beats, may be first or last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

from paretoboard.stats.proportions import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray  # noqa: TC004 - nothing resolves these annotations

ALPHA: Final = 0.05
_Z95: Final = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankInterval:
    """The best and the worst rank that the data leave open; 1 is the best."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Every pair of n values: how far the row's is better than the column's, and the p value of no difference."""

    better_by: NDArray[np.float64]  # (n, n), antisymmetric; NaN where either was not measured
    p_values: NDArray[np.float64]  # (n, n), symmetric, two-sided; NaN where the pair can't be judged


def rank_intervals(pairs: Pairs, alpha: float = ALPHA) -> tuple[RankInterval | None, ...]:
    """For each value 1 + how many are significantly better, to n - how many are significantly worse.

    All pairs that can be judged are one family under Holm's correction, so that with probability 1 - `alpha` no
    interval at all leaves out the true rank.

    Returns: None for a value that was not measured or that can be judged against no other; n counts the rest.
    Source: simultaneous ranks from pairwise tests: Al Mohamad, Goeman & van Zwet 2022, doi:10.1111/biom.13419, who
        use Tukey's differences of means where this takes any p values.
    """
    size = len(pairs.better_by)
    judged = np.isfinite(pairs.better_by) & np.isfinite(pairs.p_values) & ~np.eye(size, dtype=bool)
    first, second = np.nonzero(np.triu(judged))
    adjusted = np.asarray(holm([float(p) for p in pairs.p_values[first, second]]))
    real = np.zeros((size, size), dtype=bool)
    real[first, second] = real[second, first] = adjusted < alpha
    taking_part: NDArray[np.bool_] = np.asarray(judged.any(axis=1))
    worse_ones = (real & (pairs.better_by > 0)).sum(axis=1)
    better_ones = (real & (pairs.better_by < 0)).sum(axis=1)
    n = int(taking_part.sum())
    return tuple(
        RankInterval(low=1 + int(above), high=n - int(below)) if present else None
        for present, above, below in zip(taking_part, better_ones, worse_ones, strict=True)
    )


def pairs_of_answers(right: NDArray[np.bool_]) -> Pairs:
    """Shares of right answers on the same images, each pair by McNemar's exact test.

    Args:
        right: (n, images), whether each model is right on each image.
    Source: as `mcnemar_exact`, for all pairs at once: 26 models of 10,000 images in some milliseconds.
    """
    hits = right.astype(np.float64)
    # Counts below 2**53 are exact in floating point.
    only_row = hits @ (1.0 - hits).T
    told_apart = only_row + only_row.T
    tail = stats.binom.cdf(np.minimum(only_row, only_row.T), told_apart, 0.5)
    p_values = np.where(told_apart > 0, np.minimum(1.0, 2 * tail), 1.0)
    return Pairs(better_by=(only_row - only_row.T) / right.shape[1], p_values=p_values)


def pairs_of_draws(values: NDArray[Any], draws: NDArray[Any]) -> Pairs:
    """Qualities that are no mean over images, each pair by the spread of its differences over images drawn again.

    Args:
        values: (n,).
        draws: (n, draws), the k-th of every row about the same redrawn images.
    Source: the standard normal interval of Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 12.3.
        Shares of draws could not be used: they end at 1 / draws, above what Holm asks of hundreds of pairs.
    """
    better_by = _differences(values)
    # Row by row: all pairs at once would be n times the memory.
    spread = np.stack([np.nanstd(draws - one, axis=1) for one in draws])
    return Pairs(better_by=better_by, p_values=_two_sided(better_by, spread))


def pairs_of_ratios(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Pairs:
    """Costs, less is better, each pair by the 95 % intervals of their logarithms, which were measured apart.

    Args:
        values, low, high: (n,), above zero; NaN where not measured. An interval without width is an exact number:
            that of a file's size, or of the baseline's time where the others are ratios to it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.asarray(values, dtype=np.float64))
        spread = (np.log(np.asarray(high, dtype=np.float64)) - np.log(np.asarray(low, dtype=np.float64))) / (2 * _Z95)
    better_by = -_differences(logs)
    return Pairs(better_by=better_by, p_values=_two_sided(better_by, np.hypot(spread[:, None], spread[None, :])))


def in_every(found: Sequence[Pairs]) -> Pairs:
    """What holds in each of several repetitions, such as seeds: the largest p value, 1 where they disagree.

    A pair that only some repetitions could judge is judged by those; NaN where none could.
    Source: the intersection-union test, Berger 1982, Technometrics 24(4), 295-300.
    """
    differences, p_values = (np.stack([getattr(one, name) for one in found]) for name in ("better_by", "p_values"))
    known = np.isfinite(differences) & np.isfinite(p_values)
    count = known.sum(axis=0)
    seen = np.where(known, differences, 0.0)
    agree = (np.abs(np.sign(seen).sum(axis=0)) == count) & (count > 0)
    largest = np.where(known, p_values, 0.0).max(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, seen.sum(axis=0) / count, np.nan)
    return Pairs(better_by=mean, p_values=np.where(count > 0, np.where(agree, largest, 1.0), np.nan))


def _differences(values: NDArray[Any]) -> NDArray[np.float64]:
    given = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(given[:, None] - given[None, :])


def _two_sided(difference: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = 2 * stats.norm.sf(np.abs(difference) / spread)
    # Without any spread both are exact: then they differ or do not.
    exact = np.where(difference == 0, 1.0, 0.0)
    found = np.where(spread == 0, exact, p_values)
    return np.where(np.isfinite(difference) & ~np.isnan(spread), found, np.nan)

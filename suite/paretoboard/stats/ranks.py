"""Whether two lists of values rank the same things alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import rankdata

from paretoboard.stats.bootstrap import percentiles
from paretoboard.stats.interval import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """How alike a subset of images and the full set rank some models: 1 is the same order, -1 the reverse."""

    tau_b: Estimate
    rho: Estimate
    models: int


def kendall_tau_b(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Kendall's tau-b along the last axis; NaN where all values of one are equal.

    Source: Kendall 1945, doi:10.1093/biomet/33.3.239: ties count neither for nor against, and shrink the denominator.
    """
    first, second = np.triu_indices(a.shape[-1], 1)
    signs_a = np.sign(a[..., first] - a[..., second])
    signs_b = np.sign(b[..., first] - b[..., second])
    whole = np.sqrt((signs_a**2).sum(axis=-1) * (signs_b**2).sum(axis=-1))
    return _divided((signs_a * signs_b).sum(axis=-1), whole)


def spearman(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Spearman's rank correlation along the last axis, ties at their mean rank; NaN where all of one are equal.

    Source: Spearman 1904, doi:10.2307/1412159.
    """
    ranks_a, ranks_b = (rankdata(values, axis=-1) for values in (a, b))
    from_middle_a, from_middle_b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (ranks_a, ranks_b))
    whole = np.sqrt((from_middle_a**2).sum(axis=-1) * (from_middle_b**2).sum(axis=-1))
    return _divided((from_middle_a * from_middle_b).sum(axis=-1), whole)


def subset_rank_correlation(
    right: NDArray[Any], full: NDArray[Any], *, confidence: float = 0.95, seed: int = 0
) -> RankCorrelation:
    """How alike a subset ranks models to the full set, with intervals over subsets of that size.

    The images of the subset are drawn again, the same for all models; the values on the full set are what they are.

    Args:
        right: (models, images) whether each model is right on each image of the subset, or a share of right.
        full: (models,) the same models' share of right answers on the full set.
    Returns: NaN where there is no order to compare; draws in which all models tie are left out of the interval.
    Raises: ValueError for fewer than two models, unlike numbers of them, or no image.
    """
    models, images = right.shape
    if models < 2 or full.shape != (models,) or not images:
        raise ValueError(
            f"{right.shape} answers and {full.shape} values; (models, images) and (models,) would be right"
        )
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=_RESAMPLES)
    # Equal models stay equal in every draw: the last digits depend on the order of summation, ties must not.
    drawn = np.round(weights @ right.T.astype(np.float64) / images, 12)
    seen, whole = np.round(right.mean(axis=1), 12), np.broadcast_to(full, drawn.shape)
    found = []
    for measure in (kendall_tau_b, spearman):
        value, draws = float(measure(seen, full)), measure(drawn, whole)
        draws = draws[~np.isnan(draws)]
        ends = percentiles(draws, confidence) if len(draws) else None
        found.append(
            Estimate(value=value, low=ends.low if ends else float("nan"), high=ends.high if ends else float("nan"))
        )
    return RankCorrelation(tau_b=found[0], rho=found[1], models=models)


def _divided(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    missing = np.full(np.shape(part), np.nan)
    return np.asarray(np.divide(part, whole, out=missing, where=np.asarray(whole) > 0))

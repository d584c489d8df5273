"""Protocol ab1, points 6 and 8: from times of two arms to an effect, and from an effect to a verdict.

An effect is the logarithm of (time of b) / (time of a): below zero b is faster, and swapping the arms negates it.
Windows of one launch share a memory layout: intervals over the windows of one launch held the truth in only 55 to 70 %
of trials. Hence the launch is what is averaged over, wherever there are enough of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import stats

from paretoboard.stats.interval import check_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoboard.records import Verdict

# Differences below this are of no practical use to anyone; PROTOCOL ab1, point 8.
RELEVANT: Final = 0.015
MIN_LAUNCHES: Final = 5  # for an interval over launches; with fewer it is taken over windows

Method = Literal["t over launches", "Wilcoxon over windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much longer b takes than a, as a logarithm, with its interval."""

    log_ratio: float
    low: float  # -inf and inf with too few windows for any interval
    high: float
    confidence: float
    by_launch: tuple[float, ...]
    windows: int
    method: Method
    p_value: float | None  # of no effect; None with too few windows for any interval

    @property
    def launches(self) -> int:
        """How many processes it rests on."""
        return len(self.by_launch)


def window_effect(a_times: NDArray[Any], b_times: NDArray[Any]) -> float:
    """ln of (mean of the lower half of b's times) / (the same of a's).

    The lower half of an odd number includes the middle one. What disturbs a call only ever lengthens it, so the
    lower half holds the calls that were disturbed least; its mean wastes less than their minimum.

    Raises: ValueError without times, or where a mean is not above zero.
    """
    a, b = _lower_half_mean(a_times), _lower_half_mean(b_times)
    return math.log(b) - math.log(a)


def launch_effect(window_effects: Sequence[float]) -> float:
    """The median over the windows of one launch."""
    return float(np.median(window_effects))


def estimate(effects_by_launch: Sequence[Sequence[float]], confidence: float = 0.95) -> Effect:
    """One effect from the window effects of each launch.

    From five launches on: the mean of the launches' medians with Student's t interval. With fewer: the
    Hodges-Lehmann estimate over all windows with the interval of Wilcoxon's signed ranks, which trusts windows of
    one launch more than they deserve; `judge` asks more of it.

    Raises: ValueError without any window.
    Source: Hodges & Lehmann 1963, doi:10.1214/aoms/1177704172; Hollander, Wolfe & Chicken 2014, Nonparametric
        Statistical Methods, sections 3.2 and 3.3; launches as the unit: Kalibera & Jones 2013,
        doi:10.1145/2464157.2464160.
    """
    check_confidence(confidence)
    filled = [effects for effects in effects_by_launch if len(effects)]
    if not filled:
        raise ValueError("no window to estimate an effect from")
    by_launch = tuple(launch_effect(effects) for effects in filled)
    if len(by_launch) >= MIN_LAUNCHES:
        return _t_over_launches(by_launch, sum(map(len, filled)), confidence)
    return _wilcoxon_over_windows(by_launch, np.concatenate(filled), confidence)


def judge(effect: Effect, tolerance: float) -> Verdict:
    """Whether b is better (faster) than a, worse, the same, or undecided.

    Better and worse: the interval excludes zero and the effect exceeds `tolerance`. Same: the interval lies within
    twice the tolerance. With too few launches for an interval over them, every single launch has to say so too.

    Args:
        tolerance: the smallest effect that counts, as a share: 0.015 is a ratio of 1.015 or of 1 / 1.015.
    """
    counts, near = math.log1p(tolerance), math.log1p(2 * tolerance)
    trusted = effect.method == "t over launches"
    if effect.low > 0 and effect.log_ratio > counts and (trusted or min(effect.by_launch) > counts):
        return "worse"
    if effect.high < 0 and effect.log_ratio < -counts and (trusted or max(effect.by_launch) < -counts):
        return "better"
    if -near <= effect.low and effect.high <= near and (trusted or max(map(abs, effect.by_launch)) <= near):
        return "same"
    return "undecided"


def _lower_half_mean(times: NDArray[Any]) -> float:
    if not len(times):
        raise ValueError("no times in a window")
    half = (len(times) + 1) // 2
    mean = float(np.partition(times, half - 1)[:half].mean())
    if not mean > 0:
        raise ValueError(f"times of mean {mean}; above zero would be right")
    return mean


def _t_over_launches(by_launch: tuple[float, ...], windows: int, confidence: float) -> Effect:
    mean = float(np.mean(by_launch))
    error = float(np.std(by_launch, ddof=1)) / math.sqrt(len(by_launch))
    half = float(stats.t.ppf((1 + confidence) / 2, len(by_launch) - 1)) * error
    p_value = 1.0 if mean == 0 else 0.0  # of launches that agree to the last digit
    if error > 0:
        p_value = 2 * float(stats.t.sf(abs(mean) / error, len(by_launch) - 1))
    return Effect(
        log_ratio=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        by_launch=by_launch,
        windows=windows,
        method="t over launches",
        p_value=p_value,
    )


def _wilcoxon_over_windows(by_launch: tuple[float, ...], effects: NDArray[np.float64], confidence: float) -> Effect:
    n = len(effects)
    walsh = np.sort(((effects[:, None] + effects[None, :]) / 2)[np.triu_indices(n)])
    at_most = np.cumsum(_signed_rank_probabilities(n))  # P(T <= t) for t = 0 ... n (n + 1) / 2
    # How many Walsh averages may lie beyond each end of the interval.
    beyond = int(np.searchsorted(at_most, (1 - confidence) / 2, side="right")) - 1
    bounded = beyond >= 0
    return Effect(
        log_ratio=float(np.median(walsh)),
        low=float(walsh[beyond]) if bounded else -math.inf,
        high=float(walsh[-1 - beyond]) if bounded else math.inf,
        confidence=confidence,
        by_launch=by_launch,
        windows=n,
        method="Wilcoxon over windows",
        p_value=_signed_rank_p(walsh, at_most) if bounded else None,
    )


def _signed_rank_probabilities(n: int) -> NDArray[np.float64]:
    """P(T = t) of Wilcoxon's signed-rank statistic of `n` values without an effect: each rank counts or doesn't."""
    probabilities = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(len(probabilities) + rank)
        longer[: len(probabilities)] += probabilities / 2
        longer[rank:] += probabilities / 2
        probabilities = longer
    return probabilities


def _signed_rank_p(walsh: NDArray[np.float64], at_most: NDArray[np.float64]) -> float:
    """Two-sided, exact without ties; a zero counts half for each side, rounded to the side of no effect."""
    positive = float((walsh > 0).sum()) + 0.5 * float((walsh == 0).sum())
    smaller = min(positive, len(walsh) - positive)
    return min(1.0, 2 * float(at_most[math.ceil(smaller)]))

"""Whether two records differ, judged on what they have in common: the same images."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats as scipy_stats

from paretoboard import stats
from paretoboard.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoboard.records import RunRecord

CONFIDENCE: Final = 0.95
# Two qualities are the same if the whole interval of their difference lies within this: 0.3 points, the
# margin within which a published accuracy counts as confirmed.
SAME_WITHIN: Final = 0.003
# Metrics that ask of each image alone whether it was right, and the guesses that may be.
_GUESSES: Final = {"top1": 1, "top5": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one metric of a recipe differs from another's, with a 95 % interval."""

    metric: str
    recipe: str
    against: str
    difference: float  # this minus the other, in the metric's unit
    low: float
    high: float
    n: int  # images that both were asked about
    gained: int  # images that only this one gets right
    lost: int  # images that only the other gets right
    p_value: float  # of no difference: McNemar's exact test, two-sided
    verdict: Verdict
    reason: str  # why undecided, "" otherwise


def quality_change(record: RunRecord, other: RunRecord, metric: str = "top1") -> Change | None:
    """How `record` differs from `other` on the images that both predicted.

    Returns: None where one has no predictions, their images differ, or `metric` is not one of single images.
    """
    ours, theirs = correct(record, metric), correct(other, metric)
    if ours is None or theirs is None or not _same_images(record, other):
        return None
    n = len(ours)
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p_value = stats.mcnemar_exact(gained, lost)
    interval = stats.paired_difference_interval(gained, lost, n, CONFIDENCE)
    verdict = _verdict(interval, p_value)
    return Change(
        metric=metric,
        recipe=record.recipe,
        against=other.recipe,
        difference=(gained - lost) / n,
        low=interval.low,
        high=interval.high,
        n=n,
        gained=gained,
        lost=lost,
        p_value=p_value,
        verdict=verdict,
        reason=_reason(gained, lost, n) if verdict == "undecided" else "",
    )


def under_holm(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The same changes, with only those verdicts left that stand among this many comparisons."""
    adjusted = stats.holm([change.p_value for change in changes])
    return tuple(_corrected(change, p, len(changes)) for change, p in zip(changes, adjusted, strict=True))


def correct(record: RunRecord, metric: str = "top1") -> NDArray[np.bool_] | None:
    """Whether `record` got each image right, (images,); None where that was not kept or not asked."""
    if record.predictions is None or metric not in _GUESSES or not len(record.predictions.labels):
        return None
    found = record.predictions
    hits: NDArray[np.bool_] = found.top_classes[:, : _GUESSES[metric]] == found.labels[:, None]
    return np.asarray(hits.any(axis=1))


def images_to_resolve(difference: float, discordant: float) -> int:
    """How many images tell a true `difference` from none in four of five trials.

    Args:
        difference: of the two shares of right answers, not zero.
        discordant: share of images that only one of the two gets right, at least |difference|.
    Source: Connor 1987, doi:10.2307/2531961, the sample size of McNemar's test.
    """
    z_error, z_power = (float(scipy_stats.norm.ppf(share)) for share in ((1 + CONFIDENCE) / 2, 0.8))
    spread = max(discordant, abs(difference))
    needed = z_error * math.sqrt(spread) + z_power * math.sqrt(spread - difference**2)
    return math.ceil((needed / difference) ** 2)


def _verdict(interval: stats.Interval, p_value: float) -> Verdict:
    if p_value < 1 - CONFIDENCE and 0 not in interval:
        return "better" if interval.low > 0 else "worse"
    return "same" if max(-interval.low, interval.high) < SAME_WITHIN else "undecided"


def _corrected(change: Change, adjusted: float, comparisons: int) -> Change:
    if change.verdict not in ("better", "worse") or adjusted < 1 - CONFIDENCE:
        return change
    reason = f"alone it would be {change.verdict}, but not as one of {comparisons} comparisons"
    return dataclasses.replace(change, verdict="undecided", reason=reason)


def _reason(gained: int, lost: int, n: int) -> str:
    difference, discordant = abs(gained - lost) / n, (gained + lost) / n
    aim = max(difference, SAME_WITHIN)
    # With so few images none may tell the two apart by luck: assume the rate that three in n would not show.
    needed = images_to_resolve(aim, max(discordant, 3 / n, aim))
    return f"a difference of {100 * aim:.1f} points takes about {_rough(needed):,} images; there are {n:,}"


def _rough(count: int) -> int:
    """To two significant digits, upwards."""
    step = int(10 ** max(len(str(count)) - 2, 0))
    return math.ceil(count / step) * step


def _same_images(record: RunRecord, other: RunRecord) -> bool:
    if record.predictions is None or other.predictions is None:
        return False
    same_subset = (record.dataset, record.subset) == (other.dataset, other.subset)
    return same_subset and np.array_equal(record.predictions.labels, other.predictions.labels)

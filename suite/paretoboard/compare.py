"""Whether two records differ, judged on what they have in common: the same images."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from paretoboard import stats
from paretoboard.detection.average_precision import DRAWN
from paretoboard.metrics import GUESSES
from paretoboard.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoboard.records import RunRecord

CONFIDENCE: Final = 0.95
# Two qualities are the same if the whole interval of their difference lies within this: 0.3 points, the
# margin within which a published accuracy counts as confirmed.
SAME_WITHIN: Final = 0.003

_Interval = TypeVar("_Interval", stats.Contrast, stats.Estimate)


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
    gained: int | None  # images that only this one gets right; None where a quality is of all images together
    lost: int | None  # images that only the other gets right
    p_value: float  # of no difference, two-sided
    test: str  # whose p value that is
    decided_from: float  # the smallest difference that these images would have told from none
    found_from: float  # a true difference that they tell from none in four of five trials
    verdict: Verdict
    reason: str  # why undecided, "" otherwise


def quality_change(record: RunRecord, other: RunRecord, metric: str = "top1") -> Change | None:
    """How `record` differs from `other` on the images that both answered.

    Top-1 and top-5 by McNemar's exact test and Tango's interval; macro precision, recall and F1 by a bootstrap of the
    images, the same for both; average precisions by the draws of images that both kept.
    Returns: None where one has no answers, their images differ, or `metric` is none of these.
    """
    found = _of_draws(record, other, metric) if metric in DRAWN else _of_guesses(record, other, metric)
    if found is None:
        return None
    verdict = judged(found.low, found.high, found.p_value)
    return Change(
        metric=metric,
        recipe=record.recipe,
        against=other.recipe,
        difference=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        gained=found.gained,
        lost=found.lost,
        p_value=found.p_value,
        test=found.test,
        decided_from=found.resolution.decided,
        found_from=found.resolution.found,
        verdict=verdict,
        reason=_reason(found) if verdict == "undecided" else "",
    )


def under_holm(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The same changes, with only those verdicts left that stand among this many comparisons."""
    adjusted = stats.holm([change.p_value for change in changes])
    return tuple(_corrected(change, p, len(changes)) for change, p in zip(changes, adjusted, strict=True))


def correct(record: RunRecord, metric: str = "top1") -> NDArray[np.bool_] | None:
    """Whether `record` got each image right, (images,); None where that was not kept or not asked."""
    if record.predictions is None or metric not in GUESSES or not len(record.predictions.labels):
        return None
    found = record.predictions
    hits: NDArray[np.bool_] = found.top_classes[:, : GUESSES[metric]] == found.labels[:, None]
    return np.asarray(hits.any(axis=1))


def drawn(record: RunRecord, metric: str) -> NDArray[np.floating[Any]] | None:
    """A quality of images drawn again, (draws,), the n-th about the same ones in every record of the same subset.

    None where it was not kept.
    """
    if record.detections is None or metric not in DRAWN or not len(record.detections.drawn):
        return None
    return record.detections.drawn[:, DRAWN.index(metric)]


def same_images(record: RunRecord, other: RunRecord) -> bool:
    """Whether both predicted the same images, in the same order."""
    ours, theirs = record.predictions, other.predictions
    if ours is None or theirs is None or (record.dataset, record.subset) != (other.dataset, other.subset):
        return False
    if ours.ids and theirs.ids and ours.ids != theirs.ids:
        return False
    return np.array_equal(ours.labels, theirs.labels)


def judged(low: float, high: float, p_value: float = 0.0) -> Verdict:
    """What an interval of a difference and, where there is one, the p value of none say; above zero is better."""
    if p_value < 1 - CONFIDENCE and not low <= 0 <= high:
        return "better" if low > 0 else "worse"
    return "same" if max(-low, high) < SAME_WITHIN else "undecided"


def widened(found: _Interval, n: int) -> _Interval:
    """`found` with an interval at least as wide as that of two models that no image of `n` tells apart.

    Resampled images never tell apart two that answer alike; other images might.
    """
    least = stats.paired_difference_interval(0, 0, n, CONFIDENCE)
    low, high = min(found.low, found.value + least.low), max(found.high, found.value + least.high)
    return dataclasses.replace(found, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """What the images say, before a verdict is drawn from it."""

    value: float
    low: float
    high: float
    n: int
    p_value: float
    test: str
    resolution: stats.Resolution
    needed: int  # images that would tell the difference from none, or one that matters where it is smaller
    gained: int | None = None
    lost: int | None = None


def _of_guesses(record: RunRecord, other: RunRecord, metric: str) -> _Difference | None:
    """Of a metric of best guesses, one for each image."""
    macro = next((score for score in stats.MACRO if score == metric), None)
    guesses = metric if macro is None else "top1"
    ours, theirs = correct(record, guesses), correct(other, guesses)
    if ours is None or theirs is None or not same_images(record, other):
        return None
    n, gained, lost = len(ours), int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if macro is None:
        return _of_shares(gained, lost, n)
    assert record.predictions is not None
    assert other.predictions is not None
    best = [found.top_classes[:, 0] for found in (record.predictions, other.predictions)]
    labels = record.predictions.labels
    found = widened(stats.bootstrap_contrast(labels, best, (1.0, -1.0), macro, confidence=CONFIDENCE), n)
    return dataclasses.replace(_resampled(found, n), gained=gained, lost=lost)


def _of_draws(record: RunRecord, other: RunRecord, metric: str) -> _Difference | None:
    """Of a metric whose draws of images are kept, since drawing again would take minutes.

    Not `widened`: many boxes and their scores are compared in each image, not one guess that is right or wrong.
    """
    ours, theirs = drawn(record, metric), drawn(other, metric)
    value, reference = record.metric(metric), other.metric(metric)
    if ours is None or theirs is None or value is None or reference is None or not _same_objects(record, other):
        return None
    found = stats.paired_difference(ours, theirs, CONFIDENCE)
    low, high = found.interval.low, found.interval.high
    difference = stats.Contrast(value=value.value - reference.value, low=low, high=high, p_value=found.p_value)
    return _resampled(difference, value.n)


def _of_shares(gained: int, lost: int, n: int) -> _Difference:
    interval = stats.paired_difference_interval(gained, lost, n, CONFIDENCE)
    difference, discordant = abs(gained - lost) / n, (gained + lost) / n
    aim = max(difference, SAME_WITHIN)
    return _Difference(
        value=(gained - lost) / n,
        low=interval.low,
        high=interval.high,
        n=n,
        p_value=stats.mcnemar_exact(gained, lost),
        test="McNemar exact",
        resolution=stats.mcnemar_resolution(gained + lost, n, CONFIDENCE),
        # With so few images none may tell the two apart by luck: assume the rate that three in n would not show.
        needed=stats.images_to_resolve(aim, max(discordant, 3 / n, aim)),
        gained=gained,
        lost=lost,
    )


def _resampled(found: stats.Contrast, n: int) -> _Difference:
    resolution = stats.interval_resolution((found.high - found.low) / 2, CONFIDENCE)
    return _Difference(
        value=found.value,
        low=found.low,
        high=found.high,
        n=n,
        p_value=found.p_value,
        test="paired bootstrap",
        resolution=resolution,
        # The width of an interval shrinks with the square root of the images.
        needed=math.ceil(n * (resolution.found / max(abs(found.value), SAME_WITHIN)) ** 2),
    )


def _same_objects(record: RunRecord, other: RunRecord) -> bool:
    if record.detections is None or other.detections is None:
        return False
    ours, theirs = record.detections.objects, other.detections.objects
    same = (record.dataset, record.subset) == (other.dataset, other.subset)
    columns = ("sizes", "image", "boxes", "classes")
    return same and all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in columns)


def _reason(found: _Difference) -> str:
    aim = max(abs(found.value), SAME_WITHIN)
    decided = 100 * found.resolution.decided
    return (
        f"a difference of {100 * aim:.1f} points takes about {_rough(found.needed):,} images; there are {found.n:,}, "
        f"which tell {decided:.2g} points and more from none"
    )


def _corrected(change: Change, adjusted: float, comparisons: int) -> Change:
    if change.verdict not in ("better", "worse") or adjusted < 1 - CONFIDENCE:
        return change
    reason = f"alone it would be {change.verdict}, but not as one of {comparisons} comparisons"
    return dataclasses.replace(change, verdict="undecided", reason=reason)


def _rough(count: int) -> int:
    """To two significant digits, upwards."""
    step = int(10 ** max(len(str(count)) - 2, 0))
    return math.ceil(count / step) * step

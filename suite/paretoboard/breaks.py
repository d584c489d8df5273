"""What a recipe breaks beside overall accuracy: which images flip, which classes lose, how sure it is, how robust.

Everything follows from the stored predictions of two records about the same images: no model, no torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from paretoboard import stats
from paretoboard.compare import CONFIDENCE, correct, judged, same_images, widened
from paretoboard.records import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoboard.records import Predictions, RunRecord

Direction = Literal["right to wrong", "wrong to right", "wrong to other wrong"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("right to wrong", "wrong to right", "wrong to other wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An image that a recipe answers otherwise than the baseline."""

    image: str  # its id; in records from before ids were kept, its place in the subset
    label: int  # the right class
    before: int  # the baseline's answer
    after: int
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often a recipe gives the baseline's answer, right or wrong."""

    share: stats.Estimate
    n: int
    flips: tuple[Flip, ...]  # in the subset's order

    def flipped(self, direction: Direction) -> tuple[Flip, ...]:
        """Those of one direction."""
        return tuple(flip for flip in self.flips if flip.direction == direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChange:
    """How a recipe's recall of one class differs from the baseline's, on the images of that class."""

    index: int
    images: int
    gained: int  # images that only the recipe gets right
    lost: int  # images that only the baseline gets right
    change: stats.Estimate  # of recall; the intervals of all classes hold together with 95 % (Bonferroni)
    p_value: float  # McNemar's exact, adjusted for all classes (Holm)
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionLoss:
    """What one corruption of the images costs a recipe."""

    corruption: str  # such as "noise:3"
    score: stats.Score
    value: float  # of the recipe, on the corrupted images
    drop: stats.Estimate  # below its value on the images as they are
    baseline_drop: float | None  # None where the baseline's answers are not there
    further: stats.Estimate | None  # how much more it drops than the baseline, on the same images
    p_value: float | None  # of dropping alike, adjusted for all corruptions (Holm)
    verdict: Verdict | None


def agreement(record: RunRecord, baseline: RunRecord) -> Agreement | None:
    """How often both give the same best guess, and every image where they don't.

    Returns: None where one has no predictions, or their images differ.
    """
    found = _both(record, baseline)
    if found is None:
        return None
    ours, theirs = found
    after, before, labels = ours.top_classes[:, 0], theirs.top_classes[:, 0], ours.labels
    changed = np.flatnonzero(after != before)
    n = len(labels)
    same = n - len(changed)
    interval = stats.wilson(same, n, CONFIDENCE)
    return Agreement(
        share=stats.Estimate(value=same / n, low=interval.low, high=interval.high),
        n=n,
        flips=tuple(
            Flip(
                image=_name(ours, theirs, place),
                label=int(labels[place]),
                before=int(before[place]),
                after=int(after[place]),
                direction=_direction(labels[place], before[place], after[place]),
            )
            for place in changed.tolist()
        ),
    )


def class_changes(record: RunRecord, baseline: RunRecord) -> tuple[ClassChange, ...]:
    """How the recall of each class that has images changes, those that lose most first; () where that isn't known.

    Of many classes some lose by chance: p values are Holm's over all of them, and each interval has the level
    1 - 0.05 / classes.
    """
    found = _both(record, baseline)
    if found is None:
        return ()
    labels = found[0].labels
    ours, theirs = correct(record), correct(baseline)
    assert ours is not None
    assert theirs is not None
    classes, images = np.unique(labels, return_counts=True)
    gained = [int(np.count_nonzero(labels[ours & ~theirs] == index)) for index in classes]
    lost = [int(np.count_nonzero(labels[theirs & ~ours] == index)) for index in classes]
    adjusted = stats.holm([stats.mcnemar_exact(b, c) for b, c in zip(gained, lost, strict=True)])
    level = 1 - (1 - CONFIDENCE) / len(classes)
    rows = zip(classes.tolist(), images.tolist(), gained, lost, adjusted, strict=True)
    changes = [_class_change(*row, level=level) for row in rows]
    return tuple(sorted(changes, key=lambda change: (change.change.value, -change.lost, change.index)))


def calibration_error(record: RunRecord) -> stats.Estimate | None:
    """The expected calibration error of a record's best guesses; None without predictions.

    Records from before it was a metric hold what it follows from.
    """
    right, found = correct(record), record.metric("calibration_error")
    if right is not None and found is not None and found.low is not None and found.high is not None:
        return stats.Estimate(value=found.value, low=found.low, high=found.high)
    return None if right is None else stats.calibration_error(_confidences(record), right, confidence=CONFIDENCE)


def calibration_change(record: RunRecord, baseline: RunRecord) -> stats.Estimate | None:
    """The expected calibration error minus the baseline's, on the same images; above zero is worse."""
    if _both(record, baseline) is None:
        return None
    ours, theirs = correct(record), correct(baseline)
    assert ours is not None
    assert theirs is not None
    found = stats.calibration_error_difference(
        _confidences(record), ours, _confidences(baseline), theirs, confidence=CONFIDENCE
    )
    return widened(found, len(ours))


def corruption_losses(
    record: RunRecord, baseline: RunRecord | None, metric: str = "top1"
) -> tuple[CorruptionLoss, ...]:
    """What each corruption that the record was scored under costs it, beside what it costs the baseline.

    Args:
        baseline: None, or the record itself, where there is nothing to compare with.
        metric: the task's; where it is none of best guesses alone (top5), top-1 is compared.
    """
    ours = record.predictions
    if ours is None or not len(ours.labels):
        return ()
    score: stats.Score = next((name for name in stats.SCORES if name == metric), "top1")
    both = None if baseline is None or baseline is record else _both(record, baseline)
    corrupted = () if both is None else both[1].corrupted
    theirs = {found.corruption: found.best for found in corrupted}
    losses = []
    for found in ours.corrupted:
        pairs = [(ours.top_classes[:, 0], found.best)]
        if both is not None and found.corruption in theirs:
            pairs.append((both[1].top_classes[:, 0], theirs[found.corruption]))
        losses.append(_loss(found.corruption, ours.labels, pairs, score))
    return _among_all(losses)


def _loss(
    corruption: str, labels: NDArray[Any], pairs: list[tuple[NDArray[Any], NDArray[Any]]], score: stats.Score
) -> CorruptionLoss:
    """Args:
    pairs: the guesses on the images as they are and on the corrupted ones; of the recipe, and of the baseline if known.
    """

    def contrast(guesses: tuple[NDArray[Any], ...], *weights: float) -> stats.Contrast:
        found = stats.bootstrap_contrast(labels, guesses, weights, score, confidence=CONFIDENCE)
        return widened(found, len(labels))

    drop = contrast(pairs[0], 1.0, -1.0)
    further = contrast((*pairs[0], *pairs[1]), 1.0, -1.0, -1.0, 1.0) if len(pairs) > 1 else None
    return CorruptionLoss(
        corruption=corruption,
        score=score,
        value=stats.contrast_of(labels, pairs[0][1:], (1.0,), score),
        drop=_estimate(drop),
        baseline_drop=stats.contrast_of(labels, pairs[1], (1.0, -1.0), score) if len(pairs) > 1 else None,
        further=None if further is None else _estimate(further),
        p_value=None if further is None else further.p_value,
        verdict=None,
    )


def _among_all(losses: list[CorruptionLoss]) -> tuple[CorruptionLoss, ...]:
    """The same with p values adjusted for their number (Holm), and verdicts: a further drop is worse."""
    adjusted = iter(stats.holm([loss.p_value for loss in losses if loss.p_value is not None]))
    kept = []
    for loss in losses:
        if loss.further is None:
            kept.append(loss)
            continue
        p_value = next(adjusted)
        verdict = judged(-loss.further.high, -loss.further.low, p_value)
        kept.append(dataclasses.replace(loss, p_value=p_value, verdict=verdict))
    return tuple(kept)


def _class_change(index: int, images: int, gained: int, lost: int, p_value: float, *, level: float) -> ClassChange:
    interval = stats.paired_difference_interval(gained, lost, images, level)
    return ClassChange(
        index=index,
        images=images,
        gained=gained,
        lost=lost,
        change=stats.Estimate(value=(gained - lost) / images, low=interval.low, high=interval.high),
        p_value=p_value,
        verdict=judged(interval.low, interval.high, p_value),
    )


def _both(record: RunRecord, baseline: RunRecord) -> tuple[Predictions, Predictions] | None:
    if record.predictions is None or baseline.predictions is None or not same_images(record, baseline):
        return None
    return (record.predictions, baseline.predictions) if len(record.predictions.labels) else None


def _direction(label: int, before: int, after: int) -> Direction:
    if before == label:
        return "right to wrong"
    return "wrong to right" if after == label else "wrong to other wrong"


def _name(ours: Predictions, theirs: Predictions, place: int) -> str:
    ids = ours.ids or theirs.ids
    return ids[place] if ids else f"number {place + 1} of the subset"


def _confidences(record: RunRecord) -> NDArray[np.float64]:
    """(images,) softmax probability of the best guess."""
    assert record.predictions is not None
    # Rounding to float32 may lift a probability of one by a unit in the last place.
    return np.minimum(record.predictions.top_scores[:, 0].astype(np.float64), 1.0)


def _estimate(found: stats.Contrast) -> stats.Estimate:
    return stats.Estimate(value=found.value, low=found.low, high=found.high)

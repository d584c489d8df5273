"""Does a stored run hold when it is done again from nothing?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoboard_runners.repeating import unrepeatable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.records import Comparison, Detections, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a repetition should give again."""

    what: str
    holds: bool
    stored: str
    repeated: str


def compare_with_stored(stored: RunRecord, repeated: RunRecord) -> tuple[Finding, ...]:
    """What a repetition gave beside what is stored; both measured by the same plan on the same machine.

    The weights that each training left, the artifact and the predictions are to be equal to the bit where the profile
    asks for determinism; a speed holds when the two ratios differ by no more than their intervals and the smallest
    effect that counts allow. Where a measurement decided what was built, or a clock when training ended, another
    artifact holds too, and nothing more is compared with it.
    """
    if repeated.status != stored.status:
        return (
            Finding(
                what="status",
                holds=False,
                stored=stored.status,
                repeated=f"{repeated.status}: {repeated.reason}" if repeated.reason else repeated.status,
            ),
        )
    return tuple(_findings(stored, repeated))


def _findings(stored: RunRecord, repeated: RunRecord) -> Iterator[Finding]:
    may_differ = next(filter(None, unrepeatable(stored.spec)), "")
    for before, after in zip(stored.trainings, repeated.trainings, strict=False):
        yield _same_bits(f"weights that {before.step} trained", before.weights, after.weights, may_differ)
    if stored.artifact is not None and repeated.artifact is not None:
        earlier, later = stored.artifact.digest, repeated.artifact.digest
        yield _same_bits(f"bytes of {stored.artifact.file}", earlier, later, may_differ)
        if earlier != later and may_differ:
            return
    if stored.predictions is not None and repeated.predictions is not None:
        said, says = stored.predictions, repeated.predictions
        same = np.array_equal(said.top_classes, says.top_classes) and np.array_equal(said.top_scores, says.top_scores)
        same = same and all(
            np.array_equal(before.best, after.best)
            for before, after in zip(said.corrupted, says.corrupted, strict=False)
        )
        agreeing = int((said.top_classes[:, 0] == says.top_classes[:, 0]).sum())
        images = len(said.labels)
        yield Finding(
            what="predictions",
            holds=same,
            stored=f"{images} images",
            repeated="equal to the bit" if same else f"{agreeing} of {images} best guesses equal",
        )
    if stored.detections is not None and repeated.detections is not None:
        yield _same_boxes(stored.detections, repeated.detections)
    for timed in stored.comparisons:
        for again in repeated.comparisons:
            if (timed.batch, timed.against) == (again.batch, again.against):
                yield Finding(
                    what=f"time at batch {timed.batch} against {timed.against}",
                    holds=_agree(timed, again),
                    stored=_ratio(timed),
                    repeated=_ratio(again),
                )


def _same_boxes(said: Detections, says: Detections) -> Finding:
    columns = ("image", "boxes", "classes", "scores")
    same = all(np.array_equal(getattr(said, name), getattr(says, name)) for name in columns)
    boxes = f"{len(said.scores)} boxes in {len(said.objects.sizes)} images"
    return Finding(
        what="detections",
        holds=same,
        stored=boxes,
        repeated="equal to the bit" if same else f"{len(says.scores)} boxes, not the same ones",
    )


def _same_bits(what: str, stored: str, repeated: str, may_differ: str) -> Finding:
    """Of two digests; where they `may_differ`, the reason stands beside the second."""
    why = "" if stored == repeated else may_differ
    return Finding(
        what=what,
        holds=stored == repeated or bool(why),
        stored=stored[:12],
        repeated=f"{repeated[:12]}: {why}" if why else repeated[:12],
    )


def _agree(earlier: Comparison, later: Comparison) -> bool:
    apart = abs(math.log(earlier.ratio / later.ratio))
    allowed = math.hypot(_half_width(earlier), _half_width(later)) + max(earlier.tolerance, later.tolerance)
    return apart <= allowed


def _half_width(comparison: Comparison) -> float:
    return math.log(comparison.high / comparison.low) / 2


def _ratio(comparison: Comparison) -> str:
    return f"{comparison.ratio:.3f} [{comparison.low:.3f}, {comparison.high:.3f}]"

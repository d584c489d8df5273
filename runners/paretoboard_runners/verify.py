"""Does a stored run hold when it is done again from nothing?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoboard.registry import TECHNIQUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.records import Comparison, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a repetition should give again."""

    what: str
    holds: bool
    stored: str
    repeated: str


def compare_with_stored(stored: RunRecord, repeated: RunRecord) -> tuple[Finding, ...]:
    """What a repetition gave beside what is stored; both measured by the same plan on the same machine.

    The artifact and the predictions are to be equal to the bit where the profile asks for determinism; a speed holds
    when the two ratios differ by no more than their intervals and the smallest effect that counts allow. Where a
    measurement decided what was built, another artifact holds too, and nothing more is compared with it.
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
    if stored.artifact is not None and repeated.artifact is not None:
        same = stored.artifact.digest == repeated.artifact.digest
        why = "" if same else _unrepeatable(stored)
        yield Finding(
            what=f"bytes of {stored.artifact.file}",
            holds=same or bool(why),
            stored=stored.artifact.digest[:12],
            repeated=f"{repeated.artifact.digest[:12]}: {why}" if why else repeated.artifact.digest[:12],
        )
        if why:
            return
    if stored.predictions is not None and repeated.predictions is not None:
        before, after = stored.predictions, repeated.predictions
        same = np.array_equal(before.top_classes, after.top_classes) and np.array_equal(
            before.top_scores, after.top_scores
        )
        agreeing = int((before.top_classes[:, 0] == after.top_classes[:, 0]).sum())
        images = len(before.labels)
        yield Finding(
            what="predictions",
            holds=same,
            stored=f"{images} images",
            repeated="equal to the bit" if same else f"{agreeing} of {images} best guesses equal",
        )
    for earlier in stored.comparisons:
        for later in repeated.comparisons:
            if (earlier.batch, earlier.against) == (later.batch, later.against):
                yield Finding(
                    what=f"time at batch {earlier.batch} against {earlier.against}",
                    holds=_agree(earlier, later),
                    stored=_ratio(earlier),
                    repeated=_ratio(later),
                )


def _unrepeatable(record: RunRecord) -> str:
    """Why building again may give another artifact; "" where it gives the same."""
    reasons = (TECHNIQUES.load(step["name"])(**step["parameters"]).unrepeatable() for step in record.steps)
    return next((str(reason) for reason in reasons if reason), "")


def _agree(earlier: Comparison, later: Comparison) -> bool:
    apart = abs(math.log(earlier.ratio / later.ratio))
    allowed = math.hypot(_half_width(earlier), _half_width(later)) + max(earlier.tolerance, later.tolerance)
    return apart <= allowed


def _half_width(comparison: Comparison) -> float:
    return math.log(comparison.high / comparison.low) / 2


def _ratio(comparison: Comparison) -> str:
    return f"{comparison.ratio:.3f} [{comparison.low:.3f}, {comparison.high:.3f}]"

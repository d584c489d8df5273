"""What a recipe breaks, as the page says it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from paretoboard import breaks
from paretoboard.compare import judged
from paretoboard.corruptions import CORRUPTIONS, SMALL_SIDE, constant, parse
from paretoboard.errors import InputError
from paretoboard_reports.view.effects import p_text
from paretoboard_reports.view.model import (
    Breaks,
    ClassChangeLine,
    CorruptionLine,
    Effect,
    ExplanationMove,
    FlipLine,
    FlipList,
    Picture,
)
from paretoboard_reports.view.numbers import PERCENT, POINTS, Scale, interval, quantity, significant

if TYPE_CHECKING:
    from paretoboard.breaks import Agreement, ClassChange, CorruptionLoss
    from paretoboard.records import ExplanationShift, RunRecord, Verdict
    from paretoboard.stats import Estimate
    from paretoboard_reports.view.numbers import Quantity

MOST_FLIPS: Final = 20  # that are listed of each direction
MOST_CLASSES: Final = 10


def breaks_of(record: RunRecord, baseline: RunRecord | None, metric: str) -> Breaks | None:
    """What `record` breaks beside `baseline`; None without predictions.

    Args:
        baseline: None where there is none in the same environment; what needs one is left out then.
        metric: the task's.
    """
    if record.predictions is None or not len(record.predictions.labels):
        return None
    other = None if baseline is record else baseline
    agreement = breaks.agreement(record, other) if other is not None else None
    classes = breaks.class_changes(record, other) if other is not None else ()
    losing = [change for change in classes if change.change.value < 0][:MOST_CLASSES]
    error = breaks.calibration_error(record)
    return Breaks(
        agreement=_shown(agreement.share, agreement.n, PERCENT) if agreement else None,
        flips=_flips(agreement) if agreement else (),
        classes=tuple(_class(change, len(classes)) for change in losing),
        more_classes=len(classes) - len(losing),
        calibration=_shown(error, len(record.predictions.labels), PERCENT) if error else None,
        calibration_effect=_calibration_effect(record, other) if other is not None else None,
        corruptions=tuple(_corruption(loss, record) for loss in breaks.corruption_losses(record, other, metric)),
        explanation=_explanation(record.explanation, record),
    )


def _flips(found: Agreement) -> tuple[FlipList, ...]:
    lists = []
    for direction in breaks.DIRECTIONS:
        flips = found.flipped(direction)
        lines = tuple(
            FlipLine(image=flip.image, label=flip.label, before=flip.before, after=flip.after)
            for flip in flips[:MOST_FLIPS]
        )
        lists.append(FlipList(direction=direction, count=len(flips), lines=lines, more=len(flips) - len(lines)))
    return tuple(lists)


def _class(found: ClassChange, classes: int) -> ClassChangeLine:
    return ClassChangeLine(
        index=found.index,
        images=found.images,
        lost=found.lost,
        gained=found.gained,
        effect=_effect(
            _shown(found.change, found.images, POINTS),
            found.verdict,
            f"recall on the same images; McNemar exact, {p_text(found.p_value)} among {classes} classes (Holm)",
        ),
    )


def _calibration_effect(record: RunRecord, baseline: RunRecord) -> Effect | None:
    found = breaks.calibration_change(record, baseline)
    if found is None or record.predictions is None:
        return None
    verdict = judged(-found.high, -found.low)  # a smaller error is better
    shown = _shown(found, len(record.predictions.labels), POINTS)
    return _effect(shown, verdict, "bootstrap of the images, the same for both")


def _corruption(found: CorruptionLoss, record: RunRecord) -> CorruptionLine:
    assert record.predictions is not None
    images = len(record.predictions.labels)
    further = None
    if found.further is not None and found.verdict is not None and found.p_value is not None:
        # Shown as a gain, like every difference of a quality: below zero it loses more than the baseline does.
        gain = interval(-found.further.value, -found.further.high, -found.further.low, images, POINTS)
        note = f"bootstrap of the images, the same for all four; {p_text(found.p_value)} among all corruptions (Holm)"
        further = _effect(gain, found.verdict, note)
    return CorruptionLine(
        corruption=found.corruption,
        does=_does(found.corruption),
        score=found.score,
        value=significant(100 * found.value),
        drop=_shown(found.drop, images, POINTS),
        baseline_drop="–" if found.baseline_drop is None else significant(100 * found.baseline_drop),
        further=further,
    )


def _does(corruption: str) -> str:
    """What it does and how strongly, in words; "" for one that this version doesn't know."""
    try:
        name, severity = parse(corruption)
    except InputError:
        return ""
    known = CORRUPTIONS[name]
    small, large = (f"{constant(name, severity, side):g}" for side in (SMALL_SIDE, SMALL_SIDE + 1))
    return f"{known.does}; {known.strength}: {small}, in images of more than {SMALL_SIDE} pixels {large}"


def _explanation(found: ExplanationShift | None, record: RunRecord) -> ExplanationMove | None:
    if found is None:
        return None
    similarity = record.metric("explanation_similarity")
    plain = Scale(source_unit="1", unit="", factor=1.0)
    return ExplanationMove(
        method=found.method,
        reason=found.reason,
        similarity=None if similarity is None else quantity(similarity, plain),
        worst=tuple(
            Picture(
                image=image.image,
                similarity=significant(image.similarity, 2),
                png=base64.b64encode(image.picture).decode("ascii"),
            )
            for image in found.images
            if image.picture
        ),
    )


def _effect(shown: Quantity, verdict: Verdict, note: str) -> Effect:
    return Effect(quantity=shown, verdict=verdict, words=verdict, reason="", note=note)


def _shown(found: Estimate, n: int, scale: Scale) -> Quantity:
    return interval(found.value, found.low, found.high, n, scale)

"""Why a recipe is as fast as it is, as the page says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard_reports.view.model import Explanation, OperatorLine, Roof, RoofPoint
from paretoboard_reports.view.numbers import scale_for, significant

if TYPE_CHECKING:
    from paretoboard.records import Diagnosis, OperatorCost

_MOST_FALLBACKS: Final = 12


def explanation(found: Diagnosis | None) -> Explanation | None:
    """A diagnosis in units people read; None where there is none."""
    if found is None:
        return None
    return Explanation(
        sentence=found.sentence,
        batch=found.batch,
        source=found.source,
        operators=tuple(_line(operator, found) for operator in found.operators),
        facts=tuple(_facts(found)),
        fallbacks=found.fallbacks[:_MOST_FALLBACKS],
        more_fallbacks=max(0, len(found.fallbacks) - _MOST_FALLBACKS),
        roof=_roof(found),
    )


def _line(operator: OperatorCost, found: Diagnosis) -> OperatorLine:
    return OperatorLine(
        type=operator.type,
        kind=operator.kind,
        dtype=operator.dtype,
        calls=operator.calls,
        percent=significant(100 * operator.share, 2),
        time=_shown(operator.share * found.operator_s, "s"),
        attainable="–" if operator.attainable_s is None else _shown(operator.attainable_s, "s"),
        macs=_shown(operator.macs, "count") if operator.macs else "–",
        bytes=_shown(operator.bytes, "B"),
    )


def _roof(found: Diagnosis) -> Roof | None:
    points = tuple(
        RoofPoint(
            macs_per_byte=operator.macs / operator.bytes,
            macs_per_s=operator.macs / (operator.share * found.operator_s),
            share=operator.share,
            text=f"{operator.type}, {operator.dtype}: {significant(100 * operator.share, 2)} % of the time",
        )
        for operator in found.operators
        if operator.macs and operator.bytes and operator.share * found.operator_s > 0
    )
    if not points or not found.peaks:
        return None
    return Roof(
        title="Arithmetic of each type of operator against the limits of this machine",
        peaks=tuple((peak.dtype, peak.macs_per_s) for peak in found.peaks),
        bandwidths=tuple((_shown(each.working_set_bytes, "B"), each.bytes_per_s) for each in found.bandwidths),
        points=points,
    )


def _facts(found: Diagnosis) -> list[tuple[str, str]]:
    facts = [("A call that nobody watches", _shown(found.call_s, "s"))]
    if found.operators:
        inside = min(found.operator_s / found.call_s, 1.0) if found.call_s else 0.0
        facts.append(("Inside operators", f"{_shown(found.operator_s, 's')}, {significant(100 * inside, 2)} % of it"))
    if found.attainable_s is not None:
        facts.append(("Least time by the roofline", _shown(found.attainable_s, "s")))
    facts += [(f"Peak, {peak.dtype}", f"{_shown(peak.macs_per_s, 'count')}MAC/s") for peak in found.peaks]
    facts += [
        (f"Bandwidth, {_shown(each.working_set_bytes, 'B')} of data", f"{_shown(each.bytes_per_s, 'B')}/s")
        for each in found.bandwidths
    ]
    facts.append(("Instructions for few bits", ", ".join(found.instruction_sets) or "none"))
    if found.int8_exact is not None:
        facts.append(("Sums of extreme INT8 products", "exact" if found.int8_exact else "saturate"))
    return facts


def _shown(value: float, unit: str) -> str:
    scale = scale_for(unit, [value])
    return f"{significant(value * scale.factor)} {scale.unit}"

"""Why a recipe is as fast as it is: its operators beside what the machine could reach, and one sentence about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoboard.diagnosis.evidence import Evidence, Origin
from paretoboard.diagnosis.roofline import attainable_s
from paretoboard.diagnosis.rules import sentence
from paretoboard.records import Diagnosis, OperatorCost

if TYPE_CHECKING:
    from paretoboard.records import Roofline
    from paretoboard.runtimes.profiling import Profile

__all__ = ["Evidence", "Origin", "attainable_s", "diagnose", "sentence"]


def diagnose(
    profile: Profile, origin: Origin, roofline: Roofline | None, instruction_sets: tuple[str, ...]
) -> Diagnosis:
    """A profile with shares, attainable times and the sentence.

    Args:
        origin: what else the run knows about the recipe.
        roofline: of the machine; None where it could not be measured.
        instruction_sets: of the machine, for arithmetic of fewer than 32 bits.
    """
    watched_s = sum(operator.seconds for operator in profile.operators)
    # Being watched makes operators longer; together they never take longer than a call that nobody watches.
    operator_s = min(watched_s, profile.call_s)
    operators = tuple(
        OperatorCost(
            type=each.type,
            kind=each.kind,
            dtype=each.dtype,
            calls=each.calls,
            share=each.seconds / watched_s if watched_s else 1 / len(profile.operators),
            macs=each.macs,
            bytes=each.bytes,
            attainable_s=None if roofline is None else attainable_s(each, roofline),
        )
        for each in profile.operators
    )
    limits = [each.attainable_s for each in operators if each.attainable_s is not None]
    evidence = Evidence(
        profile=profile,
        operators=operators,
        operator_s=operator_s,
        attainable_s=sum(limits) if operators and len(limits) == len(operators) else None,
        instruction_sets=instruction_sets,
        origin=origin,
    )
    return Diagnosis(
        batch=profile.batch,
        source=profile.source,
        call_s=profile.call_s,
        operator_s=operator_s,
        operators=operators,
        attainable_s=evidence.attainable_s,
        peaks=() if roofline is None else roofline.peaks,
        bandwidths=() if roofline is None else roofline.bandwidths,
        int8_exact=None if roofline is None else roofline.int8_exact,
        instruction_sets=instruction_sets,
        fallbacks=profile.fallbacks,
        sentence=sentence(evidence),
    )

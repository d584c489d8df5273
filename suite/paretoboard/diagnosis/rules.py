"""The rules of the sentence. Each has its condition, and says only what its numbers show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard.runtimes.profiling import WITH_MACS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paretoboard.diagnosis.evidence import Evidence
    from paretoboard.records import Comparison

    Rule = Callable[[Evidence], str]

_MOST_REASONS: Final = 2
_NAMED: Final = 3  # operators in float, by name
# Counts of MACs that differ by less are called the same.
_SAME: Final = 0.02
# Instruction sets with dot products of INT8, in the words of paretoboard_runners.machine.
INT8_DOT: Final = frozenset({"AVX-VNNI", "AVX512-VNNI", "AMX-INT8", "ARM dot product", "ARM I8MM", "DP4A"})
_WORDS: Final[Mapping[str, str]] = {
    "convolution": "convolutions",
    "depthwise convolution": "depthwise convolutions",
    "matrix product": "matrix products",
    "elementwise": "elementwise arithmetic",
    "activation": "activations",
    "quantizing": "quantizing and dequantizing",
    "reordering": "copying and reordering",
    "input": "reading, decoding and normalizing images",
    "boxes": "decoding and suppressing boxes",
    "generated": "generated kernels",
    "other": "operators of no known kind",
}


def sentence(evidence: Evidence) -> str:
    """What came out, and the first two rules that say why: "50 % fewer MACs, 3 % faster than baseline: 71 % of ..."."""
    reasons = [said for rule in RULES if (said := rule(evidence))]
    text = "; ".join(reasons[:_MOST_REASONS])
    found = outcome(evidence)
    text = f"{found}: {text}" if found else text
    return f"{text[:1].upper()}{text[1:]}."


def outcome(evidence: Evidence) -> str:
    """MACs, precision and speed against what the recipe was timed with; "" for the baseline."""
    if evidence.origin.is_baseline:
        return ""
    return ", ".join(filter(None, (_macs(evidence), _precision(evidence), _speed(evidence))))


def silent(evidence: Evidence) -> str:
    """Nothing is known of the operators."""
    return "" if evidence.operators else "its runtime tells no times of operators"


def saturation(evidence: Evidence) -> str:
    """INT8 arithmetic that cuts off sums."""
    names = evidence.origin.saturating
    if not names:
        return ""
    return (
        f"{len(names)} of {evidence.multiplying} convolutions and matrix products give wrong results, since sums of "
        f"INT8 products saturate on this machine ({_listed(names)})"
    )


def fallback(evidence: Evidence) -> str:
    """Convolutions and matrix products that quantization left in float."""
    names = evidence.profile.fallbacks
    if not names:
        return ""
    share = sum(each.share for each in evidence.operators if each.kind in WITH_MACS and each.dtype != "int8")
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{len(names)} of {evidence.multiplying} convolutions and matrix products {verb} still in float "
        f"({_listed(names)}), with {percent(share)} of the time in operators"
    )


def missing_instructions(evidence: Evidence) -> str:
    """INT8 without instructions for it."""
    if not evidence.profile.quantized or INT8_DOT & set(evidence.instruction_sets) or _is_faster(evidence):
        return ""
    return "this machine has no instructions for dot products of INT8"


def dispatch(evidence: Evidence) -> str:
    """Calls that are mostly not arithmetic."""
    if evidence.outside < 0.4:
        return ""
    return f"bound by dispatch: {percent(evidence.outside)} of the time of a call is outside any operator"


def reading(evidence: Evidence) -> str:
    """Time that no change of the network can shorten."""
    longest = max(("input", "boxes"), key=evidence.share)
    share = evidence.share(longest)
    return f"{percent(share)} of the time in operators is in {words(longest)}" if share >= 0.3 else ""


def unpruned(evidence: Evidence) -> str:
    """Fewer MACs, but not where the time is."""
    found, origin = evidence.largest(with_macs=True), evidence.origin
    if not _fewer_macs(evidence) or found is None or found[1] < 0.3:
        return ""
    before = origin.baseline_macs_by_kind.get(found[0], 0)
    after = origin.macs_by_kind.get(found[0], 0)
    if not before or after < before * (1 - _SAME):
        return ""
    return f"{percent(found[1])} of the time in operators is in {words(found[0])}, which have as many MACs as before"


def zeros(evidence: Evidence) -> str:
    """Weights that are zero and are multiplied all the same."""
    origin = evidence.origin
    share = 1 - origin.nonzero_parameters / max(origin.parameters, 1)
    ratio = origin.macs_ratio
    dense = origin.macs is not None and evidence.executed_macs >= (1 - _SAME) * origin.macs * evidence.profile.batch
    if share < 0.1 or ratio is None or ratio < 1 - _SAME or not dense or _is_faster(evidence):
        return ""
    return f"{percent(share)} of the weights are zero and no MAC is skipped: zeros save nothing in dense kernels"


def conversions(evidence: Evidence) -> str:
    """Time spent between number formats."""
    share = evidence.share("quantizing")
    if share < 0.1:
        return ""
    return f"{percent(share)} of the time in operators is in {words('quantizing')}"


def padding(evidence: Evidence) -> str:
    """More arithmetic than the model asks for."""
    macs = evidence.origin.macs
    if not macs or evidence.executed_macs < 1.1 * macs * evidence.profile.batch:
        return ""
    more = evidence.executed_macs / (macs * evidence.profile.batch) - 1
    return f"the runtime computes {percent(more)} more MACs than the model has"


def without_macs(evidence: Evidence) -> str:
    """Fewer MACs can't shorten what has none."""
    found = evidence.largest(with_macs=False)
    share = 1 - evidence.share(*WITH_MACS)
    if not _fewer_macs(evidence) or found is None or evidence.share("generated") or share < 0.4:
        return ""
    return (
        f"{percent(share)} of the time in operators is in operators without MACs, most of it in "
        f"{words(found[0])} ({percent(found[1])})"
    )


def reordering(evidence: Evidence) -> str:
    """Numbers that are only moved."""
    share = evidence.share("reordering")
    return f"{percent(share)} of the time in operators is in {words('reordering')}" if share >= 0.2 else ""


def at_the_roof(evidence: Evidence) -> str:
    """Little is left to gain in this precision."""
    if evidence.efficiency is None or evidence.efficiency < 0.6:
        return ""
    return f"operators reach {percent(evidence.efficiency)} of what the roofline of this machine allows"


def far_from_the_roof(evidence: Evidence) -> str:
    """Kernels that use little of the machine."""
    if evidence.efficiency is None or evidence.efficiency > 0.25:
        return ""
    return (
        f"operators take {1 / max(evidence.efficiency, 1e-9):.1f} times what the roofline of this machine allows, "
        f"{percent(evidence.operators[0].share)} of it in {evidence.operators[0].type}"
    )


def longest(evidence: Evidence) -> str:
    """Where most of the time goes, when nothing else can be said."""
    if not evidence.operators:
        return ""
    kind, share = max(
        ((each.kind, evidence.share(each.kind)) for each in evidence.operators), key=lambda pair: (pair[1], pair[0])
    )
    return f"{percent(share)} of the time in operators is in {words(kind)}"


# The first that apply make the sentence: what is wrong or lost comes before what is merely so.
RULES: Final[tuple[Rule, ...]] = (
    silent,
    saturation,
    fallback,
    missing_instructions,
    dispatch,
    reading,
    unpruned,
    zeros,
    conversions,
    padding,
    without_macs,
    reordering,
    at_the_roof,
    far_from_the_roof,
    longest,
)


def words(kind: str) -> str:
    """A kind of operator, in the plural."""
    return _WORDS.get(kind, kind)


def percent(share: float) -> str:
    """A share, to whole percents, or to tenths where it is small."""
    shown = 100 * share
    return f"{shown:.0f} %" if shown >= 9.5 or shown == 0 else f"{shown:.1f} %"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _macs(evidence: Evidence) -> str:
    ratio = evidence.origin.macs_ratio
    if ratio is None:
        return ""
    if abs(ratio - 1) < _SAME:
        return "same MACs"
    return f"{percent(abs(ratio - 1))} {'fewer' if ratio < 1 else 'more'} MACs"


def _precision(evidence: Evidence) -> str:
    if not evidence.profile.quantized:
        return ""
    if not evidence.profile.fallbacks:
        return "all convolutions and matrix products in INT8"
    return f"INT8 in {evidence.profile.quantized} of {evidence.multiplying} convolutions and matrix products"


def _speed(evidence: Evidence) -> str:
    return "" if (found := _telling(evidence)) is None else speed_in_words(found)


def speed_in_words(found: Comparison) -> str:
    """A comparison of speed, no firmer than its verdict."""
    if found.verdict == "undecided":
        return f"no difference in speed from {found.against} decided"
    if found.verdict == "same":
        return f"as fast as {found.against}"
    if found.verdict == "better":
        return f"{_times(1 / found.ratio, 'fast', 'faster')} {found.against}"
    return f"{_times(found.ratio, 'slow', 'slower')} {found.against}"


def _times(factor: float, much: str, little: str) -> str:
    return f"{factor:.1f} times as {much} as" if factor >= 1.5 else f"{percent(factor - 1)} {little} than"


def _telling(evidence: Evidence) -> Comparison | None:
    """The comparison that says most, where there is one."""
    return evidence.origin.comparisons[-1] if evidence.origin.comparisons else None


def _is_faster(evidence: Evidence) -> bool:
    found = _telling(evidence)
    return found is not None and found.verdict == "better"


def _fewer_macs(evidence: Evidence) -> bool:
    ratio = evidence.origin.macs_ratio
    return ratio is not None and ratio < 0.95

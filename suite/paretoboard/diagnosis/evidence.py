"""What the sentence about a recipe may rest on: nothing but what was measured or counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paretoboard.records import Comparison, OperatorCost
from paretoboard.runtimes.profiling import WITH_MACS, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a run knows about its recipe besides the profile."""

    is_baseline: bool
    macs: int | None  # of one image; None where they can't be counted
    baseline_macs: int | None
    parameters: int
    nonzero_parameters: int
    macs_by_kind: Mapping[str, int] = field(default_factory=dict)  # of one image
    baseline_macs_by_kind: Mapping[str, int] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()  # at the batch, the most telling one last
    saturating: tuple[str, ...] | None = None  # INT8 operators whose sums do; None where they were not checked

    @property
    def macs_ratio(self) -> float | None:
        """MACs against the baseline's; None where one is not known."""
        return self.macs / self.baseline_macs if self.macs is not None and self.baseline_macs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the rules look at."""

    profile: Profile
    operators: tuple[OperatorCost, ...]
    operator_s: float
    attainable_s: float | None
    instruction_sets: tuple[str, ...]
    origin: Origin

    @property
    def outside(self) -> float:
        """Share of a call that is in no operator."""
        if not self.operators:
            return 0.0
        return max(0.0, 1 - self.operator_s / self.profile.call_s)

    @property
    def multiplying(self) -> int:
        """How many convolutions and matrix products are in a call."""
        return self.profile.quantized + len(self.profile.fallbacks)

    @property
    def efficiency(self) -> float | None:
        """Share of the time in operators that the roofline says they need."""
        return self.attainable_s / self.operator_s if self.attainable_s is not None and self.operator_s else None

    @property
    def executed_macs(self) -> int:
        """MACs of one call, as the runtime does them."""
        return sum(operator.macs for operator in self.operators)

    def share(self, *kinds: str) -> float:
        """Of the time in operators, how much is in operators of these kinds."""
        return sum(operator.share for operator in self.operators if operator.kind in kinds)

    def largest(self, *, with_macs: bool) -> tuple[str, float] | None:
        """The kind that takes longest among those with MACs, or among those without, and its share."""
        kinds = {each.kind for each in self.operators if (each.kind in WITH_MACS) == with_macs}
        return max(((kind, self.share(kind)) for kind in sorted(kinds)), key=lambda pair: pair[1], default=None)

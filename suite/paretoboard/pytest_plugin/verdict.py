"""What a comparison of two callables found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from paretoboard.errors import ParetoboardError

if TYPE_CHECKING:
    from paretoboard.records import Comparison
    from paretoboard.records import Verdict as Judged

Word = Literal["slower", "faster", "same", "undecided"]
_WORDS: Final[dict[Judged, Word]] = {
    "worse": "slower",
    "better": "faster",
    "same": "same",
    "undecided": "undecided",
}


class ComparisonError(ParetoboardError):
    """Two callables could not be compared: one of them failed, hung, or can't be timed this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How long the candidate takes against the baseline, and what that means.

    It has no truth value: `if verdict:` could mean "no slower" or "faster", so it is refused; ask `.slower`.
    """

    test: str  # node id
    verdict: Word
    reason: str  # why undecided, or "wall only"; "" otherwise
    ratio: float  # time of the candidate / time of the baseline: above 1 is slower; NaN without any window
    low: float
    high: float
    confidence: float  # of the interval: both looks have 0.975
    tolerance: float  # the smallest effect that counts, as a share
    launches: int
    windows: int
    looks: int
    budget: str
    seed: int
    load1: float  # mean load average meanwhile
    elapsed_s: float

    @property
    def slower(self) -> bool:
        """The interval excludes 1 and the candidate takes longer by more than the tolerance."""
        return self.verdict == "slower"

    @property
    def faster(self) -> bool:
        """The same, mirrored."""
        return self.verdict == "faster"

    @property
    def same(self) -> bool:
        """The interval lies within twice the tolerance."""
        return self.verdict == "same"

    @property
    def undecided(self) -> bool:
        """Neither of the three: too noisy, too few launches, or the machine was overloaded."""
        return self.verdict == "undecided"

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is neither true nor false; ask .slower, .faster, .same or .undecided")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is not a finite number is None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        return f"{self.verdict}: {self.effect}"

    @property
    def effect(self) -> str:
        """The difference with its interval, as in '+5.1 % [+4.2 %, +6.0 %]'."""
        if math.isnan(self.ratio):
            return "not measured"
        if math.isinf(self.high):
            return f"{_percent(self.ratio)} [no interval]"
        return f"{_percent(self.ratio)} [{_percent(self.low)}, {_percent(self.high)}]"


def verdict_of(
    found: Comparison, *, test: str, looks: int, budget: str, seed: int, load1: float, elapsed_s: float
) -> Verdict:
    """A comparison of recorded calls in the words of a test."""
    return Verdict(
        test=test,
        verdict=_WORDS[found.verdict],
        reason=found.reason,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        confidence=found.confidence,
        tolerance=found.tolerance,
        launches=found.launches,
        windows=found.windows,
        looks=looks,
        budget=budget,
        seed=seed,
        load1=load1,
        elapsed_s=elapsed_s,
    )


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}".replace("%", " %")

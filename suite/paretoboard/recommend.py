"""Which recipe to take under limits, and how sure that is: arithmetic only, one rule for the pages and the terminal.

A recipe is eligible if its estimates keep every limit; of the eligible the one with the least cost is recommended. How
sure it is that a limit holds follows from the 95 % interval of what is limited, taken as normal (costs on a logarithmic
scale). Eligible recipes whose cost can't be told from the least are named as ties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Cost = Literal["latency", "size", "memory", "energy", "training"]
COSTS: Final[tuple[Cost, ...]] = ("latency", "size", "memory", "energy", "training")
# "loss": the quality lost against the baseline; the least of it is the highest quality.
Goal = Literal["latency", "size", "memory", "energy", "training", "loss"]
GOALS: Final[tuple[Goal, ...]] = (*COSTS, "loss")
# A recipe that would come out ahead in one of twenty repetitions can't be told from the one that is ahead.
TIED_FROM: Final = 0.05
_Z95: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What choosing needs to know of a recipe."""

    name: str
    quality: Estimate | None = None  # a share
    loss: Estimate | None = None  # the share of quality lost, paired with the baseline on the same images
    costs: Mapping[Cost, Estimate] = field(default_factory=dict)  # seconds, bytes, joules
    ended: str = ""  # why it has no numbers, "" where it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a recipe must keep."""

    loss: float | None = None  # at most this share of quality, against the baseline
    costs: Mapping[Cost, float] = field(default_factory=dict)  # at most, in the units of Candidate.costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A limit that the estimate keeps."""

    what: Goal
    limit: float
    estimate: Estimate
    probability: float | None  # that it holds; None where nothing says how sure the estimate is


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A recipe that keeps the limits."""

    candidate: Candidate
    kept: tuple[Kept, ...]

    @property
    def probability(self) -> float | None:
        """That all limits hold, at the least: whatever they have to do with each other (Boole's inequality)."""
        if any(kept.probability is None for kept in self.kept):
            return None
        return max(0.0, 1.0 - sum(1.0 - (kept.probability or 0.0) for kept in self.kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A recipe that is not eligible."""

    name: str
    what: Goal | Literal["run"]  # the limit it breaks, what was not measured, or the run itself
    limit: float | None  # None where nothing was measured
    estimate: Estimate | None
    reason: str = ""  # of a run that ended without numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to take, what can't be told from it, and what was left out."""

    goal: Goal
    limits: Limits
    best: Pick | None
    ties: tuple[Pick, ...]
    others: tuple[Pick, ...]  # keep the limits, and cost more
    excluded: tuple[Excluded, ...]


def recommend(candidates: Iterable[Candidate], goal: Goal, limits: Limits | None = None) -> Recommendation:
    """The recipe with the least of `goal` that keeps `limits`.

    Of equal ones the one with the higher quality, then the faster, then the first by name.
    """
    asked = limits if limits is not None else Limits()
    excluded: list[Excluded] = []
    picks: list[Pick] = []
    for candidate in sorted(candidates, key=lambda found: found.name):
        broken = next(_broken(candidate, goal, asked), None)
        if broken is None:
            picks.append(Pick(candidate=candidate, kept=tuple(_kept(candidate, asked))))
        else:
            excluded.append(broken)
    picks.sort(key=lambda pick: _order(pick.candidate, goal))
    best, rest = (picks[0], picks[1:]) if picks else (None, [])
    ties = [pick for pick in rest if best is not None and tied(pick.candidate, best.candidate, goal)]
    return Recommendation(
        goal=goal,
        limits=asked,
        best=best,
        ties=tuple(ties),
        others=tuple(pick for pick in rest if pick not in ties),
        excluded=tuple(excluded),
    )


def probability_below(estimate: Estimate, limit: float, *, logarithmic: bool) -> float | None:
    """That what was estimated is at most `limit`; None without an interval to say so.

    Args:
        logarithmic: for costs, whose errors are ratios.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    if logarithmic:
        if min(low, value, limit) <= 0:
            return float(value <= limit)
        value, low, high, limit = (math.log(number) for number in (value, low, high, limit))
    # The arm on the side of the limit is the one that matters.
    arm = high - value if limit >= value else value - low
    if arm <= 0:
        return float(value <= limit)
    return NormalDist(value, arm / _Z95).cdf(limit)


def tied(candidate: Candidate, best: Candidate, goal: Goal) -> bool:
    """Whether `candidate` would have less of `goal` than `best` in one of twenty repetitions at least.

    Exact numbers, as sizes of files, are tied where they are equal.
    """
    mine, other = _goal(candidate, goal), _goal(best, goal)
    if mine is None or other is None:
        return False
    logarithmic = goal != "loss"
    spread = math.hypot(_spread(mine, logarithmic=logarithmic), _spread(other, logarithmic=logarithmic))
    if spread == 0 or (logarithmic and min(mine.value, other.value) <= 0):
        return mine.value <= other.value
    gap = math.log(mine.value / other.value) if logarithmic else mine.value - other.value
    return NormalDist().cdf(-gap / spread) >= TIED_FROM


def _broken(candidate: Candidate, goal: Goal, limits: Limits) -> Iterator[Excluded]:
    if candidate.ended:
        yield Excluded(name=candidate.name, what="run", limit=None, estimate=None, reason=candidate.ended)
    wanted: list[tuple[Goal, float | None]] = [("loss", limits.loss)] if limits.loss is not None else []
    wanted += [(cost, limits.costs[cost]) for cost in COSTS if cost in limits.costs]
    for what, limit in [*wanted, (goal, None)]:
        found = _goal(candidate, what)
        if found is None or not math.isfinite(found.value):
            yield Excluded(name=candidate.name, what=what, limit=None, estimate=None)
        elif limit is not None and found.value > limit:
            yield Excluded(name=candidate.name, what=what, limit=limit, estimate=found)


def _kept(candidate: Candidate, limits: Limits) -> Iterator[Kept]:
    if limits.loss is not None and candidate.loss is not None:
        yield Kept(
            what="loss",
            limit=limits.loss,
            estimate=candidate.loss,
            probability=probability_below(candidate.loss, limits.loss, logarithmic=False),
        )
    for cost in COSTS:
        if cost in limits.costs:
            found, limit = candidate.costs[cost], limits.costs[cost]
            probability = probability_below(found, limit, logarithmic=True)
            yield Kept(what=cost, limit=limit, estimate=found, probability=probability)


def _goal(candidate: Candidate, goal: Goal) -> Estimate | None:
    return candidate.loss if goal == "loss" else candidate.costs.get(goal)


def _spread(estimate: Estimate, *, logarithmic: bool) -> float:
    """The standard error that an interval stands for; 0 without one."""
    low, high = estimate.low, estimate.high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return 0.0
    if logarithmic:
        return math.log(high / low) / (2 * _Z95) if low > 0 else 0.0
    return (high - low) / (2 * _Z95)


def _order(candidate: Candidate, goal: Goal) -> tuple[float, float, float, str]:
    found = _goal(candidate, goal)
    quality = candidate.quality.value if candidate.quality is not None else -math.inf
    latency = candidate.costs["latency"].value if "latency" in candidate.costs else math.inf
    return found.value if found is not None else math.inf, -quality, latency, candidate.name

"""A recommendation in words: what to take, how sure that is, what can't be told from it, and why the rest is out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paretoboard_reports.view.answers import row_of, sure_words
from paretoboard_reports.view.numbers import POINTS, interval, scale_for, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paretoboard.recommend import Estimate as Estimated
    from paretoboard.recommend import Excluded, Goal, Kept, Limits, Pick, Recommendation
    from paretoboard_reports.view.model import Board, Effect

_UNITS: Final[Mapping[str, str]] = {"latency": "s", "size": "B", "memory": "B", "energy": "J", "training": "s"}
_VERBS: Final[Mapping[str, str]] = {
    "latency": "takes",
    "size": "has a file of",
    "memory": "takes up",
    "energy": "uses",
    "training": "takes to train",
}
_WANTED: Final[Mapping[str, str]] = {
    "latency": "the least latency",
    "size": "the smallest file",
    "memory": "the least memory",
    "energy": "the least energy of an image",
    "training": "the shortest training",
    "loss": "the highest quality",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A recommendation as it is printed."""

    asked: str
    take: str  # "" where nothing keeps the limits
    recipe: str
    sure: tuple[str, ...]  # one sentence for each limit, then against the baseline
    ties: tuple[str, ...]
    others: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...]  # recipe and why


def advice(board: Board, found: Recommendation) -> Advice:
    """`found`, which was made from the rows of `board`."""
    asked = "; ".join([_WANTED[found.goal], *_limits(found.limits, board.quality_name)])
    excluded = tuple((one.name, _why(one, board.quality_name)) for one in found.excluded)
    if found.best is None:
        return Advice(asked=asked, take="", recipe="", sure=(), ties=(), others=(), excluded=excluded)
    name = found.best.candidate.name
    return Advice(
        asked=asked,
        take=f"{name}: {_of_goal(found.best, found.goal, board)}",
        recipe=name,
        sure=(
            *(_kept(one, board.quality_name) for one in found.best.kept),
            *_beside_baseline(board, name),
        ),
        ties=tuple(f"{pick.candidate.name}: {_of_goal(pick, found.goal, board)}" for pick in found.ties),
        others=tuple(f"{pick.candidate.name}: {_of_goal(pick, found.goal, board)}" for pick in found.others),
        excluded=excluded,
    )


def shown(what: Goal, found: Estimated, *, exact: bool = False) -> str:
    """An estimate with its half-width and unit; `exact` with a digit more than its interval supports."""
    if what == "loss":
        quantity = interval(found.value, found.low, found.high, 0, POINTS)
    else:
        quantity = interval(found.value, found.low, found.high, 0, scale_for(_UNITS[what], [found.value]))
    half = f" ± {quantity.half}" if quantity.half and quantity.half != "0" else ""
    return f"{quantity.exact if exact else quantity.text}{half} {quantity.unit}"


def limit_text(what: Goal, limit: float) -> str:
    """A limit in the unit that people read it in."""
    scale = POINTS if what == "loss" else scale_for(_UNITS[what], [limit])
    number = f"{limit * scale.factor:.10g}"
    return "1 point" if what == "loss" and number == "1" else f"{number} {scale.unit}"


def _limits(limits: Limits, quality: str) -> Iterator[str]:
    if limits.loss is not None:
        yield f"at most {limit_text('loss', limits.loss)} of {quality} lost"
    for cost, limit in limits.costs.items():
        yield f"{cost} at most {limit_text(cost, limit)}"


def _of_goal(pick: Pick, goal: Goal, board: Board) -> str:
    candidate = pick.candidate
    if goal != "loss":
        return shown(goal, candidate.costs[goal])
    row = row_of(board.rows, candidate.name)
    assert row.quality is not None
    half = f" ± {row.quality.half}" if row.quality.half else ""
    return f"{board.quality_name} {row.quality.text}{half} {row.quality.unit}"


def _kept(found: Kept, quality: str) -> str:
    limit = limit_text(found.what, found.limit)
    sure = sure_words(found.probability)
    if found.what == "loss":
        change = signed(_negated(found.estimate))
        return f"{quality} changes by {change} against the baseline; at most {limit} lost holds, {sure}"
    return f"{found.what} of {shown(found.what, found.estimate)}; at most {limit} holds, {sure}"


def _negated(found: Estimated) -> str:
    low, high = (None if end is None else -end for end in (found.high, found.low))
    quantity = interval(-found.value, low, high, 0, POINTS)
    return f"{quantity.text}{f' ± {quantity.half}' if quantity.half else ''} points"


def _beside_baseline(board: Board, recipe: str) -> Iterator[str]:
    row = row_of(board.rows, recipe)
    if row.is_baseline:
        yield "it is the model as it is: no recipe does better"
        return
    for what, found in ((board.quality_name, row.quality_effect), ("speed", row.speedup)):
        if found is not None:
            yield _verdict(what, found)


def _verdict(what: str, found: Effect) -> str:
    quantity = found.quantity
    change = signed(quantity.text) if quantity.unit == "points" else quantity.text
    half = f" ± {quantity.half}" if quantity.half else ""
    reason = f" ({found.reason})" if found.reason else ""
    return f"{what} beside the baseline, paired: {found.words}, {change}{half} {quantity.unit}{reason}"


def _why(found: Excluded, quality: str) -> str:
    if found.what == "run":
        return found.reason
    if found.estimate is None or found.limit is None:
        return f"{quality} against the baseline was not measured" if found.what == "loss" else f"no {found.what}"
    said = shown(found.what, found.estimate, exact=True)
    if found.what == "loss":
        return f"loses {said} of {quality}; allowed: {limit_text('loss', found.limit)}"
    return f"{_VERBS[found.what]} {said}; allowed: {limit_text(found.what, found.limit)}"

"""Night after night: what a rule says first, and what it only repeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.regression.histories import History
from bench.regression.rules import Claim, Tool

NEAR: Final = 3  # nights that a claim may be off the step's own and still mean it


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A claim of something worse on the night it was first made."""

    night: int
    onset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What one row said of one history."""

    row: str
    kind: str
    noise: str
    at: int
    alarms: tuple[Alarm, ...]  # of something worse
    found: int | None  # the night on which the planted step was first claimed, in its direction
    wrong_way: bool  # the step was claimed in the other direction first


def walk(tool: Tool, history: History) -> list[Walk]:
    """One walk through a history for each row of a tool."""
    ask = tool.claims(history)
    said = [ask(known) for known in range(1, len(history.values) + 1)]
    return [_walk(row, history, [claims[row] for claims in said], tool.same_within) for row in tool.rows]


def _walk(row: str, history: History, said: list[list[Claim]], same_within: int) -> Walk:
    right = [_first(history, said, worse=worse) for worse in (history.kind.step > 0, history.kind.step < 0)]
    found, other = right if history.kind.has_step else (None, None)
    return Walk(
        row=row,
        kind=history.kind.name,
        noise=history.noise,
        at=history.at,
        alarms=tuple(alarms(said, same_within)),
        found=found,
        wrong_way=other is not None and (found is None or other < found),
    )


def alarms(said: Iterable[Iterable[Claim]], same_within: int) -> list[Alarm]:
    """Claims of something worse that are new on their night.

    A claim is old if it begins within `same_within` nights of an alarm or of what was claimed the night before, so
    that neither a level that is dated anew nor a drift whose start moves along counts again.
    """
    found: list[Alarm] = []
    before: list[int] = []
    for night, claims in enumerate(said):
        onsets = sorted(claim.onset for claim in claims if claim.worse)
        for onset in onsets:
            known = before + [alarm.onset for alarm in found] if same_within else []
            if all(abs(onset - other) > same_within for other in known):
                found.append(Alarm(night=night, onset=onset))
        before = onsets
    return found


def _first(history: History, said: list[list[Claim]], *, worse: bool) -> int | None:
    for night in range(history.at, len(said)):
        if any(claim.worse is worse and abs(claim.onset - history.at) <= NEAR for claim in said[night]):
            return night
    return None

"""Every published number beside what was measured of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoboard.claims.comparability import differences
from paretoboard.claims.measuring import measured, newest
from paretoboard.claims.verdicts import VERDICTS, judge, ratio_of
from paretoboard.spec import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoboard.claims.model import (  # noqa: TC004 - nothing resolves these annotations
        Claim,
        ClaimedNumber,
        ClaimSet,
        Difference,
        Link,
        Measured,
        Verdict,
    )
    from paretoboard.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One published number with its verdict."""

    key: str  # unique in its set: the claim's id, and the number's place where there are several
    claim: Claim
    number: ClaimedNumber
    measured: Measured | None
    verdict: Verdict
    reason: str  # what the verdict rests on, or why there is none
    differences: tuple[Difference, ...]
    ratio: float | None  # measured / claimed, better being more
    next_step: str  # what would measure the claim itself, "" where that is done or there is nothing


def lines(found: ClaimSet, records: Sequence[RunRecord]) -> tuple[Line, ...]:
    """One line for each number: comparable ones by measured / claimed, then the others by id.

    Args:
        records: stored ones, with predictions.
    """
    linked = {link.task for claim in found.claims for link in claim.measured_by}
    of_tasks = [record for record in records if record.task in linked]
    return tuple(sorted((_line(claim, i, of_tasks) for claim in found.claims for i in _places(claim)), key=_order))


def counts(found: Iterable[Line]) -> dict[Verdict, int]:
    """How many numbers came out how: the five verdicts, those that can't be compared last, then the unmeasured."""
    counted = Counter(line.verdict for line in found)
    return {verdict: counted[verdict] for verdict in (*VERDICTS, "not measured")}


def _places(claim: Claim) -> range:
    return range(len(claim.numbers))


def _line(claim: Claim, index: int, records: Sequence[RunRecord]) -> Line:
    number = claim.numbers[index]
    key = claim.id if len(claim.numbers) == 1 else f"{claim.id}.{index + 1}"
    nearest = claim.measured_by[:1]
    for link in claim.measured_by:
        ours = measured(number, link, records)
        if ours is None:
            continue
        differing = differences(claim, number, ours)
        judgement = judge(number, ours, differing)
        return Line(
            key=key,
            claim=claim,
            number=number,
            measured=ours,
            verdict=judgement.verdict,
            reason=judgement.reason,
            differences=differing,
            ratio=ratio_of(number, ours),
            next_step="" if (link,) == nearest else _command(nearest[0]),
        )
    return Line(
        key=key,
        claim=claim,
        number=number,
        measured=None,
        verdict="not measured",
        reason=claim.unmeasured or _why_not(number, claim.measured_by, records),
        differences=(),
        ratio=None,
        next_step=_command(nearest[0]) if nearest and number.about.measured_as else "",
    )


def _command(link: Link) -> str:
    return f"paretoboard run {link.task}" + ("" if link.recipe == BASELINE else f" --only {link.recipe}")


def _why_not(number: ClaimedNumber, links: Sequence[Link], records: Sequence[RunRecord]) -> str:
    if not number.about.measured_as:
        return f"no task here measures {number.about.label}"
    link = links[0]
    if newest(link, records):
        return f"{link.task} was measured with {link.recipe}, and has no {number.about.label} to compare"
    ended = [r for r in records if r.task == link.task and r.recipe == link.recipe]
    if ended:
        last = max(ended, key=lambda record: (record.started_at, record.run_id))
        return f"{link.task} with {link.recipe}: {last.status}: {last.reason}"
    return f"{link.task} with {link.recipe} has no results yet"


def _order(line: Line) -> tuple[int, float, str]:
    group = {"not comparable": 1, "not measured": 2}.get(line.verdict, 0)
    return group, line.ratio if line.ratio is not None else 0.0, line.key

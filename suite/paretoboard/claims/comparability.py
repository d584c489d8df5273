"""Which conditions of a claim matter, and which of them our measurement does not meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paretoboard.claims.model import ANY, Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoboard.claims.model import Claim, ClaimedNumber, Measured

# Published and measured baselines further apart than this are not the same starting point: another training or other
# weights, and a change from there is another change. Registered beforehand, like the margins of the verdicts.
SAME_BASELINE_POINTS: Final = 2.0
# What machine a number was got on decides times; of a change in quality it does not, as far as publications go.
_OF_TIMES: Final = ("hardware", "cores", "batch", "runtime")
NOT_SAID: Final = "not said"


def differences(claim: Claim, number: ClaimedNumber, measured: Measured) -> tuple[Difference, ...]:
    """The conditions that matter for `number` and differ, in a fixed order; none if the two can be compared."""
    return tuple(_differences(claim, number, measured))


def _differences(claim: Claim, number: ClaimedNumber, measured: Measured) -> Iterator[Difference]:
    theirs, ours = claim.conditions, measured.conditions
    for field in ("model", "dataset"):
        # MACs and sizes are the network's, whatever images it looks at; of a level and a change they matter.
        if field == "dataset" and number.about.scale == "times":
            continue
        if getattr(theirs, field) not in (ANY, getattr(ours, field)):
            yield Difference(field=field, claimed=getattr(theirs, field), ours=getattr(ours, field))
    if not number.is_level:
        yield from _technique(claim, measured)
    theirs_at, ours_at = _published_quality(number), measured.baseline
    if theirs_at is not None and ours_at is not None and abs(theirs_at - ours_at) > SAME_BASELINE_POINTS:
        yield Difference(field="baseline", claimed=f"{theirs_at:g} %", ours=f"{ours_at:.1f} %")
    for field in _OF_TIMES if number.about.timed else ():
        there, here = getattr(theirs, field), getattr(ours, field)
        if there != ANY and (there or "").casefold() != (here or "").casefold():
            yield Difference(field=field, claimed=there or NOT_SAID, ours=here or NOT_SAID)
    for field, (there, here) in {**measured.link.differs, **number.differs}.items():
        yield Difference(field=field, claimed=there, ours=here)


def _published_quality(number: ClaimedNumber) -> float | None:
    """Of the published baseline, in percent as measured ones are; None for a cost and where it is not said."""
    if number.baseline is None or number.about.scale == "times":
        return None
    return number.baseline if number.about.higher_is_better else 100 - number.baseline


def _technique(claim: Claim, measured: Measured) -> Iterator[Difference]:
    theirs, ours = claim.conditions, measured.conditions
    used = (ours.technique or "").split(" > ")
    if theirs.technique is None or theirs.technique not in used:
        yield Difference(field="technique", claimed=theirs.method, ours=ours.technique or "the model as it is")
        return
    for name, wanted in sorted(theirs.parameters.items()):
        found = ours.parameters.get(f"{theirs.technique}.{name}")
        if found != wanted:
            here = "not set" if found is None else str(found)
            yield Difference(field=f"{theirs.technique} {name}", claimed=str(wanted), ours=here)
